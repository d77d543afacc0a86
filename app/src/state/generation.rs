//! Answers of base and tuned model as they stream in.

use engine::protocol::{GenerationId, GenerationSummary, Variant};

/// One question to one or two models.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    pub id: GenerationId,
    pub prompt: String,
    pub answers: Vec<Answer>,
}

/// What one model has said so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub variant: Variant,
    pub text: String,
    pub summary: Option<GenerationSummary>,
    /// Nothing more will come, finished or not.
    pub is_over: bool,
}

impl Generation {
    pub fn new(id: GenerationId, prompt: String, variants: &[Variant]) -> Self {
        let answers = variants
            .iter()
            .map(|&variant| Answer {
                variant,
                text: String::new(),
                summary: None,
                is_over: false,
            })
            .collect();
        Self {
            id,
            prompt,
            answers,
        }
    }

    /// Whether an answer is still to come.
    pub fn is_active(&self) -> bool {
        self.answers.iter().any(|answer| !answer.is_over)
    }

    pub fn answer(&self, variant: Variant) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.variant == variant)
    }

    /// The model that is speaking now; they answer one after the other.
    pub fn speaking(&self) -> Option<Variant> {
        self.answers
            .iter()
            .find(|answer| !answer.is_over)
            .map(|answer| answer.variant)
    }

    pub fn text(&mut self, variant: Variant, text: &str) {
        if let Some(answer) = self.answer_mut(variant) {
            answer.text.push_str(text);
        }
    }

    pub fn done(&mut self, variant: Variant, summary: GenerationSummary) {
        if let Some(answer) = self.answer_mut(variant) {
            answer.summary = Some(summary);
            answer.is_over = true;
        }
    }

    pub fn abandon(&mut self) {
        for answer in &mut self.answers {
            answer.is_over = true;
        }
    }

    fn answer_mut(&mut self, variant: Variant) -> Option<&mut Answer> {
        self.answers
            .iter_mut()
            .find(|answer| answer.variant == variant)
    }
}
