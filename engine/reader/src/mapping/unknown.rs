//! Rows that are not understood, and what can be said about them.

use super::{Fields, RowFault, plain};
use crate::recognize::{compared_names, missing_half};

/// Fields shown of a row that has none of the known ones.
const MAX_SHOWN_FIELDS: usize = 6;
const CHOOSE: &str = "Choose the columns under \"Columns and format\", or name them `messages`, `prompt` and `completion`, or \
    `text`.";

/// What rows are known for though a language model cannot learn from them as they are: fields that they have, what they
/// are, and what to do.
const KNOWN: [(&[&str], &str, &str); 7] = [
    (
        &["prompt", "completions", "labels"],
        "the row judges the steps of an answer (`completions` and `labels`), which is for training a judge",
        "Use rows with a `prompt` and one `completion`.",
    ),
    (
        &["anchor", "positive"],
        "the row is made for an embedding model (`anchor` and `positive`), not for one that writes",
        CHOOSE,
    ),
    (
        &["tokens", "nertags"],
        "the row tags words (`tokens` and `ner_tags`), and has no text to learn",
        "Use rows whose answer is a text.",
    ),
    (
        &["translation"],
        "the row is a translation, and does not say which language is the prompt",
        "Choose both languages under \"Columns and format\": one as the prompt, one as the completion.",
    ),
    (
        &["image"],
        "the row has a picture (`image`), and only text can be learned",
        CHOOSE,
    ),
    (
        &["images"],
        "the row has pictures (`images`), and only text can be learned",
        CHOOSE,
    ),
    (
        &["audio"],
        "the row has a recording (`audio`), and only text can be learned",
        CHOOSE,
    ),
];

/// Pairs of fields of which one is nothing without the other.
const HALVES: [(&str, &str); 2] = [("prompt", "completion"), ("chosen", "rejected")];

/// Why nothing can be learned from a row whose fields say nothing.
pub(super) fn unknown(fields: &Fields) -> RowFault {
    let names: Vec<String> = fields.iter().map(|(name, _)| plain(name)).collect();
    let is_it = |wanted: &&str| names.iter().any(|name| name == wanted);
    if let Some((_, what, remedy)) = KNOWN.iter().find(|(known, ..)| known.iter().all(&is_it)) {
        return RowFault::new("", *what, *remedy);
    }
    let filled_names: Vec<String> = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, _)| name.clone())
        .collect();
    if let Some((one, other)) = compared_names(&filled_names) {
        let what = format!(
            "the row has two answers (`{one}` and `{other}`) and does not say which one is better"
        );
        let remedy =
            "Name the better one `chosen` and the other one `rejected`, or remove the row.";
        return RowFault::new("", what, remedy);
    }
    let is_annotated = ["inputhash", "taskhash", "label", "spans"]
        .iter()
        .any(is_it);
    if let Some((name, value)) = fields.iter().find(|(name, value)| {
        is_annotated
            && plain(name) == "answer"
            && matches!(value.as_str(), Some("reject" | "ignore"))
    }) {
        let what = format!("the annotator did not accept the row: its `{name}` is {value}");
        return RowFault::new(name, what, "Remove the row, or annotate it again.");
    }
    let filled = |wanted: &str| {
        fields
            .iter()
            .any(|(name, value)| name == wanted && !value.is_null())
    };
    let has = |wanted: &str| fields.iter().any(|(name, _)| name == wanted);
    for (one, other) in HALVES
        .into_iter()
        .chain(HALVES.map(|(one, other)| (other, one)))
    {
        if !filled(one) || filled(other) {
            continue;
        }
        let what = match has(other) {
            true => format!("`{other}` is empty (null)"),
            false => format!("the row has a `{one}` but no `{other}`"),
        };
        let remedy = "Add the missing one, or name the field `text`.";
        return RowFault::new(if has(other) { other } else { one }, what, remedy);
    }
    if let Some(name) = missing_half(fields) {
        let what = format!("`{name}` is empty (null)");
        return RowFault::new(name, what, "Fill it in, or remove the row.");
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
