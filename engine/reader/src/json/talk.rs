//! An array of messages that is one whole conversation, as chat tools save a talk.

use std::io;

use serde_json::Value;

use super::{
    element::Element,
    structure::{Quotes, end_of_value},
    tally::Tally,
};
use crate::{
    conversation::{has_role, role_of},
    gather::is_of_conversation,
    text_stream::TextStream,
};

/// Whether the first element of the array that `text` begins with is a message. `text` may be cut off.
pub(super) fn may_be_one(text: &str, quotes: Quotes) -> bool {
    let Some(first) = text.get(1..).map(str::trim_start) else {
        return false;
    };
    let end = end_of_value(first.as_bytes(), quotes).filter(|_| first.starts_with('{'));
    let first = end.and_then(|end| serde_json::from_str(&first[..end]).ok());
    first.is_some_and(|first: Value| is_message(&first))
}

/// Whether the array that begins here is one conversation, and the end of the text comes after it.
///
/// Messages that name their conversation are rows to be gathered. Several system messages are several conversations,
/// and nothing says where each one ends.
pub(super) fn is_one(stream: &mut TextStream, quotes: Quotes) -> io::Result<bool> {
    // Reads a first window.
    stream.skip_space()?;
    let mut element = Element::begin(stream, quotes, stream.row_limit());
    element.read(stream, true)?;
    if element.num_dropped > 0 || element.is_cut_off {
        return Ok(false);
    }
    let value = element.row(stream, false).value(&mut Tally::default());
    element.pass(stream);
    let is_followed = stream.skip_space()?;
    let Ok(Value::Array(list)) = value else {
        return Ok(false);
    };
    let num_of = |role: &str| {
        let speakers = list.iter().filter_map(role_of);
        speakers.filter(|speaker| *speaker == role).count()
    };
    let is_talk = list.iter().all(is_message)
        && num_of("user") > 0
        && num_of("assistant") > 0
        && num_of("system") < 2;
    Ok(is_talk && !is_followed)
}

fn is_message(value: &Value) -> bool {
    let fields = value.as_object();
    let is_row = |name: &String| is_of_conversation(name);
    has_role(value)
        && role_of(value).is_some()
        && fields.is_some_and(|fields| fields.len() > 1 && !fields.keys().any(is_row))
}
