//! Where the assistant speaks in a rendered conversation, for any template.
//!
//! HF marks this inside the template by `{% generation %}`, which stock templates lack. Here it is found from outside,
//! by rendering parts of the conversation: a turn begins where the generation prompt of the messages before it ends, and
//! ends where the text of the messages up to it ends. So it holds the content, the tool calls, the token that ends the
//! turn and whatever the template writes behind that (a line break, in most), as TRL's marks do.
//!
//! Templates may write a message in another way once more follow it (Qwen 3 drops earlier thoughts, Phi ends the last
//! turn twice, Mistral moves the tools). Then no part is a prefix of the whole, and the parts are laid beside it at
//! another place: a message's content is replaced by a mark that stands nowhere else, and whatever the template writes
//! behind the mark is found at the end of the whole text. Contents are never searched for, since they may repeat.

use std::ops::Range;

use crate::{
    protocol::Message,
    template::{ChatTemplate, TemplateError},
    tokenizer::Tokenizer,
};

/// A private character, of which the mark is made.
const MARK: char = '\u{10FFFD}';
/// How Qwen 2.5's template goes on behind `<|im_start|>assistant`: TRL's version of it counts the line break, which
/// others leave to the header, to the turn.
const BREAK_BEFORE_CONTENT: &str = r"{{- '\n' + message.content }}";

/// A conversation whose turns cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(
        "the chat template rewrites message {message}, so the part to learn cannot be found in the text"
    )]
    NotFound {
        /// 1-based
        message: usize,
    },
    #[error("the chat template leaves out the text of message {message}")]
    NotWritten {
        /// 1-based
        message: usize,
    },
    #[error("the chat template leaves out the tool calls of message {message}")]
    CallsNotWritten {
        /// 1-based
        message: usize,
    },
}

/// A conversation as its template writes it.
pub struct RenderedConversation<'a> {
    pub text: String,
    template: &'a ChatTemplate,
    messages: &'a [Message],
    tools: &'a [String],
    mark: String,
}

impl<'a> RenderedConversation<'a> {
    /// Renders a conversation.
    ///
    /// # Errors
    /// [`TurnError::Template`]
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

    /// Bytes of the text that are the assistant's in message `index`, without its header.
    ///
    /// # Errors
    /// [`TurnError::NotFound`], [`TurnError::NotWritten`], [`TurnError::CallsNotWritten`].
    pub fn turn(&self, index: usize, tokenizer: &Tokenizer) -> Result<Range<usize>, TurnError> {
        let message = &self.messages[index];
        let (start, end) = (self.start(index), self.end(index, tokenizer));
        let turn = start.zip(end).filter(|(start, end)| start <= end);
        let (start, end) = turn.ok_or(TurnError::NotFound { message: index + 1 })?;
        // Some templates write calls alone, without the content beside them.
        if !message.tool_calls.is_empty() {
            self.check_calls(index)?;
        } else if !self.text[start..end].contains(message.content.trim()) {
            self.check_content(index)?;
        }
        Ok(start..end)
    }

    /// As [`Self::turn`], where TRL's marks for `messages` begin.
    ///
    /// # Errors
    /// As [`Self::turn`].
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

    /// Whether the template writes what message `index` says.
    fn check_content(&self, index: usize) -> Result<(), TurnError> {
        let marked = self.render(&self.with_marked_content(index), false);
        match marked.is_some_and(|text| text.contains(&self.mark)) {
            true => Ok(()),
            false => Err(TurnError::NotWritten { message: index + 1 }),
        }
    }

    /// Whether the template writes the tool calls of message `index`.
    ///
    /// # Errors
    /// [`TurnError::CallsNotWritten`]
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

    /// Where the turn of message `index` starts.
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

    /// Where the generation prompt ends in `head`, what stands before the content of the first message. Templates may
    /// refuse to write no message at all, so that nothing else tells an empty thought from the header.
    fn opened_by_prompt(&self, head: &str) -> Option<usize> {
        let opened = self.render(self.messages, true)?;
        let prompt = opened.strip_prefix(&self.text)?;
        Some(head.rfind(prompt)? + prompt.len())
    }

    /// Where the turn of message `index` ends.
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

    /// Where the text of the first `num_messages` messages ends, laid beside the whole from behind the content of the
    /// message before `index` on.
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

    /// The place in the text of what stands behind the mark in `marked`, if the text ends in the same way.
    fn behind_mark(&self, marked: &str) -> Option<usize> {
        let (_, behind) = marked.split_once(&self.mark)?;
        self.text
            .ends_with(behind)
            .then_some(self.text.len() - behind.len())
    }

    /// All messages, with one that says the mark alone in the place of message `index`.
    fn with_marked_content(&self, index: usize) -> Vec<Message> {
        let mut messages = self.messages.to_vec();
        messages[index] = Message::new(messages[index].role.as_str(), self.mark.as_str());
        messages
    }

    fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Option<String> {
        self.template
            .render(messages, self.tools, add_generation_prompt)
            .ok()
    }
}

/// Bytes that `text` and `other` have in common at their start, to the end of a token of `text`: `<|end|>` and
/// `<|endoftext|>` have nothing in common.
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

/// A tool call whose function has another name.
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
