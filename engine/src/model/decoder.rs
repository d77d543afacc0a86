//! A decoder of any family: blocks as its [description](crate::arch) has them, a last norm, and a tied or separate
//! head.
//!
//! ```text
//! ids [n] -> embed [n, d] -> block 0 -> ... -> block L-1 -> final_norm [n, d] -> head -> logits [v]
//!            adapter.prompt  adapter.blocks[i]               adapter.norm         adapter.head
//! ```
//!
//! An adapter is an argument of every pass, not a part of the model, so the base and any number of adapters are
//! compared on the same weights. The passes themselves differ in what they need between the blocks: training and
//! scoring (`train/step.rs`) walk over [`Model::blocks`], yield after each of them and compute the head in chunks;
//! generation uses [`Model::next_logits`] with a cache, and only for the last position.
//!
//! Activations are token-major, `[n, heads hd]` with `n = b t`, and every row of a batch begins at position 0 unless it
//! is packed. Weights stay quantized on the device (`FrozenMatrix`).

use std::borrow::Cow;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use protocol::{BlockNorm, Precision, TargetModule};

use crate::{
    adapter::{Base, DeviceAdapter, ModelShape},
    arch::{self, block_name},
    data::Batch,
    kernels::{FrozenMatrix, Heads, Visibility, rms_norm},
    layers::{
        block::{Block, KeyValueCache, PassContext},
        dropout::Dropout,
        head_norm::HeadNorms,
        rope::Rope,
    },
    sizes::BlockShape,
    tensor::index_tensor,
    weights::{checkpoint::ModelFiles, config::ModelConfig, error::ModelError},
};

/// The whole model; fields have HF's names.
pub struct Model {
    /// The sizes and settings from config.json or the GGUF header.
    pub config: ModelConfig,
    /// The device of all weights.
    pub device: Device,
    /// The embedding, `[v, d]`; also the head where they are tied.
    pub embed_tokens: FrozenMatrix,
    /// The blocks, in the order of the forward pass: `blocks[i].index` is `i`.
    pub blocks: Vec<Block>,
    /// The weight of the norm after the last block, `[1, d]`.
    pub norm: Tensor<2>,
    /// The head, `[v, d]`; `None` if it is the embedding.
    pub lm_head: Option<FrozenMatrix>,
}

impl Model {
    /// Reads every tensor in slices and moves it to the device, still quantized.
    ///
    /// `progress` is awaited after each block with the number of blocks read, so that the caller can report it and
    /// yield. At most one matrix is on the host at a time.
    ///
    /// # Errors
    /// Whatever is wrong with the files; see [`ModelError`].
    pub async fn load(
        files: &ModelFiles,
        device: &Device,
        progress: impl AsyncFn(usize),
    ) -> Result<Self, ModelError> {
        let config = files.config.clone();
        let loader = Loader { files, device };
        let d = config.hidden_size;
        let embed_tokens = loader
            .matrix(arch::EMBEDDING.hf, [config.vocab_size, d])
            .await?;
        let mut blocks = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            blocks.push(loader.block(index, &config).await?);
            progress(index + 1).await;
        }
        let norm = loader.vector(arch::FINAL_NORM.hf, d).await?;
        let lm_head = if config.tie_word_embeddings {
            None
        } else {
            Some(loader.matrix(arch::HEAD.hf, [config.vocab_size, d]).await?)
        };
        Ok(Self {
            config,
            device: device.clone(),
            embed_tokens,
            blocks,
            norm,
            lm_head,
        })
    }

    /// The head `[v, d]`, which is the embedding where they are tied.
    pub fn head(&self) -> &FrozenMatrix {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    /// The head `[v, d]` of a pass: the adapter's own if it trained one, otherwise the base's.
    pub fn head_of<'a>(&'a self, adapter: Option<&'a DeviceAdapter>) -> &'a FrozenMatrix {
        let own = adapter.and_then(|adapter| adapter.head.as_ref());
        own.unwrap_or_else(|| self.head())
    }

    /// The device memory used by the weights, in bytes; a tied head counts once.
    pub fn num_bytes(&self) -> u64 {
        let matrices = self
            .blocks
            .iter()
            .flat_map(Block::matrices)
            .chain([&self.embed_tokens])
            .chain(&self.lm_head);
        let vectors = self.blocks.iter().flat_map(Block::vectors);
        let vectors = vectors.chain([&self.norm]).map(|vector| vector.dims()[1]);
        matrices.map(FrozenMatrix::num_bytes).sum::<u64>() + 4 * vectors.sum::<usize>() as u64
    }

    /// The sizes that determine how much a block keeps of a forward: those of the block that keeps the most, since an
    /// adapter may leave blocks out or have other ranks in them. `None` if there are no blocks.
    pub fn block_shape(
        &self,
        adapter: &DeviceAdapter,
        has_dropout: bool,
        precision: Precision,
    ) -> Option<BlockShape> {
        let query_heads = self.config.num_attention_heads;
        let blocks = self.blocks.iter().zip(&adapter.blocks);
        let shapes = blocks
            .map(|(block, adapter)| block.shape(adapter, query_heads, has_dropout, precision));
        shapes.max_by_key(|shape| shape.kept_bytes(1))
    }

    /// The embeddings of `ids`, in f32; ids from the vocabulary's size on use the adapter's.
    ///
    /// With a learned prompt, the rows found for all positions (token 0's for virtual ones) and the prompt's are joined
    /// into one table, from which each position then takes its own: a second gather, and no write into rows.
    ///
    /// # Shapes
    /// - returns `[n, d]`
    pub fn embed(&self, ids: &[u32], adapter: Option<&DeviceAdapter>) -> Tensor<2> {
        let Some(prompt) = adapter.and_then(|adapter| adapter.prompt.clone()) else {
            return self.embed_tokens.select_rows(ids, &self.device);
        };
        let vocabulary = self.config.vocab_size as u32;
        let is_virtual = |id: u32| id >= vocabulary;
        // A virtual id would read past the embedding; the row of token 0 stands in and is not used.
        let words: Vec<u32> = ids
            .iter()
            .map(|&id| if is_virtual(id) { 0 } else { id })
            .collect();
        let all = Tensor::cat(
            vec![self.embed_tokens.select_rows(&words, &self.device), prompt],
            0,
        );
        let own = ids
            .iter()
            .enumerate()
            .map(|(at, &id)| match is_virtual(id) {
                true => ids.len() + (id - vocabulary) as usize,
                false => at,
            });
        all.select(0, index_tensor(&own.collect::<Vec<_>>(), &self.device))
    }

    /// The ids of the tokens that an adapter puts before every row: `v`, `v + 1`, ... for as many as it has learned
    /// embeddings.
    fn prompt_ids(&self, adapter: Option<&DeviceAdapter>) -> Vec<u32> {
        let num_tokens = adapter.map_or(0, DeviceAdapter::prompt_tokens);
        let vocabulary = self.config.vocab_size;
        (vocabulary..vocabulary + num_tokens)
            .map(|id| id as u32)
            .collect()
    }

    /// The batch with the tokens that the adapter puts before every row; the same batch where there are none.
    pub fn prompted<'a>(
        &self,
        batch: &'a Batch,
        adapter: Option<&DeviceAdapter>,
    ) -> Cow<'a, Batch> {
        match &*self.prompt_ids(adapter) {
            [] => Cow::Borrowed(batch),
            prompt => Cow::Owned(batch.prompted(prompt)),
        }
    }

    /// The last norm, with the adapter's weight if it trained one, in f32 whatever the pass computes in.
    ///
    /// # Shapes
    /// - `hidden`: `[n, d]`
    /// - returns `[n, d]`
    pub fn final_norm(&self, hidden: Tensor<2>, adapter: Option<&DeviceAdapter>) -> Tensor<2> {
        let own = adapter.and_then(|adapter| adapter.norm.as_ref());
        let eps = self.config.rms_norm_eps;
        rms_norm(hidden, own.unwrap_or(&self.norm), eps, FloatDType::F32)
    }

    /// The values that the blocks share in a pass over a batch, in which they compute in that precision.
    ///
    /// In a packed batch, positions restart with each segment, and a token sees only its own segment. Otherwise all
    /// rows have positions `0..t`; padding comes after a row's tokens, which do not see it.
    pub fn context(
        &self,
        batch: &Batch,
        dropout: Option<Dropout>,
        precision: Precision,
    ) -> PassContext {
        let mut context = self.row_context(batch.t, 0, precision);
        context.heads.batch = batch.b;
        context.dropout = dropout;
        if let Some(lengths) = batch.segments() {
            let positions = lengths.iter().flat_map(|&length| 0..length);
            context.rope = self.rope(positions);
            context.visibility = Visibility::segments(&lengths, &self.device);
        }
        context
    }

    /// Like [`Self::context`], for `tokens` tokens of one row that begins at position `past`.
    ///
    /// With a cache, `past` is the number of tokens in it, which all `tokens` see.
    pub fn row_context(&self, tokens: usize, past: usize, precision: Precision) -> PassContext {
        let config = &self.config;
        PassContext {
            heads: Heads {
                batch: 1,
                tokens,
                past,
                query_heads: config.num_attention_heads,
                key_value_heads: config.num_key_value_heads,
                head_dim: config.head_dim,
            },
            visibility: Visibility::causal(),
            rope: self.rope(past..past + tokens),
            dropout: None,
            device: self.device.clone(),
            precision,
        }
    }

    /// The rotations of these positions; the angles depend on the family's head size and `rope_theta`.
    fn rope(&self, positions: impl Iterator<Item = usize> + Clone) -> Rope {
        let config = &self.config;
        Rope::new(positions, config.head_dim, config.rope_theta, &self.device)
    }

    /// The logits after the last of `ids`, which follow the contents of the cache: `past` tokens, preceded by those
    /// that the adapter puts before every row.
    ///
    /// The first call has `past == 0` and an empty cache; the adapter's prompt then goes in front of `ids`. Only the
    /// last position goes through the norm and the head.
    ///
    /// # Shapes
    /// - `ids`: one token or many, but not none
    /// - `cache`: one for each block, extended by this call
    /// - returns `[v]`
    ///
    /// # Panics
    /// If `ids` is empty.
    pub fn next_logits(
        &self,
        ids: &[u32],
        past: usize,
        adapter: Option<&DeviceAdapter>,
        precision: Precision,
        cache: &mut [KeyValueCache],
    ) -> Tensor<1> {
        let prompt = self.prompt_ids(adapter);
        // The prompt goes into the cache once, with the first tokens.
        let (ids, past) = match past {
            0 => ([&prompt, ids].concat(), 0),
            past => (ids.to_vec(), past + prompt.len()),
        };
        let context = self.row_context(ids.len(), past, precision);
        let mut hidden = self.embed(&ids, adapter);
        for (block, cache) in self.blocks.iter().zip(cache) {
            let adapter = adapter.map(|adapter| &adapter.blocks[block.index]);
            hidden = block.forward(hidden, adapter, &context, Some(cache));
        }
        let last = hidden.slice_dim(0, ids.len() - 1..ids.len());
        self.head_of(adapter)
            .forward(self.final_norm(last, adapter), None)
            .flatten(0, 1)
    }
}

impl Base for Model {
    fn shape(&self) -> ModelShape {
        ModelShape::from(&self.config)
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn projection(&self, layer: usize, module: TargetModule) -> &FrozenMatrix {
        self.blocks[layer].matrices()[module as usize]
    }

    fn block_norm(&self, layer: usize, norm: BlockNorm) -> &Tensor<2> {
        self.blocks[layer].norms()[norm as usize]
    }

    fn last_norm(&self) -> &Tensor<2> {
        &self.norm
    }

    fn head(&self) -> &FrozenMatrix {
        Self::head(self)
    }

    fn embeddings(&self, ids: &[u32]) -> Tensor<2> {
        self.embed_tokens.select_rows(ids, &self.device)
    }
}

/// Reads tensors by their HF names, whatever the format of the files, and moves them to the device.
struct Loader<'a> {
    files: &'a ModelFiles,
    device: &'a Device,
}

impl Loader<'_> {
    /// Reads a matrix `[out, in]`, still quantized.
    ///
    /// # Errors
    /// As [`ModelFiles::matrix`].
    async fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<FrozenMatrix, ModelError> {
        Ok(FrozenMatrix::from_quantized(
            self.files.matrix(name, shape).await?,
            self.device,
        ))
    }

    /// Reads a vector as a row `[1, len]`, in f32.
    ///
    /// # Errors
    /// As [`ModelFiles::vector`].
    async fn vector(&self, name: &str, len: usize) -> Result<Tensor<2>, ModelError> {
        let values = self.files.vector(name, len).await?;
        Ok(Tensor::from_data(
            TensorData::new(values, [1, len]),
            self.device,
        ))
    }

    /// Reads the block `index`. Biases and norms of heads are read where the family's description lists them.
    ///
    /// # Errors
    /// As [`ModelFiles::matrix`].
    async fn block(&self, index: usize, config: &ModelConfig) -> Result<Block, ModelError> {
        let name = |part: &str| block_name(index, &format!("{part}.weight"));
        let projection = async |module: TargetModule| {
            let (in_features, out_features) = config.projection_features(module);
            self.matrix(&name(module.path()), [out_features, in_features])
                .await
        };
        let mut biases = [const { None }; TargetModule::ALL.len()];
        for module in TargetModule::ALL {
            let part = format!("{}.bias", module.path());
            if config.arch.block_tensor(&part).is_some() {
                let (_, out_features) = config.projection_features(module);
                let name = block_name(index, &part);
                biases[module as usize] = Some(self.vector(&name, out_features).await?);
            }
        }
        let head_norm = async |spec: arch::TensorSpec| {
            let name = block_name(index, spec.hf);
            self.vector(&name, config.head_dim).await
        };
        let head_norms = if config.arch.has_head_norms() {
            Some(HeadNorms {
                q_norm: head_norm(arch::QUERY_NORM).await?,
                k_norm: head_norm(arch::KEY_NORM).await?,
                eps: config.rms_norm_eps,
            })
        } else {
            None
        };
        Ok(Block {
            index,
            input_layernorm: self
                .vector(&name("input_layernorm"), config.hidden_size)
                .await?,
            post_attention_layernorm: self
                .vector(&name("post_attention_layernorm"), config.hidden_size)
                .await?,
            q_proj: projection(TargetModule::QProj).await?,
            k_proj: projection(TargetModule::KProj).await?,
            v_proj: projection(TargetModule::VProj).await?,
            o_proj: projection(TargetModule::OProj).await?,
            gate_proj: projection(TargetModule::GateProj).await?,
            up_proj: projection(TargetModule::UpProj).await?,
            down_proj: projection(TargetModule::DownProj).await?,
            biases,
            head_norms,
            rms_norm_eps: config.rms_norm_eps,
        })
    }
}
