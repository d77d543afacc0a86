//! Training: the loss, the step, the optimizer and the session around them.

pub mod error;
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
