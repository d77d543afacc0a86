//! Questions with several choices, of which one is marked as the right one.

use protocol::Mapping;
use serde_json::Value;

use super::{field::Row, names::PROMPT};
use crate::mapping::{Choices, scalar};

/// Names of a list of choices.
const CHOICES: &[&str] = &[
    "choices",
    "options",
    "endings",
    "answerchoices",
    "answeroptions",
    "candidates",
    "alternatives",
    "mcoptions",
    "multiplechoicetargets",
    "possibleanswers",
];
/// Which of the choices is right; names that can only mean that come first.
const ANSWER: &[&str] = &[
    "answeridx",
    "answerindex",
    "answerkey",
    "correctindex",
    "correctidx",
    "correctanswerindex",
    "correctoption",
    "correctchoice",
    "correctanswer",
    "correctletter",
    "correct",
    "rightanswer",
    "rightoption",
    "rightchoice",
    "goldindex",
    "goldlabel",
    "gold",
    "cop",
    "label",
    "answer",
    "target",
    "key",
    "solution",
];
/// Questions whose names mean one only where choices follow.
const QUESTION: &[&str] = &[
    "questionstem",
    "stem",
    "problem",
    "goal",
    "ctx",
    "startphrase",
    "sentence",
    "premise",
    "sent1",
];
/// What a question is about.
const ABOUT: &[&str] = &[
    "context", "passage", "article", "input", "sent2", "premise", "support",
];
/// What the names of columns with a choice each begin with; before them stand a letter or a number.
const STEMS: &[&str] = &[
    "",
    "option",
    "options",
    "opt",
    "op",
    "choice",
    "choices",
    "sol",
    "solution",
    "ending",
    "answer",
    "ans",
    "candidate",
    "alternative",
];

/// Whether a value lists choices.
pub(super) fn is_list(value: &Value) -> bool {
    Choices::of(value).is_some()
}

/// A multiple-choice row.
pub(super) fn choice(row: &Row) -> Option<Mapping> {
    let nested = nested(row);
    let listed = row.find(CHOICES, is_list).map(|name| vec![name]);
    let paths = match &nested {
        Some((_, choices)) => vec![choices.clone()],
        None => listed.or_else(|| columns(row))?,
    };
    let choices = match (paths.as_slice(), &nested) {
        (_, Some((prompt, _))) => {
            let question = prompt.split('.').next().unwrap_or_default();
            Choices::of(row.value(question)?.get("choices")?)?
        }
        ([path], None) => Choices::of(row.value(path)?)?,
        (paths, None) => {
            let text = |name: &str| scalar(row.value(name)?);
            Choices::of_columns(paths, text)?
        }
    };
    let is_free = |name: &String| !paths.contains(name);
    let prompt = match nested {
        Some((prompt, _)) => prompt,
        None => {
            let question = row.find(PROMPT, Value::is_string).filter(is_free);
            question.or_else(|| row.find(QUESTION, Value::is_string))?
        }
    };
    let answer = ANSWER.iter().find_map(|name| {
        let name = row.find(&[name], |_| true)?;
        let is_meant = choices.is_meant(&name, row.value(&name)?);
        (is_meant && is_free(&name) && name != prompt).then_some(name)
    })?;
    let input = row.find_or_null(ABOUT, Value::is_string);
    Some(Mapping::Choice {
        input: input.filter(|input| *input != prompt && *input != answer && is_free(input)),
        prompt,
        choices: paths,
        answer,
    })
}

/// A question that holds its own choices, as ARC's and CommonsenseQA's files have it: the paths of both.
fn nested(row: &Row) -> Option<(String, String)> {
    let is_it = |value: &Value| {
        value.get("stem").is_some_and(Value::is_string) && value.get("choices").is_some_and(is_list)
    };
    let name = row.find(&["question"], is_it)?;
    Some((format!("{name}.stem"), format!("{name}.choices")))
}

/// Columns with a choice each: `A`, `B`, ..; `option_a`, ..; `ending0`, ..
fn columns(row: &Row) -> Option<Vec<String>> {
    let is_choice = |value: &Value| value.is_string() || value.is_number();
    STEMS.iter().find_map(|stem| {
        if !row.has_name_from(stem) {
            return None;
        }
        [b'a', b'0', b'1'].into_iter().find_map(|first| {
            // Numbers alone are no names of choices.
            if stem.is_empty() && first != b'a' {
                return None;
            }
            let named = (first..first + 9).map_while(|last| {
                let name = format!("{stem}{}", char::from(last));
                row.find(&[&name], is_choice)
            });
            let named: Vec<String> = named.collect();
            (named.len() >= 2).then_some(named)
        })
    })
}
