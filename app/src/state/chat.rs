//! The conversation of the Try step: the prompts, and the answers of each model.

use protocol::{
    AdapterId, Conversation, Event, Failure, GenerationId, GenerationSummary, Message, Preamble,
    PromptPreview, Speaker,
};

use super::State;

/// All turns, oldest first, and what the models would read next.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chat {
    pub turns: Vec<Turn>,
    /// Adapters that answer in addition to the base and the tuned model, in the order in which they were chosen.
    pub compared: Vec<AdapterId>,
    /// The prompts as the models read them, if requested.
    pub prompts: Option<Result<Vec<PromptPreview>, Failure>>,
    /// The model that gave the answers.
    model_sha256: String,
}

/// A prompt of the user, and the answers to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub id: GenerationId,
    pub prompt: String,
    /// In the order in which the models answer.
    pub answers: Vec<Answer>,
}

/// What one model has said so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub speaker: Speaker,
    /// The name of the model at that time.
    pub name: String,
    pub text: String,
    pub summary: Option<GenerationSummary>,
    /// Whether nothing more will come, finished or not.
    pub is_over: bool,
}

impl Turn {
    /// A turn that is to be answered by these models.
    fn new(id: GenerationId, prompt: String, speakers: Vec<(Speaker, String)>) -> Self {
        let answer = |(speaker, name)| Answer {
            speaker,
            name,
            text: String::new(),
            summary: None,
            is_over: false,
        };
        Self {
            id,
            prompt,
            answers: speakers.into_iter().map(answer).collect(),
        }
    }

    /// Whether an answer is still to come.
    pub fn is_active(&self) -> bool {
        self.answers.iter().any(|answer| !answer.is_over)
    }

    pub fn answer(&self, speaker: Speaker) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.speaker == speaker)
    }

    /// The model that is speaking now; they answer one after the other.
    pub fn speaking(&self) -> Option<Speaker> {
        let answer = self.answers.iter().find(|answer| !answer.is_over);
        answer.map(|answer| answer.speaker)
    }
}

impl Chat {
    /// Whether an answer is still to come.
    pub fn is_active(&self) -> bool {
        self.turns.last().is_some_and(Turn::is_active)
    }

    /// Forgets every turn.
    pub fn clear(&mut self) {
        self.turns.clear();
    }

    /// Removes the last turn and returns its prompt.
    pub fn take_back(&mut self) -> Option<String> {
        self.turns.pop().map(|turn| turn.prompt)
    }

    /// Adds an adapter to the comparison, or removes it.
    pub fn toggle_compared(&mut self, adapter: AdapterId) {
        match self.compared.iter().position(|&known| known == adapter) {
            Some(at) => {
                self.compared.remove(at);
            }
            None => self.compared.push(adapter),
        }
    }

    /// The answer of a model to the last turn, if it has this id.
    fn answer_mut(&mut self, id: GenerationId, speaker: Speaker) -> Option<&mut Answer> {
        let turn = self.turns.last_mut().filter(|turn| turn.id == id)?;
        let mut answers = turn.answers.iter_mut();
        answers.find(|answer| answer.speaker == speaker)
    }

    /// Records that no more answers will come.
    pub fn abandon(&mut self) {
        let answers = self.turns.last_mut().map(|turn| &mut turn.answers);
        answers
            .into_iter()
            .flatten()
            .for_each(|answer| answer.is_over = true);
    }

    /// The conversation that a model should continue: its own answers to the first `num_turns` turns, then `prompt`.
    /// Turns that it has not answered are left out, so that user and model always take turns.
    pub fn conversation(
        &self,
        speaker: Speaker,
        num_turns: usize,
        prompt: &str,
        opening: &Preamble,
    ) -> Conversation {
        let mut messages = Vec::new();
        if !opening.system_prompt.trim().is_empty() {
            messages.push(Message::new("system", opening.system_prompt.as_str()));
        }
        for turn in self.turns.iter().take(num_turns) {
            let answer = turn.answer(speaker);
            if let Some(answer) = answer.filter(|answer| !answer.text.is_empty()) {
                messages.push(Message::new("user", turn.prompt.as_str()));
                messages.push(Message::new("assistant", answer.text.as_str()));
            }
        }
        messages.push(Message::new("user", prompt));
        Conversation {
            speaker,
            messages,
            tools: opening.tools.clone(),
        }
    }

    /// The prompt to send next, and the turns before it: what was typed, or, if nothing was, the last turn's prompt
    /// again. `None` if there is neither.
    pub fn next(&self, typed: &str) -> Option<(String, usize)> {
        let num_turns = self.turns.len();
        let last = self.turns.last().map(|turn| turn.prompt.as_str());
        match last {
            Some(last) if typed.trim().is_empty() || typed == last => {
                Some((last.to_owned(), num_turns - 1))
            }
            _ if typed.trim().is_empty() => None,
            _ => Some((typed.to_owned(), num_turns)),
        }
    }
}

impl State {
    /// The models that answer: the base, the tuned one, and the adapters compared with it; each with its name.
    pub fn speakers(&self) -> Vec<(Speaker, String)> {
        let mut speakers = vec![(Speaker::Base, "Base".to_owned())];
        let chosen = self.adapters.active.into_iter();
        let compared = self.compared_adapters();
        for id in chosen.chain(compared.iter().copied()) {
            let mut adapters = self.adapters.adapters.iter();
            if let Some(adapter) = adapters.find(|adapter| adapter.id == id) {
                speakers.push((Speaker::Adapter(id), adapter.name.clone()));
            }
        }
        speakers
    }

    /// The compared adapters that still exist.
    pub fn compared_adapters(&self) -> Vec<AdapterId> {
        let is_here = |id: &AdapterId| self.adapters.adapters.iter().any(|kept| kept.id == *id);
        let compared = self.chat.compared.iter().copied();
        compared
            .filter(|id| Some(*id) != self.adapters.active && is_here(id))
            .collect()
    }

    /// The conversation that each model should continue, where `typed` is the content of the prompt's field.
    pub fn next_conversations(&self, typed: &str, opening: &Preamble) -> Option<Vec<Conversation>> {
        let (prompt, num_turns) = self.chat.next(typed)?;
        let speakers = self.speakers().into_iter();
        let conversation =
            |(speaker, _)| self.chat.conversation(speaker, num_turns, &prompt, opening);
        Some(speakers.map(conversation).collect())
    }

    /// Records that the models were asked. A repeated prompt replaces the last turn.
    pub fn begin_turn(&mut self, id: GenerationId, typed: &str) {
        let Some((prompt, num_turns)) = self.chat.next(typed) else {
            return;
        };
        let speakers = self.speakers();
        self.chat.turns.truncate(num_turns);
        self.chat.turns.push(Turn::new(id, prompt, speakers));
    }

    /// Another model does not know the conversation; the same model in a new worker continues it.
    pub(super) fn chat_with(&mut self, model_sha256: &str) {
        if self.chat.model_sha256 != model_sha256 {
            self.chat.clear();
            self.chat.prompts = None;
            model_sha256.clone_into(&mut self.chat.model_sha256);
        }
    }

    /// Adds text that a model wrote. Late text of an older turn changes nothing.
    pub(super) fn said(&mut self, event: Event) {
        match event {
            Event::GenerationText { id, speaker, text } => {
                if let Some(answer) = self.chat.answer_mut(id, speaker) {
                    answer.text.push_str(&text);
                }
            }
            Event::GenerationDone {
                id,
                speaker,
                summary,
            } => {
                if let Some(answer) = self.chat.answer_mut(id, speaker) {
                    answer.summary = Some(summary);
                    answer.is_over = true;
                }
            }
            _ => {}
        }
    }
}
