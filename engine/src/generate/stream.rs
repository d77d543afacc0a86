//! The loop from a prompt to the end of the answer.
//!
//! ```text
//! read up to 256 tokens of history not yet in the cache -> logits
//!   more left?   read on (only a prompt is that long)
//!   otherwise    sample -> end of a turn? stop : push onto history, tell its text
//! ```
//!
//! It ends with the first of: the end of a turn, `max_new_tokens`, a full context, the user's stop. Settings and prompt
//! are checked before anything is computed.

use protocol::{
    Conversation, Failure, FailureKind, GenerationSpec, GenerationSummary, Precision, RunSpec,
    Setting, Settings, StopReason,
};

use super::sampler::{Sampler, SamplerError};
use crate::{
    adapter::DeviceAdapter,
    data::Encoder,
    layers::block::KeyValueCache,
    model::Model,
    surroundings::{Control, Surroundings},
    tensor::read_all,
};

/// The number of prompt tokens processed at once. A long conversation takes several passes, so that it can be stopped
/// in between and does not overload the device.
const PROMPT_CHUNK: usize = 256;

/// What one answer needs.
pub struct GenerationInput<'a> {
    /// The messages so far, and the tools.
    pub conversation: &'a Conversation,
    /// How tokens are chosen and when to end. Its own conversations are not looked at.
    pub spec: &'a GenerationSpec,
    /// The base.
    pub model: &'a Model,
    /// The tokenizer and the template of the model.
    pub encoder: Encoder<'a>,
    /// `None` for an answer of the base.
    pub adapter: Option<&'a DeviceAdapter>,
    /// The precision in which the blocks compute.
    pub precision: Precision,
}

/// Writes one answer; the surroundings are told of its text piece by piece.
///
/// A stop is no error: the answer so far stands, and the summary says so. A pause is not heeded. Pieces are whole
/// characters, so a token may give no text until the next one completes it.
///
/// # Errors
/// [`FailureKind::Settings`] for a prompt that is empty or leaves no room and for settings outside their limits; the
/// template's and the tokenizer's failures; [`FailureKind::NonFinite`] for logits that cannot be sampled from; the
/// device's failure.
pub async fn generate(
    input: GenerationInput<'_>,
    surroundings: &dyn Surroundings,
) -> Result<GenerationSummary, Failure> {
    let started = surroundings.now_millis();
    let GenerationInput {
        conversation, spec, ..
    } = input;
    check_settings(spec)?;
    let mut history = input.encoder.render_chat(conversation, spec.as_text)?;
    let prompt_tokens = history.len();
    let virtual_tokens = input.adapter.map_or(0, DeviceAdapter::prompt_tokens);
    let context_length = context_length(input.model, virtual_tokens);
    check_prompt(prompt_tokens, context_length)?;
    let mut sampler = Sampler::new(spec);
    let mut text = input.encoder.tokenizer.decode_stream(true);
    let mut cache = vec![KeyValueCache::default(); input.model.blocks.len()];
    let mut num_read = 0;
    let stop_reason = loop {
        if history.len() - prompt_tokens >= spec.max_new_tokens {
            break StopReason::Length;
        }
        if history.len() >= context_length {
            break StopReason::ContextFull;
        }
        surroundings.yield_now().await;
        if surroundings.control() == Control::Stop {
            break StopReason::Stopped;
        }
        let end = history.len().min(num_read + PROMPT_CHUNK);
        let ids = &history[num_read..end];
        let logits =
            input
                .model
                .next_logits(ids, num_read, input.adapter, input.precision, &mut cache);
        // Read even in the middle of a prompt: it waits for the device, so that a stop comes between chunks.
        let mut logits = read_all(logits).await?;
        num_read = end;
        if num_read < history.len() {
            continue;
        }
        let id = sampler
            .sample(&mut logits, &history)
            .map_err(sampler_failure)?;
        if input.encoder.tokenizer.end_of_turn_ids().contains(&id) {
            break StopReason::EndOfTurn;
        }
        history.push(id);
        tell(surroundings, text.push(id)?);
    };
    let summary = GenerationSummary {
        prompt_tokens,
        new_tokens: history.len() - prompt_tokens,
        context_length,
        elapsed_millis: surroundings.now_millis() - started,
        stop_reason,
    };
    tell(surroundings, text.finish()?);
    Ok(summary)
}

/// Returns the number of tokens of prompt and answer that fit into the context after this many learned tokens of an
/// adapter.
pub fn context_length(model: &Model, virtual_tokens: usize) -> usize {
    let positions = model.config.max_position_embeddings;
    positions.saturating_sub(virtual_tokens)
}

/// Tells of a piece of text, if there is any.
fn tell(surroundings: &dyn Surroundings, text: String) {
    if !text.is_empty() {
        surroundings.wrote(text);
    }
}

/// Checks that there is a prompt, and room for at least one token after it.
///
/// # Errors
/// [`FailureKind::Settings`]
fn check_prompt(prompt_tokens: usize, context_length: usize) -> Result<(), Failure> {
    match prompt_tokens {
        0 => Err(Failure::new(FailureKind::Settings, "The prompt is empty.")
            .at("Prompt")
            .remedy("Write something for the model to answer.")),
        tokens if tokens >= context_length => Err(Failure::new(
            FailureKind::Settings,
            format!(
                "The conversation has {tokens} tokens, which leaves no room for an answer: the model can read {context_length} at most."
            ),
        )
        .at("Prompt")
        .remedy("Start a new chat, or shorten the prompt.")),
        _ => Ok(()),
    }
}

/// Checks all settings of answers against the table of settings.
///
/// # Errors
/// [`FailureKind::Settings`] with all that are outside their limits, in one failure.
fn check_settings(spec: &GenerationSpec) -> Result<(), Failure> {
    let settings = Settings {
        run: RunSpec::default(),
        generation: GenerationSpec {
            conversations: Vec::new(),
            ..spec.clone()
        },
    };
    let (mut labels, mut problems) = (Vec::new(), Vec::new());
    for setting in Setting::of_answers() {
        for what in setting.problems(&settings) {
            labels.push(setting.label);
            problems.push(format!("{}: {what}", setting.label));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(FailureKind::Settings, problems.join(" "))
        .at(labels.join(", "))
        .remedy("Change these settings and ask again."))
}

/// Makes the failure of logits that cannot be sampled from.
fn sampler_failure(error: SamplerError) -> Failure {
    Failure::new(FailureKind::NonFinite, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outside_their_range_are_refused_by_name() {
        let refused = |change: fn(&mut GenerationSpec)| {
            let mut spec = GenerationSpec::default();
            change(&mut spec);
            let failure = check_settings(&spec).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Settings);
            failure.place.unwrap()
        };
        assert_eq!(refused(|spec| spec.temperature = -0.1), "Temperature");
        assert_eq!(refused(|spec| spec.temperature = f64::NAN), "Temperature");
        assert_eq!(
            refused(|spec| spec.temperature = f64::INFINITY),
            "Temperature"
        );
        assert_eq!(refused(|spec| spec.top_p = 0.0), "Top-p");
        assert_eq!(refused(|spec| spec.top_p = 1.01), "Top-p");
        assert_eq!(
            refused(|spec| spec.repetition_penalty = 0.0),
            "Repetition penalty"
        );
        assert_eq!(
            refused(|spec| (spec.max_new_tokens, spec.top_k) = (0, usize::MAX)),
            "Max new tokens, Top-k"
        );
        assert_eq!(check_settings(&GenerationSpec::default()), Ok(()));
    }
}
