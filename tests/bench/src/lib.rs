//! The engine's side of the bench: what `site/ours_worker.js` calls, built once per device, like the page's workers.
//!
//! ```text
//! draw      weights and ids that depend on their names alone, the same on every side
//! product   a matrix product, f32 or with quantized weights
//! training  a LoRA step of a drawn model, or of the real one
//! packing   an epoch of short rows on the real one, as they are and packed
//! answer    greedy text of the real model
//! limit     what the CPU could do at best
//! ```

#[cfg(feature = "page")]
mod answer;
pub mod draw;
#[cfg(feature = "page")]
mod host;
#[cfg(feature = "cpu")]
mod limit;
#[cfg(feature = "page")]
mod packing;
#[cfg(feature = "page")]
mod page;
#[cfg(feature = "page")]
mod product;
#[cfg(feature = "page")]
mod source;
#[cfg(feature = "page")]
mod training;
