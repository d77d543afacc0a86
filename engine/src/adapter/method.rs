//! The methods, each one file with one type, and what a method is: the trait [`Adaptation`]. Nothing else compares
//! methods.
//!
//! With `W` `[out, in]` frozen, `A` `[r, in]`, `B` `[out, r]`:
//!
//! | method | `W x` becomes | trained |
//! |---|---|---|
//! | [`lora`] | `W x + alpha / r B A x` | `A`, `B` |
//! | [`rslora`] | `W x + alpha / sqrt(r) B A x` | `A`, `B` |
//! | [`lora_plus`] | as LoRA, `B` with its own learning rate | `A`, `B` |
//! | [`dora`] | `m / \|\|V\|\| V x`, `V = W + alpha / r B A` | `A`, `B`, `m` |
//! | [`pissa`] | `W x + alpha / r (B A - B0 A0) x`, `B0 A0` the best approximation of `W` | `A`, `B` |
//! | [`olora`] | as PiSSA, `B0 A0` the first columns and rows of `W = Q R` | `A`, `B` |
//! | [`vera`] | `W x + b (B (d (A x)))`, `A`, `B` drawn once for all modules | `d`, `b` |
//! | [`ia3`] | `l W x`, or `W (l x)` before the last projection | `l` |
//! | [`ln_tuning`] | the norms' weights, with any other method or alone | `w` |
//! | [`prompt_tuning`] | embeddings before every row | `P` |
//! | [`head`](super::head) | the head's weights, with any method that acts on projections | `W` |
//!
//! To add a method:
//!
//! 1. `protocol/src/adapter/method.rs`: a variant of [`Method`], and its facts;
//! 2. `adapter/method/<method>.rs`: its formula, parts, start, forward, gradients, merge, and its config in PEFT's
//!    files;
//! 3. here: its module, and a line of [`of`].
//!
//! What a method does to a projection takes two steps. [`Projections`] describes it for any module and makes one object
//! per module, when it starts an adapter or takes one from a file. That object ([`ModuleOnHost`], [`ModuleOnDevice`])
//! knows where its numbers are in the flat vector, and holds what is fixed. Making it can fail; using it cannot.
//!
//! ```text
//! of(Method) -> Adaptation -> Projections
//!                               | start(Start), with the base        | to_merge(ModuleSlots), without
//!                               v                                    v
//!                         ModuleOnDevice                        ModuleOnHost
//!                               | forward(flat), each step           | merge(parameters, W)
//!                               v
//!                         ModuleAdapter -> projection -> Gradients -> GradientRule -> gradients of the parts
//! ```
//!
//! A method's gradients are not in its file's formula alone: the projection computes those of the pair and the scales
//! that it saw ([`Gradients`](crate::layers::projection::Gradients)), and the method's rule turns them into those of
//! its parts. LoRA's rule changes nothing; DoRA's divides by the row norms; VeRA's sums over rows.

pub(super) mod dora;
mod ia3;
mod ln_tuning;
pub(super) mod lora;
mod lora_plus;
mod olora;
mod pissa;
pub(crate) mod prompt_tuning;
mod rslora;
mod vera;

use std::{fmt::Debug, rc::Rc};

use burn::tensor::{Device, Tensor};
use protocol::{AdapterSpec, Failure, Method, TargetModule};
use rand_chacha::ChaCha8Rng;

use self::{
    dora::Dora, ia3::Ia3, ln_tuning::LnTuning, lora::Lora, lora_plus::LoraPlus, olora::Olora,
    pissa::Pissa, prompt_tuning::PromptTuning, rslora::RsLora, vera::Vera,
};
use super::{
    Matrix, NotLowRank, Part, Place,
    merge::Dense,
    peft::PeftConfig,
    shared::SharedMatrix,
    slot::{ModulePart, ModuleSlots},
};
use crate::{kernels::FrozenMatrix, layers::projection::ModuleAdapter, surroundings::LocalFuture};

/// How a method changes a model: one static per method, without state.
pub(crate) trait Adaptation: Sync {
    /// What it does to projections; `None` if it leaves them alone (norm tuning, prompt tuning).
    fn projections(&self) -> Option<&dyn Projections>;

    /// How its settings are written to and read from `adapter_config.json`.
    fn config(&self) -> &dyn PeftConfig;

    /// Why it is not a sum of low-rank products, if it is none. Norms and a head trained along with it are not its
    /// matter.
    fn not_low_rank(&self) -> Option<NotLowRank> {
        None
    }

    /// The factor of the learning rate at a place; 1 unless the method has rates of its own.
    fn lr_ratio(&self, _spec: &AdapterSpec, _place: Place) -> f64 {
        1.0
    }

    /// The end of the names of trained norms in `adapter_model.safetensors`. By default norms are trained along with a
    /// method, and saved as whole modules.
    fn norm_suffix(&self) -> &'static str {
        "weight"
    }
}

/// What a method does to projections: the factory of its modules.
///
/// The order of [`Self::parts`] binds the layout, the flat vector, and the gradients that the method's rule returns.
pub(crate) trait Projections: Sync {
    /// What it trains on a module of rank `r` with these input and output features, in the order of its gradients.
    ///
    /// It is also called with sizes of one, for the names alone.
    fn parts(&self, r: usize, module: TargetModule, features: (usize, usize)) -> Vec<ModulePart>;

    /// The factor of its low-rank product; 1 if alpha does not scale it. Alpha may be negative in an adapter from a
    /// file.
    fn scaling(&self, _alpha: f64, _r: usize) -> f64 {
        1.0
    }

    /// The matrices that all modules share, given the largest input and output features of any adapted module.
    fn shared(&self, _r: usize, _features: (usize, usize)) -> Vec<SharedMatrix> {
        Vec::new()
    }

    /// Starts a module: fills in its parameters, which are zeros, and makes its object.
    ///
    /// An adapter from a file is started as well, and its own numbers then replace the parameters.
    ///
    /// # Errors
    /// The device's failure while the base is read.
    fn start<'a>(&self, start: Start<'a>, rng: &'a mut ChaCha8Rng) -> Started<'a>;

    /// Makes the object of a module that is only merged, from a file and without a base on a device.
    ///
    /// # Errors
    /// If it cannot be merged without its base, or if the shared matrices are missing.
    fn to_merge(
        &self,
        slots: &ModuleSlots<'_>,
        shared: &[Rc<Matrix>],
    ) -> Result<Rc<dyn ModuleOnHost>, Failure>;
}

/// The result of [`Projections::start`]. It is boxed, since traits with `async` functions cannot be used as `dyn`.
pub(crate) type Started<'a> = LocalFuture<'a, Result<Rc<dyn ModuleOnDevice>, Failure>>;

/// A module's adapter as far as the host needs it: for merging and for export.
pub(crate) trait ModuleOnHost: Debug {
    /// Merges it into the module's weight; `parameters` are those of the whole adapter.
    fn merge(&self, parameters: &[f32], weight: &mut Dense<'_>);

    /// Merges it into the module's bias, where the model has one; most methods leave a bias alone.
    fn merge_bias(&self, _parameters: &[f32], _bias: &mut [f32]) {}

    /// The low-rank product in what it does, without its scaling; `None` if it has none.
    ///
    /// # Shapes
    /// - `parameters`: those of the whole adapter
    /// - returns `A` `[r, in]` and `B` `[out, r]`, row by row; their `r` may be a multiple of the trained rank
    fn product(&self, parameters: &[f32]) -> Option<[Vec<f32>; 2]>;
}

/// A module's adapter on the device, with whatever the method computed from the base.
pub(crate) trait ModuleOnDevice: ModuleOnHost {
    /// Makes what the projection `weight` needs of it in this step.
    ///
    /// # Shapes
    /// - `flat`: the parameters of the whole adapter, up to the head
    /// - `weight`: `[out, in]`
    fn forward(&self, flat: &Tensor<1>, weight: &FrozenMatrix) -> ModuleAdapter;
}

/// What a module starts from: the base, and where its numbers go.
pub(crate) struct Start<'a> {
    /// The frozen projection, `[out, in]`.
    pub(super) weight: &'a FrozenMatrix,
    /// The module's sizes, and where its parts are.
    pub(super) slots: ModuleSlots<'a>,
    /// The adapter's shared matrices, in the order of [`Projections::shared`].
    pub(super) shared: &'a [Rc<Matrix>],
    /// Those of the whole adapter; the module writes only its own.
    pub(super) parameters: &'a mut [f32],
    /// The device of the base.
    pub(super) device: &'a Device,
}

impl Start<'_> {
    /// The part's numbers among the parameters, to be filled in.
    ///
    /// # Errors
    /// As [`ModuleSlots::slot`].
    pub(super) fn part(&mut self, part: Part) -> Result<&mut [f32], Failure> {
        let slot = self.slots.slot(part)?;
        Ok(&mut self.parameters[slot.range])
    }

    /// Puts a matrix that the module keeps on the device.
    pub(super) fn matrix(&self, values: Vec<f32>, shape: [usize; 2]) -> Matrix {
        Matrix::new(values, shape, self.device)
    }
}

/// The implementation of a method: the only place that tells methods apart.
pub(crate) fn of(method: Method) -> &'static dyn Adaptation {
    match method {
        Method::Lora => &Lora,
        Method::RsLora => &RsLora,
        Method::Dora => &Dora,
        Method::LoraPlus => &LoraPlus,
        Method::Pissa => &Pissa,
        Method::Olora => &Olora,
        Method::Vera => &Vera,
        Method::Ia3 => &Ia3,
        Method::LnTuning => &LnTuning,
        Method::PromptTuning => &PromptTuning,
    }
}
