//! The operations that a training step spends its time in, once for each backend.
//!
//! [`KernelOps`] is the interface: `cpu` implements it on Burn's Flex backend with our own SIMD loops, `gpu` with
//! CubeCL kernels. Everything above this module is written once, in Burn's tensors.
//!
//! Activations are token-major throughout, `[b t, heads hd]`: a projection's output is what RoPE and attention read, so
//! nothing is transposed or copied between them.

#[cfg(any(feature = "cpu", feature = "gpu"))]
use burn::{
    backend::{Backend, backend_extension, tensor::FloatTensor},
    tensor::FloatDType,
};

#[cfg(any(feature = "cpu", feature = "gpu"))]
use operand::{Addend, QuantizedOperand, RunningSums, Sight};

#[cfg(any(feature = "cpu", feature = "gpu"))]
mod activation;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod call;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod composed;
#[cfg(feature = "cpu")]
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod operand;
pub mod pack;
pub mod quantized;
#[cfg(test)]
#[cfg(feature = "cpu")]
#[allow(dead_code, reason = "the engine's tests use more of it")]
mod testing;
#[cfg(any(feature = "cpu", feature = "gpu"))]
mod visibility;

#[cfg(any(feature = "cpu", feature = "gpu"))]
pub use activation::Activation;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub use call::{
    FrozenMatrix, HeadSums, LowRank, add_residual, add_rms_norm, attention, attention_backward,
    gated, gated_backward, matmul, rms_norm, rms_norm_backward, rope,
};
#[cfg(all(feature = "threads", feature = "web"))]
pub use cpu::parallel::help;
#[cfg(feature = "cpu")]
pub use cpu::parallel::{for_each, num_threads};
#[cfg(feature = "gpu")]
pub use gpu::calibration::Variant;
#[cfg(any(feature = "cpu", feature = "gpu"))]
pub use visibility::Visibility;

// The engine's and the browser's tests use the references, too, and find this crate by this name.
#[cfg(test)]
extern crate self as kernels;

/// The sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heads {
    pub batch: usize,
    /// Queries of a row.
    pub tokens: usize,
    /// Keys that come before a row's queries: query `i` sees no key after `past + i`.
    pub past: usize,
    pub query_heads: usize,
    pub key_value_heads: usize,
    pub head_dim: usize,
}

impl Heads {
    /// Query heads that share a key head.
    pub fn group(self) -> usize {
        self.query_heads / self.key_value_heads
    }

    /// Keys of a row.
    pub fn keys(self) -> usize {
        self.past + self.tokens
    }

    /// The factor of the scores, `1 / sqrt(hd)`.
    pub fn scale(self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }
}

/// The backend operations. The residual stream and everything of an adapter are f32; the activations inside a block
/// have the precision in which its first norm returns them, and so do their gradients. A backend without halves takes
/// and returns f32 throughout. What belongs together travels as one value; see `operand.rs`.
///
/// The default bodies are compositions of Burn's own operations: correct on every backend, fast on none.
#[cfg(any(feature = "cpu", feature = "gpu"))]
#[backend_extension(Cube: cfg(feature = "gpu"), Flex: cfg(feature = "cpu"))]
pub trait KernelOps: Backend {
    /// `[m, k] x [k, n] -> [m, n]` in f32, or a batch of such products, `[batch, ..]` throughout; either side may be a
    /// transposed view and may hold halves.
    fn matmul(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `W` in f32, `[rows, cols]`, or `[cols, rows]` where `transposed`.
    fn unpack(
        #[extension_type] weight: QuantizedOperand<Self>,
        transposed: bool,
    ) -> FloatTensor<Self>;

    /// `x W^T`, plus `scaling u B^T` with `B` `[rows, r]`, in the precision of `x`: `[n, cols] -> [n, rows]`
    fn quantized_linear(
        x: FloatTensor<Self>,
        #[extension_type] weight: QuantizedOperand<Self>,
        #[extension_type] addend: Addend<Self>,
    ) -> FloatTensor<Self>;

    /// `dy W`, plus `scaling u A` with `A` `[r, cols]`: `[n, rows] -> [n, cols]`, the gradient of
    /// [`Self::quantized_linear`]'s input.
    fn quantized_linear_backward(
        dy: FloatTensor<Self>,
        #[extension_type] weight: QuantizedOperand<Self>,
        #[extension_type] addend: Addend<Self>,
    ) -> FloatTensor<Self>;

    /// RMSNorm `w x / sqrt(mean(x^2) + eps)` of the rows of `x` `[n, d]`; `weight` is `[1, d]`. A row whose square
    /// overflows becomes NaN, which a run notices, and not zero. The result is in f32, or in f16 if the backend supports it.
    fn rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        dtype: FloatDType,
    ) -> FloatTensor<Self> {
        composed::rms_norm::<Self>(x, weight, eps, dtype)
    }

    /// `x + delta` in f32, whatever `delta` is.
    fn add_residual(x: FloatTensor<Self>, delta: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add(x, delta)
    }

    /// `x + delta` in f32, and the RMSNorm of that sum in the precision of `delta`.
    fn add_rms_norm(
        x: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let sum = Self::float_add(x, delta);
        let normed = Self::rms_norm(sum.clone(), weight, eps, FloatDType::F32);
        (sum, normed)
    }

    /// `residual` plus the gradient of [`Self::rms_norm`]'s input, `s (w dy - x s^2 mean(w dy x))` with
    /// `s = 1 / rms(x)`, in f32 whatever `dy` is.
    fn rms_norm_backward(
        dy: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        residual: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::float_add(
            residual,
            composed::rms_norm_backward::<Self>(dy, x, weight, eps),
        )
    }

    /// Rotates the heads of `x` `[b t, heads hd]` by the angles of their positions, or back where `inverse`; `cos` and
    /// `sin` are `[t, hd / 2]`. The two halves of a head rotate against each other, as in HF's Llama.
    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        composed::rope::<Self>(x, cos, sin, inverse)
    }

    /// `softmax(q k^T / sqrt(hd)) v` over the keys that each query sees, for `q` `[b t, h hd]`, `k` and `v`
    /// `[b keys, kv hd]`: the output `[b t, h hd]`, and the log-sum-exp of each query's scores `[b t, h]`, always f32. `k`
    /// and `v` may have more rows, as a cache has; rows after the keys are not read.
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        #[extension_type] sight: Sight<Self>,
        heads: Heads,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::attention::<Self>(q, k, v, sight, heads)
    }

    /// Gradients of `q`, `k` and `v` from [`Self::attention`]'s operands and results (Dao et al., arXiv 2205.14135).
    #[allow(clippy::too_many_arguments, reason = "operands and results")]
    fn attention_backward(
        d_output: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        output: FloatTensor<Self>,
        log_sums: FloatTensor<Self>,
        #[extension_type] sight: Sight<Self>,
        heads: Heads,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::attention_backward::<Self>(d_output, [q, k, v], output, log_sums, sight, heads)
    }

    /// `f(gate) up`, all `[n, f]`.
    fn gated(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        composed::gated::<Self>(gate, up, activation)
    }

    /// Gradients of [`Self::gated`]'s `gate` and `up`.
    fn gated_backward(
        dy: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::gated_backward::<Self>(dy, gate, up, activation)
    }

    /// Adds one chunk `W` `[c, d]` of the head's rows to the running sums of the softmax over the vocabulary; `hidden`
    /// is `[s, d]`. Without `with_gradient`, the weighted sum of rows passes through.
    fn head_chunk(
        hidden: FloatTensor<Self>,
        #[extension_type] rows: QuantizedOperand<Self>,
        #[extension_type] sums: RunningSums<Self>,
        with_gradient: bool,
    ) -> RunningSums<Self> {
        composed::head_chunk::<Self>(hidden, rows, sums, with_gradient)
    }
}

#[cfg(test)]
#[cfg(feature = "cpu")]
mod tests;
