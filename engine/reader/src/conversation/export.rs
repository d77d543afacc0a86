//! Conversations as chat services export them: ChatGPT's tree of messages, Claude's list of them.
//!
//! If there are several branches, the current one is read. What a reader of the conversation never saw is left out: hidden messages,
//! the service's own calls of tools and what those answered. Turns of one speaker that follow each other are joined.

use std::collections::{HashMap, HashSet};

use protocol::Message;
use serde_json::Value;

/// A conversation that was read from an export.
#[derive(Debug, Default)]
pub struct Exported {
    pub messages: Vec<Message>,
    /// Whether there were other branches.
    pub has_branches: bool,
}

/// A message with what it answers.
struct Node<'a> {
    id: &'a str,
    parent: Option<&'a str>,
    message: &'a Value,
}

/// Whether a value is ChatGPT's tree: an object of nodes with a message, a parent and children.
pub fn is_tree(value: &Value) -> bool {
    let is_node = |node: &Value| {
        let has = |name: &str| node.get(name).is_some();
        has("message") && (has("parent") || has("children"))
    };
    let mut nodes = value
        .as_object()
        .into_iter()
        .flat_map(|nodes| nodes.values());
    nodes
        .next()
        .is_some_and(|first| is_node(first) && nodes.all(is_node))
}

/// Whether a value is Claude's list of messages.
pub fn is_list_of_senders(list: &[Value]) -> bool {
    let is_message = |message: &Value| {
        message.get("sender").is_some_and(Value::is_string) && message.get("uuid").is_some()
    };
    !list.is_empty() && list.iter().all(is_message)
}

/// Reads ChatGPT's tree. `current` is the node that was shown last.
///
/// # Errors
/// A message with something that is no text, in words.
pub fn tree(value: &Value, current: Option<&str>) -> Result<Exported, String> {
    let nodes: Vec<Node> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(id, node)| Node {
            id,
            parent: node.get("parent").and_then(Value::as_str),
            message: node.get("message").unwrap_or(&Value::Null),
        })
        .collect();
    exported(&nodes, current, shown_by_chatgpt)
}

/// Reads Claude's list. Where messages say what they answer, that decides; otherwise each answers the one before it.
///
/// # Errors
/// As for [`tree`].
pub fn senders(list: &[Value]) -> Result<Exported, String> {
    let text = |message: &'_ Value, name: &str| message.get(name)?.as_str().map(str::to_owned);
    let knows_parents = list
        .iter()
        .any(|message| text(message, "parent_message_uuid").is_some());
    let id = |message| Value::as_str(Value::get(message, "uuid")?);
    let nodes: Vec<Node> = list
        .iter()
        .enumerate()
        .map(|(index, message)| Node {
            id: id(message).unwrap_or_default(),
            parent: match knows_parents {
                true => message.get("parent_message_uuid").and_then(Value::as_str),
                false => index.checked_sub(1).and_then(|before| id(&list[before])),
            },
            message,
        })
        .collect();
    exported(&nodes, nodes.last().map(|node| node.id), shown_by_claude)
}

type Shown = Result<Option<(&'static str, String)>, String>;

fn exported(
    nodes: &[Node],
    current: Option<&str>,
    shown: fn(&Value) -> Shown,
) -> Result<Exported, String> {
    let parents: HashSet<&str> = nodes.iter().filter_map(|node| node.parent).collect();
    let is_leaf = |node: &&Node| !parents.contains(node.id);
    let by_id: HashMap<&str, &Node> = nodes.iter().map(|node| (node.id, node)).collect();
    let start = current.and_then(|id| by_id.get(id).copied());
    let mut node = start.or_else(|| nodes.iter().filter(is_leaf).max_by(latest));
    let mut branch = Vec::new();
    // A parent may be its own descendant.
    while let Some(present) = node
        && branch.len() <= nodes.len()
    {
        branch.push(present);
        node = present.parent.and_then(|id| by_id.get(id).copied());
    }
    let mut messages: Vec<Message> = Vec::new();
    for (number, node) in branch.into_iter().rev().enumerate() {
        let said = shown(node.message).map_err(|what| {
            format!("message {} of the exported conversation {what}", number + 1)
        })?;
        let Some((role, text)) = said.filter(|(_, text)| !text.trim().is_empty()) else {
            continue;
        };
        match messages.last_mut().filter(|last| last.role == role) {
            Some(last) => {
                last.content.push_str("\n\n");
                last.content.push_str(&text);
            }
            None => messages.push(Message::new(role, text)),
        }
    }
    Ok(Exported {
        messages,
        has_branches: nodes.iter().filter(is_leaf).count() > 1,
    })
}

fn latest(one: &&Node, other: &&Node) -> std::cmp::Ordering {
    let time = |node: &Node| node.message.get("create_time").and_then(Value::as_f64);
    time(one)
        .unwrap_or(0.0)
        .total_cmp(&time(other).unwrap_or(0.0))
}

fn role_of(name: &str) -> Option<&'static str> {
    match name {
        "system" => Some("system"),
        "user" | "human" => Some("user"),
        "assistant" => Some("assistant"),
        _ => None,
    }
}

/// What ChatGPT showed of a message.
fn shown_by_chatgpt(message: &Value) -> Shown {
    let at = |path: &str| message.pointer(path);
    let name = at("/author/role").and_then(Value::as_str);
    let Some(role) = name.and_then(role_of) else {
        return Ok(None);
    };
    let recipient = at("/recipient").and_then(Value::as_str).unwrap_or("all");
    let is_hidden = at("/metadata/is_visually_hidden_from_conversation").and_then(Value::as_bool)
        == Some(true)
        || at("/weight").and_then(Value::as_f64) == Some(0.0);
    let kind = at("/content/content_type").and_then(Value::as_str);
    if is_hidden
        || recipient != "all"
        || !["text", "multimodal_text"].contains(&kind.unwrap_or("text"))
    {
        return Ok(None);
    }
    let mut text = String::new();
    for part in at("/content/parts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        match part.as_str().or_else(|| part.get("text")?.as_str()) {
            Some(part) => text.push_str(part),
            None if part.is_null() => {}
            None => return Err("shows an image or a file".to_owned()),
        }
    }
    Ok(Some((role, text)))
}

/// What Claude showed of a message, with the text of what was attached to it.
fn shown_by_claude(message: &Value) -> Shown {
    let name = message.get("sender").and_then(Value::as_str);
    let Some(role) = name.and_then(role_of) else {
        return Err(format!("is by {:?}", name.unwrap_or_default()));
    };
    let list = |name: &str| {
        message
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let is_text = |part: &&Value| part.get("type").and_then(Value::as_str) == Some("text");
    let texts: Vec<&str> = list("content")
        .filter(is_text)
        .filter_map(|part| part.get("text")?.as_str())
        .collect();
    let mut text = match texts.is_empty() {
        true => message
            .get("text")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        false => texts.join("\n\n"),
    };
    let attached: Vec<&str> = list("attachments")
        .filter_map(|attachment| attachment.get("extracted_content")?.as_str())
        .collect();
    if attached.is_empty() && list("files").next().is_some() {
        return Err("has a file whose content the export leaves out".to_owned());
    }
    for attachment in attached {
        text.push_str("\n\n");
        text.push_str(attachment);
    }
    Ok(Some((role, text)))
}
