//! The tensors that an adapter trains: what each is called, its shape, and where its numbers are in the flat vector.
//!
//! Names are those of PEFT's `save_pretrained`, without the adapter's name (`default`):
//!
//! | place | name in `adapter_model.safetensors` |
//! |---|---|
//! | `A` of a module | `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` |
//! | DoRA's `m` | `base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector` |
//! | a norm along with a method | `base_model.model.model.layers.0.input_layernorm.weight` |
//! | a norm, with norm tuning | `base_model.model.model.layers.0.input_layernorm.ln_tuning_layers.weight` |
//! | the last norm | `base_model.model.model.norm.weight` |
//! | the learned prompt | `prompt_embeddings` |
//! | the head | `base_model.model.lm_head.weight` |
//!
//! All parts are matrices here, `[1, len]` if they are vectors, so that no code needs to tell one from the other; the
//! shape in the file is kept as well.

use std::ops::Range;

use burn::tensor::Tensor;
use protocol::{BlockNorm, Failure, FailureKind, Method, TargetModule};

use super::method;

/// A part of a module's adapter, known by the end of its name in `adapter_model.safetensors`. Parts that only one
/// method has are constants in that method's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(&'static str);

impl Part {
    /// The low-rank pair's first factor, `[r, in]`.
    pub const A: Self = Self("lora_A.weight");
    /// The low-rank pair's second factor, `[out, r]`.
    pub const B: Self = Self("lora_B.weight");

    /// Makes a part from the end of its name, after the dot that follows the module's path.
    pub(super) const fn new(suffix: &'static str) -> Self {
        Self(suffix)
    }

    /// The end of its name in the file, such as `lora_A.weight`.
    pub(super) fn suffix(self) -> &'static str {
        self.0
    }
}

/// A part that a method trains on a module, and its shapes; the layout makes a [`Slot`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModulePart {
    /// Which part it is.
    pub(super) part: Part,
    /// The shape with which the module uses it.
    pub(super) shape: [usize; 2],
    /// The shape in `adapter_model.safetensors`, with the same number of elements.
    pub(super) shape_in_file: Vec<usize>,
}

impl ModulePart {
    /// A matrix, which has the same shape in the file.
    pub(super) fn matrix(part: Part, shape: [usize; 2]) -> Self {
        Self {
            part,
            shape,
            shape_in_file: shape.to_vec(),
        }
    }

    /// A row `[1, len]`, which has one dimension in the file.
    pub(super) fn vector(part: Part, len: usize) -> Self {
        Self {
            part,
            shape: [1, len],
            shape_in_file: vec![len],
        }
    }
}

/// Where a trained tensor acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On a projection of a block.
    Module {
        /// The block, counted from 0.
        layer: usize,
        /// The projection.
        module: TargetModule,
        /// Which of the method's tensors it is.
        part: Part,
    },
    /// In place of a block norm's weight, `[1, d]`.
    Norm {
        /// The block, counted from 0.
        layer: usize,
        /// Which of its two norms.
        norm: BlockNorm,
    },
    /// In place of the weight of the norm after the last block, `[1, d]`.
    FinalNorm,
    /// Before every row: its learned embeddings, `[p, d]`.
    Prompt,
    /// In place of the head, `[v, d]`; the last slot, if it is trained.
    Head,
}

/// A trained tensor: its place in the model, and its place in the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Where it acts.
    pub place: Place,
    /// Rows and columns; `[1, len]` for a vector.
    pub shape: [usize; 2],
    /// Where its numbers are among the parameters, row by row.
    pub range: Range<usize>,
    /// The shape in `adapter_model.safetensors`, at the rank that is trained.
    pub(super) shape_in_file: Vec<usize>,
}

impl Slot {
    /// Its name in `adapter_model.safetensors`. It depends on the method where norms are what the method trains.
    pub fn name(&self, method: Method) -> String {
        let suffix = method::of(method).norm_suffix();
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

    /// Its numbers among the parameters of the whole adapter.
    ///
    /// # Panics
    /// If there are fewer parameters than the layout has.
    pub(super) fn on_host<'a>(&self, parameters: &'a [f32]) -> &'a [f32] {
        &parameters[self.range.clone()]
    }

    /// Its tensor, from the parameters in one vector on the device.
    ///
    /// # Shapes
    /// - `flat`: the parameters of the whole adapter, up to the head
    /// - returns the slot's `[rows, cols]`
    pub(super) fn on_device(&self, flat: &Tensor<1>) -> Tensor<2> {
        flat.clone().slice([self.range.clone()]).reshape(self.shape)
    }
}

/// A module as its method sees it: its sizes, and where its numbers are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModuleSlots<'a> {
    /// The block, counted from 0.
    pub(super) layer: usize,
    /// The projection.
    pub(super) module: TargetModule,
    /// The rank of this module; ranks can differ between modules.
    pub(super) r: usize,
    /// Input features.
    pub(super) in_features: usize,
    /// The factor `s` of its low-rank product.
    pub(super) scaling: f64,
    /// Its parts, in the order in which its method lists them.
    pub(super) slots: &'a [Slot],
}

impl ModuleSlots<'_> {
    /// Finds a part.
    ///
    /// # Errors
    /// [`FailureKind::Internal`] if the method asks for a part that it does not train.
    pub(super) fn slot(&self, part: Part) -> Result<Slot, Failure> {
        let is_part =
            |slot: &&Slot| matches!(slot.place, Place::Module { part: p, .. } if p == part);
        let slot = self.slots.iter().find(is_part).cloned();
        slot.ok_or_else(|| {
            let place = module_prefix(self.layer, self.module);
            let what = format!("The adapter has no {}.", part.suffix());
            Failure::new(FailureKind::Internal, what).at(place)
        })
    }
}

/// Whether a tensor of PEFT's file belongs to this module: its name is the module's, continued after a dot.
pub fn is_of_module(name: &str, layer: usize, module: TargetModule) -> bool {
    let end = name.strip_prefix(&module_prefix(layer, module));
    end.is_some_and(|end| end.starts_with('.'))
}

/// The name of a module in PEFT's files, such as `base_model.model.model.layers.0.self_attn.q_proj`.
pub fn module_prefix(layer: usize, module: TargetModule) -> String {
    format!("base_model.model.model.layers.{layer}.{}", module.path())
}
