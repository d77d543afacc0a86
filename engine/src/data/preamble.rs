//! Finds how a dataset's conversations most often begin, so that a chat can begin in the same way.
//!
//! A model that was tuned on rows with a system prompt or tools expects them: without them its answers resemble the
//! base's.

use std::collections::HashMap;

use formats::row::Example;
use protocol::{Message, Preamble};

/// The number of different preambles that are counted; new ones that come later are ignored.
const MAX_KINDS: usize = 64;
/// The maximum size of a preamble that is counted, in bytes.
const MAX_BYTES: usize = 1 << 16;
/// The role of a system prompt, which counts only as the first message.
const SYSTEM: &str = "system";

/// Counts how rows begin. Its memory is bounded, whatever the rows are.
#[derive(Debug, Default)]
pub struct PreambleCounts {
    /// How often each preamble came, and its place among them in the order of first occurrence.
    counts: HashMap<Preamble, (usize, usize)>,
}

impl PreambleCounts {
    /// Counts a row. Rows that are not conversations have an empty preamble; a preamble of more than 64 KB is not
    /// counted.
    pub fn add(&mut self, example: &Example) {
        let preamble = match example {
            Example::Conversation {
                messages, tools, ..
            } => preamble(messages, tools),
            Example::Pair { .. } | Example::Text(_) => Some(Preamble::default()),
        };
        let Some(preamble) = preamble else {
            return;
        };
        let num_kinds = self.counts.len();
        if let Some((count, _)) = self.counts.get_mut(&preamble) {
            *count += 1;
        } else if num_kinds < MAX_KINDS {
            self.counts.insert(preamble, (1, num_kinds));
        }
    }

    /// Returns the most frequent preamble, the first one among equals; empty if there were no rows.
    pub fn most_frequent(self) -> Preamble {
        let counts = self.counts.into_iter();
        let most = counts.max_by_key(|(_, (count, place))| (*count, std::cmp::Reverse(*place)));
        most.map(|(preamble, _)| preamble).unwrap_or_default()
    }
}

/// Returns how the conversation begins; `None` if that is too long to be counted.
fn preamble(messages: &[Message], tools: &[String]) -> Option<Preamble> {
    let system = messages.first().filter(|first| first.role == SYSTEM);
    let system_prompt = system.map_or("", |message| message.content.as_str());
    let num_bytes = system_prompt.len() + tools.iter().map(String::len).sum::<usize>();
    (num_bytes <= MAX_BYTES).then(|| Preamble {
        system_prompt: system_prompt.to_owned(),
        tools: tools.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use protocol::RowShape;

    use super::*;

    fn conversation(system: Option<&str>, tools: &[&str]) -> Example {
        let system = system.map(|text| Message::new(SYSTEM, text));
        let rest = [
            Message::new("user", "Why?"),
            Message::new("assistant", "So."),
        ];
        Example::Conversation {
            messages: system.into_iter().chain(rest).collect(),
            tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
            first_trained: 0,
            shape: RowShape::Messages,
        }
    }

    fn most_frequent(rows: &[Example]) -> Preamble {
        let mut counts = PreambleCounts::default();
        rows.iter().for_each(|row| counts.add(row));
        counts.most_frequent()
    }

    #[test]
    fn the_most_frequent_beginning_is_found() {
        let rows = [
            conversation(Some("Be brief."), &["{}"]),
            conversation(Some("Be kind."), &[]),
            conversation(Some("Be brief."), &["{}"]),
        ];
        let preamble = most_frequent(&rows);
        assert_eq!(preamble.system_prompt, "Be brief.");
        assert_eq!(preamble.tools, ["{}"]);
    }

    #[test]
    fn rows_without_a_system_prompt_count_too() {
        let pair = Example::Pair {
            prompt: "Why?".to_owned(),
            completion: "So.".to_owned(),
        };
        let rows = [
            conversation(Some("Be brief."), &[]),
            conversation(None, &[]),
            pair,
        ];
        assert_eq!(most_frequent(&rows), Preamble::default());
        assert_eq!(most_frequent(&[]), Preamble::default());
    }

    #[test]
    fn equally_frequent_ones_yield_to_the_first() {
        let rows: Vec<_> = (0..9)
            .map(|index| conversation(Some(&format!("Rule {index}.")), &[]))
            .collect();
        assert_eq!(most_frequent(&rows).system_prompt, "Rule 0.");
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut counts = PreambleCounts::default();
        counts.add(&conversation(Some(&"x".repeat(MAX_BYTES + 1)), &[]));
        assert!(counts.counts.is_empty());
        for index in 0..10 * MAX_KINDS {
            counts.add(&conversation(Some(&index.to_string()), &[]));
        }
        assert_eq!(counts.counts.len(), MAX_KINDS);
    }
}
