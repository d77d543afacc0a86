//! The messages between the page and the worker: plain data, versioned, no tensor and no browser type.
//!
//! The page sends a [`Command`], the worker answers with [`Event`]s. Both travel as JSON text; files and byte buffers
//! are sent along with the text in the same `postMessage` ([`Command::LoadModel`] and [`Command::LoadDataset`] say
//! which). Another worker with its own messages reads dataset files ([`reading`]). Enums are tagged externally:
//! internal tags would cost 9 KB of each engine's download. A run's events carry the run's id, so that a late event of
//! an ended run is never taken for a new one's.

pub mod adapter;
pub mod batch;
pub mod crash;
mod data;
pub mod device;
pub mod export;
pub mod failure;
pub mod generate;
pub mod gpu_fault;
pub mod history;
pub mod kept;
pub mod merging;
pub mod message;
pub mod metrics;
pub mod model;
pub mod part;
pub mod reading;
pub mod recipe;
pub mod run;
pub mod score;
pub mod setting;

use serde::{Deserialize, Serialize};

pub use adapter::*;
pub use batch::*;
pub use crash::*;
pub use data::*;
pub use device::*;
pub use export::*;
pub use failure::*;
pub use generate::*;
pub use gpu_fault::*;
pub use history::*;
pub use kept::*;
pub use merging::*;
pub use message::*;
pub use metrics::*;
pub use model::*;
pub use part::*;
pub use reading::*;
pub use recipe::*;
pub use run::*;
pub use score::*;
pub use setting::*;

/// Raised whenever a message changes its meaning; a page and a worker of different versions refuse each other.
pub const PROTOCOL_VERSION: u32 = 10;

/// Names one training run; assigned by the page, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// Names one request for text; assigned by the page, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GenerationId(pub u64);

/// Names one command that waits its turn; assigned by the page, ascending, and sent along with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// What the page asks of the worker. A command waits its turn, except for those that control current work
/// ([`Self::waits`]), and is answered by [`Event::Answered`] at its end, whatever else was said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(
    clippy::large_enum_variant,
    reason = "messages are few and do not stay"
)]
pub enum Command {
    /// Loads a base model and replaces the current one once it is complete. For [`ModelSource::Files`], the `File`
    /// objects are sent along with the message, in the order of the names.
    LoadModel {
        source: ModelSource,
    },
    /// Replaces the current dataset with the one that the reader read ([`ReaderEvent::Read`]). The blob of its rows is
    /// sent along with the message.
    LoadDataset {
        dataset: DatasetSummary,
    },
    /// Encodes the current dataset with these settings and answers with [`Event::DatasetPrepared`].
    PrepareDataset {
        spec: DataSpec,
    },
    /// Answers with [`Event::RowPreview`]: the row rendered and tokenized as it would be trained.
    PreviewRow {
        row: usize,
        spec: DataSpec,
    },
    /// Checks the run without starting it and answers with [`Event::Planned`] (or [`Event::Failed`]).
    Plan {
        spec: RunSpec,
    },
    /// Takes the run's first optimizer step on an adapter that is discarded, and answers with [`Event::BatchStepped`].
    /// Its id is a run's, so that it can be paused and stopped as one.
    StepOneBatch {
        run: RunId,
        spec: RunSpec,
    },
    /// Scores the base and an adapter over the rows of one side of its run's split, or else of the loaded dataset's
    /// ([`AdapterSummary::scored_on`]), and answers with [`Event::Scored`]. Its id is a run's, so that it can be paused
    /// and stopped as one.
    Score {
        run: RunId,
        adapter: AdapterId,
        side: Side,
    },
    /// Starts a run; the worker answers with [`Event::RunState`], then [`Event::Steps`].
    StartTraining {
        run: RunId,
        spec: RunSpec,
    },
    /// Takes effect within one block of the model.
    Pause {
        run: RunId,
    },
    Resume {
        run: RunId,
    },
    /// Ends the run within one block and keeps the best adapter.
    Stop {
        run: RunId,
    },
    /// Streams [`Event::GenerationText`], then [`Event::GenerationDone`], once per conversation.
    Generate {
        id: GenerationId,
        spec: GenerationSpec,
    },
    /// Answers with [`Event::PromptsPreviewed`]: what the models would read for [`Command::Generate`].
    PreviewPrompts {
        conversations: Vec<Conversation>,
        as_text: bool,
    },
    StopGeneration {
        id: GenerationId,
    },
    /// Ends a command at its next step, with a failure of the kind [`FailureKind::Cancelled`], where that changes nothing
    /// that was there before ([`Command::can_be_cancelled`]); one whose turn has not come is not begun.
    Cancel {
        ticket: Ticket,
    },
    /// Loads an adapter for the current model from files sent along with the message, and answers with
    /// [`Event::Adapters`].
    LoadAdapter {},
    /// Restores adapters for the current model that an earlier worker had; their zips, as received with
    /// [`Event::AdapterKept`], are sent along with the message in the same order. Answers with [`Event::Adapters`].
    RestoreAdapters {
        copies: Vec<AdapterCopy>,
        /// The adapter that the tuned model used.
        active: Option<AdapterId>,
        /// The highest id ever assigned; new ids are higher.
        highest: AdapterId,
    },
    /// Makes a new adapter from others, each with its weight, and answers with [`Event::Adapters`].
    BlendAdapters {
        parts: Vec<(AdapterId, f64)>,
    },
    /// Makes an adapter the tuned model's; answers with [`Event::Adapters`].
    UseAdapter {
        adapter: AdapterId,
    },
    /// Answers with [`Event::Adapters`].
    ForgetAdapter {
        adapter: AdapterId,
    },
    /// Answers with [`Event::ExportReady`], along with the zip's bytes.
    Export {
        adapter: AdapterId,
        kind: ExportKind,
    },
}

impl Command {
    /// Whether the command can be dropped half-way; the others have a stop of their own, or take no time.
    pub fn can_be_cancelled(&self) -> bool {
        matches!(
            self,
            Self::LoadModel { .. }
                | Self::LoadDataset { .. }
                | Self::PrepareDataset { .. }
                | Self::PreviewRow { .. }
                | Self::Plan { .. }
                | Self::LoadAdapter {}
        )
    }

    /// Whether the command waits its turn; the others take effect at once and have no [`Event::Answered`].
    pub fn waits(&self) -> bool {
        !matches!(
            self,
            Self::Pause { .. }
                | Self::Resume { .. }
                | Self::Stop { .. }
                | Self::StopGeneration { .. }
                | Self::Cancel { .. }
        )
    }
}

/// What the worker tells the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(
    clippy::large_enum_variant,
    reason = "messages are few and do not stay"
)]
pub enum Event {
    /// The first message of a worker: it is listening. Commands sent earlier are lost.
    Ready {
        protocol_version: u32,
        device: DeviceReport,
    },
    /// The first and last message of a worker whose device cannot be used or trusted; the page starts the other one.
    DeviceRejected {
        kind: DeviceKind,
        reason: DeviceProblem,
    },
    /// The progress of something slow.
    Progress {
        phase: Phase,
        done: u64,
        total: Option<u64>,
    },
    ModelLoaded {
        model: ModelSummary,
    },
    DatasetLoaded {
        dataset: DatasetSummary,
    },
    DatasetPrepared {
        dataset: PreparedSummary,
    },
    RowPreview {
        preview: RowPreview,
    },
    Planned {
        plan: PlanSummary,
    },
    /// The batch, or `None` if it was stopped.
    BatchStepped {
        run: RunId,
        batch: Option<BatchPreview>,
    },
    RunState {
        run: RunId,
        state: RunState,
    },
    /// The steps since the last such message, ascending: fast steps come many at a time.
    Steps {
        run: RunId,
        steps: Vec<StepMetrics>,
    },
    /// The evaluations since the last such message, ascending.
    Evaluations {
        run: RunId,
        evaluations: Vec<EvaluationMetrics>,
    },
    /// The run is over; its best adapter is kept, and can be tried and exported. If it failed, [`Event::Failed`] follows.
    RunEnded {
        run: RunId,
        summary: RunSummary,
    },
    /// `None` if it was stopped.
    Scored {
        run: RunId,
        adapter: AdapterId,
        report: Option<ScoreReport>,
    },
    GenerationText {
        id: GenerationId,
        speaker: Speaker,
        text: String,
    },
    GenerationDone {
        id: GenerationId,
        speaker: Speaker,
        summary: GenerationSummary,
    },
    /// The prompts, or why one of them cannot be written.
    PromptsPreviewed {
        prompts: Result<Vec<PromptPreview>, Failure>,
    },
    /// The adapters for the current model, whenever they or the model change.
    Adapters {
        list: AdapterList,
    },
    /// There is a new adapter. Its zip in PEFT's form is sent along with the message, for the next worker.
    AdapterKept {
        copy: AdapterCopy,
    },
    /// The zip's bytes are sent along with the message.
    ExportReady {
        adapter: AdapterId,
        file_name: String,
    },
    /// Something worth knowing that is not a failure.
    Warning {
        message: String,
    },
    /// The model that is being downloaded is held in memory: the next visit downloads it again.
    ModelNotKept {
        reason: NotKept,
    },
    /// A command could not be carried out; what was loaded before is still loaded.
    Failed {
        failure: Failure,
    },
    /// The last event of every command that waits its turn: nothing more will come of it.
    Answered {
        ticket: Ticket,
    },
}

/// What an [`Event::Progress`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// `done` and `total` in bytes.
    DownloadingModel,
    /// `done` and `total` in bytes.
    LoadingModel,
    /// `done` and `total` in bytes.
    ReadingData,
    /// `done` and `total` in rows.
    EncodingData,
    /// `done` and `total` in rows.
    Evaluating,
    /// `done` and `total` in bytes.
    Exporting,
}
