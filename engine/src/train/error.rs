//! Why a run fails.

use protocol::{Failure, FailureKind};

use super::non_finite::NonFiniteAt;
use crate::{pacing::Interruption, tensor::DeviceLost};

/// What ends a step, an evaluation or a run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Device(#[from] DeviceLost),
    /// Numbers that are infinite or none.
    #[error("numbers that are not finite: {0:?}")]
    NonFinite(NonFiniteAt),
    /// The adapter could not be started from the base.
    #[error("the adapter could not be started: {0:?}")]
    Start(Box<Failure>),
    /// A bug in Inlay.
    #[error("{0}")]
    Bug(String),
}

impl From<Interruption> for Interruption<TrainError> {
    fn from(interruption: Interruption) -> Self {
        interruption.widen()
    }
}

impl From<DeviceLost> for Interruption<TrainError> {
    fn from(lost: DeviceLost) -> Self {
        Self::Failed(lost.into())
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Device(lost) => lost.into(),
            TrainError::NonFinite(at) => at.failure(),
            TrainError::Start(failure) => *failure,
            TrainError::Bug(message) => {
                Self::new(FailureKind::Internal, "This is a bug in the engine.")
                    .at(message)
                    .remedy("Please report it, including this text.")
            }
        }
    }
}

/// What ended a run, and the step whose adapter it leaves.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct RunError {
    pub error: TrainError,
    pub kept_step: Option<u64>,
}

impl From<RunError> for Failure {
    fn from(RunError { error, kept_step }: RunError) -> Self {
        let failure = Self::from(error);
        let kept = match kept_step {
            Some(step) => format!("The adapter of step {step} is kept."),
            None => "No adapter was kept.".to_owned(),
        };
        let what = format!("{} {kept}", failure.what);
        Self { what, ..failure }
    }
}
