//! The base model as the page sees it.

use serde::{Deserialize, Serialize};

use crate::TargetModule;

/// Where a base model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// A URL of the page's own origin. Kept in OPFS after the first download, checked by `sha256` where it is given.
    Url {
        url: String,
        name: String,
        sha256: Option<String>,
    },
    /// Files that come with the message: one GGUF, or a safetensors file with config.json and tokenizer.json.
    Files { names: Vec<String> },
}

/// Why the browser does not keep a downloaded model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotKept {
    /// It has no private file system, or refuses it to this window.
    NoStorage,
    /// The file is larger than what the browser has left for this page.
    NoSpace,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// From the file's metadata, else the file's name.
    pub name: String,
    /// Hub id for `base_model_name_or_path`, where the file names it or the bundled model implies it.
    pub base_model_name: Option<String>,
    pub architecture: String,
    pub parameters: u64,
    pub num_hidden_layers: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    /// Such as `Q4_1`: the type of most weights.
    pub quantization: String,
    pub file_bytes: u64,
    pub sha256: String,
    pub has_chat_template: bool,
}

impl ModelSummary {
    /// Input and output features of a projection of every block. The sizes are not trusted, so products saturate.
    pub fn projection_features(&self, module: TargetModule) -> (usize, usize) {
        let query = self.num_attention_heads.saturating_mul(self.head_dim);
        let key_value = self.num_key_value_heads.saturating_mul(self.head_dim);
        module.features(self.hidden_size, query, key_value, self.intermediate_size)
    }
}
