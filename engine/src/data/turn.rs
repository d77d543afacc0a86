//! Finds the assistant turns in a rendered conversation, for any template.
//!
//! HF marks them inside the template with `{% generation %}`, which stock templates lack. Here they are found from
//! outside, by rendering parts of the conversation: a turn begins where the generation prompt of the messages before it
//! ends, and ends where the text of the messages up to it ends. So a turn holds the content, the tool calls, the token
//! that ends the turn and whatever the template writes after that (usually a line break), as with TRL's marks.
//!
//! ```text
//! all                    <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n
//! before, and a prompt   <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n
//! the turn                                                                     Hello!<|im_end|>\n
//! ```
//!
//! Templates may write a message differently if more messages follow (Qwen 3 drops earlier thoughts, Phi ends the last
//! turn twice, Mistral moves the tools). Then no part is a prefix of the whole, and the parts are aligned elsewhere: a
//! message's content is replaced by a mark that occurs nowhere else, and whatever the template writes after the mark is
//! found at the end of the whole text. Contents are never searched for, since they may repeat.
//!
//! Each turn costs a few renderings of parts of the conversation, so the work grows with the square of its length; the
//! template's limits bound each rendering.

use std::ops::Range;

use protocol::Message;

use crate::{
    template::{ChatTemplate, TemplateError},
    tokenizer::Tokenizer,
};

/// A private-use character, of which the mark is made.
const MARK: char = '\u{10FFFD}';
/// How Qwen 2.5's template continues after `<|im_start|>assistant`: TRL's version of it counts the line break as part
/// of the turn, while others count it as part of the header.
const BREAK_BEFORE_CONTENT: &str = r"{{- '\n' + message.content }}";

/// Why the turns of a conversation cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// The whole conversation cannot be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// No alignment of the parts with the whole was found, so what to learn is unknown.
    #[error(
        "the chat template rewrites message {message}, so the part to learn cannot be found in the text"
    )]
    NotFound {
        /// 1-based number of the message.
        message: usize,
    },
    /// The turn was found, but not the message's text in it.
    #[error("the chat template leaves out the text of message {message}")]
    NotWritten {
        /// 1-based number of the message.
        message: usize,
    },
    /// The template has no support for tool calls, or not in this form.
    #[error(
        "the chat template leaves out the tool calls of message {message} (its `tool_calls` or `function_call`)"
    )]
    CallsNotWritten {
        /// 1-based number of the message.
        message: usize,
    },
}

/// A conversation as its template writes it.
pub struct RenderedConversation<'a> {
    /// All messages as the template writes them, without a generation prompt.
    pub text: String,
    template: &'a ChatTemplate,
    messages: &'a [Message],
    tools: &'a [String],
    /// Occurs nowhere in `text`.
    mark: String,
}

impl<'a> RenderedConversation<'a> {
    /// Renders a conversation and chooses its mark.
    ///
    /// # Errors
    /// [`TurnError::Template`] if the template refuses the conversation or fails.
    pub fn new(
        template: &'a ChatTemplate,
        messages: &'a [Message],
        tools: &'a [String],
    ) -> Result<Self, TurnError> {
        let text = template.render(messages, tools, false)?;
        let mut mark = String::from(MARK);
        while text.contains(&mark) {
            mark.push(MARK);
        }
        Ok(Self {
            text,
            template,
            messages,
            tools,
            mark,
        })
    }

    /// Returns the number of messages.
    pub fn num_messages(&self) -> usize {
        self.messages.len()
    }

    /// Returns the bytes of the text that the assistant writes in message `index`, without its header.
    ///
    /// # Errors
    /// [`TurnError::NotFound`], [`TurnError::NotWritten`], [`TurnError::CallsNotWritten`].
    ///
    /// # Panics
    /// If there is no message `index`.
    pub fn turn(&self, index: usize, tokenizer: &Tokenizer) -> Result<Range<usize>, TurnError> {
        let message = &self.messages[index];
        let (start, end) = (self.start(index), self.end(index, tokenizer));
        let turn = start.zip(end).filter(|(start, end)| start <= end);
        let (start, end) = turn.ok_or(TurnError::NotFound { message: index + 1 })?;
        // Some templates write only the calls, without the content.
        if !message.tool_calls.is_empty() {
            self.check_calls(index)?;
        } else if !self.text[start..end].contains(message.content.trim()) {
            self.check_content(index)?;
        }
        Ok(start..end)
    }

    /// Like [`Self::turn`], but begins where TRL's marks for `messages` begin.
    ///
    /// # Errors
    /// Those of [`Self::turn`].
    pub fn marked_turn(
        &self,
        index: usize,
        tokenizer: &Tokenizer,
    ) -> Result<Range<usize>, TurnError> {
        let Range { mut start, end } = self.turn(index, tokenizer)?;
        if self.text[..start].ends_with('\n')
            && self.template.source().contains(BREAK_BEFORE_CONTENT)
        {
            start -= 1;
        }
        Ok(start..end)
    }

    /// Checks that the template writes the text of message `index`, by rendering the mark in its place.
    ///
    /// # Errors
    /// [`TurnError::NotWritten`]
    fn check_content(&self, index: usize) -> Result<(), TurnError> {
        let marked = self.render(&self.with_marked_content(index), false);
        match marked.is_some_and(|text| text.contains(&self.mark)) {
            true => Ok(()),
            false => Err(TurnError::NotWritten { message: index + 1 }),
        }
    }

    /// Checks that the template writes the tool calls of message `index`, by giving their functions the mark as a name.
    ///
    /// # Errors
    /// [`TurnError::CallsNotWritten`] if it writes fewer names than there are calls.
    pub fn check_calls(&self, index: usize) -> Result<(), TurnError> {
        let calls = &self.messages[index].tool_calls;
        if calls.is_empty() {
            return Ok(());
        }
        let mut messages = self.messages.to_vec();
        messages[index].tool_calls = calls.iter().map(|call| renamed(call, &self.mark)).collect();
        let marked = self.render(&messages, false).unwrap_or_default();
        match marked.matches(&self.mark).count() < calls.len() {
            true => Err(TurnError::CallsNotWritten { message: index + 1 }),
            false => Ok(()),
        }
    }

    /// Returns where the turn of message `index` starts; `None` if no way of finding it works. In order:
    ///
    /// - the end of the messages before it with a generation prompt, if that is how the whole begins
    /// - the same, aligned after the content of the message before
    /// - where the message's own content begins, if the whole agrees up to there
    fn start(&self, index: usize) -> Option<usize> {
        let before = self.render(&self.messages[..index], true);
        if let Some(before) = before.filter(|before| self.text.starts_with(before.as_str())) {
            return Some(before.len());
        }
        self.end_by_content_before(index, index, true).or_else(|| {
            let marked = self.render(&self.with_marked_content(index), false)?;
            let (head, _) = marked.split_once(&self.mark)?;
            let header = match index {
                0 => self.opened_by_prompt(head),
                _ => None,
            };
            let start = header.unwrap_or(head.len());
            self.text.starts_with(&head[..start]).then_some(start)
        })
    }

    /// Returns where the generation prompt ends in `head`, the text before the content of the first message. Templates
    /// may refuse to write zero messages, and then nothing else distinguishes an empty thought from the header.
    fn opened_by_prompt(&self, head: &str) -> Option<usize> {
        let opened = self.render(self.messages, true)?;
        let prompt = opened.strip_prefix(&self.text)?;
        Some(head.rfind(prompt)? + prompt.len())
    }

    /// Returns where the turn of message `index` ends; `None` if no way of finding it works. In order:
    ///
    /// - the end of the text, for the last message
    /// - the end of the messages up to it, if that is how the whole begins
    /// - the same, aligned after the content of the message before
    /// - as far after its own content as the closing of the shorter rendering agrees with the whole
    fn end(&self, index: usize, tokenizer: &Tokenizer) -> Option<usize> {
        if index + 1 == self.messages.len() {
            return Some(self.text.len());
        }
        let through = self.render(&self.messages[..=index], false);
        if let Some(through) = through.filter(|through| self.text.starts_with(through.as_str())) {
            return Some(through.len());
        }
        self.end_by_content_before(index, index + 1, false)
            .or_else(|| {
                let marked = self.with_marked_content(index);
                let content_end = self.behind_mark(&self.render(&marked, false)?)?;
                let through = self.render(&marked[..=index], false)?;
                let (_, closing) = through.split_once(&self.mark)?;
                Some(content_end + common_prefix(closing, &self.text[content_end..], tokenizer)?)
            })
    }

    /// Returns where the text of the first `num_messages` messages ends, aligned with the whole after the content of
    /// the message before `index`; `None` for the first message, or if they do not agree there.
    fn end_by_content_before(
        &self,
        index: usize,
        num_messages: usize,
        add_generation_prompt: bool,
    ) -> Option<usize> {
        let mut messages = self.messages.to_vec();
        messages
            .get_mut(index.checked_sub(1)?)?
            .content
            .clone_from(&self.mark);
        let start = self.behind_mark(&self.render(&messages, false)?)?;
        let part = self.render(&messages[..num_messages], add_generation_prompt)?;
        let (_, part) = part.split_once(&self.mark)?;
        self.text[start..]
            .starts_with(part)
            .then_some(start + part.len())
    }

    /// Returns the position in the text of whatever comes after the mark in `marked`, if the text ends in the same way.
    ///
    /// ```text
    /// marked   <user>MARK<end><assistant>Hello<end>
    /// text     <user>Hi<end><assistant>Hello<end>      returns the position of the first <end>
    /// ```
    fn behind_mark(&self, marked: &str) -> Option<usize> {
        let (_, after) = marked.split_once(&self.mark)?;
        self.text
            .ends_with(after)
            .then_some(self.text.len() - after.len())
    }

    /// Returns all messages, with message `index` replaced by one that contains only the mark, and neither thoughts nor
    /// calls.
    fn with_marked_content(&self, index: usize) -> Vec<Message> {
        let mut messages = self.messages.to_vec();
        messages[index] = Message::new(messages[index].role.as_str(), self.mark.as_str());
        messages
    }

    /// Returns some messages as the template writes them; `None` if it refuses them, as templates may refuse parts.
    fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Option<String> {
        self.template
            .render(messages, self.tools, add_generation_prompt)
            .ok()
    }
}

/// Returns the length in bytes of the common start of `text` and `other`, ending at a token of `text`: `<|end|>` and
/// `<|endoftext|>` have nothing in common. `None` if they agree on a part of the first token only.
fn common_prefix(text: &str, other: &str, tokenizer: &Tokenizer) -> Option<usize> {
    let same = text
        .bytes()
        .zip(other.bytes())
        .take_while(|(one, other)| one == other)
        .count();
    let tokens = tokenizer.encode_with_ranges(text).ok()?;
    tokens
        .iter()
        .map(|token| token.range.end)
        .take_while(|&end| end <= same)
        .last()
        .or((same == 0).then_some(0))
}

/// Returns a tool call, as JSON, whose function has another name; text that is not JSON stays as it is.
fn renamed(call: &str, name: &str) -> String {
    let Ok(mut call) = serde_json::from_str::<serde_json::Value>(call) else {
        return call.to_owned();
    };
    for path in ["/function/name", "/name"] {
        if let Some(old) = call.pointer_mut(path) {
            *old = name.into();
        }
    }
    call.to_string()
}
