//! Answers of the base and of adapters, and what they are written after.
//!
//! A request has a conversation for each speaker, since every model continues its own answers. They are answered one
//! after the other, each with its own adapter on the device. The text is sent as it is written
//! ([`crate::host::Answering`]), and a summary at the end of each answer.
//!
//! ```text
//! GenerationText{speaker: Base} ...  GenerationDone{speaker: Base}
//! GenerationText{speaker: Adapter(3)} ...  GenerationDone{speaker: Adapter(3)}
//! ```

use protocol::{
    Conversation, Event, Failure, GenerationId, GenerationSpec, PromptPreview, Speaker,
};

use super::{Workbench, run::Run};

impl Workbench<'_> {
    /// Answers every conversation of the request, and tells of each answer when it is complete. A run's adapter answers
    /// in the precision that it was trained in; the base and adapters without a training in that of the last run.
    ///
    /// # Errors
    /// A speaker that is gone, a prompt that cannot be rendered or is too long, or the device's failure. The answers
    /// before it have been given.
    pub(super) async fn generate(
        &mut self,
        id: GenerationId,
        spec: &GenerationSpec,
    ) -> Result<(), Failure> {
        let model = self.model()?;
        for conversation in &spec.conversations {
            let speaker = conversation.speaker;
            let run = self.adapter_of(speaker)?;
            let adapter = run.map(|run| run.upload(model));
            let training = run.and_then(|run| run.training.as_ref());
            let precision = training.map_or(self.precision, |training| training.device.precision);
            let summary = model
                .generate(
                    id,
                    conversation,
                    spec,
                    adapter.as_ref(),
                    precision,
                    self.host,
                )
                .await?;
            self.host.emit(Event::GenerationDone {
                id,
                speaker,
                summary,
            });
        }
        Ok(())
    }

    /// Returns what the models would read for these conversations, token by token. `as_text` continues plain text
    /// instead of a chat. Nothing is computed on the device.
    ///
    /// # Errors
    /// A speaker that is gone, or a conversation that cannot be rendered or tokenized.
    pub(super) fn preview_prompts(
        &self,
        conversations: &[Conversation],
        as_text: bool,
    ) -> Result<Vec<PromptPreview>, Failure> {
        let model = self.model()?;
        let preview = |conversation: &Conversation| {
            let kept = self.adapter_of(conversation.speaker)?;
            let virtual_tokens = kept.map_or(0, Run::prompt_tokens);
            model.preview(conversation, as_text, virtual_tokens)
        };
        conversations.iter().map(preview).collect()
    }

    /// The speaker's adapter; `None` for the base.
    ///
    /// # Errors
    /// An adapter that is no longer here.
    fn adapter_of(&self, speaker: Speaker) -> Result<Option<&Run>, Failure> {
        match speaker {
            Speaker::Base => Ok(None),
            Speaker::Adapter(id) => self.runs.get(id, &self.model()?.summary).map(Some),
        }
    }
}
