//! What an adapter is: its method, its size and the layers that it changes. Names are PEFT's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How an adapter changes the base; each is described in the engine's `adapter` module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    #[default]
    Lora,
    RsLora,
    Dora,
    LoraPlus,
    Pissa,
    Olora,
    Vera,
    Ia3,
    LnTuning,
    PromptTuning,
}

impl Method {
    pub const ALL: [Self; 10] = [
        Self::Lora,
        Self::RsLora,
        Self::Dora,
        Self::LoraPlus,
        Self::Pissa,
        Self::Olora,
        Self::Vera,
        Self::Ia3,
        Self::LnTuning,
        Self::PromptTuning,
    ];

    /// As its paper or PEFT writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lora => "LoRA",
            Self::RsLora => "rsLoRA",
            Self::Dora => "DoRA",
            Self::LoraPlus => "LoRA+",
            Self::Pissa => "PiSSA",
            Self::Olora => "OLoRA",
            Self::Vera => "VeRA",
            Self::Ia3 => "IA3",
            Self::LnTuning => "Norms",
            Self::PromptTuning => "Prompt tuning",
        }
    }

    /// When to choose it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Lora => "The usual choice: every runtime loads it.",
            Self::RsLora => "LoRA with a scale that keeps ranks of 32 and above learning.",
            Self::Dora => {
                "Often a little better than LoRA at low ranks; slower, and no GGUF adapter can hold it."
            }
            Self::LoraPlus => {
                "LoRA with a faster B: fewer steps for the same loss, at some risk of overshooting."
            }
            Self::Pissa => {
                "LoRA started from the base's strongest directions: learns faster at first; exported at twice the rank."
            }
            Self::Olora => "Like PiSSA, from an orthonormal start that is quicker to compute.",
            Self::Vera => {
                "A tenth of LoRA's trainable parameters: for many small adapters on one base."
            }
            Self::Ia3 => {
                "A few thousand parameters: for small datasets and a change of style; needs a high learning rate."
            }
            Self::LnTuning => {
                "Only the norms' weights: the least there is to train; needs a high learning rate."
            }
            Self::PromptTuning => {
                "Learned tokens before every prompt; the model itself does not change, and nothing can be merged. Slow to learn on small models."
            }
        }
    }

    /// The learning rate to begin with: what scales or adds little learns at ten times LoRA's.
    pub fn learning_rate(self) -> f64 {
        match self {
            Self::Vera | Self::Ia3 | Self::LnTuning | Self::PromptTuning => 1e-2,
            _ => 1e-3,
        }
    }

    /// The rank to begin with. VeRA's costs a number a module, and its paper takes 256.
    pub fn rank(self) -> usize {
        if self == Self::Vera { 256 } else { 8 }
    }

    /// The modules to begin with: for IA3 those of its paper.
    pub fn target_modules(self) -> &'static [TargetModule] {
        match self {
            Self::Ia3 => &[
                TargetModule::KProj,
                TargetModule::VProj,
                TargetModule::DownProj,
            ],
            _ => &[TargetModule::QProj, TargetModule::VProj],
        }
    }

    /// Whether it has a low-rank pair on each module, with a rank and a dropout.
    pub fn has_rank(self) -> bool {
        !matches!(self, Self::Ia3 | Self::LnTuning | Self::PromptTuning)
    }

    /// Whether alpha scales it.
    pub fn has_alpha(self) -> bool {
        self.has_rank() && self != Self::Vera
    }

    /// Whether its pairs start from a part of the base, which is taken out of it: it is then exported as the difference,
    /// of twice the rank.
    pub fn starts_from_base(self) -> bool {
        matches!(self, Self::Pissa | Self::Olora)
    }

    /// Whether it acts on projections, which can be chosen.
    pub fn has_modules(self) -> bool {
        !matches!(self, Self::LnTuning | Self::PromptTuning)
    }

    /// Whether norms and the head can be trained along with it, as `modules_to_save`.
    pub fn goes_with_saved_modules(self) -> bool {
        self.has_modules()
    }

    /// Whether rows can be packed under it.
    pub fn goes_with_packing(self) -> bool {
        self != Self::PromptTuning
    }
}

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
    /// Ranks of some modules, by name (`q_proj`) or path (`layers.3.self_attn.q_proj`); the longest that fits counts.
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
    /// For [`Method::LoraPlus`]: the learning rate of B divided by that of A, as `loraplus_lr_ratio`.
    #[serde(default = "default_lr_ratio")]
    pub loraplus_lr_ratio: f64,
    /// For [`Method::PromptTuning`]: how many embeddings come before every row.
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
    /// The rank of a module.
    pub fn rank(&self, layer: usize, module: TargetModule) -> usize {
        if self.method == Method::Vera {
            // Its matrices are shared.
            return self.r;
        }
        lookup(&self.rank_pattern, layer, module).unwrap_or(self.r)
    }

    /// What the device holds of a module's rank at most, in any block; none where the module is left alone.
    pub fn device_rank(&self, module: TargetModule) -> Option<usize> {
        if !self.method.has_modules() || !self.target_modules.contains(&module) {
            return None;
        }
        if !self.method.has_rank() {
            return Some(0);
        }
        let rank = self.rank_pattern.values().copied().chain([self.r]).max();
        rank.map(|rank| rank.saturating_mul(self.rank_factor()))
    }

    /// What a pair's rank is multiplied with on the device and in files.
    pub fn rank_factor(&self) -> usize {
        if self.method.starts_from_base() { 2 } else { 1 }
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
        let modules = TargetModule::ALL.into_iter();
        modules.filter(|module| self.method.has_modules() && self.target_modules.contains(module))
    }

    /// Whether the norms' weights are trained.
    pub fn has_norms(&self) -> bool {
        self.train_norms || self.method == Method::LnTuning
    }

    /// The embeddings that come before every row.
    pub fn prompt_tokens(&self) -> usize {
        match self.method {
            Method::PromptTuning => self.num_virtual_tokens,
            _ => 0,
        }
    }

    /// Whether the outputs of modules are scaled.
    pub fn scales_output(&self, module: TargetModule) -> bool {
        match self.method {
            Method::Dora => true,
            Method::Ia3 => module != TargetModule::DownProj,
            _ => false,
        }
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
    let path = format!("model.layers.{layer}.{}", module.path());
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
