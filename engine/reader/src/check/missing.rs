//! Finds words for a missing value where text is expected.

use formats::row::Example;
use protocol::{Mapping, Part};
use serde_json::Value;

use crate::path::{Fields, get};

/// Words as programs write them. `none` in lower case may be an answer.
const WORDS: [&str; 22] = [
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
    // What a formula of a spreadsheet could not compute.
    "#REF!",
    "#NAME?",
    "#VALUE!",
    "#DIV/0!",
    "#NULL!",
    // What Reddit leaves of a text.
    "[deleted]",
    "[removed]",
];
/// Words that may also be a label.
const LABELS: [&str; 4] = ["None", "N/A", "n/a", "undefined"];
/// Parts whose text is part of the prompt or is learned.
const TEXTS: [Part; 8] = [
    Part::System,
    Part::Prompt,
    Part::Input,
    Part::Completion,
    Part::Text,
    Part::Label,
    Part::Chosen,
    Part::Rejected,
];

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
    let mut texts = mapping
        .parts()
        .into_iter()
        .filter(|(part, _)| TEXTS.contains(part));
    texts.find_map(|(part, path)| {
        let word = word(get(fields, &path)?)?;
        let is_label = part == Part::Label && LABELS.contains(&word);
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
