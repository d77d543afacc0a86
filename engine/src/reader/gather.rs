//! Gathers rows with one message each into conversations.
//!
//! Messages of one conversation need not be adjacent, so all are kept to the end: the bytes of each in one buffer, and
//! a few more bytes for its position. A conversation is identified by a hash of its id and of the split of its file, so
//! the same id in a test file is another conversation. Two of 2^32 may share a hash by accident.

mod columns;
mod order;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Map, Value};

pub use self::columns::{MessageColumns, message_columns};
use super::{
    mapping::RowFault,
    path::{Fields, get},
    record::Place,
};
use crate::protocol::{GatheredSummary, Side};

/// The fields of a message besides its role and its text.
const EXTRAS: [&str; 12] = [
    "tool_calls",
    "function_call",
    "tool_call_id",
    "reasoning_content",
    "thinking",
    "name",
    "weight",
    "loss_weight",
    "train",
    "trainable",
    "loss",
    "masked",
];

/// A complete conversation.
pub struct Conversation {
    /// The position of its first message.
    pub start: Origin,
    /// Its messages as a list of objects with `role` and `content`, or the position and reason of a message that cannot
    /// be used.
    pub messages: Result<Value, (Origin, RowFault)>,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The index of its file.
    pub file: usize,
    /// The split of its file.
    pub side: Option<Side>,
    pub place: Place,
    /// The group that its row must stay with.
    pub group: Option<u64>,
}

/// The messages, in sequence.
#[derive(Default)]
pub struct Gatherer {
    columns: Option<MessageColumns>,
    known: HashMap<u64, u32>,
    conversations: Vec<Origin>,
    messages: Vec<Message>,
    bytes: Vec<u8>,
    /// The first message of a conversation that cannot be used.
    faults: HashMap<u32, (Origin, RowFault)>,
}

#[derive(Clone, Copy)]
struct Message {
    conversation: u32,
    /// NaN if it has neither a number nor a date.
    order: f64,
    start: u64,
}

impl Gatherer {
    /// Takes a row.
    ///
    /// # Errors
    /// A row that belongs to no conversation. A row that cannot be used spoils its conversation; [`Self::finish`]
    /// reports this.
    pub fn add(
        &mut self,
        columns: &MessageColumns,
        fields: &Fields,
        origin: Origin,
    ) -> Result<(), RowFault> {
        let path = &columns.conversation;
        let id = get(fields, path).and_then(written).ok_or_else(|| {
            let what = format!("`{path}` is empty, so the message belongs to no conversation");
            RowFault::new(path, what, "Fill it in, or remove the row.")
        })?;
        let mut hasher = DefaultHasher::new();
        (id, origin.side.map(|side| side as u8)).hash(&mut hasher);
        let fresh = self.conversations.len() as u32;
        let conversation = *self.known.entry(hasher.finish()).or_insert(fresh);
        if conversation == fresh {
            self.conversations.push(origin);
        }
        self.columns.get_or_insert_with(|| columns.clone());
        match columns.message(fields) {
            Ok(message) => {
                let order = columns.order.as_deref().and_then(|path| get(fields, path));
                self.messages.push(Message {
                    conversation,
                    order: order.and_then(order::number).unwrap_or(f64::NAN),
                    start: self.bytes.len() as u64,
                });
                // Plain data, written to memory: this cannot fail.
                let _ = serde_json::to_writer(&mut self.bytes, &message);
            }
            Err(fault) => {
                self.faults.entry(conversation).or_insert((origin, fault));
            }
        }
        Ok(())
    }

    /// What was gathered so far; `None` if nothing was.
    pub fn summary(&self) -> Option<GatheredSummary> {
        let columns = self.columns.as_ref()?;
        Some(GatheredSummary {
            num_messages: self.messages.len(),
            num_conversations: self.conversations.len(),
            conversation: columns.conversation.clone(),
            order: columns.order.clone(),
        })
    }

    /// The columns of the first message.
    pub fn columns(&self) -> Option<&MessageColumns> {
        self.columns.as_ref()
    }

    /// Assembles the conversations and passes them on, in the order of their first messages.
    pub fn finish(mut self, mut give: impl FnMut(Conversation)) {
        // Each message ends where the next one begins.
        let mut ends: Vec<u64> = self
            .messages
            .iter()
            .skip(1)
            .map(|next| next.start)
            .collect();
        ends.push(self.bytes.len() as u64);
        let mut sorted: Vec<(Message, u64)> = self.messages.drain(..).zip(ends).collect();
        // A stable sort: within a conversation, messages keep the order of the files.
        sorted.sort_by_key(|(message, _)| message.conversation);
        let mut rest = sorted.as_mut_slice();
        for (index, start) in self.conversations.iter().enumerate() {
            let index = index as u32;
            let num = rest.partition_point(|(message, _)| message.conversation == index);
            let (own, others) = std::mem::take(&mut rest).split_at_mut(num);
            rest = others;
            if own.iter().all(|(message, _)| !message.order.is_nan()) {
                own.sort_by(|(one, _), (other, _)| one.order.total_cmp(&other.order));
            }
            let messages = match self.faults.remove(&index) {
                Some(fault) => Err(fault),
                None => Ok(Value::Array(
                    own.iter()
                        .filter_map(|(message, end)| {
                            let bytes = self.bytes.get(message.start as usize..*end as usize)?;
                            serde_json::from_slice(bytes).ok()
                        })
                        .collect(),
                )),
            };
            give(Conversation {
                start: *start,
                messages,
            });
        }
    }
}

impl MessageColumns {
    /// Converts the row to a message.
    fn message(&self, fields: &Fields) -> Result<Value, RowFault> {
        let role = get(fields, &self.role).and_then(written).ok_or_else(|| {
            let what = format!("`{}` is empty, so the message has no role", self.role);
            RowFault::new(&self.role, what, "Fill it in, or remove the conversation.")
        })?;
        let role = columns::known_role(&role).ok_or_else(|| {
            let what = format!("`{}` is {role:?}, which is not a known role", self.role);
            let remedy = "Use `system`, `user`, `assistant` or `tool`.";
            RowFault::new(&self.role, what, remedy)
        })?;
        let mut message = Map::new();
        message.insert("role".to_owned(), role.into());
        for name in EXTRAS {
            let extra = get(fields, name)
                .filter(|value| value.as_str().is_none_or(|text| !text.trim().is_empty()));
            if let Some(extra) = extra.filter(|_| name != "name" || role == "tool") {
                message.insert(name.to_owned(), extra.clone());
            }
        }
        let content = get(fields, &self.content);
        let has_calls = message.contains_key("tool_calls") || message.contains_key("function_call");
        match content {
            Some(content @ (Value::Array(_) | Value::Object(_))) => {
                message.insert("content".to_owned(), content.clone());
            }
            Some(content) => {
                let text = written(content).unwrap_or_default();
                message.insert("content".to_owned(), text.into());
            }
            None if has_calls => {}
            None => {
                let what = format!("`{}` is empty", self.content);
                return Err(RowFault::new(
                    &self.content,
                    what,
                    "Fill it in, or remove the conversation.",
                ));
            }
        }
        Ok(Value::Object(message))
    }
}

/// A text, number or boolean as written; `None` for other values and for empty texts.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.trim().is_empty()).then(|| text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
