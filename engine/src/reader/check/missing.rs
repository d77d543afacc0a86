//! Finds words for a missing value where text is expected.

use serde_json::Value;

use crate::{
    data::Example,
    protocol::Mapping,
    reader::path::{Fields, get},
};

/// Words as programs write them. `none` in lower case may be an answer.
const WORDS: [&str; 15] = [
    "nan",
    "NaN",
    "NAN",
    "None",
    "NULL",
    "Null",
    "null",
    "(null)",
    "N/A",
    "n/a",
    "#N/A",
    "<NA>",
    "NaT",
    "\\N",
    "undefined",
];
/// Words that may also be a label.
const LABELS: [&str; 4] = ["None", "N/A", "n/a", "undefined"];

/// A sentence about the first field of the mapping, or the first message, that is such a word.
pub(super) fn missing(fields: &Fields, mapping: &Mapping, example: &Example) -> Option<String> {
    if let Example::Conversation { messages, .. } = example
        && matches!(
            mapping,
            Mapping::Messages { .. } | Mapping::MessageRows { .. }
        )
    {
        let mut messages = messages.iter().enumerate();
        return messages.find_map(|(index, message)| {
            let word = known(&message.content)?;
            Some(format!("message {} is “{word}”", index + 1))
        });
    }
    let label = match mapping {
        Mapping::Classification { label, .. } => Some(label.as_str()),
        _ => None,
    };
    let mut paths = paths(mapping).into_iter();
    paths.find_map(|path| {
        let word = word(get(fields, path)?)?;
        let is_label = label == Some(path) && LABELS.contains(&word);
        (!is_label).then(|| format!("`{path}` is “{word}”"))
    })
}

fn word(value: &Value) -> Option<&'static str> {
    known(value.as_str()?)
}

fn known(text: &str) -> Option<&'static str> {
    let text = text.trim();
    WORDS.into_iter().find(|word| *word == text)
}

/// The fields whose text is part of the prompt or is learned.
fn paths(mapping: &Mapping) -> Vec<&str> {
    match mapping {
        Mapping::Text { text } => vec![text],
        Mapping::PromptCompletion {
            system,
            prompt,
            input,
            completion,
            ..
        } => [
            system.as_ref(),
            Some(prompt),
            input.as_ref(),
            Some(completion),
        ]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect(),
        Mapping::Choice { prompt, .. } => vec![prompt],
        Mapping::Classification { text, label } => vec![text, label],
        Mapping::Preference {
            prompt,
            chosen,
            rejected,
            ..
        } => [prompt.as_ref(), Some(chosen), Some(rejected)]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect(),
        _ => Vec::new(),
    }
}
