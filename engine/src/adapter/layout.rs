//! Which numbers an adapter trains, and where they are.

use std::ops::Range;

use protocol::{AdapterSpec, BlockNorm, Method, ModelSummary, TargetModule};

use super::{lora, lora_plus, rslora};
use crate::weights::config::LlamaConfig;

/// A part of a module's adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `[r, in]`
    A,
    /// `[out, r]`
    B,
    /// DoRA's `m`, `[1, out]`.
    Magnitude,
    /// VeRA's `b`, `[1, out]`.
    LambdaB,
    /// VeRA's `d`, `[1, r]`.
    LambdaD,
    /// IA3's `l`, `[1, out]`, or `[1, in]` if it scales the input.
    Scale,
}

impl Part {
    /// The end of its name in `adapter_model.safetensors`.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::A => "lora_A.weight",
            Self::B => "lora_B.weight",
            Self::Magnitude => "lora_magnitude_vector",
            Self::LambdaB => "vera_lambda_b",
            Self::LambdaD => "vera_lambda_d",
            Self::Scale => "ia3_l",
        }
    }
}

/// Where a trained tensor acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Module {
        layer: usize,
        module: TargetModule,
        part: Part,
    },
    Norm {
        layer: usize,
        norm: BlockNorm,
    },
    FinalNorm,
    /// The embeddings before every row, `[tokens, hidden]`.
    Prompt,
    /// The head, `[vocabulary, hidden]`; the last slot, if it is trained.
    Head,
}

/// A trained tensor's place, in the model and in the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub place: Place,
    pub shape: [usize; 2],
    pub range: Range<usize>,
}

impl Slot {
    /// Its name in `adapter_model.safetensors`.
    pub fn name(&self, method: Method) -> String {
        // With another method, norms are saved as whole modules.
        let suffix = if method == Method::LnTuning {
            "ln_tuning_layers.weight"
        } else {
            "weight"
        };
        match self.place {
            Place::Module {
                layer,
                module,
                part,
            } => format!("{}.{}", module_prefix(layer, module), part.suffix()),
            Place::Norm { layer, norm } => format!(
                "base_model.model.model.layers.{layer}.{}.{suffix}",
                norm.name()
            ),
            Place::FinalNorm => format!("base_model.model.model.norm.{suffix}"),
            Place::Prompt => "prompt_embeddings".to_owned(),
            Place::Head => "base_model.model.lm_head.weight".to_owned(),
        }
    }
}

/// Whether a tensor of PEFT's file belongs to this module.
pub fn is_of_module(name: &str, layer: usize, module: TargetModule) -> bool {
    let end = name.strip_prefix(&module_prefix(layer, module));
    end.is_some_and(|end| end.starts_with('.'))
}

/// The name of a module in PEFT's files, such as `base_model.model.model.layers.0.self_attn.q_proj`.
pub fn module_prefix(layer: usize, module: TargetModule) -> String {
    format!("base_model.model.model.layers.{layer}.{}", module.path())
}

/// The sizes of a model that determine the layout of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    pub vocab_size: usize,
    pub num_hidden_layers: usize,
    pub hidden_size: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    /// Input and output features, by module.
    pub features: [(usize, usize); TargetModule::ALL.len()],
}

impl From<&LlamaConfig> for ModelShape {
    fn from(config: &LlamaConfig) -> Self {
        Self {
            vocab_size: config.vocab_size,
            num_hidden_layers: config.num_hidden_layers,
            hidden_size: config.hidden_size,
            num_attention_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            features: TargetModule::ALL.map(|module| config.projection_features(module)),
        }
    }
}

impl From<&ModelSummary> for ModelShape {
    fn from(model: &ModelSummary) -> Self {
        Self {
            vocab_size: model.vocab_size,
            num_hidden_layers: model.num_hidden_layers,
            hidden_size: model.hidden_size,
            num_attention_heads: model.num_attention_heads,
            num_key_value_heads: model.num_key_value_heads,
            features: TargetModule::ALL.map(|module| model.projection_features(module)),
        }
    }
}

/// Parameters that the optimizer updates in the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub range: Range<usize>,
    /// The factor of the learning rate.
    pub lr_ratio: f64,
    /// Whether weight decay shrinks them.
    pub decays: bool,
}

/// The layout of an adapter: layer by layer, module by module in the order of the forward pass, then the norms of that
/// layer; then the last norm, the embeddings before every row, and the head.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterLayout {
    pub spec: AdapterSpec,
    pub slots: Vec<Slot>,
    pub num_parameters: usize,
    /// The slots of each module.
    modules: Vec<(usize, TargetModule, Range<usize>)>,
    features: [(usize, usize); TargetModule::ALL.len()],
}

impl AdapterLayout {
    /// Lays out `spec` over a model.
    pub fn new(spec: &AdapterSpec, shape: &ModelShape) -> Self {
        let mut layout = Self {
            spec: spec.clone(),
            slots: Vec::new(),
            num_parameters: 0,
            modules: Vec::new(),
            features: shape.features,
        };
        let has_norms = spec.has_norms();
        let d = shape.hidden_size;
        for layer in 0..shape.num_hidden_layers {
            for module in spec.layer_modules().filter(|_| spec.has_layer(layer)) {
                let start = layout.slots.len();
                for (part, shape) in parts(spec, layer, module, layout.features[module as usize]) {
                    let place = Place::Module {
                        layer,
                        module,
                        part,
                    };
                    layout.push(place, shape);
                }
                layout
                    .modules
                    .push((layer, module, start..layout.slots.len()));
            }
            for norm in BlockNorm::ALL.into_iter().filter(|_| has_norms) {
                layout.push(Place::Norm { layer, norm }, [1, d]);
            }
        }
        if has_norms {
            layout.push(Place::FinalNorm, [1, d]);
        }
        if spec.prompt_tokens() > 0 {
            layout.push(Place::Prompt, [spec.prompt_tokens(), d]);
        }
        if spec.train_head {
            layout.push(Place::Head, [shape.vocab_size, d]);
        }
        layout
    }

    /// The [`Self::num_parameters`] of this layout, without laying it out; saturates at the maximum.
    pub fn num_parameters_of(spec: &AdapterSpec, shape: &ModelShape) -> u64 {
        let of_layer = |layer: usize| {
            let parts = spec
                .layer_modules()
                .flat_map(|module| parts(spec, layer, module, shape.features[module as usize]));
            let sizes = parts.map(|(_, [rows, cols])| (rows as u64).saturating_mul(cols as u64));
            sizes.fold(0, u64::saturating_add)
        };
        let num_layers = match spec.layers_to_transform {
            Some(range) => {
                let end = range.last.saturating_add(1).min(shape.num_hidden_layers);
                end.saturating_sub(range.first)
            }
            None => shape.num_hidden_layers,
        };
        let of_modules = if spec.rank_pattern.is_empty() {
            of_layer(0).saturating_mul(num_layers as u64)
        } else {
            let layers = (0..shape.num_hidden_layers).filter(|&layer| spec.has_layer(layer));
            layers.map(of_layer).fold(0, u64::saturating_add)
        };
        let num_norms = if spec.has_norms() {
            (shape.num_hidden_layers as u64)
                .saturating_mul(BlockNorm::ALL.len() as u64)
                .saturating_add(1)
        } else {
            0
        };
        // Norms, embeddings and the rows of the head have the same length.
        let num_words = if spec.train_head { shape.vocab_size } else { 0 };
        let num_vectors = num_norms
            .saturating_add(spec.prompt_tokens() as u64)
            .saturating_add(num_words as u64);
        of_modules.saturating_add(num_vectors.saturating_mul(shape.hidden_size as u64))
    }

    fn push(&mut self, place: Place, shape: [usize; 2]) {
        let start = self.num_parameters;
        self.num_parameters += shape[0] * shape[1];
        self.slots.push(Slot {
            place,
            shape,
            range: start..self.num_parameters,
        });
    }

    /// The head's slot, if it is trained.
    pub fn head(&self) -> Option<&Slot> {
        self.slots.last().filter(|slot| slot.place == Place::Head)
    }

    /// Input features of a module.
    pub fn in_features(&self, module: TargetModule) -> usize {
        self.features[module as usize].0
    }

    /// The largest input and the largest output of the adapted modules, in features.
    pub(super) fn largest_features(&self) -> (usize, usize) {
        let features = self
            .modules
            .iter()
            .map(|(_, module, _)| self.features[*module as usize]);
        features.fold((0, 0), |most, features| {
            (most.0.max(features.0), most.1.max(features.1))
        })
    }

    /// The factor of a module's low-rank product.
    pub fn scaling(&self, layer: usize, module: TargetModule) -> f64 {
        let (alpha, r) = (
            self.spec.alpha(layer, module),
            self.spec.rank(layer, module),
        );
        match self.spec.method {
            Method::RsLora => rslora::scaling(alpha, r),
            Method::Vera => 1.0,
            _ => lora::scaling(alpha, r),
        }
    }

    /// How the optimizer treats each slot. Weight decay leaves norms alone, as transformers' `Trainer` does.
    pub fn groups(&self) -> Vec<Group> {
        let group = |slot: &Slot| {
            let lr_ratio = match self.spec.method {
                Method::LoraPlus => lora_plus::rate_ratio(slot.place, self.spec.loraplus_lr_ratio),
                _ => 1.0,
            };
            Group {
                range: slot.range.clone(),
                lr_ratio,
                decays: !matches!(slot.place, Place::Norm { .. } | Place::FinalNorm),
            }
        };
        self.slots.iter().map(group).collect()
    }

    /// Layer, module and slots of every adapted projection.
    pub fn modules(&self) -> impl Iterator<Item = (usize, TargetModule, &[Slot])> {
        let modules = self.modules.iter();
        modules.map(|(layer, module, slots)| (*layer, *module, &self.slots[slots.clone()]))
    }
}

/// The trained parts of a module with these input and output features.
pub(super) fn parts(
    spec: &AdapterSpec,
    layer: usize,
    module: TargetModule,
    (in_features, out_features): (usize, usize),
) -> Vec<(Part, [usize; 2])> {
    let r = spec.rank(layer, module);
    let mut parts = vec![(Part::A, [r, in_features]), (Part::B, [out_features, r])];
    match spec.method {
        Method::Dora => parts.push((Part::Magnitude, [1, out_features])),
        Method::Vera => {
            parts = vec![(Part::LambdaB, [1, out_features]), (Part::LambdaD, [1, r])];
        }
        Method::Ia3 => {
            let features = if super::ia3::scales_input(module) {
                in_features
            } else {
                out_features
            };
            parts = vec![(Part::Scale, [1, features])];
        }
        Method::LnTuning | Method::PromptTuning => parts.clear(),
        Method::Lora | Method::RsLora | Method::LoraPlus | Method::Pissa | Method::Olora => {}
    }
    parts
}
