//! What is asked and what is answered: a text, messages, or a value that is learned as JSON.

use protocol::Message;
use serde_json::Value;

use super::{Conversion, Reading, RowFault, scalar};
use crate::{
    cell,
    conversation::{has_role, kind, messages, role_of},
    path::last_name,
    recognize::plain,
};

/// One side of an exchange.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    Text(String),
    Messages(Vec<Message>),
}

/// Lists under these names hold answers that are all right, as in OpenAI's evals.
const ALTERNATIVES: [&str; 1] = ["ideal"];

impl Reading<'_> {
    /// What is answered at `path`.
    ///
    /// Lists and objects become their JSON, with keys in the order of the file; a list of a single text is that text, unless
    /// other rows of the file have longer ones. Where a dataset lists the answers that it accepts, the first one is taken.
    pub(super) fn answer(&mut self, path: &str) -> Result<Said, RowFault> {
        let value = self.required(path)?;
        if let Some(said) = said(path, value)? {
            return Ok(Said::Messages(said));
        }
        let accepted = accepted(path, value);
        let text = match (value, accepted) {
            (_, Some(answers)) => {
                let first = answers.first().cloned().ok_or_else(|| {
                    let what = format!("`{path}` accepts no answer");
                    RowFault::new(path, what, "Fill in the answer, or remove the row.")
                })?;
                if answers.iter().any(|answer| *answer != first) {
                    self.conversions.push(Conversion::FirstAnswer);
                }
                first
            }
            (Value::Array(list), None) => match list.as_slice() {
                [only] if !self.habits.has_lists && scalar(only).is_some() => {
                    scalar(only).unwrap_or_default()
                }
                _ => self.json(value),
            },
            (Value::Object(_), None) => self.json(value),
            (value, None) => scalar(value).unwrap_or_default(),
        };
        Ok(Said::Text(text))
    }

    /// What is asked at `path`; a text with what belongs to it besides.
    pub(super) fn asked(
        &self,
        path: &str,
        input: Option<&str>,
        completion: &str,
    ) -> Result<Said, RowFault> {
        let value = self.required(path)?;
        if let Some(said) = said(path, value)? {
            return Ok(Said::Messages(said));
        }
        if let Value::Array(list) = value
            && list.first().is_some_and(Value::is_object)
        {
            return Ok(Said::Messages(messages(path, value)?));
        }
        let Some(prompt) = scalar(value) else {
            let answered = self.required(completion)?;
            let what = format!(
                "`{path}` is {} but `{completion}` is {}",
                kind(value),
                kind(answered)
            );
            return Err(RowFault::new(completion, what, "Make both of them text."));
        };
        Ok(Said::Text(match self.optional(input)? {
            None => prompt,
            Some(input) if prompt.trim().is_empty() => input,
            // As the Alpaca project joins them for a chat.
            Some(input) => format!("{prompt}\n\n{input}"),
        }))
    }

    fn json(&mut self, value: &Value) -> String {
        self.conversions.push(Conversion::JsonAnswer);
        value.to_string()
    }
}

/// The messages that a value holds, also a single one, also as text in a table's cell; `None` for anything else.
pub(super) fn said(path: &str, value: &Value) -> Result<Option<Vec<Message>>, RowFault> {
    let opened = cell::opened(value);
    let is_message = |item: &Value| {
        let has_more = item.as_object().is_some_and(|fields| fields.len() > 1);
        has_more && has_role(item) && role_of(item).is_some()
    };
    match &*opened {
        Value::Array(list) if !list.is_empty() && list.iter().all(is_message) => {
            Ok(Some(messages(path, &opened)?))
        }
        object @ Value::Object(_) if is_message(object) => {
            Ok(Some(messages(path, &Value::Array(vec![object.clone()]))?))
        }
        _ => Ok(None),
    }
}

/// Whether lists at this path hold answers that are all right.
pub fn lists_alternatives(path: &str) -> bool {
    let name = last_name(path);
    ALTERNATIVES.contains(&plain(name).as_str())
}

/// The answers that a row accepts, the first one first, where it lists such: SQuAD's `{"text": [..], "answer_start": [..]}`,
/// TriviaQA's `{"value": .., "aliases": [..]}`, and the lists of OpenAI's evals.
fn accepted(path: &str, value: &Value) -> Option<Vec<String>> {
    let texts = |list: &Value| {
        let list = list.as_array()?;
        list.iter().map(scalar).collect::<Option<Vec<String>>>()
    };
    let name = last_name(path);
    match value {
        Value::Array(_) if lists_alternatives(path) => texts(value),
        Value::Object(fields) if fields.contains_key("answer_start") => texts(fields.get("text")?),
        Value::Object(fields) if fields.contains_key("aliases") => {
            let best = scalar(fields.get("value")?)?;
            let aliases = texts(fields.get("aliases")?).unwrap_or_default();
            Some([vec![best], aliases].concat())
        }
        Value::Object(fields) if fields.len() == 1 && plain(name) == "answers" => {
            texts(fields.get("text")?)
        }
        _ => None,
    }
}
