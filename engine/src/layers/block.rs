//! One decoder block of a Llama-class model: attention and gated MLP, each behind a norm and beside a residual.

use burn::tensor::{Device, Tensor, activation::sigmoid};

use super::{
    attention::{self, Heads},
    dropout::Dropout,
    frozen::FrozenMatrix,
    norm,
    projection::{self, LoraGradients, LoraPair},
    rope::Rope,
};
use crate::protocol::TargetModule;

/// The frozen weights of a block; fields carry HF's names.
#[derive(Debug, Clone)]
pub struct Block {
    pub index: usize,
    /// `[1, d]`
    pub input_layernorm: Tensor<2>,
    /// `[1, d]`
    pub post_attention_layernorm: Tensor<2>,
    pub q_proj: FrozenMatrix,
    pub k_proj: FrozenMatrix,
    pub v_proj: FrozenMatrix,
    pub o_proj: FrozenMatrix,
    pub gate_proj: FrozenMatrix,
    pub up_proj: FrozenMatrix,
    pub down_proj: FrozenMatrix,
    pub rms_norm_eps: f64,
}

/// The adapters of one block, by [`TargetModule`].
pub type BlockAdapter = [Option<LoraPair>; TargetModule::ALL.len()];

/// Gradients of a block's adapters, each of its module.
pub type BlockGradients = Vec<(TargetModule, LoraGradients)>;

/// What all blocks of one pass share.
#[derive(Clone)]
pub struct PassContext {
    pub heads: Heads,
    pub rope: Rope,
    /// See [`attention::causal_mask`].
    pub mask: Tensor<4>,
    pub dropout: Option<Dropout>,
    pub device: Device,
}

/// What the backward of a block needs of its forward.
pub struct Saved {
    input_norm: norm::Saved,
    q: Option<projection::Saved>,
    k: Option<projection::Saved>,
    v: Option<projection::Saved>,
    attention: attention::Saved,
    o: Option<projection::Saved>,
    post_attention_norm: norm::Saved,
    gate: Option<projection::Saved>,
    up: Option<projection::Saved>,
    /// `[n, f]`, before the activation
    gate_output: Tensor<2>,
    up_output: Tensor<2>,
    down: Option<projection::Saved>,
}

/// Keys and values of the tokens seen so far, `[kv, t, hd]` each.
#[derive(Clone, Default)]
pub struct KeyValueCache(Option<[Tensor<3>; 2]>);

impl KeyValueCache {
    /// Appends and returns all keys and values.
    fn extend(&mut self, keys: Tensor<3>, values: Tensor<3>) -> [Tensor<3>; 2] {
        let all = match self.0.take() {
            Some([past_keys, past_values]) => [
                Tensor::cat(vec![past_keys, keys], 1),
                Tensor::cat(vec![past_values, values], 1),
            ],
            None => [keys, values],
        };
        self.0 = Some(all.clone());
        all
    }
}

impl Block {
    /// The frozen projections, in the order of [`TargetModule::ALL`].
    pub fn matrices(&self) -> [&FrozenMatrix; TargetModule::ALL.len()] {
        [
            &self.q_proj,
            &self.k_proj,
            &self.v_proj,
            &self.o_proj,
            &self.gate_proj,
            &self.up_proj,
            &self.down_proj,
        ]
    }

    /// `[n, d] -> [n, d]`, with a cache where tokens came before.
    pub fn forward(
        &self,
        x: Tensor<2>,
        adapter: Option<&BlockAdapter>,
        context: &PassContext,
        cache: Option<&mut KeyValueCache>,
    ) -> (Tensor<2>, Saved) {
        let Heads {
            query_heads,
            key_value_heads,
            ..
        } = context.heads;
        let project = |module, weight, x| self.project(module, weight, x, adapter, context);

        let (normed, input_norm) =
            norm::forward(x.clone(), &self.input_layernorm, self.rms_norm_eps);
        let (q_output, q) = project(TargetModule::QProj, &self.q_proj, normed.clone());
        let (k_output, k) = project(TargetModule::KProj, &self.k_proj, normed.clone());
        let (v_output, v) = project(TargetModule::VProj, &self.v_proj, normed);
        let queries = context
            .rope
            .forward(context.heads.split(q_output, query_heads));
        let keys = context
            .rope
            .forward(context.heads.split(k_output, key_value_heads));
        let values = context.heads.split(v_output, key_value_heads);
        let [keys, values] = match cache {
            Some(cache) => cache.extend(keys, values),
            None => [keys, values],
        };
        let (attended, attention) =
            attention::forward(context.heads, queries, keys, values, &context.mask);
        let attended = context.heads.merge(attended, query_heads);
        let (o_output, o) = project(TargetModule::OProj, &self.o_proj, attended);
        let x = x + o_output;

        let (normed, post_attention_norm) =
            norm::forward(x.clone(), &self.post_attention_layernorm, self.rms_norm_eps);
        let (gate_output, gate) = project(TargetModule::GateProj, &self.gate_proj, normed.clone());
        let (up_output, up) = project(TargetModule::UpProj, &self.up_proj, normed);
        let activated = gate_output.clone() * sigmoid(gate_output.clone()) * up_output.clone();
        let (down_output, down) = project(TargetModule::DownProj, &self.down_proj, activated);
        let saved = Saved {
            input_norm,
            q,
            k,
            v,
            attention,
            o,
            post_attention_norm,
            gate,
            up,
            gate_output,
            up_output,
            down,
        };
        (x + down_output, saved)
    }

    /// From the output's gradient `[n, d]` to the input's (where `needs_input`) and the adapters'.
    pub fn backward(
        &self,
        dy: Tensor<2>,
        adapter: &BlockAdapter,
        context: &PassContext,
        saved: Saved,
        needs_input: bool,
    ) -> (Option<Tensor<2>>, BlockGradients) {
        let mut gathered = Gathered {
            adapter,
            list: Vec::new(),
        };

        let d_activated = gathered.through(
            TargetModule::DownProj,
            &self.down_proj,
            dy.clone(),
            saved.down,
        );
        let [d_gate, d_up] = swiglu_backward(d_activated, saved.gate_output, saved.up_output);
        let d_normed = gathered.through(TargetModule::UpProj, &self.up_proj, d_up, saved.up)
            + gathered.through(TargetModule::GateProj, &self.gate_proj, d_gate, saved.gate);
        let dy = dy
            + norm::backward(
                d_normed,
                &self.post_attention_layernorm,
                saved.post_attention_norm,
            );

        let d_attended = gathered.through(TargetModule::OProj, &self.o_proj, dy.clone(), saved.o);
        let Heads {
            query_heads,
            key_value_heads,
            ..
        } = context.heads;
        let d_attended = context.heads.split(d_attended, query_heads);
        let d = attention::backward(context.heads, d_attended, saved.attention);
        let d_v = context.heads.merge(d.values, key_value_heads);
        let d_k = context
            .heads
            .merge(context.rope.backward(d.keys), key_value_heads);
        let d_q = context
            .heads
            .merge(context.rope.backward(d.queries), query_heads);
        if !needs_input {
            gathered.only(TargetModule::VProj, d_v, saved.v);
            gathered.only(TargetModule::KProj, d_k, saved.k);
            gathered.only(TargetModule::QProj, d_q, saved.q);
            return (None, gathered.list);
        }
        let d_normed = gathered.through(TargetModule::VProj, &self.v_proj, d_v, saved.v)
            + gathered.through(TargetModule::KProj, &self.k_proj, d_k, saved.k)
            + gathered.through(TargetModule::QProj, &self.q_proj, d_q, saved.q);
        let dx = dy + norm::backward(d_normed, &self.input_layernorm, saved.input_norm);
        (Some(dx), gathered.list)
    }

    fn project(
        &self,
        module: TargetModule,
        weight: &FrozenMatrix,
        x: Tensor<2>,
        adapter: Option<&BlockAdapter>,
        context: &PassContext,
    ) -> (Tensor<2>, Option<projection::Saved>) {
        let lora = adapter.and_then(|adapter| adapter[module as usize].as_ref());
        let dropout = lora
            .and(context.dropout)
            .and_then(|dropout| dropout.mask(self.index, module, x.dims(), &context.device));
        projection::forward(x, weight, lora, dropout)
    }
}

/// Gradients of adapters, gathered while the backward walks through the projections from the last to the first.
struct Gathered<'a> {
    adapter: &'a BlockAdapter,
    list: BlockGradients,
}

impl Gathered<'_> {
    /// Keeps the adapter's gradients and returns the input's.
    fn through(
        &mut self,
        module: TargetModule,
        weight: &FrozenMatrix,
        dy: Tensor<2>,
        saved: Option<projection::Saved>,
    ) -> Tensor<2> {
        let dx = weight.backward(dy.clone());
        match self.only(module, dy, saved) {
            Some(through_adapter) => dx + through_adapter,
            None => dx,
        }
    }

    /// Keeps the adapter's gradients and returns what the adapter adds to the input's, where there is an adapter.
    fn only(
        &mut self,
        module: TargetModule,
        dy: Tensor<2>,
        saved: Option<projection::Saved>,
    ) -> Option<Tensor<2>> {
        let (lora, saved) = self.adapter[module as usize].as_ref().zip(saved)?;
        let (dx, gradients) = projection::backward(dy, lora, saved);
        self.list.push((module, gradients));
        Some(dx)
    }
}

/// `y = silu(gate) up`: the gradients of `gate` and `up`, all `[n, f]`.
fn swiglu_backward(dy: Tensor<2>, gate: Tensor<2>, up: Tensor<2>) -> [Tensor<2>; 2] {
    let gate_sigmoid = sigmoid(gate.clone());
    let silu = gate.clone() * gate_sigmoid.clone();
    let slope = gate_sigmoid.clone() + silu.clone() * (gate_sigmoid.neg().add_scalar(1.0));
    [dy.clone() * up * slope, dy * silu]
}

#[cfg(test)]
#[cfg(feature = "cpu")]
mod tests {
    use super::*;
    use crate::testing::{Array, Random};

    #[test]
    fn swiglu_gradient_equals_differences() {
        let mut random = Random::new();
        let shape = [1..9, 1..30].map(|range| random.size(range));
        let gate = random.array(shape).times(8.0);
        let (up, dy) = (random.array(shape), random.array(shape));
        let reference = |gate: &Array<2>, up: &Array<2>| {
            Array::from_fn(shape, |index| {
                let gate = gate.values[index];
                gate / (1.0 + (-gate).exp()) * up.values[index]
            })
        };
        let [d_gate, d_up] = swiglu_backward(dy.tensor(), gate.tensor(), up.tensor());
        let expected = gate.gradient(&dy, |gate| reference(gate, &up));
        expected.assert_close("gate", d_gate, 1e-5);
        let expected = up.gradient(&dy, |up| reference(&gate, up));
        expected.assert_close("up", d_up, 1e-5);
    }
}
