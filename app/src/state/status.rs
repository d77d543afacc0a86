//! The one line that says what the page is doing.

use protocol::{Phase, RunId, RunOutcome, RunState, Side};

use super::failure::Notice;
use super::format::{bytes, count, counted, duration, loss};
use super::run::{Asked, Run};
use super::slot::Loading;
use super::trial::{Trial, Tried};
use super::verdict::verdict;
use super::{Resting, State, Step};

/// The first word or two of the status; scripts and people rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activity {
    #[default]
    Idle,
    LoadingModel,
    ReadingData,
    Ready,
    Training,
    Paused,
    Evaluating,
    Finished,
    Stopped,
    Failed,
}

impl Activity {
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::LoadingModel => "Loading model",
            Self::ReadingData => "Reading data",
            Self::Ready => "Ready",
            Self::Training => "Training",
            Self::Paused => "Paused",
            Self::Evaluating => "Evaluating",
            Self::Finished => "Finished",
            Self::Stopped => "Stopped",
            Self::Failed => "Failed",
        }
    }

    /// Whether the page is at work on it.
    pub fn is_busy(self) -> bool {
        matches!(
            self,
            Self::LoadingModel | Self::ReadingData | Self::Training | Self::Evaluating
        )
    }
}

/// What the page is doing, in a word and a clause.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    pub activity: Activity,
    pub detail: String,
}

impl Status {
    fn new(activity: Activity, detail: impl Into<String>) -> Self {
        Self {
            activity,
            detail: detail.into(),
        }
    }

    pub fn text(&self) -> String {
        if self.detail.is_empty() {
            self.activity.label().to_owned()
        } else {
            format!("{} — {}", self.activity.label(), self.detail)
        }
    }
}

/// The present status: a run first, then loads, then how the last one of them ended.
pub fn status(state: &State) -> Status {
    if let Some(run) = state.run.as_ref().filter(|run| run.is_active()) {
        return run_status(run);
    }
    if let Some(trial) = &state.trials.present {
        return trial_status(trial);
    }
    match state.pending.front() {
        Some(Step::Model) => {
            let detail = state
                .model
                .loading
                .as_ref()
                .map(load_detail)
                .unwrap_or_default();
            return Status::new(Activity::LoadingModel, detail);
        }
        Some(_) => {
            let detail = state
                .data
                .loading
                .as_ref()
                .map(load_detail)
                .unwrap_or_default();
            return Status::new(Activity::ReadingData, detail);
        }
        None => {}
    }
    match &state.resting {
        Resting::Failed(what) => Status::new(Activity::Failed, what.clone()),
        Resting::RunEnded => state
            .run
            .as_ref()
            .map_or_else(Status::default, ended_status),
        Resting::Plain => resting_status(state),
    }
}

/// The tab's title: how far a run is, and how it ended.
pub fn title(state: &State) -> String {
    const NAME: &str = "Inlay";
    let status = status(state);
    let run = state.run.as_ref();
    let position = run.filter(|run| run.is_active()).and_then(Run::position);
    if let Some((step, num_steps)) = position {
        return match status.activity {
            Activity::Paused => format!("Paused at {step}/{num_steps} · {NAME}"),
            _ => format!("{step}/{num_steps} · {NAME}"),
        };
    }
    let is_over = matches!(
        status.activity,
        Activity::Finished | Activity::Stopped | Activity::Failed
    );
    if !is_over {
        return NAME.to_owned();
    }
    let label = status.activity.label();
    match ended(state) {
        Some((_, told)) if state.resting == Resting::RunEnded => {
            format!("{label}: {} · {NAME}", told.headline)
        }
        _ => format!("{label} · {NAME}"),
    }
}

/// The notification at a run's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub title: &'static str,
    pub headline: String,
    pub body: String,
}

/// The last run, if it is over, and the notification about its end.
pub fn ended(state: &State) -> Option<(RunId, Ended)> {
    let run = state.run.as_ref()?;
    let verdict = verdict(run)?;
    let headline = verdict.headline.trim_end_matches('.').to_owned();
    let title = match run.summary.as_ref().map(|summary| &summary.outcome) {
        Some(RunOutcome::Finished) => "Training finished",
        Some(RunOutcome::Stopped) => "Training stopped",
        Some(RunOutcome::Failed) | None => "Training failed",
    };
    let body = format!("{headline}. {}", verdict.detail);
    Some((
        run.id,
        Ended {
            title,
            headline,
            body,
        },
    ))
}

fn trial_status(trial: &Trial) -> Status {
    let (activity, detail) = match trial.tried {
        Tried::FirstBatch => (Activity::Training, "trial step on the first batch"),
        Tried::Score(Side::Test) => (Activity::Evaluating, "the test rows, before and after"),
        Tried::Score(_) => (Activity::Evaluating, "the held-out rows, before and after"),
    };
    let detail = match trial.rows {
        _ if trial.is_stopping => "stopping".to_owned(),
        Some((done, all)) => format!("{detail}: {} of {}", count(done), count(all)),
        None => detail.to_owned(),
    };
    Status::new(activity, detail)
}

fn resting_status(state: &State) -> Status {
    if state.device.is_outdated {
        return Status::new(
            Activity::Failed,
            "reload the page: it and its engine are different versions",
        );
    }
    if let Some(encoding) = &state.encoding {
        return Status::new(Activity::ReadingData, load_detail(encoding));
    }
    if !state.device.is_ready() {
        return Status::new(Activity::Idle, "starting the engine");
    }
    match (&state.model.loaded, &state.data.loaded) {
        (Some(_), Some(data)) => {
            let rows = counted(data.num_usable_rows as u64, "row");
            let next = match state.refused {
                Some(field) => format!("correct the field {} first", field.label()),
                None if state.notices.iter().any(Notice::is_of_settings) => {
                    "the settings are not valid yet, see Train".to_owned()
                }
                None => "start training when you like".to_owned(),
            };
            Status::new(Activity::Ready, format!("{rows}, {next}"))
        }
        (Some(model), None) => Status::new(
            Activity::Ready,
            format!("{} is loaded, add your data", model.name),
        ),
        (None, Some(_)) => Status::new(Activity::Idle, "choose a model"),
        (None, None) => Status::new(Activity::Idle, "drop a dataset to begin"),
    }
}

fn load_detail(loading: &Loading) -> String {
    match (loading.phase, loading.total) {
        (None, _) => loading.name.clone(),
        (Some(Phase::EncodingData | Phase::Evaluating), Some(total)) => {
            format!(
                "counting tokens, {} of {}",
                count(loading.done),
                counted(total, "row")
            )
        }
        (Some(Phase::EncodingData | Phase::Evaluating), None) => {
            format!("counting tokens, {}", counted(loading.done, "row"))
        }
        (Some(Phase::DownloadingModel), Some(total)) => {
            format!("downloading, {} of {}", bytes(loading.done), bytes(total))
        }
        (_, Some(total)) => format!("{} of {}", bytes(loading.done), bytes(total)),
        (_, None) => bytes(loading.done),
    }
}

fn run_status(run: &Run) -> Status {
    let position = run
        .position()
        .map(|(step, num_steps)| format!("step {} of {}", count(step), count(num_steps)));
    if run.asked == Some(Asked::Stop) {
        return Status::new(Activity::Training, "stopping");
    }
    match run.state {
        Some(RunState::Paused) => Status::new(Activity::Paused, position.unwrap_or_default()),
        Some(RunState::Evaluating) => {
            let detail = match run.evaluating {
                Some((done, Some(total))) => {
                    format!("{} of {} held-out rows", count(done), count(total))
                }
                _ => "held-out rows".to_owned(),
            };
            Status::new(Activity::Evaluating, detail)
        }
        Some(RunState::Training) | Some(RunState::Preparing) | None => {
            let Some(position) = position else {
                let detail = if run.state == Some(RunState::Training) {
                    "first step"
                } else {
                    "preparing"
                };
                return Status::new(Activity::Training, detail);
            };
            let remaining = run.remaining_secs();
            let detail = match remaining {
                Some(secs) => format!("{position}, {} left", duration(secs)),
                None => position,
            };
            Status::new(Activity::Training, detail)
        }
    }
}

fn ended_status(run: &Run) -> Status {
    let Some(summary) = &run.summary else {
        return Status::default();
    };
    let steps = counted(summary.steps, "step");
    let change = match (summary.base_validation_loss, summary.tuned_validation_loss) {
        (Some(base), Some(tuned)) => format!(", held-out loss {} to {}", loss(base), loss(tuned)),
        _ => String::new(),
    };
    match summary.outcome {
        RunOutcome::Finished => Status::new(Activity::Finished, format!("{steps}{change}")),
        RunOutcome::Stopped if summary.has_adapter => {
            Status::new(Activity::Stopped, format!("after {steps}{change}"))
        }
        RunOutcome::Stopped => Status::new(
            Activity::Stopped,
            format!("after {steps}, nothing to keep yet"),
        ),
        RunOutcome::Failed => Status::new(Activity::Failed, format!("after {steps}")),
    }
}
