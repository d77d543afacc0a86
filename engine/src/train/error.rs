//! Why a run fails.
//!
//! A failure is a type until it reaches the page: the session decides by it what can still be saved, and only
//! `From<RunError> for Failure` makes sentences of it. A stop by the user is not among them; it is
//! [`Interruption::Stopped`].

use protocol::{Failure, FailureKind};

use super::non_finite::NonFiniteAt;
use crate::{pacing::Interruption, tensor::DeviceLost};

/// What ends a step, an evaluation or a run, other than the user.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TrainError {
    /// The device delivers nothing any more.
    #[error(transparent)]
    Device(#[from] DeviceLost),
    /// A loss, a gradient or a parameter that is infinite or not a number.
    #[error("numbers that are not finite: {0:?}")]
    NonFinite(NonFiniteAt),
    /// The adapter could not be started from the base.
    #[error("the adapter could not be started: {0:?}")]
    Start(Box<Failure>),
    /// A bug in Inlay: something that the code promises elsewhere did not hold. The text is for the report.
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
    /// What happened.
    pub error: TrainError,
    /// The step of the adapter that the run leaves; `None` if it leaves none.
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
