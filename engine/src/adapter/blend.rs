//! Blends several adapters into one: `sum w_i s_i B_i A_i`, exactly, as one pair of all ranks together
//! (`combination_type="cat"` of PEFT's `add_weighted_adapter`).
//!
//! For two adapters of ranks 4 and 8 on the same projection, with weights `w_1` and `w_2`:
//!
//! ```text
//! A = [ A_1 ]  rows 0..4       B = [ w_1 s_1 B_1 | w_2 s_2 B_2 ]
//!     [ A_2 ]  rows 4..12            columns 0..4  columns 4..12
//! ```
//!
//! `B A` is then the sum of the weighted products, and `alpha = r` makes the blend's own scaling 1. Each adapter has
//! the same rows everywhere: where one lacks a module, or has a lower rank there, the rest of its `B` is zero. So a blend is a
//! plain LoRA that can be trained further, merged and exported, at the price of a rank that is the sum of the ranks.

use std::rc::Rc;

use protocol::{AdapterSpec, Failure, LayerRange, TargetModule};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{
    AdapterForm, AdapterLayout, LowRankUpdate, ModelShape, Part, fill_uniform,
    method::{
        ModuleOnDevice,
        lora::{self, Pair},
    },
};

impl AdapterForm {
    /// Makes a LoRA adapter from `parts`, each a form with its parameters and its weight.
    ///
    /// All parts must be low-rank products alone (see [`super::NotLowRank`]) and fit the same base: whatever else a
    /// part changes would be lost. The caller checks both. Weights may be negative; a weight of zero gives zeros.
    ///
    /// The blend covers the smallest range of blocks that contains those of all parts, with every module that any part
    /// adapts.
    ///
    /// # Shapes
    /// - parameters of a part: in the order of that part's layout
    /// - returns the blend's parameters, in the order of its own layout
    ///
    /// # Errors
    /// [`FailureKind::Internal`](protocol::FailureKind::Internal) if the blend's layout lacks a part of LoRA, which
    /// would be a bug.
    pub fn blend(
        parts: &[(&Self, &[f32], f64)],
        shape: &ModelShape,
    ) -> Result<(Self, Vec<f32>), Failure> {
        let updates: Vec<(Vec<LowRankUpdate>, f64)> = parts
            .iter()
            .map(|(form, parameters, weight)| (form.pairs(parameters), *weight))
            .collect();
        let all = || updates.iter().flat_map(|(updates, _)| updates);
        // A module that only one part adapts is in the blend; the other parts have a `B` of zeros there.
        let has = |module: &TargetModule| all().any(|update| update.module == *module);
        let layers = || all().map(|update| update.layer);
        let range = layers().min().zip(layers().max());
        let range = range.map(|(first, last)| LayerRange { first, last });
        // The largest rank of a part, so that its rows are at the same place in every module.
        let ranks = updates.iter().map(|(updates, _)| {
            let ranks = updates.iter().map(|update| update.r);
            ranks.max().unwrap_or(0)
        });
        let ranks: Vec<usize> = ranks.collect();
        let r = ranks.iter().sum();
        let spec = AdapterSpec {
            r,
            // Makes the scaling 1.
            lora_alpha: r as f64,
            target_modules: TargetModule::ALL.into_iter().filter(has).collect(),
            layers_to_transform: range
                .filter(|range| range.first > 0 || range.last + 1 < shape.num_hidden_layers),
            ..AdapterSpec::default()
        };
        let layout = AdapterLayout::new(&spec, shape);
        let mut parameters = vec![0.0; layout.num_parameters];
        let mut modules: Vec<Rc<dyn ModuleOnDevice>> = Vec::new();
        // The same blend is the same file.
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for slots in layout.module_slots() {
            let (slot_a, slot_b) = (slots.slot(Part::A)?, slots.slot(Part::B)?);
            let in_features = slot_a.range.len() / r;
            // Where nothing follows, `B` stays zero and so does the product; but a pair of zeros alone could never learn if the
            // blend is trained further.
            let bound = lora::bound(in_features);
            fill_uniform(&mut parameters[slot_a.range.clone()], bound, &mut rng);
            let mut start = 0;
            for ((updates, weight), &rank) in updates.iter().zip(&ranks) {
                let is_it = |update: &&LowRankUpdate| {
                    (update.layer, update.module) == (slots.layer, slots.module)
                };
                if let Some(update) = updates.iter().find(is_it) {
                    let a = &mut parameters[slot_a.range.clone()][start * in_features..];
                    a[..update.a.len()].copy_from_slice(&update.a);
                    let factor = weight * update.scaling;
                    let rows = parameters[slot_b.range.clone()].chunks_exact_mut(r);
                    for (to, from) in rows.zip(update.b.chunks_exact(update.r)) {
                        for (to, &from) in to[start..].iter_mut().zip(from) {
                            *to = (factor * f64::from(from)) as f32;
                        }
                    }
                }
                start += rank;
            }
            modules.push(Rc::new(Pair::of(&slots)?));
        }
        let form = Self {
            layout,
            modules,
            shared: Vec::new(),
        };
        Ok((form, parameters))
    }
}
