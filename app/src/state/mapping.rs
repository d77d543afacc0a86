//! How rows are read, as a person says it: the shape, the fields of each part, and what plain text is split by.

use protocol::{DatasetSummary, Mapping, Part, ReadSpec, TextSplit};

/// What rows are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    #[default]
    Automatic,
    Messages,
    MessageRows,
    PromptCompletion,
    Choice,
    Text,
    Classification,
    Preference,
    Template,
}

impl Shape {
    pub const ALL: [Self; 9] = [
        Self::Automatic,
        Self::Messages,
        Self::MessageRows,
        Self::PromptCompletion,
        Self::Choice,
        Self::Text,
        Self::Classification,
        Self::Preference,
        Self::Template,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::Messages => "Messages",
            Self::MessageRows => "One message per row",
            Self::PromptCompletion => "Prompt and completion",
            Self::Choice => "Multiple choice",
            Self::Text => "Text",
            Self::Classification => "Text and label",
            Self::Preference => "Prompt, chosen and rejected",
            Self::Template => "Template",
        }
    }

    /// What becomes of such rows.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Automatic => "Reads each row by its own column names",
            Self::Messages => "A list of turns; the assistant\u{2019}s are learned",
            Self::MessageRows => "Rows with the same conversation become one",
            Self::PromptCompletion => "The completion is learned",
            Self::Choice => "The choices are part of the prompt; the right one is learned",
            Self::Text => "All of it is learned",
            Self::Classification => "The label is learned",
            Self::Preference => "The chosen answer is learned, the rejected one is ignored",
            Self::Template => "Your own text, with columns filled in",
        }
    }

    /// The parts that such rows have, and whether a row may do without.
    pub fn parts(self) -> &'static [(Part, bool)] {
        match self {
            Self::Automatic => &[],
            Self::Messages => &[
                (Part::Messages, false),
                (Part::System, true),
                (Part::Verdict, true),
            ],
            Self::MessageRows => &[
                (Part::Conversation, false),
                (Part::Role, false),
                (Part::Content, false),
                (Part::Order, true),
            ],
            Self::PromptCompletion => &[
                (Part::Prompt, false),
                (Part::Completion, false),
                (Part::Input, true),
                (Part::System, true),
                (Part::History, true),
                (Part::Verdict, true),
            ],
            Self::Choice => &[
                (Part::Prompt, false),
                (Part::Choices, false),
                (Part::Answer, false),
                (Part::Input, true),
            ],
            Self::Text => &[(Part::Text, false)],
            Self::Classification => &[(Part::Text, false), (Part::Label, false)],
            Self::Preference => &[
                (Part::Prompt, true),
                (Part::Chosen, false),
                (Part::Rejected, false),
                (Part::Input, true),
                (Part::System, true),
                (Part::History, true),
            ],
            Self::Template => &[
                (Part::PromptTemplate, true),
                (Part::CompletionTemplate, false),
            ],
        }
    }

    fn of(mapping: &Mapping) -> Self {
        match mapping {
            Mapping::Automatic => Self::Automatic,
            Mapping::Messages { .. } => Self::Messages,
            Mapping::MessageRows { .. } => Self::MessageRows,
            Mapping::PromptCompletion { .. } => Self::PromptCompletion,
            Mapping::Choice { .. } => Self::Choice,
            Mapping::Text { .. } => Self::Text,
            Mapping::Classification { .. } => Self::Classification,
            Mapping::Preference { .. } => Self::Preference,
            Mapping::Template { .. } => Self::Template,
        }
    }
}

/// Between the columns that have a choice each.
const BETWEEN_COLUMNS: &str = ", ";

/// The accessible name of a part's control.
pub fn part_label(part: Part) -> &'static str {
    match part {
        Part::Prompt => "Prompt column",
        Part::Completion => "Completion column",
        Part::Input => "Input column",
        Part::System => "System column",
        Part::Messages => "Messages column",
        Part::Text => "Text column",
        Part::Label => "Label column",
        Part::Chosen => "Chosen column",
        Part::Rejected => "Rejected column",
        Part::History => "History column",
        Part::Verdict => "Good or bad column",
        Part::Choices => "Choices column",
        Part::Answer => "Answer column",
        Part::PromptTemplate => "Prompt template",
        Part::CompletionTemplate => "Completion template",
        Part::Conversation => "Conversation column",
        Part::Role => "Role column",
        Part::Content => "Content column",
        Part::Order => "Order column",
    }
}

/// The parts of a mapping; columns that have a choice each are one text.
fn parts(mapping: &Mapping) -> Vec<(Part, String)> {
    let mut joined = Vec::<(Part, String)>::new();
    for (part, path) in mapping.parts() {
        match joined.last_mut() {
            Some((last, paths)) if *last == part => {
                *paths += BETWEEN_COLUMNS;
                *paths += &path;
            }
            _ => joined.push((part, path)),
        }
    }
    joined
}

/// What plain text is split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SplitBy {
    #[default]
    Automatic,
    Document,
    Paragraph,
    Length,
}

impl SplitBy {
    pub const ALL: [Self; 4] = [
        Self::Automatic,
        Self::Document,
        Self::Paragraph,
        Self::Length,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Automatic => "Automatic",
            Self::Document => "Document",
            Self::Paragraph => "Paragraph",
            Self::Length => "Length",
        }
    }
}

const DEFAULT_CHARACTERS: &str = "2000";

/// The form, as filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadForm {
    pub shape: Shape,
    /// Paths of fields, or templates; empty where none is chosen.
    parts: [String; Part::COUNT],
    pub split_by: SplitBy,
    pub characters: String,
    /// Path of the field whose equal values stay together; empty for none.
    pub group_by: String,
}

impl Default for ReadForm {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            parts: Default::default(),
            split_by: SplitBy::default(),
            characters: DEFAULT_CHARACTERS.to_owned(),
            group_by: String::new(),
        }
    }
}

impl ReadForm {
    /// As the dataset was read. The parts hold what was recognized, so that a correction begins there.
    pub fn of(dataset: &DatasetSummary) -> Self {
        let mut form = Self {
            shape: Shape::of(&dataset.spec.mapping),
            group_by: dataset.spec.group_by.clone().unwrap_or_default(),
            ..Self::default()
        };
        if let Some(mapping) = &dataset.mapping {
            form.fill(mapping);
        }
        form.fill(&dataset.spec.mapping);
        if let Some(guess) = &dataset.suggestion {
            form.take(guess);
        }
        (form.split_by, form.characters) = match dataset.spec.text_split {
            TextSplit::Automatic => (SplitBy::Automatic, DEFAULT_CHARACTERS.to_owned()),
            TextSplit::Document => (SplitBy::Document, DEFAULT_CHARACTERS.to_owned()),
            TextSplit::Paragraph => (SplitBy::Paragraph, DEFAULT_CHARACTERS.to_owned()),
            TextSplit::Length { characters } => (SplitBy::Length, characters.to_string()),
        };
        form
    }

    /// Chooses a mapping.
    pub fn take(&mut self, mapping: &Mapping) {
        self.shape = Shape::of(mapping);
        self.fill(mapping);
    }

    fn fill(&mut self, mapping: &Mapping) {
        for (part, _) in Shape::of(mapping).parts() {
            self.set(*part, "");
        }
        for (part, path) in parts(mapping) {
            self.set(part, path);
        }
    }

    pub fn part(&self, part: Part) -> &str {
        &self.parts[part as usize]
    }

    pub fn set(&mut self, part: Part, text: impl Into<String>) {
        self.parts[part as usize] = text.into();
    }

    /// How files are to be read.
    ///
    /// # Errors
    /// A sentence for the user: what is still missing.
    pub fn spec(&self) -> Result<ReadSpec, String> {
        let is_missing = |(part, is_optional): &&(Part, bool)| {
            !is_optional && self.part(*part).trim().is_empty()
        };
        if let Some((part, _)) = self.shape.parts().iter().find(is_missing) {
            let verb = if part.is_template() {
                "Write"
            } else {
                "Choose"
            };
            return Err(format!("{verb} a {}.", part_label(*part).to_lowercase()));
        }
        Ok(ReadSpec {
            mapping: self.mapping(),
            text_split: self.text_split()?,
            group_by: non_empty(&self.group_by),
        })
    }

    fn mapping(&self) -> Mapping {
        let path = |part: Part| self.part(part).to_owned();
        match self.shape {
            Shape::Automatic => Mapping::Automatic,
            Shape::Messages => Mapping::Messages {
                messages: path(Part::Messages),
                system: non_empty(self.part(Part::System)),
                verdict: non_empty(self.part(Part::Verdict)),
            },
            Shape::MessageRows => Mapping::MessageRows {
                conversation: path(Part::Conversation),
                role: path(Part::Role),
                content: path(Part::Content),
                order: non_empty(self.part(Part::Order)),
            },
            Shape::PromptCompletion => Mapping::PromptCompletion {
                system: non_empty(self.part(Part::System)),
                history: non_empty(self.part(Part::History)),
                prompt: path(Part::Prompt),
                input: non_empty(self.part(Part::Input)),
                completion: path(Part::Completion),
                verdict: non_empty(self.part(Part::Verdict)),
            },
            Shape::Choice => Mapping::Choice {
                prompt: path(Part::Prompt),
                input: non_empty(self.part(Part::Input)),
                choices: self
                    .part(Part::Choices)
                    .split(BETWEEN_COLUMNS)
                    .map(str::to_owned)
                    .collect(),
                answer: path(Part::Answer),
            },
            Shape::Text => Mapping::Text {
                text: path(Part::Text),
            },
            Shape::Classification => Mapping::Classification {
                text: path(Part::Text),
                label: path(Part::Label),
            },
            Shape::Preference => Mapping::Preference {
                system: non_empty(self.part(Part::System)),
                history: non_empty(self.part(Part::History)),
                input: non_empty(self.part(Part::Input)),
                prompt: non_empty(self.part(Part::Prompt)),
                chosen: path(Part::Chosen),
                rejected: path(Part::Rejected),
            },
            Shape::Template => Mapping::Template {
                prompt: path(Part::PromptTemplate),
                completion: path(Part::CompletionTemplate),
            },
        }
    }

    fn text_split(&self) -> Result<TextSplit, String> {
        Ok(match self.split_by {
            SplitBy::Automatic => TextSplit::Automatic,
            SplitBy::Document => TextSplit::Document,
            SplitBy::Paragraph => TextSplit::Paragraph,
            SplitBy::Length => TextSplit::Length {
                characters: characters(&self.characters)?,
            },
        })
    }
}

fn characters(text: &str) -> Result<usize, String> {
    let digits: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | ','))
        .collect();
    digits
        .parse()
        .ok()
        .filter(|characters| (20..=1_000_000).contains(characters))
        .ok_or_else(|| "Characters must be a whole number from 20 to 1000000.".to_owned())
}

fn non_empty(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

/// The mapping in a few words, such as `prompt from question, completion from answer`.
pub fn in_words(mapping: &Mapping) -> String {
    if let Mapping::Template { .. } = mapping {
        return "your template".to_owned();
    }
    let of_part = |(part, path): (Part, String)| {
        let name = match part {
            Part::Verdict => "good or bad mark".to_owned(),
            part => part_label(part).replace(" column", "").to_lowercase(),
        };
        match path == name {
            true => name,
            false => format!("{name} from \u{201c}{path}\u{201d}"),
        }
    };
    let words: Vec<String> = parts(mapping).into_iter().map(of_part).collect();
    words.join(", ")
}
