//! Training: the loss, the step, the optimizer and the session around them.
//!
//! ```text
//! session::train       a run: evaluations, steps, the best adapter, what is reported
//!  +- state            one optimizer step: mean gradient -> finite? -> clip -> AdamW
//!  |   +- step         one pass over a batch: forward, loss, backward
//!  |   |   +- loss     cross-entropy over chunks of the vocabulary
//!  |   +- optimizer    AdamW on flat host vectors
//!  +- score            rows that are not trained on
//!  +- time_left        how long the run will still take
//! one_batch            the first step of a run by itself
//! speed                how fast this device computes this model, for the plan
//! error, non_finite    why a run ends early, and what the user reads then
//! ```
//!
//! There is no autodiff: each layer has its own backward, which [`step`] calls from the last block to the first.

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
