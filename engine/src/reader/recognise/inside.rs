//! Rows that stand inside an object of the record.

use crate::protocol::Mapping;

/// The mapping of fields inside the object `name`; a system text may stand outside.
pub(super) fn inside(name: &str, mapping: Mapping, outer_system: &Option<String>) -> Mapping {
    let at = |path: String| format!("{name}.{path}");
    let system_at = |system: Option<String>| match system {
        Some(system) => Some(at(system)),
        None => outer_system.clone(),
    };
    match mapping {
        Mapping::Text { text } => Mapping::Text { text: at(text) },
        Mapping::PromptCompletion {
            system,
            history,
            prompt,
            input,
            completion,
            verdict,
        } => Mapping::PromptCompletion {
            system: system_at(system),
            history: history.map(at),
            prompt: at(prompt),
            input: input.map(at),
            completion: at(completion),
            verdict: verdict.map(at),
        },
        Mapping::Messages {
            messages,
            system,
            verdict,
        } => Mapping::Messages {
            messages: at(messages),
            system: system_at(system),
            verdict: verdict.map(at),
        },
        Mapping::Choice {
            prompt,
            input,
            choices,
            answer,
        } => Mapping::Choice {
            prompt: at(prompt),
            input: input.map(at),
            choices: choices.into_iter().map(at).collect(),
            answer: at(answer),
        },
        Mapping::Classification { text, label } => Mapping::Classification {
            text: at(text),
            label: at(label),
        },
        Mapping::Preference {
            system,
            history,
            prompt,
            input,
            chosen,
            rejected,
        } => Mapping::Preference {
            system: system_at(system),
            history: history.map(at),
            prompt: prompt.map(at),
            input: input.map(at),
            chosen: at(chosen),
            rejected: at(rejected),
        },
        other @ (Mapping::Automatic | Mapping::Template { .. } | Mapping::MessageRows { .. }) => {
            other
        }
    }
}
