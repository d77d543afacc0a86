//! The adapter being trained: its parameters on the host, in one flat vector, and its tensors on the device.
//!
//! The master weights live on the host in f32. An adapter is small, so a step uploads it once and reads its gradient
//! back once; in return both devices share one optimizer to the bit, a checkpoint is a plain vector, and every
//! number is seen, and checked, before it is used.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    layers::{
        block::{BlockAdapter, BlockGradients},
        projection::LoraPair,
    },
    protocol::{LoraSpec, TargetModule},
    weights::config::LlamaConfig,
};

/// Where one module's `A` `[r, in]` and `B` `[out, r]` lie in the flat vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSlot {
    pub layer: usize,
    pub module: TargetModule,
    pub r: usize,
    pub in_features: usize,
    pub out_features: usize,
    pub a: Range<usize>,
    pub b: Range<usize>,
}

/// The layout of an adapter: layer by layer, module by module in the order of the forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterLayout {
    pub slots: Vec<ModuleSlot>,
    pub num_parameters: usize,
    pub num_layers: usize,
    /// `alpha / r`
    pub scaling: f64,
}

impl AdapterLayout {
    /// Lays out `spec` over every layer of a model.
    pub fn new(spec: &LoraSpec, config: &LlamaConfig) -> Self {
        let mut slots = Vec::new();
        let mut end = 0;
        let mut take = |len: usize| {
            end += len;
            end - len..end
        };
        for layer in 0..config.num_hidden_layers {
            for module in TargetModule::ALL
                .into_iter()
                .filter(|module| spec.target_modules.contains(module))
            {
                let (in_features, out_features) = config.projection_features(module);
                let a = take(spec.r * in_features);
                let b = take(out_features * spec.r);
                slots.push(ModuleSlot {
                    layer,
                    module,
                    r: spec.r,
                    in_features,
                    out_features,
                    a,
                    b,
                });
            }
        }
        Self {
            slots,
            num_parameters: end,
            num_layers: config.num_hidden_layers,
            scaling: spec.lora_alpha as f64 / spec.r as f64,
        }
    }

    /// PEFT's start: `A` uniform in `+-1 / sqrt(in)` (Kaiming with `a = sqrt(5)`), `B` zero.
    pub fn initial_parameters(&self, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = vec![0.0; self.num_parameters];
        for slot in &self.slots {
            let bound = 1.0 / (slot.in_features as f64).sqrt();
            for weight in &mut parameters[slot.a.clone()] {
                let unit = f64::from(rng.next_u32()) / f64::from(u32::MAX);
                *weight = ((2.0 * unit - 1.0) * bound) as f32;
            }
        }
        parameters
    }

    /// The adapters of every block on the device, from `parameters` of this layout.
    pub fn upload(&self, parameters: &[f32], device: &Device) -> Vec<BlockAdapter> {
        let flat: Tensor<1> = Tensor::from_data(
            TensorData::new(parameters.to_vec(), [parameters.len()]),
            device,
        );
        let mut blocks: Vec<BlockAdapter> =
            (0..self.num_layers).map(|_| Default::default()).collect();
        for slot in &self.slots {
            let matrix = |range: &Range<usize>, shape: [usize; 2]| {
                flat.clone().slice([range.clone()]).reshape(shape)
            };
            blocks[slot.layer][slot.module as usize] = Some(LoraPair {
                a: matrix(&slot.a, [slot.r, slot.in_features]),
                b: matrix(&slot.b, [slot.out_features, slot.r]),
                scaling: self.scaling,
            });
        }
        blocks
    }
}

/// One block's gradients as one vector in the layout's order: `[parameters of the block]`.
pub fn flatten_gradients(mut gradients: BlockGradients) -> Option<Tensor<1>> {
    gradients.sort_by_key(|(module, _)| *module);
    let parts: Vec<Tensor<1>> = gradients
        .into_iter()
        .flat_map(|(_, pair)| [pair.a.flatten(0, 1), pair.b.flatten(0, 1)])
        .collect();
    (!parts.is_empty()).then(|| Tensor::cat(parts, 0))
}
