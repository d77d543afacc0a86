//! The adapter being trained: its parameters on the host, in one flat vector, and its tensors on the device.
//!
//! The master weights live on the host in f32. An adapter is small, so a step uploads it once and reads its gradient
//! back once. In return, both devices share one optimizer bit for bit, a checkpoint is a plain vector, and every number
//! is checked before it is used.
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
//! | [`head`] | the head's weights, with any method that acts on projections | `W` |
//!
//! Each method has a file with its formula, its initialization, what it makes of its parameters for the device
//! ([`ModuleAdapter`]), and how it merges. On the device all of them are a low-rank pair and scales added to a frozen
//! projection; see [`crate::layers::projection`].

use burn::tensor::{Device, Tensor, TensorData};
use protocol::{AdapterSpec, Failure, Method, TargetModule};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    layers::{
        block::{BlockAdapter, BlockGradients},
        frozen::FrozenMatrix,
        projection::ModuleAdapter,
    },
    model::Llama,
    tensor::read_all,
};

mod blend;
pub mod dora;
pub mod head;
pub mod ia3;
mod layout;
mod linalg;
pub mod ln_tuning;
pub mod lora;
pub mod lora_plus;
mod low_rank;
mod merge;
pub mod olora;
pub mod pissa;
pub mod prompt_tuning;
pub mod rslora;
mod tensors;
pub mod vera;

pub use layout::{AdapterLayout, Group, ModelShape, Part, Place, Slot, is_of_module};
pub use low_rank::{LowRankUpdate, NotLowRank};
use merge::{Dense, HostModule};
pub use tensors::{NamedTensor, PROJECTIONS};

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

/// What a method computed or drew at the start and does not train, for one module.
#[derive(Debug, Clone)]
pub enum Fixed {
    /// Only the base.
    Base,
    /// `A0` `[r, in]` and `B0` `[out, r]`, which are subtracted from the base.
    Residual { a: Matrix, b: Matrix },
    /// The squares of the row norms of `W`, `[1, out]`.
    RowNorms(Tensor<2>),
    /// `A` `[r, in]` and `B` `[out, r]`, slices of the matrices that all modules share.
    Projection { a: Tensor<2>, b: Tensor<2> },
}

/// Everything of an adapter except its trained numbers.
#[derive(Debug, Clone)]
pub struct AdapterForm {
    pub layout: AdapterLayout,
    /// The fixed part of each module, in the layout's order.
    fixed: Vec<Fixed>,
    /// The `A` and `B` that all modules share.
    projection: Option<[Matrix; 2]>,
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

/// A module's parameters, by part.
struct Parameters<'a> {
    flat: &'a Tensor<1>,
    slots: &'a [Slot],
    scaling: f64,
}

impl Parameters<'_> {
    /// The part's tensor in its slot's shape; a method asks only for parts that its layout has.
    fn part(&self, part: Part) -> Tensor<2> {
        match slot_of(self.slots, part) {
            Some(slot) => tensor_of(self.flat, slot),
            None => Tensor::zeros([1, 1], &self.flat.device()),
        }
    }
}

fn slot_of(slots: &[Slot], part: Part) -> Option<&Slot> {
    let is_part = |slot: &&Slot| matches!(slot.place, Place::Module { part: p, .. } if p == part);
    slots.iter().find(is_part)
}

fn tensor_of(flat: &Tensor<1>, slot: &Slot) -> Tensor<2> {
    flat.clone().slice([slot.range.clone()]).reshape(slot.shape)
}

impl AdapterForm {
    /// The form of `spec` over a model, and its initial parameters.
    ///
    /// # Errors
    /// The device's failure while the base is read.
    pub async fn start(
        spec: &AdapterSpec,
        model: &Llama,
        seed: u64,
    ) -> Result<(Self, Vec<f32>), Failure> {
        let layout = AdapterLayout::new(spec, &ModelShape::from(&model.config));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = vec![0.0; layout.num_parameters];
        let projection = (spec.method == Method::Vera).then(|| {
            let features = layout.largest_features();
            vera::projection(spec.r, features, &mut rng, &model.device)
        });
        let mut fixed = Vec::new();
        for (layer, module, slots) in layout.modules() {
            let weight = model.blocks[layer].matrices()[module as usize];
            let mut start = Start {
                weight,
                rank: spec.rank(layer, module),
                scaling: layout.scaling(layer, module),
                slots,
                parameters: &mut parameters,
                device: &model.device,
            };
            fixed.push(match spec.method {
                Method::Lora | Method::RsLora | Method::LoraPlus => {
                    lora::start(&mut start, &mut rng)
                }
                Method::Dora => dora::start(&mut start, &mut rng).await?,
                Method::Pissa => pissa::start(&mut start, &mut rng).await?,
                Method::Olora => olora::start(&mut start).await?,
                Method::Vera => match &projection {
                    Some(projection) => vera::start(&mut start, projection),
                    None => Fixed::Base,
                },
                Method::Ia3 => ia3::start(&mut start),
                Method::LnTuning | Method::PromptTuning => Fixed::Base,
            });
        }
        for slot in &layout.slots {
            let values = match slot.place {
                Place::Module { .. } => continue,
                Place::Norm { layer, norm } => {
                    read_all(model.blocks[layer].norms()[norm as usize].clone()).await?
                }
                Place::FinalNorm => read_all(model.norm.clone()).await?,
                Place::Prompt => prompt_tuning::start(slot.shape[0], model, &mut rng).await?,
                Place::Head => head::start(model.head()).await?,
            };
            parameters[slot.range.clone()].copy_from_slice(&values);
        }
        let form = Self {
            layout,
            fixed,
            projection,
        };
        Ok((form, parameters))
    }

    /// A form that can only be merged: without what a method computes from the base for its forward. `projection` is
    /// VeRA's `A` and `B`, empty for other methods.
    pub fn to_merge(layout: AdapterLayout, projection: [Vec<f32>; 2], device: &Device) -> Self {
        let (largest_in, largest_out) = layout.largest_features();
        let r = layout.spec.r;
        let shapes = [[r, largest_in], [largest_out, r]];
        let has_projection = layout.spec.method == Method::Vera;
        let [a, b] = projection;
        Self {
            fixed: layout.modules().map(|_| Fixed::Base).collect(),
            projection: has_projection.then(|| {
                [(a, shapes[0]), (b, shapes[1])]
                    .map(|(values, shape)| Matrix::new(values, shape, device))
            }),
            layout,
        }
    }

    /// The adapter on the model's device, from `parameters` of this layout.
    pub fn upload(&self, parameters: &[f32], model: &Llama) -> DeviceAdapter {
        let head = self.layout.head();
        // The head is a separate matrix on the device, so that it is not stored twice.
        let (parameters, head) = match head {
            Some(slot) => {
                let (others, values) = parameters.split_at(slot.range.start);
                (
                    others,
                    Some(head::upload(values, slot.shape, &model.device)),
                )
            }
            None => (parameters, None),
        };
        let data = TensorData::new(parameters.to_vec(), [parameters.len()]);
        let flat: Tensor<1> = Tensor::from_data(data, &model.device);
        let mut adapter = DeviceAdapter {
            blocks: vec![BlockAdapter::default(); model.blocks.len()],
            norm: None,
            prompt: None,
            head,
        };
        for ((layer, module, slots), fixed) in self.layout.modules().zip(&self.fixed) {
            let parameters = Parameters {
                flat: &flat,
                slots,
                scaling: self.layout.scaling(layer, module),
            };
            let weight = model.blocks[layer].matrices()[module as usize];
            let made = self.module(&parameters, module, weight, fixed);
            adapter.blocks[layer].modules[module as usize] = Some(made);
        }
        for slot in &self.layout.slots {
            let weight = || Some(tensor_of(&flat, slot));
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

    /// Replaces the drawn `A` `[r, largest in]` and `B` `[largest out, r]` of VeRA; does nothing for other methods.
    pub fn set_projection(&mut self, values: [Vec<f32>; 2], model: &Llama) {
        let Some(own) = &self.projection else {
            return;
        };
        let [a, b] = values;
        let shared = [(a, own[0].shape), (b, own[1].shape)];
        let shared = shared.map(|(values, shape)| Matrix::new(values, shape, &model.device));
        for ((layer, module, _), fixed) in self.layout.modules().zip(&mut self.fixed) {
            let weight = model.blocks[layer].matrices()[module as usize];
            *fixed = vera::slices(&shared, weight);
        }
        self.projection = Some(shared);
    }

    /// Merges a module's adapter into its weight `[out, in]` in f32; does nothing if the module has none.
    pub fn merge(
        &self,
        parameters: &[f32],
        layer: usize,
        module: TargetModule,
        weight: &mut [f32],
    ) {
        let mut modules = self.layout.modules().zip(&self.fixed);
        let Some(((_, _, slots), fixed)) =
            modules.find(|((l, m, _), _)| (*l, *m) == (layer, module))
        else {
            return;
        };
        let part = HostModule {
            module,
            slots,
            parameters,
            scaling: self.layout.scaling(layer, module),
        };
        let mut weight = Dense {
            in_features: self.layout.in_features(module),
            values: weight,
        };
        match (self.layout.spec.method, fixed, &self.projection) {
            (Method::Dora, ..) => dora::merge(&mut weight, &part),
            (Method::Ia3, ..) => ia3::merge(&mut weight, &part),
            (_, Fixed::Residual { a, b }, _) => pissa::merge(&mut weight, &part, [a, b]),
            (.., Some(projection)) => vera::merge(&mut weight, &part, projection),
            _ => lora::merge(&mut weight, &part),
        }
    }

    fn module(
        &self,
        parameters: &Parameters<'_>,
        module: TargetModule,
        weight: &FrozenMatrix,
        fixed: &Fixed,
    ) -> ModuleAdapter {
        match fixed {
            Fixed::Residual { a, b } => pissa::forward(parameters, [a, b]),
            Fixed::RowNorms(squares) => dora::forward(parameters, weight, squares),
            Fixed::Projection { a, b } => vera::forward(parameters, [a, b]),
            Fixed::Base if self.layout.spec.method == Method::Ia3 => {
                ia3::forward(parameters, module)
            }
            Fixed::Base => lora::forward(parameters),
        }
    }
}

/// What a module's initialization is made from.
struct Start<'a> {
    weight: &'a FrozenMatrix,
    rank: usize,
    scaling: f64,
    slots: &'a [Slot],
    parameters: &'a mut [f32],
    device: &'a Device,
}

impl Start<'_> {
    /// The part's numbers among the parameters.
    fn part(&mut self, part: Part) -> &mut [f32] {
        match slot_of(self.slots, part) {
            Some(slot) => &mut self.parameters[slot.range.clone()],
            None => &mut [],
        }
    }

    fn matrix(&self, values: Vec<f32>, shape: [usize; 2]) -> Matrix {
        Matrix::new(values, shape, self.device)
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
