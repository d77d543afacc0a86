//! Which numbers an adapter trains, and where they are in the flat vector.
//!
//! ```text
//! layer 0: q_proj A, q_proj B, v_proj A, v_proj B | input_layernorm, post_attention_layernorm
//! layer 1: q_proj A, q_proj B, v_proj A, v_proj B | input_layernorm, post_attention_layernorm
//! ...
//! last norm | prompt | head
//! ```
//!
//! A layout follows from an [`AdapterSpec`] and a [`ModelShape`] alone. No weight is read for it, so plans, checks of
//! incoming files and the sizes of exports use it as well. Parameters, gradients and the optimizer's moments all have
//! this order.
//!
//! The head comes last because it is a separate matrix on the device: everything before it is one upload, and its
//! gradient is appended to that of the others.

use std::ops::Range;

use protocol::{AdapterSpec, BlockNorm, ModelSummary, TargetModule};

use super::{
    Place, Slot, method,
    shared::SharedMatrix,
    slot::{ModulePart, ModuleSlots},
};
use crate::{arch::Architecture, weights::config::ModelConfig};

/// The sizes of a model that determine the layout of an adapter.
///
/// It is made from a model's config where the files are at hand, and from its summary where only that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// The family, which knows the names of tensors and the order of rows in GGUF files.
    pub arch: &'static Architecture,
    /// The number `v` of rows of the embedding and the head; virtual tokens have ids from here on.
    pub vocab_size: usize,
    /// The number of blocks.
    pub num_hidden_layers: usize,
    /// The width `d` of the residual stream.
    pub hidden_size: usize,
    /// Query heads, `h`.
    pub num_attention_heads: usize,
    /// Key heads, which are as many as value heads, `kv`.
    pub num_key_value_heads: usize,
    /// Input and output features of each projection, indexed by [`TargetModule`]; the same in every block.
    pub features: [(usize, usize); TargetModule::ALL.len()],
}

impl From<&ModelConfig> for ModelShape {
    fn from(config: &ModelConfig) -> Self {
        Self {
            arch: config.arch,
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
            arch: Architecture::of_summary(model),
            vocab_size: model.vocab_size,
            num_hidden_layers: model.num_hidden_layers,
            hidden_size: model.hidden_size,
            num_attention_heads: model.num_attention_heads,
            num_key_value_heads: model.num_key_value_heads,
            features: TargetModule::ALL.map(|module| model.projection_features(module)),
        }
    }
}

impl ModelShape {
    /// The number of heads that a projection's rows belong to: `kv` for keys and values, otherwise `h`. It means
    /// nothing for projections whose rows are not heads.
    pub fn num_heads(&self, module: TargetModule) -> usize {
        match module {
            TargetModule::KProj | TargetModule::VProj => self.num_key_value_heads,
            _ => self.num_attention_heads,
        }
    }
}

/// A range of parameters that the optimizer updates in the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Where they are in the flat vector.
    pub range: Range<usize>,
    /// The factor of the learning rate; 1 except for LoRA+.
    pub lr_ratio: f64,
    /// Whether weight decay shrinks them.
    pub decays: bool,
}

/// The layout of an adapter: layer by layer, module by module in the order of the forward pass, then the norms of that
/// layer; then the last norm, the embeddings before every row, and the head.
///
/// Slots are consecutive and cover the vector without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterLayout {
    /// What the layout was made from.
    pub spec: AdapterSpec,
    /// Every trained tensor, in the order of the flat vector.
    pub slots: Vec<Slot>,
    /// The length of the flat vector.
    pub num_parameters: usize,
    /// Every adapted projection: its layer, the module, and which of [`Self::slots`] belong to it.
    modules: Vec<(usize, TargetModule, Range<usize>)>,
    /// The same as [`ModelShape::features`].
    features: [(usize, usize); TargetModule::ALL.len()],
}

impl AdapterLayout {
    /// Lays out `spec` over a model.
    ///
    /// It allocates a slot per trained tensor, so whoever takes a spec from a file first compares
    /// [`Self::num_parameters_of`] with the file's size.
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
                for made in parts(spec, layer, module, layout.features[module as usize]) {
                    let place = Place::Module {
                        layer,
                        module,
                        part: made.part,
                    };
                    layout.push(place, made.shape, made.shape_in_file);
                }
                layout
                    .modules
                    .push((layer, module, start..layout.slots.len()));
            }
            for norm in BlockNorm::ALL.into_iter().filter(|_| has_norms) {
                layout.push(Place::Norm { layer, norm }, [1, d], vec![d]);
            }
        }
        if has_norms {
            layout.push(Place::FinalNorm, [1, d], vec![d]);
        }
        if spec.prompt_tokens() > 0 {
            let shape = [spec.prompt_tokens(), d];
            layout.push(Place::Prompt, shape, shape.to_vec());
        }
        if spec.train_head {
            let shape = [shape.vocab_size, d];
            layout.push(Place::Head, shape, shape.to_vec());
        }
        layout
    }

    /// Counts the [`Self::num_parameters`] of this layout without laying it out; saturates at the maximum.
    ///
    /// Sizes in a spec from a file may be absurd, so products must not overflow and no vector may be laid out for them.
    /// Without ranks by module all adapted blocks are alike: one is counted and multiplied.
    pub fn num_parameters_of(spec: &AdapterSpec, shape: &ModelShape) -> u64 {
        let of_layer = |layer: usize| {
            let parts = spec
                .layer_modules()
                .flat_map(|module| parts(spec, layer, module, shape.features[module as usize]));
            let sizes = parts.map(|made| {
                let [rows, cols] = made.shape.map(|size| size as u64);
                rows.saturating_mul(cols)
            });
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

    /// Appends a slot of `shape[0] * shape[1]` numbers.
    fn push(&mut self, place: Place, shape: [usize; 2], shape_in_file: Vec<usize>) {
        let start = self.num_parameters;
        self.num_parameters += shape[0] * shape[1];
        self.slots.push(Slot {
            place,
            shape,
            range: start..self.num_parameters,
            shape_in_file,
        });
    }

    /// The head's slot, if it is trained; always the last one.
    pub fn head(&self) -> Option<&Slot> {
        self.slots.last().filter(|slot| slot.place == Place::Head)
    }

    /// The number of input features of a projection: the columns of its `W` and of its `A`.
    pub fn in_features(&self, module: TargetModule) -> usize {
        self.features[module as usize].0
    }

    /// The largest input and the largest output of the adapted modules, in features; zeros if none is adapted. VeRA's
    /// shared matrices have these sizes.
    pub(super) fn largest_features(&self) -> (usize, usize) {
        let features = self
            .modules
            .iter()
            .map(|(_, module, _)| self.features[*module as usize]);
        features.fold((0, 0), |most, features| {
            (most.0.max(features.0), most.1.max(features.1))
        })
    }

    /// The factor `s` of a module's low-rank product, made by its method from the module's rank and alpha: `alpha / r`
    /// for LoRA, `alpha / sqrt(r)` for rsLoRA, 1 where alpha means nothing.
    pub fn scaling(&self, layer: usize, module: TargetModule) -> f64 {
        let (alpha, r) = (
            self.spec.alpha(layer, module),
            self.spec.rank(layer, module),
        );
        let method = method::of(self.spec.method).projections();
        method.map_or(1.0, |method| method.scaling(alpha, r))
    }

    /// The matrices that all modules share, not yet drawn; only VeRA has some.
    pub(crate) fn shared(&self) -> Vec<SharedMatrix> {
        let method = method::of(self.spec.method).projections();
        method.map_or_else(Vec::new, |method| {
            method.shared(self.spec.r, self.largest_features())
        })
    }

    /// How the optimizer treats each slot, in order.
    ///
    /// Weight decay leaves norms alone, as transformers' `Trainer` does; everything else decays.
    pub fn groups(&self) -> Vec<Group> {
        let method = method::of(self.spec.method);
        let group = |slot: &Slot| Group {
            range: slot.range.clone(),
            lr_ratio: method.lr_ratio(&self.spec, slot.place),
            decays: !matches!(slot.place, Place::Norm { .. } | Place::FinalNorm),
        };
        self.slots.iter().map(group).collect()
    }

    /// Layer, module and slots of every adapted projection, in the layout's order.
    pub fn modules(&self) -> impl Iterator<Item = (usize, TargetModule, &[Slot])> {
        let modules = self.modules.iter();
        modules.map(|(layer, module, slots)| (*layer, *module, &self.slots[slots.clone()]))
    }

    /// Every adapted projection as its method sees it, in the layout's order.
    pub(super) fn module_slots(&self) -> impl Iterator<Item = ModuleSlots<'_>> {
        self.modules()
            .map(move |(layer, module, slots)| ModuleSlots {
                layer,
                module,
                r: self.spec.rank(layer, module),
                in_features: self.in_features(module),
                scaling: self.scaling(layer, module),
                slots,
            })
    }

    /// Where a projection is among [`Self::modules`], if it is adapted.
    pub(super) fn module_index(&self, layer: usize, module: TargetModule) -> Option<usize> {
        let mut modules = self.modules();
        modules.position(|(l, m, _)| (l, m) == (layer, module))
    }
}

/// What the method trains on a module with these input and output features, in the order of the slots; nothing for
/// methods that leave projections alone.
fn parts(
    spec: &AdapterSpec,
    layer: usize,
    module: TargetModule,
    features: (usize, usize),
) -> Vec<ModulePart> {
    let method = method::of(spec.method).projections();
    method.map_or_else(Vec::new, |method| {
        method.parts(spec.rank(layer, module), module, features)
    })
}
