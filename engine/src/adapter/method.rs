//! The methods, each one file with one type, and what a method is: the trait [`Adaptation`]. Nothing else compares methods.
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
//! 2. `adapter/method/<method>.rs`: its formula, parts, start, forward, gradients, merge, and its config in PEFT's files;
//! 3. here: its module, and a line of [`of`].
//!
//! What a method does to a projection takes two steps. [`Projections`] describes it for any module and makes one object
//! per module, when it starts an adapter or takes one from a file. That object ([`ModuleOnHost`], [`ModuleOnDevice`])
//! knows where its numbers are in the flat vector, and holds what is fixed. Making it can fail; using it cannot.

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

/// How a method changes a model.
pub(crate) trait Adaptation: Sync {
    /// What it does to projections; `None` if it leaves them alone.
    fn projections(&self) -> Option<&dyn Projections>;

    /// Its config in PEFT's files.
    fn config(&self) -> &dyn PeftConfig;

    /// Why it is not a sum of low-rank products, if so.
    fn not_low_rank(&self) -> Option<NotLowRank> {
        None
    }

    /// The factor of the learning rate at a place.
    fn lr_ratio(&self, _spec: &AdapterSpec, _place: Place) -> f64 {
        1.0
    }

    /// The end of the names of trained norms in `adapter_model.safetensors`. By default norms are trained along with a
    /// method, and saved as whole modules.
    fn norm_suffix(&self) -> &'static str {
        "weight"
    }
}

/// What a method does to projections.
pub(crate) trait Projections: Sync {
    /// What it trains on a module of rank `r` with these input and output features, in the order of its gradients.
    fn parts(&self, r: usize, module: TargetModule, features: (usize, usize)) -> Vec<ModulePart>;

    /// The factor of its low-rank product; 1 if alpha does not scale it.
    fn scaling(&self, _alpha: f64, _r: usize) -> f64 {
        1.0
    }

    /// The matrices that all modules share, given the largest input and output features of any.
    fn shared(&self, _r: usize, _features: (usize, usize)) -> Vec<SharedMatrix> {
        Vec::new()
    }

    /// Starts a module: fills in its parameters, which are zeros, and makes its object.
    ///
    /// # Errors
    /// The device's failure while the base is read.
    fn start<'a>(&self, start: Start<'a>, rng: &'a mut ChaCha8Rng) -> Started<'a>;

    /// The object of a module that is only merged, from a file and without a base on a device.
    ///
    /// # Errors
    /// If it cannot be merged without its base.
    fn to_merge(
        &self,
        slots: &ModuleSlots<'_>,
        shared: &[Rc<Matrix>],
    ) -> Result<Rc<dyn ModuleOnHost>, Failure>;
}

/// The result of [`Projections::start`].
pub(crate) type Started<'a> = LocalFuture<'a, Result<Rc<dyn ModuleOnDevice>, Failure>>;

/// A module's adapter on the host.
pub(crate) trait ModuleOnHost: Debug {
    /// Merges it into the module's weight; `parameters` are those of the whole adapter.
    fn merge(&self, parameters: &[f32], weight: &mut Dense<'_>);

    /// Merges it into the module's bias, where the model has one; most methods leave a bias alone.
    fn merge_bias(&self, _parameters: &[f32], _bias: &mut [f32]) {}

    /// The low-rank product in what it does, without its scaling: `A` `[r, in]` and `B` `[out, r]`.
    fn product(&self, parameters: &[f32]) -> Option<[Vec<f32>; 2]>;
}

/// A module's adapter on the device.
pub(crate) trait ModuleOnDevice: ModuleOnHost {
    /// What the projection `weight` needs of it; `flat` are the parameters of the whole adapter.
    fn forward(&self, flat: &Tensor<1>, weight: &FrozenMatrix) -> ModuleAdapter;
}

/// What a module starts from.
pub(crate) struct Start<'a> {
    pub(super) weight: &'a FrozenMatrix,
    pub(super) slots: ModuleSlots<'a>,
    pub(super) shared: &'a [Rc<Matrix>],
    /// Those of the whole adapter.
    pub(super) parameters: &'a mut [f32],
    pub(super) device: &'a Device,
}

impl Start<'_> {
    /// The part's numbers among the parameters.
    ///
    /// # Errors
    /// As [`ModuleSlots::slot`].
    pub(super) fn part(&mut self, part: Part) -> Result<&mut [f32], Failure> {
        let slot = self.slots.slot(part)?;
        Ok(&mut self.parameters[slot.range])
    }

    pub(super) fn matrix(&self, values: Vec<f32>, shape: [usize; 2]) -> Matrix {
        Matrix::new(values, shape, self.device)
    }
}

/// The method's implementation.
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
