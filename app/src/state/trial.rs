//! Trials that leave no adapter: the first batch of a run, and the scores of held-out rows.

use protocol::{AdapterId, AdapterOrigin, BatchPreview, RunId, ScoreReport, Side};

use super::{Resting, State, Step};

/// What is being tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    FirstBatch,
    Score(Side),
}

impl Tried {
    /// Where on the page it is asked for.
    pub fn step(self) -> Step {
        match self {
            Self::FirstBatch => Step::Train,
            Self::Score(_) => Step::Try,
        }
    }
}

/// A trial under way. Its id is a run's, so that it can be stopped as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    pub id: RunId,
    pub tried: Tried,
    pub is_stopping: bool,
    /// Rows that one model has been through, and all.
    pub rows: Option<(u64, u64)>,
}

/// The trial under way, and what earlier ones showed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trials {
    pub present: Option<Trial>,
    pub first_batch: Option<BatchPreview>,
    /// The scores of each adapter, at most one for each side of a split.
    pub scores: Vec<(AdapterId, ScoreReport)>,
}

impl Trials {
    fn ends(&mut self, id: RunId) -> bool {
        self.present.take_if(|trial| trial.id == id).is_some()
    }
}

impl State {
    /// A trial was asked for.
    pub fn begin_trial(&mut self, id: RunId, tried: Tried) {
        self.dismiss(tried.step());
        self.resting = match &self.resting {
            Resting::Failed(_) => Resting::Plain,
            other => other.clone(),
        };
        self.trials.present = Some(Trial {
            id,
            tried,
            is_stopping: false,
            rows: None,
        });
    }

    /// Whether the engine is at work on a run or a trial, so that nothing else can be asked of it.
    pub fn is_busy(&self) -> bool {
        self.is_training() || self.trials.present.is_some()
    }

    /// The trial is to stop; gives its id, once.
    pub fn stop_trial(&mut self) -> Option<RunId> {
        let trial = self.trials.present.as_mut()?;
        (!std::mem::replace(&mut trial.is_stopping, true)).then_some(trial.id)
    }

    /// The batch, or none where it was stopped.
    pub(super) fn batch_stepped(&mut self, id: RunId, batch: Option<BatchPreview>) {
        if self.trials.ends(id) && batch.is_some() {
            self.trials.first_batch = batch;
        }
    }

    /// The report, or none where it was stopped.
    pub(super) fn scored(&mut self, id: RunId, adapter: AdapterId, report: Option<ScoreReport>) {
        if let (true, Some(report)) = (self.trials.ends(id), report) {
            let is_other = |(of, known): &(AdapterId, ScoreReport)| {
                *of != adapter || known.side != report.side
            };
            self.trials.scores.retain(is_other);
            self.trials.scores.push((adapter, report));
        }
    }

    /// The rows changed on which adapters from elsewhere are scored.
    pub(super) fn forget_scores_of_others(&mut self) {
        let adapters = &self.adapters.adapters;
        let is_of_run = |id: AdapterId| {
            let mut others = adapters
                .iter()
                .filter(|of| of.origin == AdapterOrigin::File);
            others.all(|other| other.id != id)
        };
        self.trials.scores.retain(|(id, _)| is_of_run(*id));
    }

    /// The scores of the tuned model's adapter.
    pub fn scores(&self) -> Vec<ScoreReport> {
        let scores = self.trials.scores.iter();
        let of_active = scores.filter(|(adapter, _)| Some(*adapter) == self.adapters.active);
        of_active.map(|(_, report)| report.clone()).collect()
    }

    /// Whether it was a trial that failed, and where it was asked for.
    pub(super) fn trial_failed(&mut self, id: Option<RunId>) -> Option<Step> {
        let failed = |trial: &mut Trial| Some(trial.id) == id;
        let trial = self.trials.present.take_if(failed)?;
        Some(trial.tried.step())
    }
}
