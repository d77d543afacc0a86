//! The tensors of an adapter in PEFT's files.

use protocol::Method;

use super::{AdapterForm, AdapterLayout, Part, Place, Slot};
use crate::adapter::layout::module_prefix;

/// PEFT's names of the matrices that VeRA shares.
pub const PROJECTIONS: [&str; 2] = ["base_model.vera_A", "base_model.vera_B"];

/// A tensor in f32 by its name in `adapter_model.safetensors`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Slot {
    /// Its shape in the file, where vectors have one dimension, and those of IA3 two.
    fn shape_in_file(&self) -> Vec<usize> {
        let [rows, cols] = self.shape;
        match self.place {
            Place::Module { part, module, .. } => match part {
                Part::A | Part::B => vec![rows, cols],
                Part::Scale if super::ia3::scales_input(module) => vec![rows, cols],
                Part::Scale => vec![cols, rows],
                Part::Magnitude | Part::LambdaB | Part::LambdaD => vec![cols],
            },
            Place::Norm { .. } | Place::FinalNorm => vec![cols],
            Place::Prompt | Place::Head => vec![rows, cols],
        }
    }
}

impl AdapterLayout {
    /// Name and shape of every tensor of the file.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let method = self.spec.method;
        let tensor = |slot: &Slot| {
            let mut shape = slot.shape_in_file();
            match slot.place {
                Place::Module { part: Part::A, .. } => shape[0] *= self.spec.rank_factor(),
                Place::Module { part: Part::B, .. } => shape[1] *= self.spec.rank_factor(),
                _ => {}
            }
            (slot.name(method), shape)
        };
        let mut list: Vec<_> = self.slots.iter().map(tensor).collect();
        if method == Method::Vera {
            let (in_features, out_features) = self.largest_features();
            let shapes = [[self.spec.r, in_features], [out_features, self.spec.r]];
            let shared = PROJECTIONS.into_iter().zip(shapes);
            list.extend(shared.map(|(name, shape)| (name.to_owned(), shape.to_vec())));
        }
        list
    }
}

impl AdapterForm {
    /// The tensors of the file, as listed by [`AdapterLayout::tensors`], from `parameters` in the layout's order.
    ///
    /// Methods that subtract a part from the base (PiSSA, OLoRA) export the difference, at twice the rank, so that the
    /// adapter fits the original base.
    pub fn tensors(&self, parameters: &[f32]) -> Vec<NamedTensor> {
        let method = self.layout.spec.method;
        let is_whole = |slot: &&Slot| match slot.place {
            Place::Module { .. } => !method.starts_from_base(),
            _ => true,
        };
        let plain = |slot: &Slot| NamedTensor {
            name: slot.name(method),
            shape: slot.shape_in_file(),
            values: parameters[slot.range.clone()].to_vec(),
        };
        let slots = self.layout.slots.iter();
        let mut list: Vec<NamedTensor> = slots.filter(is_whole).map(plain).collect();
        if method.starts_from_base() {
            for pair in self.pairs(parameters) {
                let prefix = module_prefix(pair.layer, pair.module);
                let (in_features, out_features) = (pair.a.len() / pair.r, pair.b.len() / pair.r);
                let sides = [
                    (Part::A, [pair.r, in_features], pair.a),
                    (Part::B, [out_features, pair.r], pair.b),
                ];
                list.extend(sides.map(|(part, shape, values)| NamedTensor {
                    name: format!("{prefix}.{}", part.suffix()),
                    shape: shape.to_vec(),
                    values,
                }));
            }
        }
        let shared = self.projection.iter().flatten().zip(PROJECTIONS);
        list.extend(shared.map(|(matrix, name)| NamedTensor {
            name: name.to_owned(),
            shape: matrix.shape.to_vec(),
            values: matrix.values.clone(),
        }));
        list
    }
}
