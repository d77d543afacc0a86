//! Training: the loss, the step, the optimizer and the session around them.

pub mod non_finite;
pub mod optimizer;
pub mod time_left;

pub mod loss;
pub mod one_batch;
pub mod score;
pub mod session;
pub mod speed;
pub mod state;
pub mod step;

/// A bug in Inlay, as a failure.
fn internal(message: &str) -> protocol::Failure {
    protocol::Failure::new(
        protocol::FailureKind::Internal,
        "This is a bug in the engine.",
    )
    .at(message)
    .remedy("Please report it, including this text.")
}
