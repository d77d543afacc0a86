//! Gathers rows with one message each into conversations.
//!
//! Messages of one conversation need not be adjacent, so all are kept to the end: the text of each in one buffer, and a
//! few more bytes for its position. A conversation is identified by a hash of its id and of the split of its file, so that
//! the same id in a test file is another conversation. Two of 2^32 may share a hash by accident.

mod columns;
mod order;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use formats::chunks::Chunks;
use protocol::{GatheredSummary, Side};
use serde_json::{Map, Value};

pub use self::columns::{MessageColumns, is_message_row, is_of_conversation, message_columns};
use super::{
    mapping::RowFault,
    path::{Fields, get},
    record::Place,
};

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

/// In the buffer, marks a message that stands there as JSON; others are a byte for the role, then the text.
const AS_JSON: u8 = u8::MAX;

/// The bytes that are held of messages, at most: so many, and a part of the size of the files.
const ALWAYS_ALLOWED_BYTES: u64 = 24 << 20;
const MAX_FILES: u64 = 2;
/// What a conversation takes for itself, and a message besides its text, while all are put in order.
const CONVERSATION_BYTES: usize = 70;
const MESSAGE_BYTES: usize = 30;
/// Bytes of messages that lie together.
const BLOCK_BYTES: usize = 1 << 20;
/// As much as a row of JSON may hold.
const MAX_MESSAGES: usize = 20_000;
const MAX_CONVERSATION_BYTES: usize = 16 << 20;

/// The messages, in sequence.
pub struct Gatherer {
    most_bytes: usize,
    num_bytes: usize,
    columns: Option<MessageColumns>,
    known: HashMap<u64, u32>,
    conversations: Chunks<Start>,
    /// What keeps conversations together, of those that have such.
    groups: HashMap<u32, u64>,
    messages: Chunks<Stored>,
    /// What orders each message, NaN for nothing; shorter where the last ones have nothing.
    orders: Chunks<f64>,
    /// The messages' bytes, in blocks that none of them crosses.
    blocks: Vec<Vec<u8>>,
    /// The first message of a conversation that cannot be used.
    faults: HashMap<u32, (Origin, RowFault)>,
}

/// A message in the buffers, where each follows the one before.
#[derive(Debug, Clone, Copy)]
struct Stored {
    conversation: u32,
    num_bytes: u32,
}

/// Where a conversation begins; `line` and `column` are 0 where the format has none.
#[derive(Debug, Clone, Copy)]
struct Start {
    file: u32,
    line: u32,
    column: u32,
}

impl Start {
    fn of(origin: &Origin) -> Self {
        let number = |number: Option<usize>| number.unwrap_or(0) as u32;
        Self {
            file: origin.file as u32,
            line: number(origin.place.line),
            column: number(origin.place.column),
        }
    }

    fn origin(self, group: Option<u64>) -> Origin {
        let number = |number: u32| (number > 0).then_some(number as usize);
        Origin {
            file: self.file as usize,
            side: None,
            place: Place {
                line: number(self.line),
                column: number(self.column),
            },
            group,
        }
    }
}

impl Gatherer {
    /// A gatherer of the messages of files of that size in all.
    pub fn new(file_bytes: u64) -> Self {
        let most_bytes = ALWAYS_ALLOWED_BYTES + MAX_FILES * file_bytes;
        Self {
            most_bytes: usize::try_from(most_bytes).unwrap_or(usize::MAX),
            num_bytes: 0,
            columns: None,
            known: HashMap::new(),
            conversations: Chunks::default(),
            groups: HashMap::new(),
            messages: Chunks::default(),
            orders: Chunks::default(),
            blocks: Vec::new(),
            faults: HashMap::new(),
        }
    }

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
        if self.num_bytes > self.most_bytes {
            let what = format!(
                "the {} messages before it take more memory than the {} MB allowed for files of this size",
                self.messages.len(),
                self.most_bytes >> 20
            );
            return Err(RowFault::new(
                path,
                what,
                "Use fewer conversations, or write each as one row.",
            ));
        }
        let mut hasher = DefaultHasher::new();
        (id, origin.side.map(|side| side as u8)).hash(&mut hasher);
        let fresh = self.conversations.len() as u32;
        let conversation = *self.known.entry(hasher.finish()).or_insert(fresh);
        if conversation == fresh {
            self.conversations.push(Start::of(&origin));
            self.num_bytes += CONVERSATION_BYTES;
            self.groups
                .extend(origin.group.map(|group| (conversation, group)));
        }
        let known = self.columns.get_or_insert_with(|| columns.clone());
        if known.order.is_none() {
            known.order.clone_from(&columns.order);
        }
        match columns.message(fields) {
            Ok(message) => {
                let order = columns.order.as_deref().and_then(|path| get(fields, path));
                if let Some(order) = order.and_then(order::number) {
                    while self.orders.len() < self.messages.len() {
                        self.orders.push(f64::NAN);
                    }
                    self.orders.push(order);
                }
                let mut bytes = Vec::new();
                write(&message, &mut bytes);
                self.messages.push(Stored {
                    conversation,
                    num_bytes: bytes.len() as u32,
                });
                self.num_bytes += bytes.len() + MESSAGE_BYTES;
                match self.blocks.last_mut() {
                    Some(block) if block.len() + bytes.len() <= BLOCK_BYTES => block.extend(bytes),
                    _ => {
                        bytes.reserve_exact(BLOCK_BYTES.saturating_sub(bytes.len()));
                        self.blocks.push(bytes);
                    }
                }
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
        // The block of each message, and where it begins there, by the rule that they were put there by.
        let mut starts: Vec<(u32, u32)> = Vec::with_capacity(self.messages.len());
        let (mut block, mut start) = (0u32, 0usize);
        for message in self.messages.iter() {
            let len = message.num_bytes as usize;
            if start > 0 && start + len > BLOCK_BYTES {
                (block, start) = (block + 1, 0);
            }
            starts.push((block, start as u32));
            start += len;
        }
        let mut sorted: Vec<u32> = (0..self.messages.len() as u32).collect();
        let message = |index: &u32| self.messages.get(*index as usize);
        let conversation = |index: &u32| message(index).map_or(0, |message| message.conversation);
        // A stable sort: within a conversation, messages keep the order of the files.
        sorted.sort_by_key(conversation);
        let order_of = |index: &u32| {
            let order = self.orders.get(*index as usize);
            order.unwrap_or(f64::NAN)
        };
        let mut rest = sorted.as_mut_slice();
        for (number, start) in (0u32..).zip(self.conversations.iter()) {
            let num = rest.partition_point(|index| conversation(index) <= number);
            let (own, others) = std::mem::take(&mut rest).split_at_mut(num);
            rest = others;
            if own.iter().all(|index| !order_of(index).is_nan()) {
                own.sort_by(|one, other| order_of(one).total_cmp(&order_of(other)));
            }
            let start = start.origin(self.groups.get(&number).copied());
            let lens = own.iter().filter_map(message);
            let num_bytes: usize = lens.map(|message| message.num_bytes as usize).sum();
            let fault = self.faults.remove(&number);
            let fault =
                fault.or_else(|| too_long(own.len(), num_bytes).map(|fault| (start, fault)));
            let messages = match fault {
                Some(fault) => Err(fault),
                None => Ok(Value::Array(
                    own.iter()
                        .filter_map(|index| {
                            let (block, start) = *starts.get(*index as usize)?;
                            let len = message(index)?.num_bytes as usize;
                            let start = start as usize;
                            read(self.blocks.get(block as usize)?.get(start..start + len)?)
                        })
                        .collect(),
                )),
            };
            give(Conversation { start, messages });
        }
    }
}

/// What is wrong with a conversation that is longer than a row may be.
fn too_long(num_messages: usize, num_bytes: usize) -> Option<RowFault> {
    let what = if num_messages > MAX_MESSAGES {
        format!(
            "the conversation has {num_messages} messages, more than the {MAX_MESSAGES} allowed"
        )
    } else if num_bytes > MAX_CONVERSATION_BYTES {
        format!(
            "the conversation has {num_bytes} bytes, more than the {MAX_CONVERSATION_BYTES} allowed"
        )
    } else {
        return None;
    };
    Some(RowFault::new(
        "",
        what,
        "Split it into several conversations.",
    ))
}

/// Appends a message: a byte for its role and its text, or JSON if it has more than these.
fn write(message: &Map<String, Value>, bytes: &mut Vec<u8>) {
    let text = |name: &str| message.get(name).and_then(Value::as_str);
    let role = text("role").and_then(columns::number_of_role);
    match role.zip(text("content")) {
        Some((role, content)) if message.len() == 2 => {
            bytes.push(role);
            bytes.extend_from_slice(content.as_bytes());
        }
        _ => {
            bytes.push(AS_JSON);
            // Plain data, written to memory: this cannot fail.
            let _ = serde_json::to_writer(bytes, message);
        }
    }
}

fn read(bytes: &[u8]) -> Option<Value> {
    let (&role, rest) = bytes.split_first()?;
    if role == AS_JSON {
        return serde_json::from_slice(rest).ok();
    }
    let content = std::str::from_utf8(rest).ok()?;
    Some(serde_json::json!({"role": columns::role_of_number(role)?, "content": content}))
}

impl MessageColumns {
    /// Converts the row to a message.
    fn message(&self, fields: &Fields) -> Result<Map<String, Value>, RowFault> {
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
        Ok(message)
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
