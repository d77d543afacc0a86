//! Whether an answer is marked as a good or a bad one.

use serde_json::Value;

use crate::reader::{conversation::truth, recognise::plain};

/// Names of marks that are on for a bad answer.
const BAD: [&str; 7] = [
    "isbad",
    "isrejected",
    "isundesirable",
    "iswrong",
    "ishallucination",
    "thumbsdown",
    "disliked",
];
/// Names under which people also keep grades, where 1 is no praise: only words count.
const GRADES: [&str; 3] = ["rating", "userrating", "humanrating"];
/// Names that other things have, too, such as a sentiment: words that also mean those do not count.
const LABELS: [&str; 1] = ["label"];
const GOOD_WORDS: [&str; 9] = [
    "good",
    "desirable",
    "chosen",
    "accepted",
    "thumbsup",
    "upvote",
    "upvoted",
    "liked",
    "like",
];
const BAD_WORDS: [&str; 9] = [
    "bad",
    "undesirable",
    "rejected",
    "declined",
    "thumbsdown",
    "downvote",
    "downvoted",
    "disliked",
    "dislike",
];

/// Whether the answer is marked as good by the field at `path`: true or false, 1 or 0 (or -1), a thumb, or a word for
/// them. `None` where the value is no such mark.
pub fn verdict(path: &str, value: &Value) -> Option<bool> {
    let name = plain(path.rsplit('.').next().unwrap_or_default());
    let is_among = |names: &[&str]| names.contains(&name.as_str());
    let switch = match value.as_f64() {
        Some(-1.0) => Some(false),
        _ => truth(value).or_else(|| (value.as_str()?.trim() == "-1").then_some(false)),
    };
    let marked = switch.filter(|_| !is_among(&GRADES)).or_else(|| {
        let text = value.as_str()?;
        let word = plain(text);
        // Thumbs may have a skin color after them.
        let starts = |thumb| text.trim_start().starts_with(thumb);
        let is_word = |words: &[&str], sentiment| {
            words.contains(&word.as_str()) || word == sentiment && !is_among(&LABELS)
        };
        if starts('👍') || is_word(&GOOD_WORDS, "positive") {
            return Some(true);
        }
        (starts('👎') || is_word(&BAD_WORDS, "negative")).then_some(false)
    })?;
    Some(marked != is_among(&BAD))
}
