//! An adapter as low-rank products only, which is all that other runtimes' adapter files can hold.

use protocol::{AdapterSpec, TargetModule};

use super::{
    AdapterForm, Place,
    method::{self, dora::MAGNITUDE},
};

/// The change of a module's weight: `scaling b a`.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRankUpdate {
    pub layer: usize,
    pub module: TargetModule,
    pub r: usize,
    /// `[r, in]`
    pub a: Vec<f32>,
    /// `[out, r]`
    pub b: Vec<f32>,
    pub scaling: f64,
}

/// Why an adapter does not consist of low-rank products only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLowRank {
    #[error("DoRA also scales rows of the base weights")]
    Magnitudes,
    #[error("IA3 scales the base weights and adds nothing to them")]
    Scales,
    #[error("it also changes the norms")]
    Norms,
    #[error("it also changes the head")]
    Head,
    #[error("a learned prompt comes before each row and changes no weights")]
    Prompt,
}

impl NotLowRank {
    /// The reason for an adapter with these settings, if any.
    pub fn of(spec: &AdapterSpec) -> Option<Self> {
        let of_method = method::of(spec.method).not_low_rank();
        of_method.or_else(|| Self::besides_method(spec))
    }

    /// The reason in what is trained besides the method's own, if any.
    pub fn besides_method(spec: &AdapterSpec) -> Option<Self> {
        let norms = spec.train_norms.then_some(Self::Norms);
        norms.or(spec.train_head.then_some(Self::Head))
    }
}

impl AdapterForm {
    /// The low-rank part of every module that has one, in the layout's order, whatever else its method does; see
    /// [`NotLowRank::of`].
    pub fn pairs(&self, parameters: &[f32]) -> Vec<LowRankUpdate> {
        let modules = self.layout.modules().zip(&self.modules);
        modules
            .filter_map(|((layer, module, _), made)| {
                let [a, b] = made.product(parameters)?;
                Some(LowRankUpdate {
                    layer,
                    module,
                    r: a.len() / self.layout.in_features(module),
                    a,
                    b,
                    scaling: self.layout.scaling(layer, module),
                })
            })
            .collect()
    }

    /// DoRA's magnitudes by layer and module, `[out]` each.
    pub(crate) fn magnitudes<'a>(
        &'a self,
        parameters: &'a [f32],
    ) -> impl Iterator<Item = (usize, TargetModule, &'a [f32])> {
        let slots = self.layout.slots.iter();
        slots.filter_map(move |slot| match slot.place {
            Place::Module {
                layer,
                module,
                part: MAGNITUDE,
            } => Some((layer, module, slot.on_host(parameters))),
            _ => None,
        })
    }
}

impl LowRankUpdate {
    /// Pads with rows and columns of zeros to rank `r`, and multiplies `b` so that the scaling becomes `scaling`.
    pub(crate) fn padded(mut self, r: usize, scaling: f64) -> Self {
        let in_features = self.a.len() / self.r;
        self.a.resize(r * in_features, 0.0);
        let factor = self.scaling / scaling;
        let rows = self.b.chunks_exact(self.r);
        let missing = r - self.r;
        self.b = rows
            .flat_map(|row| {
                let scaled = row.iter().map(|&value| (f64::from(value) * factor) as f32);
                scaled.chain(std::iter::repeat_n(0.0, missing))
            })
            .collect();
        Self { r, scaling, ..self }
    }
}
