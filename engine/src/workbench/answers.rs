//! Answers of the base and of adapters, and what they are written after.

use protocol::{
    Conversation, Event, Failure, GenerationId, GenerationSpec, PromptPreview, Speaker,
};

use super::{Workbench, run::Run};

impl Workbench<'_> {
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
    fn adapter_of(&self, speaker: Speaker) -> Result<Option<&Run>, Failure> {
        match speaker {
            Speaker::Base => Ok(None),
            Speaker::Adapter(id) => self.runs.get(id, &self.model()?.summary).map(Some),
        }
    }
}
