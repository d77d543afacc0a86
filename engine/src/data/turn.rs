//! Where the assistant speaks in a rendered conversation, for any template.
//!
//! HF marks this inside the template by `{% generation %}`, which stock templates lack. Here it is found from outside:
//! what the template writes for the messages before a turn, with the generation prompt, ends where the turn starts,
//! and what it writes for the messages up to it ends where the turn ends. Where a template rewrites earlier text once
//! more messages follow, the messages' contents are looked up in the rendered text instead, in their order.

use std::ops::Range;

use super::example::ASSISTANT;
use crate::{
    protocol::Message,
    template::{ChatTemplate, TemplateError},
};

/// A rendered conversation. Ranges are bytes of `text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedConversation {
    pub text: String,
    /// One for each assistant's turn that is trained, in order, without its header.
    pub turns: Vec<Turn>,
}

/// One assistant's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// From behind the header to before the next turn; what closes the turn is inside.
    pub range: Range<usize>,
    /// Where the content ends inside, if it stands there as it was written.
    pub content_end: Option<usize>,
}

/// A conversation whose turns cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Neither way found the turn.
    #[error(
        "the chat template rewrites message {message}, so the part to learn cannot be told from the rest"
    )]
    NotFound {
        /// 1-based
        message: usize,
    },
}

/// Renders a conversation and finds the assistant's turns from message `first_trained` on.
///
/// # Errors
/// The template's own, or [`TurnError::NotFound`].
pub fn render_turns(
    template: &ChatTemplate,
    messages: &[Message],
    first_trained: usize,
) -> Result<RenderedConversation, TurnError> {
    let text = template.render(messages, false)?;
    let is_trained = |index: usize| index >= first_trained && messages[index].role == ASSISTANT;
    let by_prefix = (0..messages.len())
        .filter(|&index| is_trained(index))
        .map(|index| turn_by_prefix(template, messages, index, &text))
        .collect::<Option<Vec<_>>>();
    let turns = match by_prefix {
        Some(turns) => turns,
        None => turns_by_content(messages, &text)?
            .into_iter()
            .enumerate()
            .filter(|&(index, _)| is_trained(index))
            .map(|(_, turn)| turn)
            .collect(),
    };
    Ok(RenderedConversation { text, turns })
}

/// The turn of one message by rendering the conversation up to it; `None` where that is no prefix of the whole.
fn turn_by_prefix(
    template: &ChatTemplate,
    messages: &[Message],
    index: usize,
    text: &str,
) -> Option<Turn> {
    let before = template.render(&messages[..index], true).ok()?;
    let end = if index + 1 == messages.len() {
        text.len()
    } else {
        let through = template.render(&messages[..=index], false).ok()?;
        text.starts_with(&through).then_some(through.len())?
    };
    let start = before.len();
    if start > end || !text.starts_with(&before) {
        return None;
    }
    let content = messages[index].content.trim();
    let content_end = text[start..end]
        .find(content)
        .map(|offset| start + offset + content.len());
    Some(Turn {
        range: start..end,
        content_end,
    })
}

/// A turn for every message, by looking up its content behind the one before it.
fn turns_by_content(messages: &[Message], text: &str) -> Result<Vec<Turn>, TurnError> {
    let mut contents: Vec<Range<usize>> = Vec::with_capacity(messages.len());
    let mut behind = 0;
    for (index, message) in messages.iter().enumerate() {
        let content = message.content.trim();
        let start = text[behind..]
            .find(content)
            .map(|offset| behind + offset)
            .ok_or(TurnError::NotFound { message: index + 1 })?;
        behind = start + content.len();
        contents.push(start..behind);
    }
    let next_starts = contents
        .iter()
        .skip(1)
        .map(|next| next.start)
        .chain([text.len()]);
    Ok(contents
        .iter()
        .zip(next_starts)
        .map(|(content, next)| Turn {
            range: content.start..next,
            content_end: Some(content.end),
        })
        .collect())
}
