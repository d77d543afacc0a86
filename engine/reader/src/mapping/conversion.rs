//! What was done to rows so that they could be read, told once for all of them.

use std::collections::BTreeMap;

/// Something that was done to a row so that it could be read, which its author may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conversion {
    /// The answer is a list or an object.
    JsonAnswer,
    /// The row accepts several answers, of which the first is learned.
    FirstAnswer,
    /// The row is a multiple-choice question.
    Choices,
    /// Earlier turns stand in a field of their own.
    History,
    /// Messages of the assistant are marked as context.
    Context,
    /// The conversation has several branches.
    Branches,
    /// The row has a weight that is not followed.
    Weight,
}

impl Conversion {
    /// A sentence about the rows that it was done to.
    pub fn sentence(self, num_rows: usize) -> String {
        let is_one = num_rows == 1;
        let rows = match is_one {
            true => "1 row".to_owned(),
            false => format!("{num_rows} rows"),
        };
        let either = |one: &'static str, many: &'static str| if is_one { one } else { many };
        match self {
            Self::JsonAnswer => {
                let answers = either(
                    "answer is a list or an object and is",
                    "answers are lists or objects and are",
                );
                format!("{num_rows} {answers} learned as JSON text.")
            }
            Self::FirstAnswer => {
                let list = either("lists", "list");
                format!("{rows} {list} several accepted answers; the first one is learned.")
            }
            Self::Choices => {
                let are = either(
                    "is a multiple-choice question",
                    "are multiple-choice questions",
                );
                format!(
                    "{rows} {are}: the choices stand in the prompt, and the right one is the answer."
                )
            }
            Self::History => {
                let have = either("has", "have");
                format!(
                    "{rows} {have} earlier turns, whose answers are learned too. To learn the last one only, train on the last turn."
                )
            }
            Self::Context => {
                let have = either("has", "have");
                format!(
                    "{rows} {have} answers that the dataset marks as context only; those are not learned."
                )
            }
            Self::Branches => {
                let have = either("conversation has", "conversations have");
                format!("{num_rows} {have} several branches; the current one is learned.")
            }
            Self::Weight => {
                let have = either("has a weight that is", "have weights that are");
                format!(
                    "{rows} {have} ignored; only 0 and 1 are followed, and only where the columns are chosen automatically."
                )
            }
        }
    }
}

/// How many rows each conversion was done to.
#[derive(Debug, Clone, Default)]
pub struct Conversions(BTreeMap<Conversion, usize>);

impl Conversions {
    /// Counts a row.
    pub fn count(&mut self, conversions: &[Conversion]) {
        for conversion in conversions {
            *self.0.entry(*conversion).or_default() += 1;
        }
    }

    /// A sentence about each.
    pub fn sentences(&self) -> impl Iterator<Item = String> {
        let all = self.0.iter();
        all.map(|(conversion, num_rows)| conversion.sentence(*num_rows))
    }
}
