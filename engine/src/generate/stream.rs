//! The loop from a prompt to the end of the answer.

use protocol::{
    Conversation, Event, Failure, FailureKind, GenerationId, GenerationSpec, GenerationSummary,
    StopReason,
};

use super::sampler::{Sampler, SamplerError};
use crate::{
    adapter::DeviceAdapter, data::Encoder, host::Host, layers::block::KeyValueCache, model::Llama,
    tensor::read_all,
};

/// The number of prompt tokens processed at once. A long conversation takes several passes, so that it can be stopped
/// in between and does not overload the device.
const PROMPT_CHUNK: usize = 256;

/// The input of one answer.
pub struct GenerationInput<'a> {
    pub id: GenerationId,
    pub conversation: &'a Conversation,
    pub spec: &'a GenerationSpec,
    pub model: &'a Llama,
    pub encoder: Encoder<'a>,
    pub adapter: Option<&'a DeviceAdapter>,
}

/// Streams one answer as [`Event::GenerationText`]s.
///
/// # Errors
/// A prompt that cannot be rendered or leaves no room, settings that cannot be sampled with, a failing device.
pub async fn generate(
    input: GenerationInput<'_>,
    host: &dyn Host,
) -> Result<GenerationSummary, Failure> {
    let started = host.now_millis();
    let GenerationInput {
        conversation, spec, ..
    } = input;
    let mut history = input.encoder.render_chat(conversation, spec.as_text)?;
    let prompt_tokens = history.len();
    let virtual_tokens = input.adapter.map_or(0, DeviceAdapter::prompt_tokens);
    let context_length = context_length(input.model, virtual_tokens);
    check_prompt(prompt_tokens, context_length)?;
    let mut sampler = Sampler::new(spec).map_err(sampler_failure)?;
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
        host.yield_now().await;
        if host.is_stopped(input.id) {
            break StopReason::Stopped;
        }
        let end = history.len().min(num_read + PROMPT_CHUNK);
        let ids = &history[num_read..end];
        let logits = input
            .model
            .next_logits(ids, num_read, input.adapter, &mut cache);
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
        emit_text(&input, host, text.push(id)?);
    };
    let summary = GenerationSummary {
        prompt_tokens,
        new_tokens: history.len() - prompt_tokens,
        context_length,
        elapsed_millis: host.now_millis() - started,
        stop_reason,
    };
    emit_text(&input, host, text.finish()?);
    Ok(summary)
}

/// The number of tokens of prompt and answer that fit into the context after this many learned tokens of an adapter.
pub fn context_length(model: &Llama, virtual_tokens: usize) -> usize {
    let positions = model.config.max_position_embeddings;
    positions.saturating_sub(virtual_tokens)
}

fn emit_text(input: &GenerationInput<'_>, host: &dyn Host, text: String) {
    if !text.is_empty() {
        host.emit(Event::GenerationText {
            id: input.id,
            speaker: input.conversation.speaker,
            text,
        });
    }
}

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

fn sampler_failure(error: SamplerError) -> Failure {
    let kind = match error {
        SamplerError::Setting { .. } => FailureKind::Settings,
        SamplerError::NoLogits | SamplerError::NonFinite { .. } => FailureKind::NonFinite,
    };
    Failure::new(kind, error.to_string())
}
