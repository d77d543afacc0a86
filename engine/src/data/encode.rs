//! Turns rows into token sequences: what the model reads, and which parts of it the model learns.
//!
//! | row | model with a chat template | model without |
//! |---|---|---|
//! | `messages` | every assistant's turn, to its end | refused |
//! | `prompt`, `completion` | as a user's and an assistant's turn | the completion and EOS |
//! | `text` | all of it and EOS | the same |
//!
//! This is what is learned by default; [`TrainOn`] selects less or more. Messages that the dataset marks as context
//! ([`Message::is_context`]) and rows whose answer it marks as bad are never learned. In any case, the text is
//! tokenized once and as a whole, so that the model sees the same tokens as when it is used. A BOS is added to plain
//! text if the tokenizer adds one, but never to a rendered template, which writes its own. The first token of a row is
//! never learned, since nothing comes before it.
//!
//! ```text
//! text   <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n
//! mask   -------------------------------------------------------^^^^^^^^^^^^^^^^^^
//! ```
//!
//! The loss mask comes from byte ranges of the text: a token is learned if it touches a learned turn. Cutting to the
//! sequence length comes last, at the end of the row.

use formats::{
    row::{ASSISTANT, Example, Row, USER},
    row_file::StoredRow,
};
use protocol::{
    ControlTokens, Conversation, DataSpec, FailureKind, Message, RowPreview, RowShape, Side,
    TokenPreview, TrainOn,
};

use super::{
    TokenSequence, texts,
    turn::{RenderedConversation, TurnError},
};
use crate::{
    template::{ChatTemplate, MAX_OUTPUT_BYTES, TemplateError},
    tokenizer::{NOT_EMBEDDED_REMEDY, Tokenizer, TokenizerError},
};

/// A row that gives no training example, and why. The row is left out and listed; the others are trained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Whatever would be learned is empty or white space.
    #[error("the answer is empty")]
    EmptyTarget,
    /// The sequence length ends before the first token to learn.
    #[error(
        "everything to learn comes after the first {max_seq_length} of its {num_tokens} tokens"
    )]
    TargetCutOff {
        max_seq_length: usize,
        num_tokens: usize,
    },
    /// A single token has nothing before it to be predicted from.
    #[error("the row is a single token")]
    TooShort,
    /// The text is longer than a template could write; the limit bounds the work of the tokenizer.
    #[error("its text has {num_bytes} bytes, more than the {MAX_OUTPUT_BYTES} allowed")]
    TooLong { num_bytes: usize },
    /// Only a template says how turns are written.
    #[error("the row is a conversation, but the model has no chat template")]
    NoTemplate,
    /// Nothing is left that could tell its control tokens from those that the template writes.
    #[error(
        "it spells out a control token that is meant as plain text, and has all characters from U+10FF00 to U+10FFFB, \
         one of which is needed to mark it"
    )]
    NoGuard,
    /// A turn cannot be found in the rendered text, or rendering fails.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// The text cannot be tokenized, or holds a token that the model has no embedding for.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl EncodeError {
    /// Returns whether the row has no token to learn, rather than being unreadable.
    pub fn is_without_target(&self) -> bool {
        matches!(
            self,
            Self::EmptyTarget | Self::TargetCutOff { .. } | Self::TooShort
        )
    }

    /// Returns what the user can do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::EmptyTarget => "Fill in the answer, or remove the row.",
            Self::TargetCutOff { .. } => {
                "Raise the sequence length, or shorten the text before the answer."
            }
            Self::TooShort => "Remove the row, or make it longer.",
            Self::TooLong { .. } => "Split the row into several.",
            Self::NoGuard => "Take one of these characters, or the control token, out of the row.",
            Self::NoTemplate => {
                "Use rows with `prompt` and `completion`, or a model with a chat template."
            }
            Self::Turn(TurnError::NotFound { .. }) => {
                "Train on everything, use rows with `prompt` and `completion`, or another model."
            }
            Self::Turn(TurnError::NotWritten { .. }) => "Remove the row, or use another model.",
            Self::Turn(TurnError::CallsNotWritten { .. }) => {
                "Write the calls as text in `content`, or use a model that supports tool calls."
            }
            Self::Turn(TurnError::Template(_)) => {
                "Change the conversation to fit the model's template."
            }
            Self::Tokenizer(TokenizerError::NotEmbedded { .. }) => NOT_EMBEDDED_REMEDY,
            Self::Tokenizer(_) => "Remove the row.",
        }
    }
}

/// A prompt that cannot be rendered or tokenized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// The template refuses the conversation, or fails.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The text cannot be tokenized, or holds a token that the model has no embedding for.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl From<PromptError> for protocol::Failure {
    fn from(error: PromptError) -> Self {
        match error {
            PromptError::Template(error) => error.into(),
            PromptError::Tokenizer(error @ TokenizerError::NotEmbedded { .. }) => {
                let what = format!("The prompt cannot be read by this model: {error}.");
                Self::new(FailureKind::Settings, what)
                    .at("Prompt")
                    .remedy(NOT_EMBEDDED_REMEDY)
            }
            PromptError::Tokenizer(error) => error.into(),
        }
    }
}

/// All tokens of a row, before it is cut.
struct Encoded {
    /// The tokens, with BOS and EOS where they belong.
    ids: Vec<u32>,
    /// Which of them are learned; as long as `ids`.
    loss_mask: Vec<bool>,
}

/// Turns rows into token sequences for one model.
#[derive(Debug, Clone, Copy)]
pub struct Encoder<'model> {
    /// The tokenizer of that model.
    pub tokenizer: &'model Tokenizer,
    /// Its chat template; `None` for a model that only continues text.
    pub template: Option<&'model ChatTemplate>,
}

impl Encoder<'_> {
    /// Returns the row as it is trained, at most `spec.max_seq_length` tokens of it, and how many were cut off its end.
    ///
    /// Every sequence has at least one scored token.
    ///
    /// # Errors
    /// Why the row gives no example; see [`EncodeError`].
    pub fn encode(
        &self,
        row: &Row,
        spec: &DataSpec,
    ) -> Result<(TokenSequence, usize), EncodeError> {
        let max_seq_length = spec.max_seq_length;
        let targets = row.example.targets(spec.train_on);
        if targets.iter().all(|target| target.trim().is_empty()) {
            return Err(EncodeError::EmptyTarget);
        }
        let Encoded {
            mut ids,
            mut loss_mask,
        } = self.encode_whole(&row.example, spec)?;
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
            0 if num_tokens <= max_seq_length => Err(EncodeError::EmptyTarget),
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

    /// Returns the row's tokens for display, even if [`Self::encode`] refuses the row because it has nothing to learn.
    ///
    /// A row whose answer is marked as bad shows no token as trained.
    ///
    /// # Errors
    /// [`EncodeError`] for a row that cannot be rendered or tokenized at all.
    pub fn preview(
        &self,
        stored: &StoredRow,
        spec: &DataSpec,
        side: Option<Side>,
    ) -> Result<RowPreview, EncodeError> {
        let encoded = self.encode_whole(&stored.row.example, spec)?;
        let is_bad = stored.facts.is_bad();
        let num_truncated = encoded.ids.len().saturating_sub(spec.max_seq_length);
        let tokens = encoded
            .ids
            .iter()
            .zip(&encoded.loss_mask)
            .take(spec.max_seq_length)
            .map(|(&id, &is_trained)| self.token_preview(id, is_trained && !is_bad))
            .collect();
        Ok(RowPreview {
            row: stored.row.row,
            tokens,
            num_truncated,
            side,
            findings: stored.facts.findings.clone(),
        })
    }

    /// Returns a token for display.
    pub fn token_preview(&self, id: u32, is_trained: bool) -> TokenPreview {
        TokenPreview {
            id,
            text: self.tokenizer.token_text(id),
            is_trained,
            is_special: self.tokenizer.is_special(id),
        }
    }

    /// Returns the tokens of a conversation up to the start of the answer, rendered like training rows: with the chat
    /// template, and the assistant's turn opened. With `as_text`, or without a template, the texts of the messages are
    /// joined, to be continued, after the tokenizer's BOS if it adds one.
    ///
    /// # Errors
    /// [`PromptError`] with the template's or the tokenizer's reason.
    pub fn render_chat(
        &self,
        conversation: &Conversation,
        as_text: bool,
    ) -> Result<Vec<u32>, PromptError> {
        let Conversation {
            messages, tools, ..
        } = conversation;
        match self.template.filter(|_| !as_text) {
            Some(template) => {
                let text = template.render(messages, tools, true)?;
                Ok(self.tokenizer.encode(&text)?)
            }
            None => {
                let texts: Vec<&str> = messages.iter().map(|it| it.content.as_str()).collect();
                let ids = self.tokenizer.encode(&texts.concat())?;
                Ok([self.tokenizer.prefix_ids(), &ids].concat())
            }
        }
    }

    /// Returns the example with a guard in each special token spelled out in its texts, tool calls included, if those
    /// are meant as plain text, and the guard; `None` if nothing needs one.
    ///
    /// ```text
    /// Write <|im_end|> here     ->     Write <\u{10FF00}|im_end|> here
    /// ```
    ///
    /// # Errors
    /// [`EncodeError::NoGuard`]
    fn guarded(
        &self,
        example: &Example,
        control: ControlTokens,
    ) -> Result<Option<(Example, char)>, EncodeError> {
        if control == ControlTokens::AsTokens {
            return Ok(None);
        }
        let found = texts::all(example);
        let mut special = found
            .iter()
            .filter_map(|text| self.tokenizer.special_token_in(text));
        if special.next().is_none() {
            return Ok(None);
        }
        let guard = Tokenizer::free_guard(found.iter().map(AsRef::as_ref));
        let guard = guard.ok_or(EncodeError::NoGuard)?;
        let mut example = example.clone();
        let mut change = |text: &mut String| *text = self.tokenizer.guard(text, guard);
        texts::change_all(&mut example, &mut change);
        Ok(Some((example, guard)))
    }

    /// Encodes all of a row: chooses the way by its kind and the model, then applies what holds for every row.
    ///
    /// # Errors
    /// Those of [`Self::conversation`], [`Self::plain`] and [`Self::guarded`]; [`EncodeError::NoTemplate`].
    fn encode_whole(&self, example: &Example, spec: &DataSpec) -> Result<Encoded, EncodeError> {
        let train_on = spec.train_on;
        let guarded;
        let (example, guard) = match self.guarded(example, spec.control_tokens)? {
            Some((example, guard)) => {
                guarded = example;
                (&guarded, Some(guard))
            }
            None => (example, None),
        };
        let mut encoded = match (example, self.template) {
            (
                Example::Conversation {
                    messages,
                    tools,
                    shape,
                    ..
                },
                Some(template),
            ) => {
                let rendered = RenderedConversation::new(template, messages, tools)?;
                self.conversation(
                    &rendered,
                    &example.learned_messages(train_on),
                    train_on,
                    (*shape, guard),
                )?
            }
            (Example::Conversation { .. }, None) => return Err(EncodeError::NoTemplate),
            (Example::Pair { prompt, completion }, Some(template)) => {
                let messages = [
                    Message::new(USER, prompt.as_str()),
                    Message::new(ASSISTANT, completion.as_str()),
                ];
                let rendered = RenderedConversation::new(template, &messages, &[])?;
                let learned: &[usize] = match train_on {
                    TrainOn::Everything => &[0, 1],
                    _ => &[1],
                };
                self.conversation(
                    &rendered,
                    learned,
                    train_on,
                    (RowShape::PromptCompletion, guard),
                )?
            }
            (Example::Pair { prompt, completion }, None) => {
                self.plain(prompt, completion, guard)?
            }
            (Example::Text(text), _) => self.plain("", text, guard)?,
        };
        let is_conversation = matches!(example, Example::Conversation { .. });
        // A conversation has its context messages left out already.
        if train_on == TrainOn::Everything && !is_conversation {
            encoded.loss_mask.fill(true);
        }
        if let Some(first) = encoded.loss_mask.first_mut() {
            *first = false;
        }
        Ok(encoded)
    }

    /// Encodes a rendered conversation in which the messages `learned` are trained: every token that touches their
    /// turns; or, if everything is trained, every token except those of turns that are context only.
    ///
    /// # Errors
    /// [`EncodeError::Turn`] if a turn cannot be found, [`EncodeError::Tokenizer`].
    fn conversation(
        &self,
        rendered: &RenderedConversation<'_>,
        learned: &[usize],
        train_on: TrainOn,
        (shape, guard): (RowShape, Option<char>),
    ) -> Result<Encoded, EncodeError> {
        let tokens = match guard {
            Some(guard) => self.tokenizer.encode_guarded(&rendered.text, guard)?,
            None => self.tokenizer.encode_with_ranges(&rendered.text)?,
        };
        let tokens_of_turn = |index| {
            let turn = match shape {
                RowShape::Messages => rendered.marked_turn(index, self.tokenizer)?,
                _ => rendered.turn(index, self.tokenizer)?,
            };
            // Ranges of bytes ascend, so both ends are found by bisection.
            let first = tokens.partition_point(|token| token.range.end <= turn.start);
            let after = tokens.partition_point(|token| token.range.start < turn.end);
            Ok::<_, TurnError>(first..after.max(first))
        };
        let is_everything = train_on == TrainOn::Everything;
        let mut loss_mask = vec![is_everything; tokens.len()];
        for index in 0..rendered.num_messages() {
            match (learned.contains(&index), is_everything) {
                (true, true) => rendered.check_calls(index)?,
                (true, false) => loss_mask[tokens_of_turn(index)?].fill(true),
                (false, true) => loss_mask[tokens_of_turn(index)?].fill(false),
                (false, false) => {}
            }
        }
        Ok(Encoded {
            ids: tokens.into_iter().map(|token| token.id).collect(),
            loss_mask,
        })
    }

    /// Encodes plain text: `context` is only read; the rest and EOS are learned, from the first token on that differs
    /// from the tokens of the context alone.
    ///
    /// ```text
    /// context "2 + 2 ="   target " 4"     2 | + | 2 | = |  4 | EOS
    ///                                                     ^^^^^^^^ learned
    /// ```
    ///
    /// # Errors
    /// [`EncodeError::TooLong`], or [`EncodeError::Tokenizer`].
    fn plain(
        &self,
        context: &str,
        target: &str,
        guard: Option<char>,
    ) -> Result<Encoded, EncodeError> {
        let num_bytes = context.len() + target.len();
        if num_bytes > MAX_OUTPUT_BYTES {
            return Err(EncodeError::TooLong { num_bytes });
        }
        let ids = |text: &str| match guard {
            Some(guard) => {
                let tokens = self.tokenizer.encode_guarded(text, guard)?;
                Ok(tokens.into_iter().map(|token| token.id).collect())
            }
            None => self.tokenizer.encode(text),
        };
        let tokens = ids(&[context, target].concat())?;
        // The last token of the context may be another one where the target continues it; then it is learned, too.
        let known = ids(context)?;
        let num_known = known
            .iter()
            .zip(&tokens)
            .take_while(|(known, token)| known == token)
            .count();
        let prefix = self.tokenizer.prefix_ids();
        let mut ids = [prefix, &tokens].concat();
        let mut loss_mask = vec![true; ids.len()];
        loss_mask[..prefix.len() + num_known].fill(false);
        // A text that spells out EOS at its end does not get a second one.
        let eos = self.tokenizer.embedded_eos();
        if let Some(eos) = eos.filter(|eos| ids.last() != Some(eos)) {
            ids.push(eos);
            loss_mask.push(true);
        }
        Ok(Encoded { ids, loss_mask })
    }
}
