//! The parts of an example that stand in fields of the row: texts, system texts, earlier turns, tools.

use protocol::Message;
use serde_json::Value;

use super::{Choices, Conversion, Reading, RowFault, first_name, get, scalar};
use crate::conversation::{kind, messages, system_text, tools};

impl<'a> Reading<'a> {
    /// The system text and the earlier turns.
    pub(super) fn before(
        &mut self,
        system: Option<&str>,
        history: Option<&str>,
    ) -> Result<Vec<Message>, RowFault> {
        let earlier = match history.and_then(|path| Some((path, get(self.fields, path)?))) {
            Some((path, value)) if !is_blank(value) => messages(path, value)?,
            _ => Vec::new(),
        };
        if !earlier.is_empty() {
            self.conversions.push(Conversion::History);
        }
        Ok(with_system(self.system(system)?, earlier))
    }

    pub(super) fn system(&self, path: Option<&str>) -> Result<Option<String>, RowFault> {
        let Some((path, value)) = path.and_then(|path| Some((path, get(self.fields, path)?)))
        else {
            return Ok(None);
        };
        let text = system_text(value)
            .or_else(|| scalar(value))
            .ok_or_else(|| {
                let what = format!("`{path}` is {}, not text", kind(value));
                RowFault::new(
                    path,
                    what,
                    "Put the text in quotes, or choose another column.",
                )
            })?;
        Ok((!text.trim().is_empty()).then_some(text))
    }

    /// The tools that may be called: next to the row's fields, or next to the messages.
    pub(super) fn tools(&self, path: &str) -> Vec<String> {
        let names = ["tools", "functions"].into_iter();
        let mut places = names.flat_map(|name| [name.to_owned(), sibling(path, name)]);
        let found =
            places.find_map(|path| get(self.fields, &path).filter(|value| !is_blank(value)));
        found.map(tools).unwrap_or_default()
    }

    pub(super) fn required(&self, path: &str) -> Result<&'a Value, RowFault> {
        get(self.fields, path).ok_or_else(|| {
            let at = first_name(self.fields, path).unwrap_or_default();
            let what = match self.fields.iter().any(|(name, _)| name == at) {
                true if at == path => format!("`{path}` is empty (null)"),
                _ => format!("the row has no `{path}`"),
            };
            RowFault::new(at, what, "Fill it in, or remove the row.")
        })
    }

    pub(super) fn text(&self, path: &str) -> Result<String, RowFault> {
        let value = self.required(path)?;
        scalar(value).ok_or_else(|| {
            let what = format!("`{path}` is {}, not text", kind(value));
            RowFault::new(
                path,
                what,
                "Put the text in quotes, or choose another column.",
            )
        })
    }

    /// A label; several are joined by commas.
    pub(super) fn label(&self, path: &str) -> Result<String, RowFault> {
        let Value::Array(list) = self.required(path)? else {
            return self.text(path);
        };
        let labels: Option<Vec<String>> = list.iter().map(scalar).collect();
        let labels = labels.filter(|labels| !labels.is_empty()).ok_or_else(|| {
            let what = format!("`{path}` lists no label");
            RowFault::new(path, what, "Fill it in, or remove the row.")
        })?;
        Ok(labels.join(", "))
    }

    /// A text that need not be there, or choices, one to a line; empty is as good as absent.
    pub(super) fn optional(&self, path: Option<&str>) -> Result<Option<String>, RowFault> {
        let Some((path, value)) = path.and_then(|path| Some((path, get(self.fields, path)?)))
        else {
            return Ok(None);
        };
        let text = match Choices::of(value).filter(|_| !value.is_string()) {
            Some(choices) => choices.lines(),
            None => self.text(path)?,
        };
        Ok((!text.trim().is_empty()).then_some(text))
    }
}

/// The path of another field of the object that holds the field at `path`.
pub(super) fn sibling(path: &str, name: &str) -> String {
    match path.rsplit_once('.') {
        Some((outer, _)) => format!("{outer}.{name}"),
        None => name.to_owned(),
    }
}

/// Puts a system text before messages that have none of their own.
pub(super) fn with_system(system: Option<String>, mut messages: Vec<Message>) -> Vec<Message> {
    let is_system = |message: &Message| ["system", "developer"].contains(&message.role.as_str());
    if let Some(system) = system
        && !messages.iter().any(is_system)
    {
        messages.insert(0, Message::new("system", system));
    }
    messages
}

/// The system text before other messages, and those.
pub(super) fn split_system(mut messages: Vec<Message>) -> (Option<String>, Vec<Message>) {
    let is_first = messages.first().is_some_and(|first| first.role == "system");
    let system = is_first.then(|| messages.remove(0).content);
    (system, messages)
}

pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => ["", "[]", "{}"].contains(&text.trim()),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
