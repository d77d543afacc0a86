//! Multiple choice: the choices, and which of them is the right one.

use formats::row::Example;
use serde_json::Value;

use super::{Fields, Reading, RowFault, scalar};
use crate::{cell, path::get, recognize::plain};

/// Choices that a question may have.
const MAX_CHOICES: usize = 26;
/// Where a choice that is an object keeps its text and its letter.
const TEXT_NAMES: [&str; 6] = ["text", "content", "value", "choice", "option", "answer"];
const LABEL_NAMES: [&str; 5] = ["label", "key", "letter", "id", "idx"];
/// Answers under these names are numbers of choices, even where they are written as text.
const NUMBER_NAMES: [&str; 11] = [
    "label",
    "answeridx",
    "answerindex",
    "answerid",
    "correctidx",
    "correctindex",
    "correctanswerindex",
    "goldindex",
    "goldlabel",
    "gold",
    "cop",
];

/// The choices of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    texts: Vec<String>,
    /// As the row calls them, one for each; empty where it gives them no letter or number.
    labels: Vec<String>,
}

impl Choices {
    /// The choices that a value lists: `["x", "y"]`, `[{"label": "A", "text": "x"}, ..]`, `{"text": [..], "label": [..]}`,
    /// `{"A": "x", "B": "y"}`, or any of these written as text.
    pub fn of(value: &Value) -> Option<Self> {
        let value = cell::opened(value);
        let found = match &*value {
            Value::Array(list) => Self::of_list(list)?,
            Value::Object(fields) => {
                let list = |names: &[&str]| {
                    let list = names.iter().find_map(|name| fields.get(*name)?.as_array());
                    list?.iter().map(scalar).collect::<Option<Vec<_>>>()
                };
                match list(&["text", "texts", "choices"]) {
                    Some(texts) => Self {
                        labels: list(&["label", "labels"]).unwrap_or_default(),
                        texts,
                    },
                    None => {
                        let is_label = |name: &String| name.chars().count() == 1;
                        if !fields.keys().all(is_label) {
                            return None;
                        }
                        let texts = fields.values().filter(|value| !value.is_null());
                        let labels = fields.iter().filter(|(_, value)| !value.is_null());
                        Self {
                            texts: texts.map(scalar).collect::<Option<_>>()?,
                            labels: labels.map(|(name, _)| name.clone()).collect(),
                        }
                    }
                }
            }
            _ => return None,
        };
        let is_sound = (2..=MAX_CHOICES).contains(&found.texts.len())
            && (found.labels.is_empty() || found.labels.len() == found.texts.len());
        is_sound.then_some(found)
    }

    /// The choices at these paths: of the field that lists them, or of the fields with one each.
    pub fn at(fields: &Fields, paths: &[String]) -> Option<Self> {
        let listed = match paths {
            [path] => Self::of(get(fields, path)?),
            _ => None,
        };
        listed.or_else(|| Self::of_columns(paths, |path| scalar(get(fields, path)?)))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.texts.len()
    }

    fn of_list(list: &[Value]) -> Option<Self> {
        if let Some(texts) = list.iter().map(scalar).collect::<Option<Vec<_>>>() {
            return Some(Self {
                texts,
                labels: Vec::new(),
            });
        }
        let field = |names: &[&str], item: &Value| {
            let found = names.iter().find_map(|name| scalar(item.get(*name)?));
            found.filter(|_| item.is_object())
        };
        let texts = list.iter().map(|item| field(&TEXT_NAMES, item));
        let labels = list.iter().map(|item| field(&LABEL_NAMES, item));
        Some(Self {
            texts: texts.collect::<Option<_>>()?,
            labels: labels.collect::<Option<_>>().unwrap_or_default(),
        })
    }

    /// The choices in columns of their own; those that are empty are none. Columns that are numbered have their numbers as
    /// labels.
    pub fn of_columns(names: &[String], value: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let filled: Vec<(&String, String)> = names
            .iter()
            .filter_map(|name| Some((name, value(name)?)))
            .filter(|(_, text)| !text.trim().is_empty())
            .collect();
        let digits = |name: &str| -> String {
            let kept = name.trim_end_matches(|character: char| character.is_ascii_digit());
            name[kept.len()..].to_owned()
        };
        let labels: Vec<String> = filled.iter().map(|(name, _)| digits(name)).collect();
        let is_numbered = labels.iter().all(|label| !label.is_empty());
        let found = Self {
            texts: filled.into_iter().map(|(_, text)| text).collect(),
            labels: if is_numbered { labels } else { Vec::new() },
        };
        (2..=MAX_CHOICES)
            .contains(&found.texts.len())
            .then_some(found)
    }

    /// Whether every choice already begins with its letter, as in `A) 21`.
    fn are_lettered(&self) -> bool {
        self.texts.iter().enumerate().all(|(index, text)| {
            let text = text.trim_start().trim_start_matches('(');
            let mut characters = text.chars();
            let first = characters.next().map(|first| first.to_ascii_uppercase());
            first == Some(letter(index))
                && characters.next().is_some_and(|next| ").:".contains(next))
        })
    }

    /// A choice as it stands in the prompt and in the answer.
    fn line(&self, index: usize) -> String {
        let text = self.texts[index].trim();
        match self.are_lettered() {
            true => text.to_owned(),
            false => format!("{}. {text}", letter(index)),
        }
    }

    /// All choices, each on a line.
    pub fn lines(&self) -> String {
        let lines: Vec<String> = (0..self.texts.len())
            .map(|index| self.line(index))
            .collect();
        lines.join("\n")
    }

    /// The index of the right choice. `name` is the field of the answer; `first` is the number of the first choice.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn right(&self, name: &str, answer: &Value, first: usize) -> Result<usize, String> {
        let len = self.texts.len();
        let is_number_name = NUMBER_NAMES.contains(&plain(name).as_str());
        let position = |list: &[String], wanted: &str| {
            let is_it = |item: &String| item.trim().eq_ignore_ascii_case(wanted);
            list.iter().position(is_it)
        };
        let out_of_range = |number: i64| {
            let last = first + len - 1;
            format!("`{name}` is {number}, but the choices are numbered {first} to {last}")
        };
        let numbered = |number: i64| {
            let index = usize::try_from(number)
                .ok()
                .and_then(|number| number.checked_sub(first));
            index
                .filter(|index| *index < len)
                .ok_or_else(|| out_of_range(number))
        };
        // Columns and choices that are numbered are meant by their numbers, but for a class of a dataset, which counts
        // from 0.
        let labelled = |number: i64| match plain(name) == "label" {
            true => None,
            false => position(&self.labels, &number.to_string()),
        };
        let by_number = |number: i64| match labelled(number) {
            Some(index) => Ok(index),
            None => numbered(number),
        };
        let text = match answer {
            Value::Number(number) => {
                let number = number.as_f64().filter(|number| number.fract() == 0.0);
                return match number {
                    Some(number) => by_number(number as i64),
                    None => Err(format!(
                        "`{name}` is {answer}, which is not the number of a choice"
                    )),
                };
            }
            Value::String(text) => text.trim(),
            other => return Err(format!("`{name}` is {other}, which is not a choice")),
        };
        if text.is_empty() {
            return Err(format!(
                "`{name}` is empty, so no choice is marked as right"
            ));
        }
        let by_text = position(&self.texts, text);
        let own_number = text
            .parse::<f64>()
            .ok()
            .filter(|number| number.fract() == 0.0);
        if let Some(number) = own_number {
            let index = by_number(number as i64);
            return match (by_text, index) {
                (_, index) if is_number_name => index,
                (Some(by_text), Ok(index)) if by_text != index => Err(format!(
                    "`{name}` is \"{text}\", which is both the text of a choice and the number of another one"
                )),
                (Some(by_text), _) => Ok(by_text),
                (None, index) => index,
            };
        }
        let bare = text.trim_matches(|character: char| "().: ".contains(character));
        let lettered = || {
            let mut characters = bare.chars();
            let only = characters.next().filter(|_| characters.next().is_none())?;
            let index = (only.to_ascii_uppercase() as usize).checked_sub('A' as usize)?;
            (only.is_ascii_alphabetic() && index < len).then_some(index)
        };
        let lines = || (0..len).position(|index| self.line(index).eq_ignore_ascii_case(text));
        position(&self.labels, bare)
            .or(by_text)
            .or_else(lettered)
            .or_else(lines)
            .ok_or_else(|| {
                format!(
                    "`{name}` is \"{}\", which is none of the choices",
                    shortened(text)
                )
            })
    }

    /// Whether an answer is meant as one of the choices, be it out of range: a number or a letter, or the text of one.
    pub fn is_meant(&self, name: &str, answer: &Value) -> bool {
        let is_mark = match answer {
            Value::Number(number) => number.as_f64().is_some_and(|number| number.fract() == 0.0),
            Value::String(text) => {
                let bare = text.trim_matches(|character: char| "().: ".contains(character));
                bare.chars().count() == 1 || bare.parse::<i64>().is_ok()
            }
            _ => false,
        };
        is_mark || self.right(name, answer, 0).is_ok()
    }
}

fn letter(index: usize) -> char {
    char::from(b'A' + (index % MAX_CHOICES) as u8)
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

impl Reading<'_> {
    /// A question with its choices, and the right one as the answer.
    pub(super) fn choice(
        &mut self,
        prompt: &str,
        input: Option<&str>,
        paths: &[String],
        answer: &str,
    ) -> Result<Example, RowFault> {
        if let [path] = paths {
            self.required(path)?;
        }
        let choices = Choices::at(self.fields, paths);
        let choices = choices.ok_or_else(|| {
            let what = format!(
                "`{}` has no list of 2 to {MAX_CHOICES} choices",
                paths.join("`, `")
            );
            RowFault::new(first(paths), what, "List the choices as texts.")
        })?;
        let right = choices.right(answer, self.required(answer)?, self.habits.first_choice);
        let right = right.map_err(|what| {
            let remedy = "Write the letter, the number or the text of the right choice.";
            RowFault::new(answer, what, remedy)
        })?;
        let asked = [
            Some(self.text(prompt)?),
            self.optional(input)?,
            Some(choices.lines()),
        ];
        Ok(Example::Pair {
            prompt: asked.into_iter().flatten().collect::<Vec<_>>().join("\n\n"),
            completion: choices.line(right),
        })
    }
}

fn first(paths: &[String]) -> String {
    paths.first().cloned().unwrap_or_default()
}
