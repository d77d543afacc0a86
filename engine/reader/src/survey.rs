//! How the rows of a file are written, where a row alone does not tell: whether answers are lists, whether texts have
//! answers, and whether choices are counted from 0 or from 1.

use protocol::Mapping;
use serde_json::Value;

use super::{
    cell::number,
    mapping::{Choices, Habits, is_empty_list, lists_alternatives, scalar},
    path::{Fields, get},
    recognize::{is_answered_text, recognize},
};

/// A look at the first rows of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Survey {
    /// Whether an answer is a list of no item or of several.
    has_lists: bool,
    /// Whether a text has an answer.
    has_answers: bool,
    /// Whether a text has a label.
    has_labels: bool,
    /// The numbers that answers are, a bit for each.
    numbers: u64,
    /// The most choices that a question has.
    num_choices: usize,
    /// Whether an answer is no number of a choice, from wherever they are counted.
    has_other: bool,
}

impl Survey {
    /// Takes note of a row.
    pub fn look(&mut self, fields: &Fields, mapping: &Mapping) {
        let recognized;
        let mapping = match mapping {
            Mapping::Automatic => {
                let Some(found) = recognize(fields) else {
                    return;
                };
                self.has_answers |= is_answered_text(fields, &found);
                recognized = found;
                &recognized
            }
            fixed => fixed,
        };
        match mapping {
            Mapping::PromptCompletion {
                completion: answer, ..
            }
            | Mapping::Preference { chosen: answer, .. } => {
                let list = get(fields, answer).and_then(Value::as_array);
                let list = list.filter(|_| !lists_alternatives(answer));
                self.has_lists |= list.is_some_and(|list| {
                    list.len() != 1 && list.iter().all(|item| scalar(item).is_some())
                });
            }
            Mapping::Choice {
                choices, answer, ..
            } => {
                let number = get(fields, answer).and_then(number);
                let choices = Choices::at(fields, choices);
                if let Some((number, choices)) = number.zip(choices) {
                    self.num_choices = self.num_choices.max(choices.count());
                    match (0..=choices.count()).find(|known| *known as f64 == number) {
                        Some(number) => self.numbers |= 1 << number,
                        None => self.has_other = true,
                    }
                }
            }
            Mapping::Classification { label, .. } => {
                self.has_labels |= !is_empty_list(fields, label);
            }
            _ => {}
        }
    }

    /// What follows for the rows of the file.
    pub fn habits(self) -> Habits {
        // A single number too many is a mistake; all from 1 to the last and never 0 is a way to count.
        let from_one = (1 << (self.num_choices + 1)) - 2;
        let counts_from_one = self.num_choices > 0 && self.numbers == from_one && !self.has_other;
        Habits {
            first_choice: usize::from(counts_from_one),
            has_lists: self.has_lists,
            has_answers: self.has_answers,
            has_labels: self.has_labels,
        }
    }
}
