//! The loop from a prompt to the end of the answer.

use super::sampler::{Sampler, SamplerError};
use crate::{
    adapter::DeviceAdapter,
    data::Encoder,
    host::Host,
    layers::block::KeyValueCache,
    model::Llama,
    protocol::{
        Event, Failure, FailureKind, GenerationId, GenerationSpec, GenerationSummary, StopReason,
        Variant,
    },
    train::pacing::read_all,
};

/// The input of one answer.
pub struct GenerationInput<'a> {
    pub id: GenerationId,
    pub variant: Variant,
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
    let mut history = input.encoder.render_prompt(&input.spec.prompt)?;
    let prompt_tokens = history.len();
    let before = input.adapter.map_or(0, DeviceAdapter::prompt_tokens);
    let context_length = input.model.config.max_position_embeddings;
    let context_length = context_length.saturating_sub(before);
    check_prompt(prompt_tokens, context_length)?;
    let mut sampler = Sampler::new(input.spec).map_err(sampler_failure)?;
    let mut text = input.encoder.tokenizer.decode_stream(true);
    let mut cache = vec![KeyValueCache::default(); input.model.blocks.len()];
    let mut unseen = 0..prompt_tokens;
    let mut stop_reason = StopReason::Length;
    while history.len() - prompt_tokens < input.spec.max_new_tokens
        && history.len() < context_length
    {
        host.yield_now().await;
        if host.is_stopped(input.id) {
            stop_reason = StopReason::Stopped;
            break;
        }
        let ids = &history[unseen.clone()];
        let logits = input
            .model
            .next_logits(ids, unseen.start, input.adapter, &mut cache);
        let mut logits = read_all(logits).await?;
        let id = sampler
            .sample(&mut logits, &history)
            .map_err(sampler_failure)?;
        if input.encoder.tokenizer.end_of_turn_ids().contains(&id) {
            stop_reason = StopReason::EndOfTurn;
            break;
        }
        unseen = history.len()..history.len() + 1;
        history.push(id);
        emit_text(&input, host, text.push(id)?);
    }
    let summary = GenerationSummary {
        prompt_tokens,
        new_tokens: history.len() - prompt_tokens,
        elapsed_millis: host.now_millis() - started,
        stop_reason,
    };
    emit_text(&input, host, text.finish()?);
    Ok(summary)
}

fn emit_text(input: &GenerationInput<'_>, host: &dyn Host, text: String) {
    if !text.is_empty() {
        host.emit(Event::GenerationText {
            id: input.id,
            variant: input.variant,
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
            format!("The prompt has {tokens} tokens; the model can read {context_length} at most."),
        )
        .at("Prompt")
        .remedy("Shorten the prompt.")),
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
