//! Merging an adapter into the weights of its base, on the host.
//!
//! Merged models are written tensor by tensor (`export/merged.rs`): a projection is read, unpacked to f32, changed
//! here, and written. Two kinds of adapters can be merged: an [`AdapterForm`], which was trained or loaded on a device,
//! and a [`MergeForm`], which was read from a PEFT zip where there is no model on a device.
//!
//! | method | the weight `W` becomes | its bias |
//! |---|---|---|
//! | LoRA and its variants, VeRA | `W + s B A` | unchanged |
//! | DoRA | `m / \|\|V\|\| V`, `V = W + s B A` | unchanged |
//! | PiSSA, OLoRA | `W + s (B A - B0 A0)` | unchanged |
//! | IA3 | `l W`, or `W` with its columns times `l` | `l b` where the output is scaled |
//!
//! Norms and heads that were trained simply replace the base's, so they need no function here: whoever writes the model
//! takes them from their slots. A learned prompt cannot be merged.

use std::rc::Rc;

use burn::tensor::Device;
use protocol::{Failure, TargetModule};

use super::{
    AdapterForm, AdapterLayout,
    method::{self, ModuleOnHost},
    shared,
};

/// An adapter whose modules can be merged.
pub trait Merging {
    /// The adapter's layout, in whose order `parameters` are.
    fn layout(&self) -> &AdapterLayout;

    /// Merges a module's adapter into its weight in place; does nothing if the module has none.
    ///
    /// # Shapes
    /// - `parameters`: those of the whole adapter
    /// - `weight`: `[out, in]`, row by row, in HF's order of rows
    fn merge(&self, parameters: &[f32], layer: usize, module: TargetModule, weight: &mut [f32]);

    /// Merges a module's adapter into its bias in place; does nothing if the module has none, or if its method leaves
    /// biases alone.
    ///
    /// # Shapes
    /// - `parameters`: those of the whole adapter
    /// - `bias`: `[out]`
    fn merge_bias(&self, parameters: &[f32], layer: usize, module: TargetModule, bias: &mut [f32]);
}

/// An adapter that can only be merged: without what a method computes from the base for its forward.
///
/// It holds what [`AdapterForm`] holds for the host, so the merging worker needs neither the base on a device nor its
/// weights before it writes them.
#[derive(Debug, Clone)]
pub struct MergeForm {
    /// Which numbers are trained, and where they are.
    layout: AdapterLayout,
    /// The method's object of each adapted projection, in the layout's order.
    modules: Vec<Rc<dyn ModuleOnHost>>,
}

impl MergeForm {
    /// Makes the form of a layout, from the values of the matrices that its modules share.
    ///
    /// `device` holds the shared matrices; merging itself reads only their copies on the host.
    ///
    /// # Errors
    /// If the method cannot be merged without its base (PiSSA and OLoRA; their files are plain LoRA, so no incoming
    /// adapter has these methods), or the matrices are not those of the layout.
    pub fn new(
        layout: AdapterLayout,
        shared: Vec<Vec<f32>>,
        device: &Device,
    ) -> Result<Self, Failure> {
        let shared = shared::matrices(&layout, shared, device)?;
        let modules = match method::of(layout.spec.method).projections() {
            Some(method) => {
                let modules = layout.module_slots();
                let modules = modules.map(|slots| method.to_merge(&slots, &shared));
                modules.collect::<Result<_, _>>()?
            }
            None => Vec::new(),
        };
        Ok(Self { layout, modules })
    }
}

impl Merging for MergeForm {
    fn layout(&self) -> &AdapterLayout {
        &self.layout
    }

    fn merge(&self, parameters: &[f32], layer: usize, module: TargetModule, weight: &mut [f32]) {
        let place = (layer, module);
        merge_module(&self.layout, &self.modules, parameters, place, weight);
    }

    fn merge_bias(&self, parameters: &[f32], layer: usize, module: TargetModule, bias: &mut [f32]) {
        if let Some(index) = self.layout.module_index(layer, module) {
            self.modules[index].merge_bias(parameters, bias);
        }
    }
}

impl AdapterForm {
    /// Merges a module's adapter into its weight in place; does nothing if the module has none. Callers need not import
    /// [`Merging`] for it.
    ///
    /// # Shapes
    /// - `parameters`: those of the whole adapter
    /// - `weight`: `[out, in]`, row by row
    pub fn merge(
        &self,
        parameters: &[f32],
        layer: usize,
        module: TargetModule,
        weight: &mut [f32],
    ) {
        let place = (layer, module);
        merge_module(&self.layout, &self.modules, parameters, place, weight);
    }
}

impl Merging for AdapterForm {
    fn layout(&self) -> &AdapterLayout {
        &self.layout
    }

    fn merge(&self, parameters: &[f32], layer: usize, module: TargetModule, weight: &mut [f32]) {
        Self::merge(self, parameters, layer, module, weight);
    }

    fn merge_bias(&self, parameters: &[f32], layer: usize, module: TargetModule, bias: &mut [f32]) {
        if let Some(index) = self.layout.module_index(layer, module) {
            self.modules[index].merge_bias(parameters, bias);
        }
    }
}

/// Merges the module at a place, if the layout has it; the same code for both kinds of forms.
fn merge_module<M: ModuleOnHost + ?Sized>(
    layout: &AdapterLayout,
    modules: &[Rc<M>],
    parameters: &[f32],
    (layer, module): (usize, TargetModule),
    weight: &mut [f32],
) {
    if let Some(index) = layout.module_index(layer, module) {
        let mut weight = Dense {
            values: weight,
            in_features: layout.in_features(module),
        };
        modules[index].merge(parameters, &mut weight);
    }
}

/// A weight `[out, in]` that an adapter is merged into, borrowed from the writer of the model.
pub(crate) struct Dense<'a> {
    /// All weights, row by row.
    values: &'a mut [f32],
    /// The length of a row.
    in_features: usize,
}

impl Dense<'_> {
    /// The rows `[in]`, one for each output feature.
    pub(super) fn rows(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.in_features)
    }

    /// Adds `factor b a`. Each row is summed in f64 and rounded to f32 once, not after each of the `r` terms.
    ///
    /// # Shapes
    /// - `b`: `[out, r]`
    /// - `a`: `[r, in]`
    pub(super) fn add_product(&mut self, b: &[f32], a: &[f32], factor: f64) {
        let in_features = self.in_features;
        let r = a.len() / in_features;
        for (row, b) in self.rows().zip(b.chunks_exact(r)) {
            let mut sums: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
            for (&b, a) in b.iter().zip(a.chunks_exact(in_features)) {
                let factor = factor * f64::from(b);
                let products = sums.iter_mut().zip(a);
                products.for_each(|(sum, &a)| *sum += factor * f64::from(a));
            }
            row.iter_mut()
                .zip(sums)
                .for_each(|(value, sum)| *value = sum as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{AdapterSpec, Method};

    use super::*;
    use crate::{
        adapter::{ModelShape, Part},
        arch::LLAMA,
    };

    fn layout(method: Method) -> AdapterLayout {
        let spec = AdapterSpec {
            method,
            ..AdapterSpec::default()
        };
        let shape = ModelShape {
            arch: &LLAMA,
            vocab_size: 32,
            num_hidden_layers: 2,
            hidden_size: 16,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            features: [(16, 16); TargetModule::ALL.len()],
        };
        AdapterLayout::new(&spec, &shape)
    }

    fn merged(method: Method) -> Result<MergeForm, Failure> {
        let layout = layout(method);
        let shared = layout.shared().into_iter();
        let shared = shared.map(|matrix| vec![0.0; matrix.shape[0] * matrix.shape[1]]);
        MergeForm::new(layout, shared.collect(), &Device::flex())
    }

    #[test]
    fn what_starts_from_the_base_is_not_merged_without_it() {
        for method in Method::ALL {
            let starts_from_base = method.facts().starts_from_base;
            assert_eq!(merged(method).is_err(), starts_from_base, "{method:?}");
        }
    }

    #[test]
    fn a_part_that_is_not_trained_is_an_error() {
        let layout = layout(Method::Ia3);
        for slots in layout.module_slots() {
            let failure = slots.slot(Part::A).unwrap_err();
            assert_eq!(failure.what, "The adapter has no lora_A.weight.");
        }
        assert!(layout.module_slots().next().is_some());
    }

    #[test]
    fn shared_matrices_of_another_adapter_are_an_error() {
        let none = MergeForm::new(layout(Method::Vera), Vec::new(), &Device::flex());
        assert!(none.is_err());
        let too_many = MergeForm::new(layout(Method::Lora), vec![vec![0.0]], &Device::flex());
        assert!(too_many.is_err());
    }
}
