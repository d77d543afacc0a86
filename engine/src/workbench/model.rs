//! The loaded base model with its tokenizer and template.
//!
//! ```text
//! files -> checkpoint::open -> size against the device -> tokenizer, template -> hash -> weights to the device
//! ```
//!
//! What can fail cheaply comes first, so that a file that is refused is refused before gigabytes are read.

use burn::tensor::Device;
use protocol::{
    Conversation, Event, Failure, GenerationId, GenerationSpec, GenerationSummary, ModelSummary,
    Phase, Precision, PromptPreview,
};

use crate::{
    adapter::DeviceAdapter,
    data::Encoder,
    device::DeviceProfile,
    generate::{self, GenerationInput},
    host::{Answering, Host},
    model::Model,
    template::{self, ChatTemplate},
    tokenizer::Tokenizer,
    weights::checkpoint::{self, NamedSource},
};

/// The loaded base model. It never changes; adapters are separate.
pub struct LoadedModel {
    /// What the page is told of it; its `sha256` says which adapters belong to it.
    pub summary: ModelSummary,
    /// The weights on the device.
    pub base: Model,
    /// Turns texts into this model's ids, and ids into text.
    pub tokenizer: Tokenizer,
    /// `None` if the model continues plain text only.
    pub template: Option<ChatTemplate>,
}

impl LoadedModel {
    /// Opens, checks, hashes and moves the model to the device. Warnings and progress go to `host`; progress is in
    /// bytes of the file.
    ///
    /// # Errors
    /// Whatever is wrong with the files, the tokenizer or the template; weights that the device cannot hold.
    pub async fn load(
        files: Vec<NamedSource>,
        device: &Device,
        profile: DeviceProfile,
        host: &dyn Host,
    ) -> Result<Self, Failure> {
        let files = checkpoint::open(files).await?;
        files.check_size(profile)?;
        if !files.unused_files.is_empty() {
            let message = format!(
                "Not needed for this model: {}.",
                files.unused_files.join(", ")
            );
            host.emit(Event::Warning { message });
        }
        let (tokenizer, template) = template::of_model(&files)?;
        let notes = files.notes.iter().cloned();
        for message in notes.chain(tokenizer.unembedded_note()) {
            host.emit(Event::Warning { message });
        }

        // Hashing, where it was not done before, reads the file once, loading once more: each is half of the progress.
        let progress = |done: u64, total: u64| {
            host.emit(Event::Progress {
                phase: Phase::LoadingModel,
                done,
                total: Some(total),
            });
        };
        // The hash names the model everywhere: adapters, recipes and the known speed belong to it.
        let sha256 = files
            .sha256_hex(|done, total| progress(done / 2, total))
            .await?;
        let num_layers = files.config.num_hidden_layers as u64;
        let total = files.file_bytes;
        let base = Model::load(&files, device, async |num_blocks| {
            progress(
                total / 2 + total / 2 * num_blocks as u64 / num_layers,
                total,
            );
            // Between blocks a cancellation arrives: the future is dropped here.
            host.yield_now().await;
        })
        .await?;
        Ok(Self {
            summary: ModelSummary {
                has_chat_template: template.is_some(),
                ..files.summary(sha256)
            },
            base,
            tokenizer,
            template,
        })
    }

    /// What turns rows and prompts into tokens of this model.
    /// It borrows the tokenizer and the template, so making one costs nothing.
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder {
            tokenizer: &self.tokenizer,
            template: self.template.as_ref(),
        }
    }

    /// Streams one answer as events of the request `id`; see [`generate::generate`]. Without an adapter the base
    /// answers.
    ///
    /// # Errors
    /// As [`generate::generate`].
    pub async fn generate(
        &self,
        id: GenerationId,
        conversation: &Conversation,
        spec: &GenerationSpec,
        adapter: Option<&DeviceAdapter>,
        precision: Precision,
        host: &dyn Host,
    ) -> Result<GenerationSummary, Failure> {
        let input = GenerationInput {
            conversation,
            spec,
            model: &self.base,
            encoder: self.encoder(),
            adapter,
            precision,
        };
        let speaker = conversation.speaker;
        generate::generate(input, &Answering { host, id, speaker }).await
    }

    /// What the model reads for [`Self::generate`]. `virtual_tokens` are those that a learned prompt adds before it;
    /// they take room in the context, but have no texts.
    ///
    /// # Errors
    /// A conversation that cannot be rendered or tokenized.
    pub fn preview(
        &self,
        conversation: &Conversation,
        as_text: bool,
        virtual_tokens: usize,
    ) -> Result<PromptPreview, Failure> {
        let encoder = self.encoder();
        let ids = encoder.render_chat(conversation, as_text)?;
        Ok(PromptPreview {
            speaker: conversation.speaker,
            tokens: ids
                .into_iter()
                .map(|id| encoder.token_preview(id, false))
                .collect(),
            virtual_tokens,
            context_length: generate::context_length(&self.base, virtual_tokens),
        })
    }
}
