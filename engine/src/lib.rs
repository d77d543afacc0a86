//! Inlay's engine: fine-tunes a small language model in a worker, on WebGPU or on the CPU.
//!
//! ```text
//! file of rows -> Example -> template -> encode -> TokenSequence{ids, loss_mask} -> Batch[b, t]
//! safetensors | GGUF -> ranged reads -> names/quant -> Model (frozen, packed on the device) + Adapter
//! RunSpec -> RunPlan -> Session: step(Batch) -> loss -> gradients -> update -> StepMetrics -> Event
//! Adapter -> export -> zip
//! ```
//!
//! The messages between page and worker are a crate of their own, [`protocol`]; so are [`formats`] and the reader of datasets. The
//! feature `files` brings everything that needs no tensors, `cpu` and `gpu` the engine on one of Burn's backends, and `web`
//! the workers around them and, with `reader`, around the reader.
//!
//! # Shapes
//! `b` rows of a batch, `t` tokens of a row, `n = b t` positions, `d` hidden size, `f` intermediate size, `h` query
//! heads, `kv` key/value heads, `g = h / kv`, `hd` head size, `r` adapter rank, `v` vocabulary.

pub use kernels;

#[cfg(feature = "files")]
pub mod data;
#[cfg(feature = "files")]
pub mod export;
#[cfg(feature = "files")]
pub mod generate;
#[cfg(feature = "files")]
pub mod plan;
#[cfg(feature = "files")]
pub mod sizes;
#[cfg(feature = "files")]
pub mod template;
#[cfg(feature = "files")]
pub mod tokenizer;
#[cfg(feature = "files")]
pub mod train;
#[cfg(feature = "files")]
pub mod weights;

#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod adapter;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod host;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod import;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod layers;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod model;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod pacing;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod self_test;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod tensor;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod transfer;
#[cfg(all(
    feature = "web",
    any(feature = "cpu", feature = "gpu", feature = "reader")
))]
pub mod web;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub mod workbench;

#[cfg(test)]
#[cfg(feature = "cpu")]
#[path = "../kernels/src/testing.rs"]
#[allow(dead_code, reason = "the kernels' tests use more of it")]
mod testing;
