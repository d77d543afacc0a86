//! Blends several adapters into one: `sum w_i s_i B_i A_i`, exactly, as one pair of all ranks together
//! (`combination_type="cat"` of PEFT's `add_weighted_adapter`).

use protocol::{AdapterSpec, LayerRange, TargetModule};

use super::{AdapterForm, AdapterLayout, Fixed, LowRankUpdate, ModelShape, Part, slot_of};

impl AdapterForm {
    /// A LoRA adapter blended from `parts`, each with its parameters and weight. All of them must be low-rank products
    /// (see [`super::NotLowRank`]).
    pub fn blend(parts: &[(&Self, &[f32], f64)], shape: &ModelShape) -> (Self, Vec<f32>) {
        let updates: Vec<(Vec<LowRankUpdate>, f64)> = parts
            .iter()
            .map(|(form, parameters, weight)| (form.pairs(parameters), *weight))
            .collect();
        let all = || updates.iter().flat_map(|(updates, _)| updates);
        let has = |module: &TargetModule| all().any(|update| update.module == *module);
        let layers = || all().map(|update| update.layer);
        let range = layers().min().zip(layers().max());
        let range = range.map(|(first, last)| LayerRange { first, last });
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
        let mut num_modules = 0;
        for (layer, module, slots) in layout.modules() {
            num_modules += 1;
            let mut start = 0;
            for ((updates, weight), &rank) in updates.iter().zip(&ranks) {
                let is_it =
                    |update: &&LowRankUpdate| (update.layer, update.module) == (layer, module);
                if let Some(update) = updates.iter().find(is_it) {
                    let in_features = update.a.len() / update.r;
                    if let Some(slot) = slot_of(slots, Part::A) {
                        let a = &mut parameters[slot.range.clone()][start * in_features..];
                        a[..update.a.len()].copy_from_slice(&update.a);
                    }
                    if let Some(slot) = slot_of(slots, Part::B) {
                        let factor = weight * update.scaling;
                        let rows = parameters[slot.range.clone()].chunks_exact_mut(r);
                        for (to, from) in rows.zip(update.b.chunks_exact(update.r)) {
                            for (to, &from) in to[start..].iter_mut().zip(from) {
                                *to = (factor * f64::from(from)) as f32;
                            }
                        }
                    }
                }
                start += rank;
            }
        }
        let form = Self {
            layout,
            fixed: vec![Fixed::Base; num_modules],
            projection: None,
        };
        (form, parameters)
    }
}
