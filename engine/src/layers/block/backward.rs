//! The backward of a block, from its output to its input.
//!
//! Every residual `y = x + f(norm(x))` gives `dx = dy + norm^T(f^T(dy))`: the gradient goes through the branch, and
//! `rms_norm_backward` adds the part that goes around it. Where a matrix is frozen and has no adapter, going through it
//! is one product, `dy W`.
//!
//! ```text
//! dy -- down_proj -- silu(gate) * up -- up_proj, gate_proj -- post_attention_layernorm --(+ dy)-- d_middle
//! d_middle -- o_proj -- attention -- RoPE -- (q_norm, k_norm) -- v, k, q_proj -- input_layernorm --(+ d_middle)-- dx
//! ```
//!
//! In the first block nothing needs `dx`, so the last products with frozen weights are left out, unless its first norm
//! or a learned prompt is trained.

use burn::tensor::{FloatDType, Tensor};
use protocol::{BlockNorm, TargetModule};

use super::{ACTIVATION, Block, BlockAdapter, BlockGradients, PassContext, Saved, norm_of};
use crate::{
    kernels::{attention_backward, gated_backward, rms_norm, rms_norm_backward},
    layers::projection,
};

impl Block {
    /// Computes the gradients of the input (if `needs_input`) and of the adapter from the output's gradient.
    ///
    /// `saved` is what [`Self::forward_saving`] returned with the same adapter and context. The input's gradient is
    /// also returned if it is computed for the first norm anyway.
    ///
    /// # Shapes
    /// - `dy`: `[n, d]`, f32
    /// - returns `[n, d]`, f32, and the adapter's gradients
    pub fn backward(
        &self,
        dy: Tensor<2>,
        adapter: &BlockAdapter,
        context: &PassContext,
        saved: Saved,
        needs_input: bool,
    ) -> (Option<Tensor<2>>, BlockGradients) {
        let mut back = Backward {
            block: self,
            adapter,
            saved: saved.adapters,
            gradients: BlockGradients::default(),
        };
        let d_activated = back.through(TargetModule::DownProj, context.enter(&dy));
        let [d_gate, d_up] =
            gated_backward(d_activated, saved.gate_output, saved.up_output, ACTIVATION);
        let d_normed =
            back.through(TargetModule::UpProj, d_up) + back.through(TargetModule::GateProj, d_gate);
        let dy = back.through_norm(BlockNorm::PostAttention, d_normed, saved.middle, dy);

        let d_attended = back.through(TargetModule::OProj, context.enter(&dy));
        let [q, k, v] = saved.qkv;
        let before_norms = self
            .head_norms
            .as_ref()
            .map(|norms| (norms, [q.clone(), k.clone()]));
        let [q, k] = match &before_norms {
            Some(_) => self.positioned(q, k, context),
            None => [q, k],
        };
        let [d_q, d_k, d_v] = attention_backward(
            d_attended,
            [q, k, v],
            saved.attended,
            saved.log_sums,
            &context.visibility,
            context.heads,
        );
        let d_k = context.rope.backward(d_k);
        let d_q = context.rope.backward(d_q);
        let [d_q, d_k] = match before_norms {
            Some((norms, inputs)) => norms.backward([d_q, d_k], inputs),
            None => [d_q, d_k],
        };
        if !needs_input && adapter.norms[BlockNorm::Input as usize].is_none() {
            back.only(TargetModule::VProj, &d_v);
            back.only(TargetModule::KProj, &d_k);
            back.only(TargetModule::QProj, &d_q);
            return (None, back.gradients);
        }
        let d_normed = back.through(TargetModule::VProj, d_v)
            + back.through(TargetModule::KProj, d_k)
            + back.through(TargetModule::QProj, d_q);
        let dx = back.through_norm(BlockNorm::Input, d_normed, saved.input, dy);
        (Some(dx), back.gradients)
    }
}

/// A backward through one block, from the last projection to the first, which takes what the adapters saved and
/// collects their gradients.
struct Backward<'a> {
    block: &'a Block,
    adapter: &'a BlockAdapter,
    saved: [Option<projection::Saved>; TargetModule::ALL.len()],
    gradients: BlockGradients,
}

impl Backward<'_> {
    /// Goes through a projection: collects the adapter's gradients and returns the input's.
    ///
    /// # Shapes
    /// - `dy`: `[n, out]`
    /// - returns `[n, in]`
    fn through(&mut self, module: TargetModule, dy: Tensor<2>) -> Tensor<2> {
        let weight = self.block.matrices()[module as usize];
        let saved = self.saved[module as usize].take();
        match self.adapter.modules[module as usize].as_ref().zip(saved) {
            Some((adapter, saved)) => {
                let (dx, gradients) = projection::backward(dy, weight, adapter, &saved);
                self.gradients.modules.push((module, gradients));
                dx
            }
            None => weight.backward(dy, None),
        }
    }

    /// Collects the adapter's gradients where the input's is not needed, which saves the product with `W`.
    fn only(&mut self, module: TargetModule, dy: &Tensor<2>) {
        let weight = self.block.matrices()[module as usize];
        let saved = self.saved[module as usize].take();
        if let Some((adapter, saved)) = self.adapter.modules[module as usize].as_ref().zip(saved) {
            let gradients = projection::gradients_only(dy, weight, adapter, &saved);
            self.gradients.modules.push((module, gradients));
        }
    }

    /// Computes the gradient of the residual stream before a norm of `x`, from the gradient after the norm (`dy`) and
    /// that of the residual connection (`beside`).
    ///
    /// # Shapes
    /// - `dy`, `x`, `beside`: `[n, d]`
    /// - returns `[n, d]`, f32
    fn through_norm(
        &mut self,
        norm: BlockNorm,
        dy: Tensor<2>,
        x: Tensor<2>,
        beside: Tensor<2>,
    ) -> Tensor<2> {
        let eps = self.block.rms_norm_eps;
        if self.adapter.norms[norm as usize].is_some() {
            let gradient = norm_gradient(dy.clone(), x.clone(), eps);
            self.gradients.norms[norm as usize] = Some(gradient);
        }
        let weight = norm_of(self.block, Some(self.adapter), norm);
        rms_norm_backward(dy, x, weight, eps, beside)
    }
}

/// Computes the gradient of the weight of a norm of `x`: the sum over the rows of `dy x / rms(x)`, in f32.
///
/// # Shapes
/// - `dy`, `x`: `[n, d]`
/// - returns `[d]`
pub fn norm_gradient(dy: Tensor<2>, x: Tensor<2>, eps: f64) -> Tensor<1> {
    let ones = Tensor::ones([1, x.dims()[1]], &x.device());
    let normed = rms_norm(x, &ones, eps, FloatDType::F32);
    (dy.cast(FloatDType::F32) * normed).sum_dim(0).flatten(0, 1)
}
