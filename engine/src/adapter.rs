//! The adapter being trained: its parameters on the host, in one flat vector, and its tensors on the device.
//!
//! The master weights live on the host in f32. An adapter is small, so a step uploads it once and reads its gradient
//! back once. In return, both devices share one optimizer bit for bit, a checkpoint is a plain vector, and every number
//! is checked before it is used.
//!
//! ```text
//!             AdapterSpec + Base
//!                    | AdapterForm::start
//!                    v
//! AdapterForm (layout, fixed matrices)      parameters: Vec<f32>  <--- optimizer
//!                    | upload(parameters)                                  ^
//!                    v                                                     |
//! DeviceAdapter --> blocks' forward and backward --> BlockGradients --> flatten_gradients
//! ```
//!
//! What an adapter does to the model is decided by its method: each is one file under `adapter/method`, which has a
//! table of them. On the device, all of them are a low-rank pair and scales added to a frozen projection; see
//! [`crate::layers::projection`]. Norms, [the head](head) and embeddings can be trained whole.
//!
//! | file | what |
//! |---|---|
//! | `layout`, `slot` | which numbers are trained, where they are in the flat vector, and their names in PEFT's files |
//! | `method` | what each method trains, how it starts, what it gives the device, how it merges |
//! | `head`, `shared` | a head that is trained whole; matrices that all modules share and nothing trains |
//! | `low_rank`, `blend`, `merge` | an adapter as low-rank products; several as one; one merged into the base |
//! | `peft`, `tensors` | `adapter_config.json` and the tensors of `adapter_model.safetensors` |
//! | `linalg` | the host's linear algebra for starts from the base |

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

/// A frozen f32 matrix that a method keeps on the host, for merging and export, and on the device, for the forward.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// The numbers, row by row.
    pub values: Vec<f32>,
    /// The same numbers on the device.
    pub tensor: Tensor<2>,
}

impl Matrix {
    /// Uploads `values`, which must be as many as `shape` says, and keeps them.
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
///
/// A form belongs to one base on one device: methods keep tensors there, and some (DoRA, PiSSA, OLoRA) keep values that
/// were computed from the base's weights. The trained numbers are passed to each of its functions, in the order of
/// [`AdapterLayout`], so one form serves the current parameters and any snapshot of them.
#[derive(Debug, Clone)]
pub struct AdapterForm {
    /// Which numbers are trained, and where each is in the flat vector.
    pub layout: AdapterLayout,
    /// The method's object of each adapted projection, in the layout's order.
    modules: Vec<Rc<dyn ModuleOnDevice>>,
    /// The matrices that all modules share, in the layout's order; VeRA's `A` and `B`.
    shared: Vec<Rc<Matrix>>,
}

/// An adapter on the device, as one pass over the model uses it.
///
/// It is made from the parameters once per optimizer step by [`AdapterForm::upload`] and does not change afterwards.
/// The default changes nothing and has no blocks.
#[derive(Debug, Clone, Default)]
pub struct DeviceAdapter {
    /// What changes in each block, indexed by layer: one for every block of the model, adapted or not.
    pub blocks: Vec<BlockAdapter>,
    /// The weight that replaces the base's last norm, `[1, d]`.
    pub norm: Option<Tensor<2>>,
    /// The learned embeddings before every row, `[p, d]`: virtual tokens with ids from the vocabulary's size on.
    pub prompt: Option<Tensor<2>>,
    /// The matrix that replaces the base's head, `[v, d]`.
    pub head: Option<FrozenMatrix>,
}

impl DeviceAdapter {
    /// The number `p` of virtual tokens before every row.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt.as_ref().map_or(0, |prompt| prompt.dims()[0])
    }
}

impl AdapterForm {
    /// Makes the form of `spec` over a model, and its initial parameters.
    ///
    /// Everything random comes from one ChaCha8 stream of `seed`, in this order: the shared matrices, the modules in
    /// the layout's order, the tokens that a prompt starts from. So a seed gives the same adapter on every device,
    /// except for what is computed from the base (DoRA, PiSSA, OLoRA), where devices differ in rounding.
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

    /// Like [`Self::start`], but takes the shared matrices instead of drawing them; most methods have none.
    ///
    /// The initial parameters are for an adapter that was read from a file, whose own numbers then replace them.
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

    /// Starts every module, then fills in what is trained whole: norms and the head with the base's weights, the prompt
    /// with embeddings from the vocabulary.
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

    /// Makes the adapter on the model's device from `parameters`.
    ///
    /// All parameters but the head's go up as one tensor, of which the modules use slices: one transfer instead of
    /// hundreds of small ones.
    ///
    /// # Shapes
    /// - `parameters`: [`AdapterLayout::num_parameters`] numbers in the layout's order
    ///
    /// # Panics
    /// If there are fewer `parameters` than the layout has.
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

/// Fills `values` with uniform numbers from `-bound` to `bound`, one 32-bit draw each, scaled in f64.
fn fill_uniform(values: &mut [f32], bound: f64, rng: &mut ChaCha8Rng) {
    for value in values {
        let unit = f64::from(rng.next_u32()) / f64::from(u32::MAX);
        *value = ((2.0 * unit - 1.0) * bound) as f32;
    }
}

/// Joins one block's gradients into a vector in the layout's order; `None` if nothing in the block is trained.
///
/// A backward meets the modules from the last to the first, hence the sort. The norms follow the modules, as in the
/// layout.
///
/// # Shapes
/// - returns `[parameters of the block]`
pub fn flatten_gradients(mut gradients: BlockGradients) -> Option<Tensor<1>> {
    gradients.modules.sort_by_key(|(module, _)| *module);
    let modules = gradients.modules.into_iter().flat_map(|(_, parts)| parts);
    let norms = gradients.norms.into_iter().flatten();
    let parts: Vec<Tensor<1>> = modules.chain(norms).collect();
    (!parts.is_empty()).then(|| Tensor::cat(parts, 0))
}
