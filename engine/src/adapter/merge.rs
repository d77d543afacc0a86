//! The operands of merging a module's adapter into its weight, on the host.

use protocol::TargetModule;

use super::{Part, Slot, slot_of};

/// A module's parameters on the host.
pub(super) struct HostModule<'a> {
    pub(super) module: TargetModule,
    pub(super) slots: &'a [Slot],
    pub(super) parameters: &'a [f32],
    pub(super) scaling: f64,
}

impl HostModule<'_> {
    pub(super) fn part(&self, part: Part) -> &[f32] {
        slot_of(self.slots, part).map_or(&[], |slot| &self.parameters[slot.range.clone()])
    }
}

/// A weight `[out, in]` that an adapter is merged into.
pub(super) struct Dense<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) in_features: usize,
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
