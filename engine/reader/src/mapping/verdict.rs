//! Whether an answer is marked as a good or a bad one, and the weight of a whole row.

use serde_json::Value;

use super::{Conversion, Reading, sibling};
use crate::{
    cell::number,
    conversation::truth,
    path::{get, last_name},
    recognize::plain,
};

/// Names of a column that says how much a row counts.
const WEIGHTS: [&str; 5] = [
    "weight",
    "sampleweight",
    "rowweight",
    "exampleweight",
    "lossweight",
];

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
    let name = plain(last_name(path));
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

/// Whether the field at `path` is the weight of a row.
pub fn is_weight(path: &str) -> bool {
    let name = plain(last_name(path));
    WEIGHTS.contains(&name.as_str())
}

impl Reading<'_> {
    /// The path of the weight that takes the row with the answer at `path` out of training: one of 0, unless somebody
    /// chose the columns by hand, which is how a mark is overruled. Any other weight but 1 is ignored, which is told.
    pub(super) fn zero_weight(&mut self, path: &str) -> Option<String> {
        let fields = self.fields.iter();
        let names = fields.filter(|(name, _)| is_weight(name));
        let inner = WEIGHTS[..1].iter().map(|name| sibling(path, name));
        let places = names.map(|(name, _)| name.clone()).chain(inner);
        let is_found = |path: String| Some((get(self.fields, &path)?, path));
        let (value, path) = places.filter_map(is_found).next()?;
        let number = number(value).or_else(|| value.as_bool().map(f64::from));
        match number? {
            0.0 if self.is_automatic => return Some(path),
            1.0 => {}
            _ => self.conversions.push(Conversion::Weight),
        }
        None
    }
}
