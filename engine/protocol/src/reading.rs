//! The messages between the page and the reader, the worker that turns dataset files into rows.
//!
//! The page sends [`ReaderCommand::Read`] once; to read again it ends the reader and starts another. The rows come back as
//! one blob with [`ReaderEvent::Read`], which the page hands to the engine with [`super::Command::LoadDataset`].

use serde::{Deserialize, Serialize};

use super::{DatasetSource, DatasetSummary, Failure, FindingKind, RowShape, RowSummary};

/// What the page asks of the reader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReaderCommand {
    /// Reads a dataset. The `File` objects come with the message, in the order of the names.
    Read {
        source: DatasetSource,
        spec: Box<ReadSpec>,
    },
    /// Answers with [`ReaderEvent::Rows`], once the dataset is read.
    ListRows {
        start: usize,
        count: usize,
        filter: RowFilter,
    },
}

/// What the reader tells the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReaderEvent {
    /// First message: it listens from now on.
    Ready,
    /// In bytes.
    Progress {
        done: u64,
        total: u64,
    },
    /// The first rows, while the others are still to come; counts are those so far.
    Preview {
        dataset: DatasetSummary,
    },
    /// Everything is read. The blob of rows comes with the message.
    Read {
        dataset: DatasetSummary,
    },
    Rows {
        start: usize,
        /// Rows that pass the filter in all.
        total: usize,
        filter: RowFilter,
        rows: Vec<RowSummary>,
    },
    Failed {
        failure: Failure,
    },
}

/// Which rows the table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFilter {
    #[default]
    All,
    /// Those that something was found about.
    Finding(FindingKind),
}

/// How files become rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReadSpec {
    pub mapping: Mapping,
    pub text_split: TextSplit,
    /// Path of the field whose equal values stay on one side of every split.
    pub group_by: Option<String>,
}

/// How a row's fields become an example.
///
/// Fields are named by path: `question`, `data.question`, `answers[0].text` or `answers.0.text`. A field whose name has
/// a dot is found by its whole name first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "snake_case")]
pub enum Mapping {
    /// Each row by the names of its own fields.
    #[default]
    Automatic,
    /// The whole text is learned.
    Text {
        text: String,
    },
    /// `input`, where there is one and it is not empty, follows the prompt after an empty line, as in Alpaca.
    PromptCompletion {
        system: Option<String>,
        /// Earlier turns, which come before the prompt: pairs of question and answer, or messages.
        #[serde(default)]
        history: Option<String>,
        prompt: String,
        input: Option<String>,
        completion: String,
        /// Whether the answer is a good one, as in KTO's datasets. The answers that are not are never learned.
        #[serde(default)]
        verdict: Option<String>,
    },
    /// A list of messages, as OpenAI's (`role`, `content`) or ShareGPT's (`from`, `value`).
    Messages {
        messages: String,
        /// A system text that stands outside the list; a system message inside it wins.
        #[serde(default)]
        system: Option<String>,
        /// Whether the last answer is a good one, as in KTO's datasets.
        #[serde(default)]
        verdict: Option<String>,
    },
    /// A question with several answers to choose from: the question and the lettered choices are the prompt, the right
    /// choice with its letter is the completion.
    Choice {
        prompt: String,
        input: Option<String>,
        /// The field that lists the choices, or the fields with a choice each.
        choices: Vec<String>,
        /// Which choice is right: its letter, its number, or its text.
        answer: String,
    },
    Classification {
        text: String,
        label: String,
    },
    /// The chosen answer is learned, the rejected one is only kept. Without a prompt both are whole conversations.
    Preference {
        #[serde(default)]
        system: Option<String>,
        /// As in [`Self::PromptCompletion`].
        #[serde(default)]
        history: Option<String>,
        prompt: Option<String>,
        /// As in [`Self::PromptCompletion`].
        #[serde(default)]
        input: Option<String>,
        chosen: String,
        rejected: String,
    },
    /// Each row is one message; rows with the same value of `conversation` become one conversation, in the order of
    /// `order` where there is one, else in the order of the files.
    MessageRows {
        conversation: String,
        role: String,
        content: String,
        order: Option<String>,
    },
    /// Texts with `{field}` in them; `{{` and `}}` stand for braces. Without a prompt the completion is a plain text.
    Template {
        prompt: String,
        completion: String,
    },
}

impl Mapping {
    /// The shape that rows get; `None` where each row decides.
    pub fn shape(&self) -> Option<RowShape> {
        Some(match self {
            Self::Automatic => return None,
            Self::Text { .. } => RowShape::Text,
            Self::PromptCompletion {
                verdict: Some(_), ..
            }
            | Self::Messages {
                verdict: Some(_), ..
            } => RowShape::Preference,
            Self::PromptCompletion { .. } | Self::Choice { .. } => RowShape::PromptCompletion,
            Self::Messages { .. } | Self::MessageRows { .. } => RowShape::Messages,
            Self::Classification { .. } => RowShape::Classification,
            Self::Preference { .. } => RowShape::Preference,
            Self::Template { prompt, .. } if prompt.trim().is_empty() => RowShape::Text,
            Self::Template { .. } => RowShape::PromptCompletion,
        })
    }
}

/// How plain text and Markdown become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum TextSplit {
    /// A single file by its paragraphs, several by documents.
    #[default]
    Automatic,
    /// A file is a row.
    Document,
    /// Paragraphs stand between empty lines; Markdown's headings begin one and code fences are never cut.
    Paragraph,
    /// Whole paragraphs, or sentences of longer ones, up to this many characters.
    Length { characters: usize },
}
