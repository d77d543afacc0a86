//! Rows to token sequences: what the model reads and which of it the model learns.
//!
//! | row | model with a chat template | model without |
//! |---|---|---|
//! | `messages` | every assistant's turn: its content and the token that ends it | refused |
//! | `prompt`, `completion` | as a user's and an assistant's turn | the completion and EOS |
//! | `text` | all of it and EOS | the same |
//!
//! Whatever is learnt, the text is tokenised once and as a whole, so that the model meets the tokens that it meets when
//! it is used. A BOS is put before plain text where the tokenizer does so, never before a rendered template, which
//! writes its own. The first token of a row is never learnt, since nothing comes before it.

use std::ops::Range;

use super::{
    TokenSequence,
    example::{ASSISTANT, Example, Row, USER},
    stored::StoredRow,
    turn::{RenderedConversation, Turn, TurnError, render_turns},
};
use crate::{
    protocol::{DataSpec, Message, RowPreview, Side, TokenPreview},
    template::{ChatTemplate, MAX_OUTPUT_BYTES, TemplateError},
    tokenizer::{TokenSpan, Tokenizer, TokenizerError},
};

/// A row that gives no training example.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("what the model should answer is empty")]
    EmptyTarget,
    #[error(
        "all that could be learnt lies behind the first {max_seq_length} tokens of {num_tokens}"
    )]
    TargetCutOff {
        max_seq_length: usize,
        num_tokens: usize,
    },
    /// One token alone has nothing before it to be predicted from.
    #[error("the row is a single token")]
    TooShort,
    #[error("its text has {num_bytes} bytes, more than the {MAX_OUTPUT_BYTES} allowed")]
    TooLong { num_bytes: usize },
    #[error("it is a conversation, and the model has no chat template")]
    NoTemplate,
    #[error(transparent)]
    Turn(#[from] TurnError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl EncodeError {
    /// Whether the row has no token to learn, rather than being unreadable.
    pub fn is_without_target(&self) -> bool {
        matches!(
            self,
            Self::EmptyTarget | Self::TargetCutOff { .. } | Self::TooShort
        )
    }

    /// What the user can do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::EmptyTarget => "Fill in the answer, or remove the row.",
            Self::TargetCutOff { .. } => {
                "Raise the sequence length, or shorten what comes before the answer."
            }
            Self::TooShort => "Remove the row, or make it longer.",
            Self::TooLong { .. } => "Split the row into several.",
            Self::NoTemplate => {
                "Use rows with `prompt` and `completion`, or a model with a chat template."
            }
            Self::Turn(TurnError::NotFound { .. }) => {
                "Use rows with `prompt` and `completion`, or another model."
            }
            Self::Turn(TurnError::Template(_)) => {
                "Change the conversation as the model's template asks."
            }
            Self::Tokenizer(_) => "Remove the row.",
        }
    }
}

/// A prompt that cannot be rendered or tokenised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl From<PromptError> for crate::protocol::Failure {
    fn from(error: PromptError) -> Self {
        match error {
            PromptError::Template(error) => error.into(),
            PromptError::Tokenizer(error) => error.into(),
        }
    }
}

/// A row in tokens, whole.
struct Encoded {
    ids: Vec<u32>,
    loss_mask: Vec<bool>,
}

/// Turns rows into token sequences for one model.
#[derive(Debug, Clone, Copy)]
pub struct Encoder<'model> {
    pub tokenizer: &'model Tokenizer,
    pub template: Option<&'model ChatTemplate>,
}

impl Encoder<'_> {
    /// The row as it is trained, at most `max_seq_length` tokens of it, and how many were cut off its end.
    ///
    /// # Errors
    /// Why the row gives no example; see [`EncodeError`].
    pub fn encode(
        &self,
        row: &Row,
        max_seq_length: usize,
    ) -> Result<(TokenSequence, usize), EncodeError> {
        if row.example.targets().all(|target| target.trim().is_empty()) {
            return Err(EncodeError::EmptyTarget);
        }
        let Encoded {
            mut ids,
            mut loss_mask,
        } = self.encode_whole(&row.example)?;
        let num_tokens = ids.len();
        ids.truncate(max_seq_length);
        loss_mask.truncate(max_seq_length);
        let sequence = TokenSequence {
            row: row.row,
            ids,
            loss_mask,
        };
        match sequence.num_scored() {
            0 if num_tokens < 2 => Err(EncodeError::TooShort),
            0 => Err(EncodeError::TargetCutOff {
                max_seq_length,
                num_tokens,
            }),
            _ => {
                let num_cut = num_tokens - sequence.ids.len();
                Ok((sequence, num_cut))
            }
        }
    }

    /// The row's tokens for the eye, also of a row that [`Self::encode`] refuses for having nothing to learn.
    ///
    /// # Errors
    /// A row that cannot be rendered or tokenised at all.
    pub fn preview(
        &self,
        stored: &StoredRow,
        spec: &DataSpec,
        side: Option<Side>,
    ) -> Result<RowPreview, EncodeError> {
        let encoded = self.encode_whole(&stored.row.example)?;
        let num_truncated = encoded.ids.len().saturating_sub(spec.max_seq_length);
        let tokens = encoded
            .ids
            .iter()
            .zip(&encoded.loss_mask)
            .take(spec.max_seq_length)
            .map(|(&id, &is_trained)| TokenPreview {
                id,
                text: self.tokenizer.token_text(id),
                is_trained,
                is_special: self.tokenizer.is_special(id),
            })
            .collect();
        Ok(RowPreview {
            row: stored.row.row,
            tokens,
            num_truncated,
            side,
            findings: stored.facts.findings.clone(),
        })
    }

    /// Tokens of a prompt for generation: a user's message with the assistant's turn opened, or the plain text.
    ///
    /// # Errors
    /// The template's or the tokenizer's.
    pub fn render_prompt(&self, prompt: &str) -> Result<Vec<u32>, PromptError> {
        match self.template {
            Some(template) => {
                let text = template.render(&[Message::new(USER, prompt)], true)?;
                Ok(self.tokenizer.encode(&text)?)
            }
            None => {
                let ids = self.tokenizer.encode(prompt)?;
                Ok([self.tokenizer.prefix_ids(), &ids].concat())
            }
        }
    }

    fn encode_whole(&self, example: &Example) -> Result<Encoded, EncodeError> {
        let mut encoded = match (example, self.template) {
            (
                Example::Conversation {
                    messages,
                    first_trained,
                    ..
                },
                Some(template),
            ) => self.conversation(&render_turns(template, messages, *first_trained)?)?,
            (Example::Conversation { .. }, None) => return Err(EncodeError::NoTemplate),
            (Example::Pair { prompt, completion }, Some(template)) => {
                let messages = [
                    Message::new(USER, prompt.as_str()),
                    Message::new(ASSISTANT, completion.as_str()),
                ];
                self.conversation(&render_turns(template, &messages, 0)?)?
            }
            (Example::Pair { prompt, completion }, None) => self.plain(prompt, completion)?,
            (Example::Text(text), _) => self.plain("", text)?,
        };
        if let Some(first) = encoded.loss_mask.first_mut() {
            *first = false;
        }
        Ok(encoded)
    }

    fn conversation(&self, rendered: &RenderedConversation) -> Result<Encoded, EncodeError> {
        let tokens = self.tokenizer.encode_with_ranges(&rendered.text)?;
        let mut loss_mask = vec![false; tokens.len()];
        for turn in &rendered.turns {
            let learnt = self.learnt_tokens(&tokens, turn, &rendered.text);
            loss_mask[learnt].fill(true);
        }
        Ok(Encoded {
            ids: tokens.into_iter().map(|token| token.id).collect(),
            loss_mask,
        })
    }

    /// The tokens of a turn that are learnt: its content and the token that ends it, without what follows (a line
    /// break, in most templates). A turn that no such token ends is learnt up to its last visible character.
    fn learnt_tokens(&self, tokens: &[TokenSpan], turn: &Turn, text: &str) -> Range<usize> {
        let first = tokens.partition_point(|token| token.range.end <= turn.range.start);
        let behind =
            first + tokens[first..].partition_point(|token| token.range.start < turn.range.end);
        let ends_turn = |index: &usize| {
            let token = &tokens[*index];
            self.tokenizer.end_of_turn_ids().contains(&token.id)
                && turn.content_end.is_none_or(|end| token.range.start >= end)
        };
        let end_of_turn = match turn.content_end {
            Some(_) => (first..behind).find(ends_turn),
            None => (first..behind).rfind(ends_turn),
        };
        let last = end_of_turn.unwrap_or_else(|| {
            let end = turn
                .content_end
                .unwrap_or_else(|| turn.range.start + text[turn.range.clone()].trim_end().len());
            first + tokens[first..behind].partition_point(|token| token.range.end < end)
        });
        first..(last + 1).min(behind).max(first)
    }

    /// Plain text: `context` is read, `target` and EOS are learnt.
    fn plain(&self, context: &str, target: &str) -> Result<Encoded, EncodeError> {
        let num_bytes = context.len() + target.len();
        if num_bytes > MAX_OUTPUT_BYTES {
            return Err(EncodeError::TooLong { num_bytes });
        }
        let tokens = self
            .tokenizer
            .encode_with_ranges(&[context, target].concat())?;
        let prefix = self.tokenizer.prefix_ids();
        let mut ids = prefix.to_vec();
        let mut loss_mask = vec![false; prefix.len()];
        for token in &tokens {
            ids.push(token.id);
            loss_mask.push(token.range.end > context.len());
        }
        let eos = self.tokenizer.special_ids().eos;
        if let Some(eos) = eos.filter(|eos| ids.last() != Some(eos)) {
            ids.push(eos);
            loss_mask.push(true);
        }
        Ok(Encoded { ids, loss_mask })
    }
}
