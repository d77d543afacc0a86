//! Training: the loss, the step, the optimizer and the session around them.

pub mod non_finite;
pub mod optimizer;
pub mod time_left;

#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod loss;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod one_batch;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod score;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod session;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod speed;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod state;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod step;

/// A bug in Inlay, as a failure.
#[cfg(any(feature = "cpu", feature = "gpu"))]
fn internal(message: &str) -> protocol::Failure {
    protocol::Failure::new(
        protocol::FailureKind::Internal,
        "This is a bug in the engine.",
    )
    .at(message)
    .remedy("Please report it, including this text.")
}
