//! Inlay's engine: fine-tunes a small language model, on WebGPU or on the CPU. It knows no browser: what long work
//! needs of the place that it runs in are its [`surroundings`], and what the [`workbench`] needs of a worker is a [`host`].
//!
//! ```text
//! file of rows -> Example -> template -> encode -> TokenSequence{ids, loss_mask} -> Batch[b, t]
//! safetensors | GGUF -> ranged reads -> names/quant -> Model (frozen, quantized on the device) + Adapter
//! RunSpec -> RunPlan -> Session: step(Batch) -> loss -> gradients -> update -> StepMetrics -> Event
//! Adapter -> export -> zip
//! ```
//!
//! The messages between page and worker are a crate of their own, [`protocol`]; the workers are another. The features `cpu` and
//! `gpu` choose Burn's backend, and `threads` puts the CPU's kernels on all cores.
//!
//! # Shapes
//! `b` rows of a batch, `t` tokens of a row, `n = b t` positions, `d` hidden size, `f` intermediate size, `h` query
//! heads, `kv` key/value heads, `g = h / kv`, `hd` head size, `r` adapter rank, `v` vocabulary.

pub use kernels;

pub mod adapter;
pub mod arch;
pub mod data;
pub mod device;
pub mod export;
pub mod generate;
pub mod host;
pub mod import;
pub mod layers;
pub mod model;
mod number;
pub mod pacing;
pub mod plan;
pub mod self_test;
pub mod sizes;
pub mod surroundings;
pub mod template;
pub mod tensor;
pub mod tokenizer;
pub mod train;
pub mod transfer;
pub mod weights;
pub mod workbench;

#[cfg(not(any(feature = "cpu", feature = "gpu")))]
compile_error!("the engine needs a backend: the feature `cpu` or `gpu`");

#[cfg(test)]
#[path = "../kernels/src/testing.rs"]
#[allow(dead_code, reason = "the kernels' tests use more of it")]
mod testing;
