//! The tensors that an adapter trains: what each is called, its shape, and where its numbers are in the flat vector.

use std::ops::Range;

use burn::tensor::Tensor;
use protocol::{BlockNorm, Failure, FailureKind, Method, TargetModule};

use super::method;

/// A part of a module's adapter, known by the end of its name in `adapter_model.safetensors`. Parts that only one method
/// has are constants of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(&'static str);

impl Part {
    /// `[r, in]`
    pub const A: Self = Self("lora_A.weight");
    /// `[out, r]`
    pub const B: Self = Self("lora_B.weight");

    pub(super) const fn new(suffix: &'static str) -> Self {
        Self(suffix)
    }

    /// The end of its name in the file.
    pub(super) fn suffix(self) -> &'static str {
        self.0
    }
}

/// A part that a method trains on a module, and its shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModulePart {
    pub(super) part: Part,
    /// As the module uses it.
    pub(super) shape: [usize; 2],
    /// In `adapter_model.safetensors`.
    pub(super) shape_in_file: Vec<usize>,
}

impl ModulePart {
    pub(super) fn matrix(part: Part, shape: [usize; 2]) -> Self {
        Self {
            part,
            shape,
            shape_in_file: shape.to_vec(),
        }
    }

    /// A row, which has one dimension in the file.
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
    /// In `adapter_model.safetensors`.
    pub(super) shape_in_file: Vec<usize>,
}

impl Slot {
    /// Its name in `adapter_model.safetensors`.
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

    /// Its numbers among the parameters.
    pub(super) fn on_host<'a>(&self, parameters: &'a [f32]) -> &'a [f32] {
        &parameters[self.range.clone()]
    }

    /// Its tensor, from the parameters in one vector.
    pub(super) fn on_device(&self, flat: &Tensor<1>) -> Tensor<2> {
        flat.clone().slice([self.range.clone()]).reshape(self.shape)
    }
}

/// A module as its method sees it: its sizes, and where its numbers are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModuleSlots<'a> {
    pub(super) layer: usize,
    pub(super) module: TargetModule,
    pub(super) r: usize,
    pub(super) in_features: usize,
    /// The factor of its low-rank product.
    pub(super) scaling: f64,
    pub(super) slots: &'a [Slot],
}

impl ModuleSlots<'_> {
    /// Where a part is.
    ///
    /// # Errors
    /// If the method asks for a part that it does not train.
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

/// Whether a tensor of PEFT's file belongs to this module.
pub fn is_of_module(name: &str, layer: usize, module: TargetModule) -> bool {
    let end = name.strip_prefix(&module_prefix(layer, module));
    end.is_some_and(|end| end.starts_with('.'))
}

/// The name of a module in PEFT's files, such as `base_model.model.model.layers.0.self_attn.q_proj`.
pub fn module_prefix(layer: usize, module: TargetModule) -> String {
    format!("base_model.model.model.layers.{layer}.{}", module.path())
}
