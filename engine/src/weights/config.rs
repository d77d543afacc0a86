//! Hyper-parameters of the base model, from GGUF metadata or HF's config.json.

use crate::protocol::TargetModule;

/// A Llama-class decoder, fields named as in HF's `LlamaConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    pub rope_theta: f64,
    pub rms_norm_eps: f64,
    pub tie_word_embeddings: bool,
    pub bos_token_id: Option<u32>,
    pub eos_token_ids: Vec<u32>,
}

impl LlamaConfig {
    /// Input and output features of a projection.
    pub fn projection_features(&self, module: TargetModule) -> (usize, usize) {
        let (d, f) = (self.hidden_size, self.intermediate_size);
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.num_key_value_heads * self.head_dim;
        match module {
            TargetModule::QProj => (d, queries),
            TargetModule::KProj | TargetModule::VProj => (d, keys),
            TargetModule::OProj => (queries, d),
            TargetModule::GateProj | TargetModule::UpProj => (d, f),
            TargetModule::DownProj => (f, d),
        }
    }
}
