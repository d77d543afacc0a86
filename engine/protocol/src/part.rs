//! The parts of an example, and the fields that a mapping takes them from.

use super::Mapping;

/// A part of an example that a field, or a template, gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    System,
    History,
    Messages,
    Prompt,
    Input,
    Choices,
    Completion,
    Answer,
    Verdict,
    Text,
    Label,
    Chosen,
    Rejected,
    Conversation,
    Role,
    Content,
    Order,
    PromptTemplate,
    CompletionTemplate,
}

impl Part {
    pub const COUNT: usize = Self::CompletionTemplate as usize + 1;

    pub fn is_template(self) -> bool {
        matches!(self, Self::PromptTemplate | Self::CompletionTemplate)
    }
}

impl Mapping {
    /// Each part that has a field, with the field's path, or with the template. Choices in columns of their own are as many
    /// parts.
    pub fn parts_mut(&mut self) -> Vec<(Part, &mut String)> {
        let parts = match self {
            Self::Automatic => vec![],
            Self::Text { text } => vec![(Part::Text, Some(text))],
            Self::PromptCompletion {
                system,
                history,
                prompt,
                input,
                completion,
                verdict,
            } => vec![
                (Part::System, system.as_mut()),
                (Part::History, history.as_mut()),
                (Part::Prompt, Some(prompt)),
                (Part::Input, input.as_mut()),
                (Part::Completion, Some(completion)),
                (Part::Verdict, verdict.as_mut()),
            ],
            Self::Messages {
                messages,
                system,
                verdict,
            } => vec![
                (Part::Messages, Some(messages)),
                (Part::System, system.as_mut()),
                (Part::Verdict, verdict.as_mut()),
            ],
            Self::Choice {
                prompt,
                input,
                choices,
                answer,
            } => {
                let mut parts = vec![(Part::Prompt, Some(prompt)), (Part::Input, input.as_mut())];
                parts.extend(
                    choices
                        .iter_mut()
                        .map(|choice| (Part::Choices, Some(choice))),
                );
                parts.push((Part::Answer, Some(answer)));
                parts
            }
            Self::Classification { text, label } => {
                vec![(Part::Text, Some(text)), (Part::Label, Some(label))]
            }
            Self::Preference {
                system,
                history,
                prompt,
                input,
                chosen,
                rejected,
            } => vec![
                (Part::System, system.as_mut()),
                (Part::History, history.as_mut()),
                (Part::Prompt, prompt.as_mut()),
                (Part::Input, input.as_mut()),
                (Part::Chosen, Some(chosen)),
                (Part::Rejected, Some(rejected)),
            ],
            Self::MessageRows {
                conversation,
                role,
                content,
                order,
            } => vec![
                (Part::Conversation, Some(conversation)),
                (Part::Role, Some(role)),
                (Part::Content, Some(content)),
                (Part::Order, order.as_mut()),
            ],
            Self::Template { prompt, completion } => vec![
                (Part::PromptTemplate, Some(prompt)),
                (Part::CompletionTemplate, Some(completion)),
            ],
        };
        let parts = parts.into_iter();
        parts
            .filter_map(|(part, path)| Some((part, path?)))
            .collect()
    }

    /// As [`Self::parts_mut`], to be read.
    pub fn parts(&self) -> Vec<(Part, String)> {
        let mut own = self.clone();
        let parts = own.parts_mut().into_iter();
        parts
            .map(|(part, path)| (part, std::mem::take(path)))
            .collect()
    }
}
