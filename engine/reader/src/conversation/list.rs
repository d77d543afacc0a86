//! Lists that are no list of messages but say the same: an object of lists, pairs of question and answer.

use protocol::Message;
use serde_json::{Map, Value};

use super::{CONTENT_NAMES, ROLE_NAMES};
use crate::recognize::plain;

/// What is asked, and what is answered, where an object is a whole exchange.
const ASKED: [&str; 9] = [
    "user",
    "human",
    "instruction",
    "prompt",
    "question",
    "query",
    "input",
    "q",
    "request",
];
const ANSWERED: [&str; 12] = [
    "assistant",
    "gpt",
    "bot",
    "model",
    "ai",
    "output",
    "response",
    "answer",
    "completion",
    "reply",
    "target",
    "a",
];

/// Whether an object holds a list of roles and a list of contents, as a `Sequence` of objects is stored.
pub fn is_of_lists(value: &Value) -> bool {
    let has = |names: &[&str]| {
        value.as_object().is_some_and(|fields| {
            let mut fields = fields.iter();
            fields.any(|(name, value)| value.is_array() && names.contains(&plain(name).as_str()))
        })
    };
    has(&ROLE_NAMES) && has(&CONTENT_NAMES)
}

/// The list of objects that an object of lists stands for.
///
/// # Errors
/// Lists of different lengths, in words.
pub(super) fn zipped(fields: &Map<String, Value>) -> Result<Vec<Value>, String> {
    let lists: Vec<(&String, &Vec<Value>)> = fields
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_array()?)))
        .collect();
    let Some((first, rest)) = lists.split_first() else {
        return Ok(Vec::new());
    };
    let len = first.1.len();
    if let Some(other) = rest.iter().find(|(_, list)| list.len() != len) {
        return Err(format!(
            "has {len} of `{}` but {} of `{}`",
            first.0,
            other.1.len(),
            other.0
        ));
    }
    let item = |index: usize| {
        let field = |(name, list): &(&String, &Vec<Value>)| ((*name).clone(), list[index].clone());
        Value::Object(lists.iter().map(field).collect())
    };
    Ok((0..len).map(item).collect())
}

/// The turns of a list of exchanges: pairs in lists (`["q", "a"]`) or objects (`{"human": "q", "assistant": "a"}`).
/// `None` for any other list.
pub(super) fn exchanges(list: &[Value]) -> Option<Vec<Message>> {
    let turns: Option<Vec<Vec<Message>>> = list.iter().map(exchange).collect();
    Some(turns?.into_iter().flatten().collect())
}

fn exchange(value: &Value) -> Option<Vec<Message>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => Some(String::new()),
        _ => None,
    };
    let parts = match value {
        Value::Array(pair) => match pair.as_slice() {
            [asked, answered] => [
                ("system", String::new()),
                ("user", text(asked)?),
                ("assistant", text(answered)?),
            ],
            _ => return None,
        },
        Value::Object(fields) => {
            let find = |names: &[&str]| {
                let named = |wanted: &&str| {
                    let field = fields.iter().find(|(name, _)| plain(name) == **wanted);
                    field.and_then(|(_, value)| value.as_str())
                };
                names.iter().find_map(named).map(str::to_owned)
            };
            let (asked, answered) = (find(&ASKED), find(&ANSWERED));
            if asked.is_none() && answered.is_none() {
                return None;
            }
            [
                ("system", find(&["system"]).unwrap_or_default()),
                ("user", asked.unwrap_or_default()),
                ("assistant", answered.unwrap_or_default()),
            ]
        }
        _ => return None,
    };
    let said = parts.into_iter().filter(|(_, text)| !text.is_empty());
    Some(said.map(|(role, text)| Message::new(role, text)).collect())
}
