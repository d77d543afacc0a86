//! Merging an adapter into the weights of its base, on the host.

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
    fn layout(&self) -> &AdapterLayout;

    /// Merges a module's adapter into its weight `[out, in]` in f32; does nothing if the module has none.
    fn merge(&self, parameters: &[f32], layer: usize, module: TargetModule, weight: &mut [f32]);

    /// Merges a module's adapter into its bias `[out]`; does nothing if the module has none.
    fn merge_bias(&self, parameters: &[f32], layer: usize, module: TargetModule, bias: &mut [f32]);
}

/// An adapter that can only be merged: without what a method computes from the base for its forward.
#[derive(Debug, Clone)]
pub struct MergeForm {
    layout: AdapterLayout,
    /// In the layout's order.
    modules: Vec<Rc<dyn ModuleOnHost>>,
}

impl MergeForm {
    /// The form of a layout, with the matrices that its modules share.
    ///
    /// # Errors
    /// If the method cannot be merged without its base, or the matrices are not those of the layout.
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
    /// Merges a module's adapter into its weight `[out, in]` in f32; does nothing if the module has none.
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

/// Merges the module at a place, if the layout has it.
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

/// A weight `[out, in]` that an adapter is merged into.
pub(crate) struct Dense<'a> {
    values: &'a mut [f32],
    in_features: usize,
}

impl Dense<'_> {
    pub(super) fn rows(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.in_features)
    }

    /// Adds `factor b a`, with `b` `[out, r]` and `a` `[r, in]`.
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
