//! A record's fields to an example.

mod answer;
mod choice;
mod conversion;
mod part;
mod preference;
mod template;
mod unknown;
mod verdict;

use formats::row::{ASSISTANT, Example, USER};
use protocol::{Mapping, Message, RowShape};
use serde_json::Value;

use self::{
    answer::Said,
    part::{sibling, split_system, with_system},
    unknown::unknown,
};
pub use self::{
    answer::lists_alternatives,
    choice::Choices,
    conversion::{Conversion, Conversions},
    verdict::{is_weight, verdict},
};
use super::{
    conversation::{Exported, conversation},
    path::{Fields, first_name, get},
    recognize::{plain, recognize, unanswered},
};

/// Why a record gives no example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// The field at which it is; empty for the whole row.
    pub path: String,
    pub what: String,
    pub remedy: String,
}

impl RowFault {
    pub fn new(
        path: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    pub example: Example,
    /// The label of a text.
    pub label: Option<String>,
    /// The rejected answer of a preference, which is not learned.
    pub rejected: Option<String>,
    /// Whether the answer is marked as a good one, with the field that says so, which may be the row's weight of 0; an
    /// answer that is marked as bad is never learned.
    pub verdict: Option<(bool, String)>,
    /// What was done to read it, each at most once.
    pub conversions: Vec<Conversion>,
}

/// How the rows of a file are written, where a row alone does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Habits {
    /// Number of the first choice.
    pub first_choice: usize,
    /// Whether answers are lists even where they have one item only.
    pub has_lists: bool,
    /// Whether texts have answers, so that a text without one is half a pair.
    pub has_answers: bool,
    /// Whether texts have labels, so that an empty list of labels is a missing one.
    pub has_labels: bool,
}

/// Reads `fields` as `mapping` says, and as what the row was recognized where that leaves it open.
///
/// # Errors
/// What is missing or of another kind.
pub fn example(
    fields: &Fields,
    mapping: &Mapping,
    habits: Habits,
) -> Result<(Mapped, Mapping), RowFault> {
    let is_automatic = *mapping == Mapping::Automatic;
    let mapping = match mapping {
        Mapping::Automatic => match recognize(fields) {
            Some(text @ Mapping::Text { .. }) if habits.has_answers => {
                unanswered(fields).unwrap_or(text)
            }
            // Where labels are spans of the text, as in Doccano, an empty list of them is no label.
            Some(Mapping::Classification { text, label })
                if !habits.has_labels && is_empty_list(fields, &label) =>
            {
                Mapping::Text { text }
            }
            found => found.ok_or_else(|| unknown(fields))?,
        },
        fixed => fixed.clone(),
    };
    let mut reading = Reading {
        fields,
        habits,
        is_automatic,
        conversions: Vec::new(),
    };
    let mut mapped = reading.mapped(&mapping)?;
    reading.conversions.sort_unstable();
    reading.conversions.dedup();
    mapped.conversions = reading.conversions;
    Ok((mapped, mapping))
}

/// Whether the field at `path` is a list of nothing.
pub fn is_empty_list(fields: &Fields, path: &str) -> bool {
    let list = get(fields, path).and_then(Value::as_array);
    list.is_some_and(Vec::is_empty)
}

/// A record on its way to an example.
struct Reading<'a> {
    fields: &'a Fields,
    habits: Habits,
    /// Whether nobody chose the columns by hand.
    is_automatic: bool,
    conversions: Vec<Conversion>,
}

impl From<Example> for Mapped {
    fn from(example: Example) -> Self {
        Self {
            example,
            label: None,
            rejected: None,
            verdict: None,
            conversions: Vec::new(),
        }
    }
}

impl<'a> Reading<'a> {
    fn mapped(&mut self, mapping: &Mapping) -> Result<Mapped, RowFault> {
        match mapping {
            // A single message is not an example; `gather` turns messages into conversations.
            Mapping::Automatic | Mapping::MessageRows { .. } => Err(unknown(self.fields)),
            Mapping::Text { text } => Ok(Example::Text(self.text(text)?).into()),
            Mapping::PromptCompletion {
                system,
                history,
                prompt,
                input,
                completion,
                verdict,
            } => {
                let before = self.before(system.as_deref(), history.as_deref())?;
                let example = self.pair(before, prompt, input.as_deref(), completion)?;
                self.judged(example, verdict.as_deref(), completion)
            }
            Mapping::Messages {
                messages,
                system,
                verdict,
            } => {
                let example = self.messages(messages, system.as_deref(), verdict.as_deref())?;
                self.judged(example, verdict.as_deref(), messages)
            }
            Mapping::Choice {
                prompt,
                input,
                choices,
                answer,
            } => {
                let example = self.choice(prompt, input.as_deref(), choices, answer)?;
                self.conversions.push(Conversion::Choices);
                Ok(example.into())
            }
            Mapping::Classification { text, label } => {
                let label = self.label(label)?;
                let example = Example::Pair {
                    prompt: self.text(text)?,
                    completion: label.clone(),
                };
                Ok(Mapped {
                    label: Some(label),
                    ..example.into()
                })
            }
            Mapping::Preference {
                system,
                history,
                prompt,
                input,
                chosen,
                rejected,
            } => {
                let before = self.before(system.as_deref(), history.as_deref())?;
                if let Some((all, rejected)) =
                    self.compared_turns([prompt.as_deref(), input.as_deref()], chosen, rejected)
                {
                    let example = self.turns_preferred(before, all, chosen)?;
                    return Ok(Mapped {
                        rejected: Some(rejected),
                        ..example.into()
                    });
                }
                let asked = prompt.as_deref().zip(Some(input.as_deref()));
                let example = self.preferred(before, asked, chosen)?;
                Ok(Mapped {
                    rejected: Some(self.rejected(rejected)?),
                    ..example.into()
                })
            }
            Mapping::Template { prompt, completion } => {
                let filled = template::fill(self.fields, completion)?;
                if prompt.trim().is_empty() {
                    return Ok(Example::Text(filled).into());
                }
                let example = Example::Pair {
                    prompt: template::fill(self.fields, prompt)?,
                    completion: filled,
                };
                Ok(example.into())
            }
        }
    }

    /// A list of messages, with the system text next to it.
    fn messages(
        &mut self,
        path: &str,
        system: Option<&str>,
        verdict: Option<&str>,
    ) -> Result<Example, RowFault> {
        let value = self.required(path)?;
        let current = get(self.fields, &sibling(path, "current_node")).and_then(Value::as_str);
        let Exported {
            messages,
            has_branches,
        } = conversation(path, value, current)?;
        if has_branches {
            self.conversions.push(Conversion::Branches);
        }
        let all = with_system(self.system(system)?, messages);
        // A verdict is about the last answer.
        let is_judged = verdict.is_some_and(|verdict| get(self.fields, verdict).is_some());
        let last = all.iter().rposition(|message| message.role == ASSISTANT);
        let first_trained = last.filter(|_| is_judged).unwrap_or(0);
        self.conversation(path, all, first_trained, RowShape::Messages)
    }

    /// The prompt and what answers it: both texts, messages, or one of each.
    ///
    /// The answers of earlier turns in a `history` are learned, too, as in LLaMA-Factory, where that field comes from, unless
    /// it is told otherwise (`mask_history`); `TrainOn::LastTurn` says so here. A prompt that is a list of messages is context,
    /// as in TRL.
    fn pair(
        &mut self,
        before: Vec<Message>,
        prompt: &str,
        input: Option<&str>,
        completion: &str,
    ) -> Result<Example, RowFault> {
        let asked = self.asked(prompt, input, completion)?;
        let answered = self.answer(completion)?;
        let shape = RowShape::PromptCompletion;
        let (asked, first_trained) = match (asked, &answered) {
            (Said::Text(prompt), Said::Text(completion)) if before.is_empty() => {
                return Ok(Example::Pair {
                    prompt,
                    completion: completion.clone(),
                });
            }
            (Said::Text(prompt), _) => (vec![Message::new(USER, prompt)], 0),
            (Said::Messages(asked), _) => {
                let len = asked.len();
                (asked, len)
            }
        };
        let answered = match answered {
            Said::Text(completion) => vec![Message::new(ASSISTANT, completion)],
            Said::Messages(answered) => answered,
        };
        let (system, mut all) = split_system(before);
        let num_before = all.len();
        all.extend(asked);
        all.extend(answered);
        let num_messages = all.len();
        let all = with_system(system, all);
        let first_trained = match first_trained {
            0 => 0,
            len => num_before + len + (all.len() - num_messages),
        };
        self.conversation(completion, all, first_trained, shape)
    }

    /// A conversation with something to learn from the message `first_trained` on.
    fn conversation(
        &mut self,
        path: &str,
        messages: Vec<Message>,
        first_trained: usize,
        shape: RowShape,
    ) -> Result<Example, RowFault> {
        let learned = messages.get(first_trained..).unwrap_or_default();
        let mut answers = learned.iter().filter(|message| message.role == ASSISTANT);
        if !answers.clone().any(|answer| !answer.is_context) {
            let (what, remedy) = match answers.next() {
                None => (
                    "no message is from the assistant, so there is nothing to learn",
                    "Add a message whose `role` is `assistant`.",
                ),
                Some(_) => (
                    "every message of the assistant is marked as context only (its weight is 0), so there is nothing to learn",
                    "Give the answer to learn the weight 1, or remove the row.",
                ),
            };
            return Err(RowFault::new(path, what, remedy));
        }
        if messages.iter().any(|message| message.is_context) {
            self.conversions.push(Conversion::Context);
        }
        Ok(Example::Conversation {
            messages,
            tools: self.tools(path),
            first_trained,
            shape,
        })
    }

    /// The example with its verdict, or with its weight where that is 0, which is as good as a bad mark. `learned` is the
    /// path of what is learned.
    fn judged(
        &mut self,
        example: Example,
        path: Option<&str>,
        learned: &str,
    ) -> Result<Mapped, RowFault> {
        let weight = self.zero_weight(learned).map(|path| (false, path));
        let judged = path.and_then(|path| Some((path, get(self.fields, path)?)));
        let verdict = judged.map(|(path, value)| match verdict(path, value) {
            Some(is_good) => Ok((is_good, path.to_owned())),
            None => {
                let what = format!(
                    "`{path}` is {value}, which marks the answer neither as good nor as bad"
                );
                let remedy = "Use true or false, or choose no column for it.";
                Err(RowFault::new(path, what, remedy))
            }
        });
        Ok(Mapped {
            verdict: weight.or(verdict.transpose()?),
            ..example.into()
        })
    }
}

/// Texts as they are, numbers and booleans as they are written.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
