//! What an adapter is: its method, its size and the layers that it changes. Names are PEFT's.

mod method;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use method::{Method, MethodFacts};

/// `peft.LoraConfig`, `VeraConfig`, `IA3Config`, `LNTuningConfig` or `PromptTuningConfig`, as the method says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterSpec {
    #[serde(default)]
    pub method: Method,
    pub r: usize,
    /// Any number but zero; most are whole.
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    pub target_modules: Vec<TargetModule>,
    /// Ranks of some modules, by name (`q_proj`) or path (`layers.3.self_attn.q_proj`); the longest that fits counts. In
    /// PEFT's files the first that fits counts, so what is read from there names paths where the two differ.
    #[serde(default)]
    pub rank_pattern: BTreeMap<String, usize>,
    /// Alphas of some modules, as [`Self::rank_pattern`].
    #[serde(default)]
    pub alpha_pattern: BTreeMap<String, f64>,
    /// The blocks that are changed; all where there is none.
    #[serde(default)]
    pub layers_to_transform: Option<LayerRange>,
    /// Whether the norms' weights are trained along with the method's own.
    #[serde(default)]
    pub train_norms: bool,
    /// Whether the head is trained along with the method's own weights, as `lm_head` of `modules_to_save`; it is separate
    /// from the embedding, even if it started with the embedding's weights.
    #[serde(default)]
    pub train_head: bool,
    /// The learning rate of B divided by that of A, where it [has its own](MethodFacts::has_lr_ratio).
    #[serde(default = "default_lr_ratio")]
    pub loraplus_lr_ratio: f64,
    /// How many learned embeddings come before every row, where there [are any](MethodFacts::has_prompt).
    #[serde(default = "default_virtual_tokens")]
    pub num_virtual_tokens: usize,
}

/// The paper's.
pub fn default_lr_ratio() -> f64 {
    16.0
}

/// A fifth of the paper's, whose rows are longer.
pub fn default_virtual_tokens() -> usize {
    20
}

impl Default for AdapterSpec {
    fn default() -> Self {
        Self {
            method: Method::Lora,
            r: 8,
            lora_alpha: 16.0,
            lora_dropout: 0.0,
            target_modules: vec![TargetModule::QProj, TargetModule::VProj],
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            layers_to_transform: None,
            train_norms: false,
            train_head: false,
            loraplus_lr_ratio: default_lr_ratio(),
            num_virtual_tokens: default_virtual_tokens(),
        }
    }
}

impl AdapterSpec {
    /// The probability with which an input of an adapter is dropped: none where a method has no low-rank pair, whatever a
    /// recipe says.
    pub fn dropout(&self) -> f64 {
        match self.method.facts().has_rank {
            true => self.lora_dropout,
            false => 0.0,
        }
    }

    /// The rank of a module.
    pub fn rank(&self, layer: usize, module: TargetModule) -> usize {
        if !self.method.facts().has_alpha {
            return self.r;
        }
        lookup(&self.rank_pattern, layer, module).unwrap_or(self.r)
    }

    /// What the device holds of a module's rank at most, in any block; none where the module is left alone.
    pub fn device_rank(&self, module: TargetModule) -> Option<usize> {
        let facts = self.method.facts();
        if !facts.has_modules || !self.target_modules.contains(&module) {
            return None;
        }
        if !facts.has_rank {
            return Some(0);
        }
        let rank = self.rank_pattern.values().copied().chain([self.r]).max();
        rank.map(|rank| rank.saturating_mul(self.rank_factor()))
    }

    /// What a pair's rank is multiplied with on the device and in files.
    pub fn rank_factor(&self) -> usize {
        if self.method.facts().starts_from_base {
            2
        } else {
            1
        }
    }

    /// The adapted modules of so many blocks: block by block, in the order of the forward pass.
    pub fn modules(&self, num_layers: usize) -> impl Iterator<Item = (usize, TargetModule)> {
        let layers = (0..num_layers).filter(|&layer| self.has_layer(layer));
        layers.flat_map(|layer| {
            let modules = self.layer_modules();
            modules.map(move |module| (layer, module))
        })
    }

    /// Those of a block that is changed.
    pub fn layer_modules(&self) -> impl Iterator<Item = TargetModule> {
        let has_modules = self.method.facts().has_modules;
        let modules = TargetModule::ALL.into_iter();
        modules.filter(move |module| has_modules && self.target_modules.contains(module))
    }

    /// Whether the norms' weights are trained.
    pub fn has_norms(&self) -> bool {
        self.train_norms || self.method.facts().trains_norms
    }

    /// The embeddings that come before every row.
    pub fn prompt_tokens(&self) -> usize {
        if self.method.facts().has_prompt {
            self.num_virtual_tokens
        } else {
            0
        }
    }

    /// Whether the outputs of modules are scaled.
    pub fn scales_output(&self, module: TargetModule) -> bool {
        self.method.facts().scaled_outputs.contains(&module)
    }

    /// The alpha of a module.
    pub fn alpha(&self, layer: usize, module: TargetModule) -> f64 {
        lookup(&self.alpha_pattern, layer, module).unwrap_or(self.lora_alpha)
    }

    /// Whether the block is changed.
    pub fn has_layer(&self, layer: usize) -> bool {
        self.layers_to_transform
            .is_none_or(|range| (range.first..=range.last).contains(&layer))
    }
}

/// Whether a pattern's key means a module. PEFT takes it as a regular expression that the end of the module's path must
/// match; these are plain names.
pub fn fits_pattern(key: &str, layer: usize, module: TargetModule) -> bool {
    let path = module.path_in_model(layer);
    path.strip_suffix(key)
        .is_some_and(|start| start.is_empty() || start.ends_with('.'))
}

fn lookup<T: Copy>(pattern: &BTreeMap<String, T>, layer: usize, module: TargetModule) -> Option<T> {
    let fitting = pattern
        .keys()
        .filter(|key| fits_pattern(key, layer, module));
    let key = fitting.max_by_key(|key| key.len());
    key.and_then(|key| pattern.get(key)).copied()
}

/// Blocks from `first` to `last`, both counted from 0 and among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRange {
    pub first: usize,
    pub last: usize,
}

/// The linear layers of a block that can carry an adapter, by their HF names and in the order of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetModule {
    QProj,
    KProj,
    VProj,
    OProj,
    GateProj,
    UpProj,
    DownProj,
}

impl TargetModule {
    pub const ALL: [Self; 7] = [
        Self::QProj,
        Self::KProj,
        Self::VProj,
        Self::OProj,
        Self::GateProj,
        Self::UpProj,
        Self::DownProj,
    ];

    /// The module's name in `target_modules`, such as `q_proj`.
    pub fn name(self) -> &'static str {
        match self {
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OProj => "o_proj",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
        }
    }

    /// The module's path inside a block, such as `self_attn.q_proj`.
    pub fn path(self) -> &'static str {
        match self {
            Self::QProj => "self_attn.q_proj",
            Self::KProj => "self_attn.k_proj",
            Self::VProj => "self_attn.v_proj",
            Self::OProj => "self_attn.o_proj",
            Self::GateProj => "mlp.gate_proj",
            Self::UpProj => "mlp.up_proj",
            Self::DownProj => "mlp.down_proj",
        }
    }

    /// The module's path inside a model, such as `model.layers.3.self_attn.q_proj`.
    pub fn path_in_model(self, layer: usize) -> String {
        format!("model.layers.{layer}.{}", self.path())
    }

    /// Input and output features in a block of these widths: `hidden`, all query heads, all key heads, `intermediate`.
    pub fn features(
        self,
        hidden: usize,
        query: usize,
        key_value: usize,
        intermediate: usize,
    ) -> (usize, usize) {
        match self {
            Self::QProj => (hidden, query),
            Self::KProj | Self::VProj => (hidden, key_value),
            Self::OProj => (query, hidden),
            Self::GateProj | Self::UpProj => (hidden, intermediate),
            Self::DownProj => (intermediate, hidden),
        }
    }

    /// The module of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|module| module.name() == name)
    }
}

/// The norms of a block, by their HF names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockNorm {
    Input,
    PostAttention,
}

impl BlockNorm {
    pub const ALL: [Self; 2] = [Self::Input, Self::PostAttention];

    /// Its name inside a block.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input_layernorm",
            Self::PostAttention => "post_attention_layernorm",
        }
    }
}
