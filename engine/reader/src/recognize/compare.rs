//! Two answers next to each other, and which of them is better: `response_a`, `response_b` and `winner`; `answer_0`,
//! `answer_1` and their scores; and the like.

use std::cmp::Ordering;

use protocol::Mapping;
use serde_json::Value;

use super::{
    field::{Row, plain},
    names::{HISTORY, INPUT, SYSTEM},
};
use crate::{cell::number, conversation::truth};

/// What the names of the two answers begin with.
const STEMS: [&str; 12] = [
    "response",
    "answer",
    "completion",
    "output",
    "reply",
    "generation",
    "conversation",
    "summary",
    "humanref",
    "modelresponse",
    "modeloutput",
    "assistant",
];
/// What they end with.
const ENDS: [(&str, &str); 3] = [("a", "b"), ("0", "1"), ("1", "2")];
/// Which answer is better, by its letter, its number, or a name that ends with either.
const WINNER: [&str; 16] = [
    "winner",
    "preference",
    "preferred",
    "preferredresponse",
    "humanpreference",
    "overallpreference",
    "betterresponseid",
    "betterresponse",
    "better",
    "best",
    "bestresponse",
    "choice",
    "chosen",
    "selected",
    "label",
    "labels",
];
/// What the names of the marks of each answer begin with: the higher one is better.
const MARKS: [&str; 5] = ["winnermodel", "winner", "score", "rating", "reward"];

/// Two answers to compare.
struct Pair<'n> {
    stem: &'static str,
    ends: (&'static str, &'static str),
    names: (&'n str, &'n str),
}

/// A comparison as a preference of this row's better answer; `None` where the row has none, or does not say which answer
/// is better. `prompt` is what is asked.
pub(super) fn compared(row: &Row, prompt: Option<String>) -> Option<Mapping> {
    let names: Vec<(&str, &str)> = row.all().map(|(name, plain, _)| (name, plain)).collect();
    let pair = pair(&names)?;
    let is_first = is_first_better(row, &pair)?;
    let (first, second) = (pair.names.0.to_owned(), pair.names.1.to_owned());
    let (chosen, rejected) = match is_first {
        true => (first, second),
        false => (second, first),
    };
    let is_free = |name: &String| *name != chosen && *name != rejected;
    // The whole conversation is in each of the two.
    let prompt = prompt.filter(|_| pair.stem != "conversation");
    let prompt = prompt
        .or_else(|| row.find(HISTORY, Value::is_string))
        .filter(is_free);
    let input = row.find(INPUT, Value::is_string).filter(is_free);
    Some(Mapping::Preference {
        system: row.find(SYSTEM, Value::is_string),
        history: row.find(HISTORY, Value::is_array),
        input: input.filter(|input| prompt.as_ref().is_some_and(|prompt| prompt != input)),
        prompt,
        chosen,
        rejected,
    })
}

/// The names of two answers that a row compares.
pub fn compared_names(names: &[String]) -> Option<(&str, &str)> {
    let plains: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let names = names.iter().map(String::as_str);
    let names: Vec<(&str, &str)> = names.zip(plains.iter().map(String::as_str)).collect();
    pair(&names).map(|pair| pair.names)
}

/// `names`: each as it is written, and plain.
fn pair<'n>(names: &[(&'n str, &str)]) -> Option<Pair<'n>> {
    STEMS.into_iter().find_map(|stem| {
        let ends = names.iter().filter_map(|(name, plain)| {
            let end = plain.strip_prefix(stem)?;
            (end.len() == 1).then_some((end, *name))
        });
        let ends: Vec<(&str, &str)> = ends.collect();
        let find = |wanted: &str| {
            let found = ends.iter().find(|(end, _)| *end == wanted);
            found.map(|(_, name)| *name)
        };
        let of = |(first, second): (&'static str, &'static str)| {
            let one = find(first)?;
            let other = find(second)?;
            // More than two are choices, or rounds of a talk.
            let is_third = |end: &str| end != second && find(end).is_some();
            (!["c", "2", "3"].into_iter().any(is_third)).then_some(Pair {
                stem,
                ends: (first, second),
                names: (one, other),
            })
        };
        ENDS.into_iter().find_map(of)
    })
}

fn is_first_better(row: &Row, pair: &Pair) -> Option<bool> {
    let named = WINNER.iter().find_map(|name| {
        let name = row.find(&[name], |value| value.is_string() || value.is_number())?;
        is_first(&plain(&name), row.value(&name)?, pair)
    });
    named.or_else(|| {
        MARKS.iter().find_map(|mark| {
            let mark_of = |end: &str| {
                let name = row.find(&[&format!("{mark}{end}")], |_| true)?;
                let value = row.value(&name)?;
                number(value).or_else(|| truth(value).map(f64::from))
            };
            let (first, second) = (mark_of(pair.ends.0)?, mark_of(pair.ends.1)?);
            match first.partial_cmp(&second)? {
                Ordering::Greater => Some(true),
                Ordering::Less => Some(false),
                Ordering::Equal => None,
            }
        })
    })
}

/// Whether a value means the first of two answers.
fn is_first(name: &str, value: &Value, pair: &Pair) -> Option<bool> {
    if let Some(number) = number(value) {
        return match (pair.ends, number) {
            // From -3, the first is much better, to 3, the second is.
            _ if name == "overallpreference" => (number != 0.0).then_some(number < 0.0),
            // Stanford's: whether it is the first one.
            (("a", "b"), 0.0 | 1.0) if pair.stem == "humanref" => Some(number == 1.0),
            (("0", "1"), 0.0 | 1.0) => Some(number == 0.0),
            (("1", "2"), 1.0 | 2.0) => Some(number == 1.0),
            _ => None,
        };
    }
    let word = plain(value.as_str()?);
    let ends_with = |end: &str| {
        let before = word.strip_suffix(end);
        before.is_some_and(|before| {
            ["", "model", "assistant", "option"].contains(&before) || before == pair.stem
        })
    };
    match (ends_with(pair.ends.0), ends_with(pair.ends.1)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => match word.as_str() {
            "first" | "left" => Some(true),
            "second" | "right" => Some(false),
            _ => None,
        },
    }
}
