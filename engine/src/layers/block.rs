//! One decoder block: attention and a gated MLP, each after a norm and inside a residual. Some families have a bias on
//! projections, and norms of each head's queries and keys before RoPE.
//!
//! ```text
//! x ---- input_layernorm -- q,k,v_proj -- (q_norm, k_norm) -- RoPE -- attention -- o_proj --+-- middle
//!  \________________________________________________________________________________________/
//! middle -- post_attention_layernorm -- gate_proj, up_proj -- silu(gate) * up -- down_proj --+-- output
//!  \_________________________________________________________________________________________/
//! ```
//!
//! `x`, `middle` and the output are the residual stream, always f32. Between a norm and the addition, everything has
//! the pass's precision ([`PassContext`]).
//!
//! There are three ways through a block. [`Block::forward`] keeps nothing, for evaluation, generation (with a
//! [`KeyValueCache`]), and training where a block is recomputed. [`Block::forward_saving`] also returns what
//! [`Block::backward`] needs ([`Saved`]). Recomputing is `forward_saving` without the output, which stops before
//! `down_proj`.
//!
//! Not saved, since they are cheap to compute again or follow from what is saved: norms (unless an adapter reads them),
//! rotated queries and keys where heads have norms, the activation (unless `down_proj` is adapted), attention's weights
//! (recomputed from the log-sum-exps, as in arXiv 2205.14135).

mod backward;

use burn::tensor::{Device, FloatDType, Tensor};

pub use backward::norm_gradient;

use protocol::{BlockNorm, Precision, TargetModule};

use super::{
    dropout::Dropout,
    float_type,
    head_norm::HeadNorms,
    projection::{self, ModuleAdapter},
    rope::Rope,
};
use crate::{
    kernels::{
        Activation, FrozenMatrix, Heads, Visibility, add_residual, add_rms_norm, attention, gated,
        rms_norm,
    },
    sizes::BlockShape,
};

/// The nonlinearity of the MLP: `silu` in all families; another `hidden_act` is refused when a model is read.
const ACTIVATION: Activation = Activation::Silu;

/// The frozen weights of a block; fields have HF's names. Matrices are `[out, in]`.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its place among the blocks, counted from 0, which also selects its dropout masks.
    pub index: usize,
    /// The weight of the norm before attention, `[1, d]`.
    pub input_layernorm: Tensor<2>,
    /// The weight of the norm before the MLP, `[1, d]`.
    pub post_attention_layernorm: Tensor<2>,
    /// `[h hd, d]`
    pub q_proj: FrozenMatrix,
    /// `[kv hd, d]`
    pub k_proj: FrozenMatrix,
    /// `[kv hd, d]`
    pub v_proj: FrozenMatrix,
    /// `[d, h hd]`
    pub o_proj: FrozenMatrix,
    /// `[f, d]`
    pub gate_proj: FrozenMatrix,
    /// `[f, d]`
    pub up_proj: FrozenMatrix,
    /// `[d, f]`
    pub down_proj: FrozenMatrix,
    /// `[1, out]` each, indexed by [`TargetModule`]; `None` where the projection has no bias.
    pub biases: [Option<Tensor<2>>; TargetModule::ALL.len()],
    /// The norms of heads, where the family has them.
    pub head_norms: Option<HeadNorms>,
    /// What the norms add to the mean square.
    pub rms_norm_eps: f64,
}

/// What an adapter changes in one block; the default changes nothing.
#[derive(Debug, Clone, Default)]
pub struct BlockAdapter {
    /// The adapters of the projections, indexed by [`TargetModule`].
    pub modules: [Option<ModuleAdapter>; TargetModule::ALL.len()],
    /// Weights that replace the base's, indexed by [`BlockNorm`], `[1, d]` each.
    pub norms: [Option<Tensor<2>>; BlockNorm::ALL.len()],
}

/// The gradients of the trained tensors of a block; [`flatten_gradients`](crate::adapter::flatten_gradients) joins
/// them.
#[derive(Debug, Default)]
pub struct BlockGradients {
    /// The gradients of each adapted module's parts, in the order of the layout's parts, flattened. The modules come in
    /// the order in which the backward meets them.
    pub modules: Vec<(TargetModule, Vec<Tensor<1>>)>,
    /// Indexed by [`BlockNorm`], `[d]` each.
    pub norms: [Option<Tensor<1>>; BlockNorm::ALL.len()],
}

/// Values shared by all blocks of one pass. [`Model::context`](crate::model::Model::context) makes them; forward and
/// backward of a pass need the same ones.
#[derive(Clone)]
pub struct PassContext {
    /// The sizes of the attention: rows, tokens, tokens before them, heads.
    pub heads: Heads,
    /// Which tokens a token sees, besides that it sees none after itself.
    pub visibility: Visibility,
    /// The rotations of the pass's positions.
    pub rope: Rope,
    /// The dropout of the adapters' inputs; `None` outside of training.
    pub dropout: Option<Dropout>,
    /// The device that masks go to.
    pub device: Device,
    /// The precision of the activations between a block's first norm and its output, and of their gradients. The
    /// residual stream between blocks has single precision.
    pub precision: Precision,
}

impl PassContext {
    /// Converts the gradient of the residual stream to the precision inside the block.
    fn enter(&self, dy: &Tensor<2>) -> Tensor<2> {
        match self.precision {
            Precision::Single => dy.clone(),
            Precision::Half => dy.clone().cast(FloatDType::F16),
        }
    }
}

/// What the backward of a block needs from its forward. All are `[n, ..]`, with `n = b t`.
///
/// [`BlockShape::kept_bytes`] says how much that is; it has to follow any change here.
pub struct Saved {
    /// The input of the block, which is that of the first norm, `[n, d]` in f32.
    input: Tensor<2>,
    /// Queries, keys and values: as attention takes them, or, where heads have norms, queries and keys as they were
    /// before these, from which the others are computed again.
    qkv: [Tensor<2>; 3],
    /// The output of attention, `[n, h hd]`, which its backward needs and the adapter of `o_proj` shares.
    attended: Tensor<2>,
    /// The log-sum-exps of [`attention`], `[n, h]` in f32.
    log_sums: Tensor<2>,
    /// The input of the second norm, `[n, d]` in f32.
    middle: Tensor<2>,
    /// The output of `gate_proj` before the activation, `[n, f]`.
    gate_output: Tensor<2>,
    /// The output of `up_proj`, `[n, f]`.
    up_output: Tensor<2>,
    /// What the adapters saved, indexed by [`TargetModule`].
    adapters: [Option<projection::Saved>; TargetModule::ALL.len()],
}

/// The number of rows to which a full cache is rounded up: enough that copying is rare, and few next to a context.
const SPARE_ROWS: usize = 256;

/// The keys and values of the tokens seen so far, in one block.
///
/// Keys are kept as attention takes them, normed and rotated. A token is written into the next row, and only a full
/// cache is copied, to one with 256 rows more at most. The default is empty. A cache belongs to one row of text and one
/// adapter.
#[derive(Clone, Default)]
pub struct KeyValueCache {
    /// Keys and values, `[capacity, kv hd]` each; `None` before the first token.
    rows: Option<[Tensor<2>; 2]>,
    /// How many rows are in use.
    num_tokens: usize,
}

impl KeyValueCache {
    /// Appends tokens; returns the keys and values of all. The tensors may have spare rows at the end, which attention
    /// does not read.
    ///
    /// # Shapes
    /// - `keys`, `values`: `[new tokens, kv hd]`
    /// - returns `[capacity, kv hd]` twice
    fn extend(&mut self, keys: Tensor<2>, values: Tensor<2>) -> [Tensor<2>; 2] {
        let start = self.num_tokens;
        self.num_tokens += keys.dims()[0];
        // Taken out, since a second handle on the rows would make the write copy all of them.
        let rows = match self.rows.take() {
            Some([past_keys, past_values]) => [
                written(past_keys, start, keys),
                written(past_values, start, values),
            ],
            None => [keys, values],
        };
        self.rows = Some(rows.clone());
        rows
    }
}

/// Writes `others` into `rows` from row `start` on, in place where they fit.
///
/// # Shapes
/// - `rows`: `[capacity, kv hd]`
/// - `others`: `[new tokens, kv hd]`
fn written(rows: Tensor<2>, start: usize, others: Tensor<2>) -> Tensor<2> {
    let ([capacity, width], end) = (rows.dims(), start + others.dims()[0]);
    let rows = if end > capacity {
        let options = (&rows.device(), rows.dtype());
        let wider = Tensor::zeros([end.next_multiple_of(SPARE_ROWS), width], options);
        wider.slice_assign([0..capacity, 0..width], rows)
    } else {
        rows
    };
    rows.slice_assign([start..end, 0..width], others)
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

    /// A mutable reference to a frozen projection, to give it other weights.
    pub fn matrix_mut(&mut self, module: TargetModule) -> &mut FrozenMatrix {
        match module {
            TargetModule::QProj => &mut self.q_proj,
            TargetModule::KProj => &mut self.k_proj,
            TargetModule::VProj => &mut self.v_proj,
            TargetModule::OProj => &mut self.o_proj,
            TargetModule::GateProj => &mut self.gate_proj,
            TargetModule::UpProj => &mut self.up_proj,
            TargetModule::DownProj => &mut self.down_proj,
        }
    }

    /// The frozen norms of the residual stream, indexed by [`BlockNorm`].
    pub fn norms(&self) -> [&Tensor<2>; BlockNorm::ALL.len()] {
        [&self.input_layernorm, &self.post_attention_layernorm]
    }

    /// All frozen vectors: the norms, the biases, and the norms of heads.
    pub fn vectors(&self) -> impl Iterator<Item = &Tensor<2>> {
        let biases = self.biases.iter().flatten();
        let of_heads = self.head_norms.iter();
        let of_heads = of_heads.flat_map(|norms| [&norms.q_norm, &norms.k_norm]);
        self.norms().into_iter().chain(biases).chain(of_heads)
    }

    /// Queries and keys as attention takes them: normed, where heads have norms, and rotated.
    ///
    /// # Shapes
    /// - `q`: `[n, h hd]`
    /// - `k`: `[n, kv hd]`
    fn positioned(&self, q: Tensor<2>, k: Tensor<2>, context: &PassContext) -> [Tensor<2>; 2] {
        let [q, k] = match &self.head_norms {
            Some(norms) => norms.forward([q, k]),
            None => [q, k],
        };
        [context.rope.forward(q), context.rope.forward(k)]
    }

    /// The sizes that determine how much [`Self::forward_saving`] keeps, with this adapter.
    pub fn shape(
        &self,
        adapter: &BlockAdapter,
        query_heads: usize,
        has_dropout: bool,
        precision: Precision,
    ) -> BlockShape {
        let features = |matrix: &FrozenMatrix| (matrix.cols() as u64, matrix.rows() as u64);
        let rank = |adapter: &ModuleAdapter| {
            let pair = adapter.low_rank.as_ref();
            pair.map_or(0, |pair| pair.a.dims()[0] as u64)
        };
        BlockShape {
            features: self.matrices().map(features),
            ranks: adapter
                .modules
                .each_ref()
                .map(|adapter| adapter.as_ref().map(rank)),
            scaled: adapter.modules.each_ref().map(|adapter| {
                let adapter = adapter.as_ref();
                adapter.is_some_and(|adapter| adapter.output_scale.is_some())
            }),
            query_heads: query_heads as u64,
            has_dropout,
            precision,
        }
    }

    /// Computes the block and keeps nothing.
    ///
    /// With a cache, the pass is of one row, whose tokens follow those in the cache (`context.heads.past` of them) and
    /// see them.
    ///
    /// # Shapes
    /// - `x`: `[n, d]`, f32
    /// - returns `[n, d]`, f32
    pub fn forward(
        &self,
        x: Tensor<2>,
        adapter: Option<&BlockAdapter>,
        context: &PassContext,
        cache: Option<&mut KeyValueCache>,
    ) -> Tensor<2> {
        let mut pass = Pass::new(self, adapter, context);
        let [q, k, v] = pass.queries_keys_values(x.clone());
        let [q, k] = self.positioned(q, k, context);
        let [k, v] = match cache {
            Some(cache) => cache.extend(k, v),
            None => [k, v],
        };
        let (attended, _) = attention([q, k, v], &context.visibility, context.heads);
        let (middle, normed) = pass.after_attention(x, attended);
        let gate = pass.project(TargetModule::GateProj, normed.clone());
        let up = pass.project(TargetModule::UpProj, normed);
        let output = pass.project(TargetModule::DownProj, gated(gate, up, ACTIVATION));
        add_residual(middle, output)
    }

    /// Like [`Self::forward`] over whole sequences; also returns what [`Self::backward`] needs. The output is computed
    /// only if `with_output` is set: whoever recomputes a block knows it already.
    ///
    /// # Shapes
    /// - `x`: `[n, d]`, f32
    /// - returns `[n, d]`, f32, if `with_output`
    pub fn forward_saving(
        &self,
        x: Tensor<2>,
        adapter: Option<&BlockAdapter>,
        context: &PassContext,
        with_output: bool,
    ) -> (Option<Tensor<2>>, Saved) {
        let mut pass = Pass::new(self, adapter, context);
        let qkv = pass.queries_keys_values(x.clone());
        let before_norms = self.head_norms.as_ref().map(|_| qkv.clone());
        let [q, k, v] = qkv;
        let [q, k] = self.positioned(q, k, context);
        let saved_qkv = before_norms.unwrap_or_else(|| [q.clone(), k.clone(), v.clone()]);
        let (attended, log_sums) = attention([q, k, v], &context.visibility, context.heads);
        let (middle, normed) = pass.after_attention(x.clone(), attended.clone());
        let gate_output = pass.project(TargetModule::GateProj, normed.clone());
        let up_output = pass.project(TargetModule::UpProj, normed);
        let has_adapter = pass.module(TargetModule::DownProj).is_some();
        let activated = (with_output || has_adapter)
            .then(|| gated(gate_output.clone(), up_output.clone(), ACTIVATION));
        let output = match activated {
            Some(activated) if with_output => {
                let output = pass.project(TargetModule::DownProj, activated);
                Some(add_residual(middle.clone(), output))
            }
            Some(activated) => {
                pass.save(TargetModule::DownProj, activated);
                None
            }
            None => None,
        };
        let saved = Saved {
            input: x,
            qkv: saved_qkv,
            attended,
            log_sums,
            middle,
            gate_output,
            up_output,
            adapters: pass.saved,
        };
        (output, saved)
    }
}

/// A forward through one block, which collects what the adapters save. Both forwards go through it, so they cannot
/// differ.
struct Pass<'a> {
    block: &'a Block,
    adapter: Option<&'a BlockAdapter>,
    context: &'a PassContext,
    saved: [Option<projection::Saved>; TargetModule::ALL.len()],
}

impl<'a> Pass<'a> {
    fn new(block: &'a Block, adapter: Option<&'a BlockAdapter>, context: &'a PassContext) -> Self {
        Self {
            block,
            adapter,
            context,
            saved: Default::default(),
        }
    }

    /// The adapter of a projection, if it has one.
    fn module(&self, module: TargetModule) -> Option<&'a ModuleAdapter> {
        self.adapter
            .and_then(|adapter| adapter.modules[module as usize].as_ref())
    }

    /// The weight of a norm, `[1, d]`: the adapter's if it trained one.
    fn norm(&self, norm: BlockNorm) -> &'a Tensor<2> {
        norm_of(self.block, self.adapter, norm)
    }

    /// Norms the input and projects it to queries, keys and values, before head norms and RoPE.
    ///
    /// # Shapes
    /// - `x`: `[n, d]`
    /// - returns `[n, h hd]`, `[n, kv hd]`, `[n, kv hd]`
    fn queries_keys_values(&mut self, x: Tensor<2>) -> [Tensor<2>; 3] {
        let block = self.block;
        let normed = rms_norm(
            x,
            self.norm(BlockNorm::Input),
            block.rms_norm_eps,
            float_type(self.context.precision),
        );
        let q = self.project(TargetModule::QProj, normed.clone());
        let k = self.project(TargetModule::KProj, normed.clone());
        let v = self.project(TargetModule::VProj, normed);
        [q, k, v]
    }

    /// Adds the projected output of attention to `x`; returns the sum (`middle`) and its norm, the MLP's input.
    ///
    /// # Shapes
    /// - `x`: `[n, d]`
    /// - `attended`: `[n, h hd]`
    /// - returns `[n, d]` twice
    fn after_attention(&mut self, x: Tensor<2>, attended: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let output = self.project(TargetModule::OProj, attended);
        let norm = self.norm(BlockNorm::PostAttention);
        add_rms_norm(x, output, norm, self.block.rms_norm_eps)
    }

    /// Computes only the adapter's part of a projection, and keeps what its backward needs; nothing without an adapter.
    fn save(&mut self, module: TargetModule, x: Tensor<2>) {
        let Some(adapter) = self.module(module) else {
            return;
        };
        let context = self.context;
        let dropout = context
            .dropout
            .and_then(|dropout| dropout.mask(self.block.index, module, x.dims(), &context.device));
        let weight = self.block.matrices()[module as usize];
        self.saved[module as usize] = Some(projection::Saved::new(
            x,
            weight,
            self.block.biases[module as usize].as_ref(),
            adapter,
            dropout,
        ));
    }

    /// Computes a projection with its bias and its adapter: `[n, in] -> [n, out]`.
    fn project(&mut self, module: TargetModule, x: Tensor<2>) -> Tensor<2> {
        self.save(module, x.clone());
        let adapter = self
            .module(module)
            .zip(self.saved[module as usize].as_ref());
        let bias = self.block.biases[module as usize].as_ref();
        projection::forward(x, self.block.matrices()[module as usize], bias, adapter)
    }
}

/// The weight of a norm, `[1, d]`: the adapter's if it trained one, otherwise the base's.
fn norm_of<'a>(
    block: &'a Block,
    adapter: Option<&'a BlockAdapter>,
    norm: BlockNorm,
) -> &'a Tensor<2> {
    let own = adapter.and_then(|adapter| adapter.norms[norm as usize].as_ref());
    own.unwrap_or(block.norms()[norm as usize])
}
