//! Guesses a mapping from the contents of columns whose names say nothing. The user is asked; a guess is never followed
//! unasked.
//!
//! ```text
//! ids, roles                        nothing
//! few values that repeat            a label
//! numbers, dates, links             nothing, unless the only column besides a question
//! other texts                       the one that asks is the question; else the left one
//! ```
//!
//! Nothing is guessed where the names say that a guess would go wrong: messages of a conversation, several answers of which
//! one is right or better.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use protocol::Mapping;
use serde_json::Value;

use super::{
    gather::is_message_row,
    headers::english,
    path::Fields,
    recognize::{compared_names, is_half, is_of_rejected, plain},
};

const MAX_RECORDS: usize = 1000;
const MAX_COLUMNS: usize = 100;
/// The maximum number of different values of a label, and their maximum mean length.
const MAX_LABELS: usize = 30;
const MAX_LABEL_CHARS: usize = 40;

/// Inspects the records one by one.
#[derive(Default)]
pub struct Guess {
    columns: Vec<Column>,
    num_seen: usize,
}

#[derive(Default)]
struct Column {
    name: String,
    num_filled: usize,
    num_chars: usize,
    num_questions: usize,
    /// Texts of more than one word.
    num_spaced: usize,
    num_numbers: usize,
    /// Dates, links and ids: neither questions nor answers.
    num_marks: usize,
    distinct: HashSet<u64>,
    /// Whether its numbers ascend by one, like row numbers.
    is_counting: bool,
    last: Option<f64>,
}

impl Column {
    fn look(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        self.num_filled += 1;
        self.num_chars += text.chars().count();
        let is_question = text.ends_with(['?', '？', '؟']) || text.starts_with('¿');
        self.num_questions += usize::from(is_question);
        self.num_spaced += usize::from(text.contains(char::is_whitespace));
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        self.distinct.insert(hasher.finish());
        let number = text.replace(',', ".").parse::<f64>().ok();
        self.num_numbers += usize::from(number.is_some());
        self.num_marks += usize::from(number.is_none() && is_mark(text));
        let follows = match (self.last, number) {
            (None, Some(_)) => self.num_filled == 1,
            (Some(last), Some(number)) => self.is_counting && number == last + 1.0,
            (_, None) => false,
        };
        self.is_counting = follows;
        self.last = number;
    }

    /// Whether nearly all of its values are of this kind.
    fn is_mostly(&self, number: usize) -> bool {
        self.num_filled > 0 && number * 10 >= self.num_filled * 9
    }

    fn mean_chars(&self) -> usize {
        self.num_chars / self.num_filled.max(1)
    }

    fn is_label(&self) -> bool {
        let distinct = self.distinct.len();
        let is_repeated = distinct * 2 <= self.num_filled && distinct <= MAX_LABELS;
        is_repeated
            && distinct > 1
            && self.mean_chars() <= MAX_LABEL_CHARS
            && !self.is_mostly(self.num_marks)
    }

    fn is_text(&self) -> bool {
        !self.is_mostly(self.num_numbers)
            && !self.is_mostly(self.num_marks)
            && self.distinct.len() > 1
    }

    fn asks(&self) -> bool {
        self.num_questions * 10 >= self.num_filled * 3
    }
}

/// Whether a text is a date, a time, a link, an address or an id.
fn is_mark(text: &str) -> bool {
    let has_space = text.contains(char::is_whitespace);
    let num_digits = text.chars().filter(char::is_ascii_digit).count();
    let is_date_char =
        |character: char| character.is_ascii_digit() || ":-/. TZ+apmAPM".contains(character);
    let is_date = num_digits >= 4 && text.len() <= 32 && text.chars().all(is_date_char);
    let months = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ];
    let is_month = |word: &str| {
        let start = word.get(..3).map(str::to_lowercase);
        start.is_some_and(|start| months.contains(&start.as_str()))
    };
    // As in "Mon Apr 06 22:19:45 PDT 2009".
    let is_date = is_date
        || num_digits >= 5
            && text.len() <= 40
            && text.contains(':')
            && text.split_whitespace().any(is_month);
    let is_link = !has_space && (text.contains("://") || text.starts_with("www."));
    let is_id = !has_space
        && num_digits > 0
        && text.len() >= 6
        && text.is_ascii()
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
        && num_digits * 4 >= text.len();
    is_date || is_link || is_id
}

/// Whether a column is called an id or a number of rows.
fn is_id(name: &str) -> bool {
    let ends = [
        "_id", "-id", " id", "Id", "ID", "_ID", "_uuid", "_nr", " nr", " no.",
    ];
    let names = ["id", "idx", "index", "uuid", "guid", "nr", "key"];
    ends.iter().any(|end| name.ends_with(end)) || names.contains(&plain(name).as_str())
}

/// Whether columns have a choice each: `Answer 1`, `Answer 2`, ..; `Antwort A`, `Antwort B`, ..; `Incorrect Answer 1`, ..
fn are_choices(names: &[String]) -> bool {
    const STEMS: [&str; 8] = [
        "answer",
        "option",
        "choice",
        "response",
        "distractor",
        "alternative",
        "candidate",
        "ending",
    ];
    let is_one = |name: &&String| {
        let plain = plain(name);
        let mut characters = plain.chars();
        let last = characters.next_back();
        let stem = characters.as_str();
        let meaning = english(stem).unwrap_or(stem);
        last.is_some_and(|last| last.is_ascii_digit() || ('a'..='h').contains(&last))
            && STEMS.iter().any(|known| meaning.ends_with(known))
    };
    names.iter().filter(is_one).count() > 1
}

impl Guess {
    pub fn look(&mut self, fields: &Fields) {
        if self.num_seen == MAX_RECORDS {
            return;
        }
        self.num_seen += 1;
        for (name, value) in fields {
            let number;
            let text = match value {
                Value::String(text) => text.as_str(),
                Value::Number(_) | Value::Bool(_) => {
                    number = value.to_string();
                    number.as_str()
                }
                _ => continue,
            };
            let at = self.columns.iter().position(|column| column.name == *name);
            let at = match at {
                Some(at) => at,
                None if self.columns.len() < MAX_COLUMNS => {
                    self.columns.push(Column {
                        name: name.clone(),
                        ..Column::default()
                    });
                    self.columns.len() - 1
                }
                None => continue,
            };
            self.columns[at].look(text);
        }
    }

    /// The guessed mapping; `None` if nothing can be said.
    pub fn mapping(&self) -> Option<Mapping> {
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|column| column.name.clone())
            .collect();
        if is_message_row(&names)
            || compared_names(&names).is_some()
            || are_choices(&names)
            || names.iter().any(|name| is_of_rejected(&plain(name)))
        {
            return None;
        }
        let filled: Vec<&Column> = self
            .columns
            .iter()
            .filter(|column| column.num_filled * 2 >= self.num_seen && column.num_filled > 0)
            .filter(|column| !is_id(&column.name))
            .collect();
        let (labels, others): (Vec<&Column>, Vec<&Column>) =
            filled.into_iter().partition(|column| column.is_label());
        let texts: Vec<&Column> = others
            .iter()
            .copied()
            .filter(|column| column.is_text())
            .collect();
        // Names of people, of places and the like, next to sentences.
        let has_sentences = texts.iter().any(|text| text.is_mostly(text.num_spaced));
        let texts: Vec<&Column> = texts
            .into_iter()
            .filter(|text| labels.is_empty() || !has_sentences || text.num_spaced > 0)
            .collect();
        match texts.as_slice() {
            [] => self.of_few(&labels),
            [text] => Some(match labels.as_slice() {
                // The shortest of several: a label, not a remark.
                [_, ..] => {
                    classification(text, labels.iter().min_by_key(|label| label.mean_chars())?)
                }
                [] => {
                    let number = others
                        .iter()
                        .find(|other| other.is_mostly(other.num_numbers) && !other.is_counting);
                    match number.filter(|_| text.asks()) {
                        Some(number) => pair(text, number),
                        // A question without its answer is no text to learn.
                        None if is_half(&text.name) => return None,
                        None => Mapping::Text {
                            text: text.name.clone(),
                        },
                    }
                }
            }),
            texts => {
                let (first, second) = two_best(texts)?;
                Some(pair(first, second))
            }
        }
    }

    /// With a handful of rows, even texts repeat: two columns are a pair by position.
    fn of_few(&self, labels: &[&Column]) -> Option<Mapping> {
        let texts: Vec<&Column> = labels
            .iter()
            .copied()
            .filter(|column| column.is_text())
            .collect();
        match texts.as_slice() {
            [one, other] => {
                let (first, second) = two_best(&[*one, *other])?;
                Some(pair(first, second))
            }
            _ => None,
        }
    }
}

/// The question and the answer among texts: the one that asks, and the longest other one after it, or else before it.
fn two_best<'a>(texts: &[&'a Column]) -> Option<(&'a Column, &'a Column)> {
    let asking = texts.iter().enumerate().filter(|(_, text)| text.asks());
    let asking = asking.max_by_key(|(_, text)| text.num_questions);
    if let Some((at, question)) = asking {
        let longest =
            |texts: &[&'a Column]| texts.iter().copied().max_by_key(|text| text.num_chars);
        let answer = longest(&texts[at + 1..]).or_else(|| longest(&texts[..at]))?;
        return Some((question, answer));
    }
    // The two longest, in order.
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(texts[at].num_chars));
    let (one, other) = (*order.first()?, *order.get(1)?);
    Some((texts[one.min(other)], texts[one.max(other)]))
}

fn pair(prompt: &Column, completion: &Column) -> Mapping {
    Mapping::PromptCompletion {
        history: None,
        verdict: None,
        system: None,
        prompt: prompt.name.clone(),
        input: None,
        completion: completion.name.clone(),
    }
}

fn classification(text: &Column, label: &Column) -> Mapping {
    Mapping::Classification {
        text: text.name.clone(),
        label: label.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(names: &[&str], rows: &[&[&str]]) -> Option<Mapping> {
        let mut guess = Guess::default();
        for row in rows {
            let cells = names.iter().zip(*row);
            let fields: Vec<_> = cells
                .map(|(name, cell)| ((*name).to_owned(), Value::from(*cell)))
                .collect();
            guess.look(&fields);
        }
        guess.mapping()
    }

    fn paired(prompt: &str, completion: &str) -> Option<Mapping> {
        Some(Mapping::PromptCompletion {
            history: None,
            verdict: None,
            system: None,
            prompt: prompt.to_owned(),
            input: None,
            completion: completion.to_owned(),
        })
    }

    fn labelled(text: &str, label: &str) -> Option<Mapping> {
        Some(Mapping::Classification {
            text: text.to_owned(),
            label: label.to_owned(),
        })
    }

    #[test]
    fn content_tells_questions_answers_texts_and_labels() {
        // The label stands first, as in the SMS spam collection; the other columns are empty.
        assert_eq!(
            guessed(
                &["v1", "v2", "c3"],
                &[
                    &["ham", "Shall we meet at the quay, then", ""],
                    &["spam", "Claim a prize today", ""],
                    &["ham", "Fine by me, see you", ""],
                    &["spam", "You were picked, call now", ""],
                ]
            ),
            labelled("v2", "v1")
        );
        // Numbers as labels.
        assert_eq!(
            guessed(
                &["x", "y"],
                &[
                    &["good film", "1"],
                    &["bad film", "0"],
                    &["fine", "1"],
                    &["dull", "0"]
                ]
            ),
            labelled("x", "y")
        );
        // The question comes after its answer.
        assert_eq!(
            guessed(
                &["a", "b"],
                &[
                    &["In Bonn.", "Where is it?"],
                    &["At nine.", "When is it?"],
                    &["Anna.", "Who is it?"]
                ]
            ),
            paired("b", "a")
        );
        // With a number, a date and a link.
        assert_eq!(
            guessed(
                &["n", "Spalte1", "Spalte2", "d", "u"],
                &[
                    &[
                        "1",
                        "Wo liegt Bonn?",
                        "Am Rhein.",
                        "01.02.2024",
                        "https://a.de/1"
                    ],
                    &[
                        "2",
                        "Wo liegt Kiel?",
                        "An der See.",
                        "02.02.2024",
                        "https://a.de/2"
                    ],
                    &[
                        "3",
                        "Wo liegt Ulm?",
                        "An der Donau.",
                        "03.02.2024",
                        "https://a.de/3"
                    ],
                ]
            ),
            paired("Spalte1", "Spalte2")
        );
        // Nothing asks: from left to right.
        assert_eq!(
            guessed(&["first", "second"], &[&["up", "down"], &["left", "right"]]),
            paired("first", "second")
        );
        assert_eq!(
            guessed(
                &["q", "n"],
                &[&["2+2?", "4"], &["3+4?", "7"], &["9-1?", "8"]]
            ),
            paired("q", "n")
        );
        assert_eq!(
            guessed(
                &["k", "z"],
                &[&["1", "A long story."], &["2", "Another one."]]
            ),
            Some(Mapping::Text { text: "z".into() })
        );
        assert_eq!(guessed(&["k", "z"], &[&["1", "2.5"], &["2", "3.5"]]), None);
        assert_eq!(guessed(&["k"], &[]), None);
        // The answers are missing, or in a form that is not read.
        let halves: &[&[&str]] = &[&["7", "Name a knot."], &["9", "Name a sail."]];
        assert_eq!(guessed(&["k", "prompt"], halves), None);
    }
}
