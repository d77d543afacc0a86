//! The tensors of an adapter in PEFT's files.
//!
//! [`AdapterLayout::tensors`] says what a file must contain, from the spec alone. Import compares incoming files with
//! it, and the sizes of exports are computed from it. [`AdapterForm::tensors`] makes the contents. Both list the same
//! names and shapes, though not always in the same order: a safetensors file finds its tensors by name.
//!
//! Ranks in files can differ from trained ranks. PiSSA and OLoRA train a pair of rank `r` and subtract the pair that
//! they started from, so their file holds a plain LoRA of rank `2 r`:
//!
//! ```text
//! trained  A [r, in]     B [out, r]
//! file     [A; A0] [2 r, in]     [B, -B0] [out, 2 r]
//! ```

use super::{AdapterForm, AdapterLayout, Part, Place, Slot, slot::module_prefix};

/// A tensor in f32 by its name in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The whole name.
    pub name: String,
    /// The shape in the file, slowest dimension first.
    pub shape: Vec<usize>,
    /// The numbers, the last dimension fastest.
    pub values: Vec<f32>,
}

impl AdapterLayout {
    /// Name and shape of every tensor of the file: the trained ones in the layout's order, then the shared matrices.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let method = self.spec.method;
        let tensor = |slot: &Slot| {
            let mut shape = slot.shape_in_file.clone();
            match slot.place {
                Place::Module { part: Part::A, .. } => shape[0] *= self.spec.rank_factor(),
                Place::Module { part: Part::B, .. } => shape[1] *= self.spec.rank_factor(),
                _ => {}
            }
            (slot.name(method), shape)
        };
        let mut list: Vec<_> = self.slots.iter().map(tensor).collect();
        let shared = self.shared().into_iter();
        list.extend(shared.map(|matrix| (matrix.name.to_owned(), matrix.shape.to_vec())));
        list
    }
}

impl AdapterForm {
    /// Makes the tensors of the file, as [`AdapterLayout::tensors`] lists them.
    ///
    /// Methods that subtract a part from the base (PiSSA, OLoRA) export the difference, at twice the rank, so that the
    /// adapter fits the original base.
    ///
    /// # Shapes
    /// - `parameters`: those of the whole adapter, in the layout's order
    pub fn tensors(&self, parameters: &[f32]) -> Vec<NamedTensor> {
        let method = self.layout.spec.method;
        let starts_from_base = method.facts().starts_from_base;
        let is_whole = |slot: &&Slot| match slot.place {
            Place::Module { .. } => !starts_from_base,
            _ => true,
        };
        let plain = |slot: &Slot| NamedTensor {
            name: slot.name(method),
            shape: slot.shape_in_file.clone(),
            values: slot.on_host(parameters).to_vec(),
        };
        let slots = self.layout.slots.iter();
        let mut list: Vec<NamedTensor> = slots.filter(is_whole).map(plain).collect();
        if starts_from_base {
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
        let shared = self.layout.shared().into_iter().zip(&self.shared);
        list.extend(shared.map(|(shared, matrix)| NamedTensor {
            name: shared.name.to_owned(),
            shape: shared.shape.to_vec(),
            values: matrix.values.clone(),
        }));
        list
    }
}
