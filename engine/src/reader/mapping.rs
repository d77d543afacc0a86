//! A record's fields to an example.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    conversation::{json_list, kind, messages, transcript},
    path::{Fields, first_name, get},
    recognise::recognise,
};
use crate::{
    data::example::{ASSISTANT, Example, USER},
    protocol::{Mapping, Message, RowShape},
};

/// Fields shown of a row that has none of the known ones.
const MAX_SHOWN_FIELDS: usize = 6;
const CHOOSE: &str = "Choose the columns under \"Columns and format\", or name them `messages`, `prompt` and `completion`, or \
    `text`.";

/// Why a record gives no example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// The field at which it is; empty for the whole row.
    pub path: String,
    pub what: String,
    pub remedy: String,
}

impl RowFault {
    pub fn new(
        path: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    pub example: Example,
    /// Of a text with a label.
    pub label: Option<String>,
    /// The answer that is not learnt, of a preference.
    pub rejected: Option<String>,
}

impl From<Example> for Mapped {
    fn from(example: Example) -> Self {
        Self {
            example,
            label: None,
            rejected: None,
        }
    }
}

/// Reads `fields` as `mapping` says, and as what the row was recognised where that leaves it open.
///
/// # Errors
/// What is missing or of another kind.
pub fn example(fields: &Fields, mapping: &Mapping) -> Result<(Mapped, Mapping), RowFault> {
    let mapping = match mapping {
        Mapping::Automatic => recognise(fields).ok_or_else(|| unknown(fields))?,
        fixed => fixed.clone(),
    };
    Ok((mapped(fields, &mapping)?, mapping))
}

fn mapped(fields: &Fields, mapping: &Mapping) -> Result<Mapped, RowFault> {
    match mapping {
        // A single message is not an example; `gather` turns messages into conversations.
        Mapping::Automatic | Mapping::MessageRows { .. } => Err(unknown(fields)),
        Mapping::Text { text: path } => Ok(Example::Text(text(fields, path)?).into()),
        Mapping::PromptCompletion {
            system,
            prompt,
            input,
            completion,
        } => {
            let optional = |path: &Option<String>| optional(fields, path.as_deref());
            let (system, input) = (optional(system)?, optional(input)?);
            Ok(pair(fields, system, prompt, input, completion)?.into())
        }
        Mapping::Messages { messages: path } => {
            let mut all = messages(path, required(fields, path)?)?;
            if let Some(system) = optional(fields, Some("system")).ok().flatten()
                && all.first().is_some_and(|first| first.role != "system")
            {
                all.insert(0, Message::new("system", system));
            }
            Ok(conversation(path, all, 0, RowShape::Messages, tools(fields))?.into())
        }
        Mapping::Classification {
            text: text_path,
            label,
        } => {
            let label = text(fields, label)?;
            let example = Example::Pair {
                prompt: text(fields, text_path)?,
                completion: label.clone(),
            };
            Ok(Mapped {
                label: Some(label),
                ..example.into()
            })
        }
        Mapping::Preference {
            prompt,
            chosen,
            rejected,
        } => {
            let example = preferred(fields, prompt.as_deref(), chosen)?;
            let answer = required(fields, rejected)?;
            let rejected = match (scalar(answer), messages(rejected, &as_list(answer))) {
                (Some(text), _) => text,
                (None, Ok(all)) => all.into_iter().next_back().unwrap_or_default().content,
                (None, Err(_)) => answer.to_string(),
            };
            Ok(Mapped {
                rejected: Some(rejected),
                ..example.into()
            })
        }
        Mapping::Template { prompt, completion } => {
            let filled = fill(fields, completion)?;
            if prompt.trim().is_empty() {
                return Ok(Example::Text(filled).into());
            }
            let example = Example::Pair {
                prompt: fill(fields, prompt)?,
                completion: filled,
            };
            Ok(example.into())
        }
    }
}

/// Both texts, or both lists of messages.
fn pair(
    fields: &Fields,
    system: Option<String>,
    prompt: &str,
    input: Option<String>,
    completion: &str,
) -> Result<Example, RowFault> {
    let (asked, answered) = (required(fields, prompt)?, required(fields, completion)?);
    if let (Value::Array(_), Value::Array(_) | Value::Object(_)) = (asked, answered) {
        let mut all = messages(prompt, asked)?;
        let first_trained = all.len();
        all.extend(messages(completion, &as_list(answered))?);
        let shape = RowShape::PromptCompletion;
        return conversation(completion, all, first_trained, shape, tools(fields));
    }
    if let (Value::Array(list), Some(answer)) = (asked, scalar(answered))
        && list.first().is_some_and(Value::is_object)
    {
        // As OpenAI's evals are written.
        let mut all = messages(prompt, asked)?;
        let first_trained = all.len();
        all.push(Message::new(ASSISTANT, answer));
        let shape = RowShape::PromptCompletion;
        return conversation(completion, all, first_trained, shape, tools(fields));
    }
    if scalar(asked).is_some() != scalar(answered).is_some() {
        let what = format!(
            "`{prompt}` is {} but `{completion}` is {}",
            kind(asked),
            kind(answered)
        );
        return Err(RowFault::new(completion, what, "Make both of them text."));
    }
    let (mut prompt, completion) = (text(fields, prompt)?, text(fields, completion)?);
    if let Some(input) = input {
        // As the Alpaca project joins them for a chat.
        prompt = format!("{prompt}\n\n{input}");
    }
    Ok(match system {
        None => Example::Pair { prompt, completion },
        Some(system) => Example::Conversation {
            messages: vec![
                Message::new("system", system),
                Message::new(USER, prompt),
                Message::new(ASSISTANT, completion),
            ],
            tools: Vec::new(),
            first_trained: 0,
            shape: RowShape::PromptCompletion,
        },
    })
}

/// A single message as a list of one.
fn as_list(value: &Value) -> Cow<'_, Value> {
    match value {
        Value::Object(_) => Cow::Owned(Value::Array(vec![value.clone()])),
        value => Cow::Borrowed(value),
    }
}

/// The better answer, to the prompt where there is one.
fn preferred(fields: &Fields, prompt: Option<&str>, chosen: &str) -> Result<Example, RowFault> {
    let answer = required(fields, chosen)?;
    if answer.is_array() || answer.is_object() {
        let mut all = messages(chosen, &as_list(answer))?;
        // The prompt is repeated in front of whole conversations; where it is not, it belongs there.
        if all.first().is_some_and(|first| first.role == ASSISTANT)
            && let Some(path) = prompt
        {
            let asked = match required(fields, path)? {
                list @ Value::Array(_) => messages(path, list)?,
                _ => vec![Message::new(USER, text(fields, path)?)],
            };
            all.splice(0..0, asked);
        }
        // Only the last turn differs between the two.
        let last = all.len().saturating_sub(1);
        return conversation(chosen, all, last, RowShape::Preference, tools(fields));
    }
    let completion = text(fields, chosen)?;
    match prompt {
        Some(prompt) => Ok(Example::Pair {
            prompt: text(fields, prompt)?,
            completion,
        }),
        None => match transcript(&completion) {
            Some(all) => {
                let last = all.len().saturating_sub(1);
                conversation(chosen, all, last, RowShape::Preference, Vec::new())
            }
            None => Ok(Example::Text(completion)),
        },
    }
}

fn conversation(
    path: &str,
    messages: Vec<Message>,
    first_trained: usize,
    shape: RowShape,
    tools: Vec<String>,
) -> Result<Example, RowFault> {
    let learnt = messages.get(first_trained..).unwrap_or_default();
    if !learnt.iter().any(|message| message.role == ASSISTANT) {
        return Err(RowFault::new(
            path,
            "no message is from the assistant, so there is nothing to learn",
            "Add a message whose `role` is `assistant`.",
        ));
    }
    Ok(Example::Conversation {
        messages,
        tools,
        first_trained,
        shape,
    })
}

/// The tools that may be called, beside the messages.
fn tools(fields: &Fields) -> Vec<String> {
    let tools = get(fields, "tools").or_else(|| get(fields, "functions"));
    tools.and_then(json_list).unwrap_or_default()
}

fn required<'a>(fields: &'a Fields, path: &str) -> Result<&'a Value, RowFault> {
    get(fields, path).ok_or_else(|| {
        let at = first_name(fields, path).unwrap_or_default();
        let what = match fields.iter().any(|(name, _)| name == at) {
            true if at == path => format!("`{path}` is empty (null)"),
            _ => format!("the row has no `{path}`"),
        };
        RowFault::new(at, what, "Fill it in, or remove the row.")
    })
}

fn text(fields: &Fields, path: &str) -> Result<String, RowFault> {
    let value = required(fields, path)?;
    scalar(value).ok_or_else(|| {
        let what = format!("`{path}` is {}, not text", kind(value));
        RowFault::new(
            path,
            what,
            "Put the text in quotes, or choose another column.",
        )
    })
}

/// A text that need not be there; empty is as good as absent.
fn optional(fields: &Fields, path: Option<&str>) -> Result<Option<String>, RowFault> {
    let Some(path) = path.filter(|path| get(fields, path).is_some()) else {
        return Ok(None);
    };
    let text = text(fields, path)?;
    Ok((!text.trim().is_empty()).then_some(text))
}

/// Texts as they are, numbers and booleans as they are written.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Puts fields into `{field}`; `{{` and `}}` are braces.
fn fill(fields: &Fields, template: &str) -> Result<String, RowFault> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let brace = &rest[at..at + 1];
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix(brace) {
            filled.push_str(brace);
            rest = behind;
            continue;
        }
        let Some((path, behind)) = (brace == "{").then(|| rest.split_once('}')).flatten() else {
            let what = format!("the template has a `{brace}` without its counterpart");
            return Err(RowFault::new("", what, "Write literal braces twice."));
        };
        let path = path.trim();
        match get(fields, path) {
            Some(value) => filled.push_str(&scalar(value).unwrap_or_else(|| value.to_string())),
            // Null, or an optional part of an object.
            None if first_name(fields, path).is_some() => {}
            None => {
                let what = format!("the template uses `{path}`, which the row does not have");
                return Err(RowFault::new(
                    "",
                    what,
                    "Correct the template, or remove the row.",
                ));
            }
        }
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn unknown(fields: &Fields) -> RowFault {
    let has = |wanted: &str| fields.iter().any(|(name, _)| name == wanted);
    let half = match (has("prompt"), has("completion")) {
        (true, false) => Some(("prompt", "the row has a `prompt` but no `completion`")),
        (false, true) => Some(("completion", "the row has a `completion` but no `prompt`")),
        _ => None,
    };
    if let Some((path, what)) = half {
        return RowFault::new(path, what, "Add the missing one, or name the field `text`.");
    }
    let names: Vec<String> = fields
        .iter()
        .take(MAX_SHOWN_FIELDS)
        .map(|(name, _)| format!("`{}`", name.chars().take(30).collect::<String>()))
        .collect();
    let what = match names.as_slice() {
        [] => "the row has no fields".to_owned(),
        names => format!(
            "we can't tell which columns to learn from: {}",
            names.join(", ")
        ),
    };
    RowFault::new("", what, CHOOSE)
}
