//! The adapter being trained: its parameters on the host, in one flat vector, and its tensors on the device.
//!
//! The master weights live on the host in f32. An adapter is small, so a step uploads it once and reads its gradient
//! back once. In return, both devices share one optimizer bit for bit, a checkpoint is a plain vector, and every number
//! is checked before it is used.
//!
//! How it changes the model is its method: each is one file under `adapter/method`, which has a table of them. On the
//! device all of them are a low-rank pair and scales added to a frozen projection; see [`crate::layers::projection`].
//! Norms, [the head](head) and embeddings can be trained whole.

use std::rc::Rc;

use burn::tensor::{Device, Tensor, TensorData};
use protocol::{AdapterSpec, Failure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    kernels::FrozenMatrix,
    layers::block::{BlockAdapter, BlockGradients},
    tensor::read_all,
};

mod base;
mod blend;
pub mod head;
mod layout;
mod linalg;
mod low_rank;
mod merge;
mod method;
pub(crate) mod peft;
mod shared;
mod slot;
mod tensors;

pub use base::Base;
pub use layout::{AdapterLayout, Group, ModelShape};
pub use low_rank::{LowRankUpdate, NotLowRank};
pub use merge::{MergeForm, Merging};
pub(crate) use method::prompt_tuning;
use method::{ModuleOnDevice, Start};
pub use slot::{Part, Place, Slot, is_of_module};
pub use tensors::NamedTensor;

/// A matrix on the host and on the device.
#[derive(Debug, Clone)]
pub struct Matrix {
    pub shape: [usize; 2],
    pub values: Vec<f32>,
    pub tensor: Tensor<2>,
}

impl Matrix {
    fn new(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Self {
        let tensor = Tensor::from_data(TensorData::new(values.clone(), shape), device);
        Self {
            shape,
            values,
            tensor,
        }
    }
}

/// Everything of an adapter except its trained numbers.
#[derive(Debug, Clone)]
pub struct AdapterForm {
    pub layout: AdapterLayout,
    /// What the method made of each module, in the layout's order.
    modules: Vec<Rc<dyn ModuleOnDevice>>,
    /// The matrices that all modules share, in the layout's order.
    shared: Vec<Rc<Matrix>>,
}

/// An adapter on the device.
#[derive(Debug, Clone, Default)]
pub struct DeviceAdapter {
    pub blocks: Vec<BlockAdapter>,
    /// The weight that replaces the base's last norm, `[1, d]`.
    pub norm: Option<Tensor<2>>,
    /// The embeddings before every row, `[p, d]`.
    pub prompt: Option<Tensor<2>>,
    /// The matrix that replaces the base's head, `[v, d]`.
    pub head: Option<FrozenMatrix>,
}

impl DeviceAdapter {
    /// The number of tokens before every row.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt.as_ref().map_or(0, |prompt| prompt.dims()[0])
    }
}

impl AdapterForm {
    /// The form of `spec` over a model, and its initial parameters.
    ///
    /// # Errors
    /// The device's failure while the base is read.
    pub async fn start(
        spec: &AdapterSpec,
        base: &dyn Base,
        seed: u64,
    ) -> Result<(Self, Vec<f32>), Failure> {
        let layout = AdapterLayout::new(spec, &base.shape());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shared = layout.shared();
        let shared = shared.iter().map(|matrix| matrix.draw(&mut rng)).collect();
        Self::started(layout, shared, base, rng).await
    }

    /// As [`Self::start`], with the matrices that all modules share given and not drawn; there are none for most methods.
    ///
    /// # Errors
    /// The device's failure while the base is read, or matrices that are not those of the adapter.
    pub async fn with_shared(
        spec: &AdapterSpec,
        shared: Vec<Vec<f32>>,
        base: &dyn Base,
    ) -> Result<(Self, Vec<f32>), Failure> {
        let layout = AdapterLayout::new(spec, &base.shape());
        Self::started(layout, shared, base, ChaCha8Rng::seed_from_u64(0)).await
    }

    async fn started(
        layout: AdapterLayout,
        shared: Vec<Vec<f32>>,
        base: &dyn Base,
        mut rng: ChaCha8Rng,
    ) -> Result<(Self, Vec<f32>), Failure> {
        let shared = shared::matrices(&layout, shared, base.device())?;
        let mut parameters = vec![0.0; layout.num_parameters];
        let mut modules = Vec::new();
        if let Some(method) = method::of(layout.spec.method).projections() {
            for slots in layout.module_slots() {
                let start = Start {
                    weight: base.projection(slots.layer, slots.module),
                    slots,
                    shared: &shared,
                    parameters: &mut parameters,
                    device: base.device(),
                };
                modules.push(method.start(start, &mut rng).await?);
            }
        }
        for slot in &layout.slots {
            let values = match slot.place {
                Place::Module { .. } => continue,
                Place::Norm { layer, norm } => {
                    read_all(base.block_norm(layer, norm).clone()).await?
                }
                Place::FinalNorm => read_all(base.last_norm().clone()).await?,
                Place::Prompt => prompt_tuning::start(slot.shape[0], base, &mut rng).await?,
                Place::Head => head::start(base.head()).await?,
            };
            parameters[slot.range.clone()].copy_from_slice(&values);
        }
        let form = Self {
            layout,
            modules,
            shared,
        };
        Ok((form, parameters))
    }

    /// The adapter on the model's device, from `parameters` of this layout.
    pub fn upload(&self, parameters: &[f32], base: &dyn Base) -> DeviceAdapter {
        let head = self.layout.head();
        // The head is a separate matrix on the device, so that it is not stored twice.
        let (parameters, head) = match head {
            Some(slot) => {
                let (others, values) = parameters.split_at(slot.range.start);
                (
                    others,
                    Some(head::upload(values, slot.shape, base.device())),
                )
            }
            None => (parameters, None),
        };
        let data = TensorData::new(parameters.to_vec(), [parameters.len()]);
        let flat: Tensor<1> = Tensor::from_data(data, base.device());
        let mut adapter = DeviceAdapter {
            blocks: vec![BlockAdapter::default(); base.shape().num_hidden_layers],
            norm: None,
            prompt: None,
            head,
        };
        for ((layer, module, _), made) in self.layout.modules().zip(&self.modules) {
            let made = made.forward(&flat, base.projection(layer, module));
            adapter.blocks[layer].modules[module as usize] = Some(made);
        }
        for slot in &self.layout.slots {
            let weight = || Some(slot.on_device(&flat));
            match slot.place {
                Place::Module { .. } | Place::Head => {}
                Place::Norm { layer, norm } => {
                    adapter.blocks[layer].norms[norm as usize] = weight()
                }
                Place::FinalNorm => adapter.norm = weight(),
                Place::Prompt => adapter.prompt = weight(),
            }
        }
        adapter
    }
}

/// Fills `values` with uniform numbers in `+-bound`.
fn fill_uniform(values: &mut [f32], bound: f64, rng: &mut ChaCha8Rng) {
    for value in values {
        let unit = f64::from(rng.next_u32()) / f64::from(u32::MAX);
        *value = ((2.0 * unit - 1.0) * bound) as f32;
    }
}

/// One block's gradients as one vector in the layout's order: `[parameters of the block]`.
pub fn flatten_gradients(mut gradients: BlockGradients) -> Option<Tensor<1>> {
    gradients.modules.sort_by_key(|(module, _)| *module);
    let modules = gradients.modules.into_iter().flat_map(|(_, parts)| parts);
    let norms = gradients.norms.into_iter().flatten();
    let parts: Vec<Tensor<1>> = modules.chain(norms).collect();
    (!parts.is_empty()).then(|| Tensor::cat(parts, 0))
}
