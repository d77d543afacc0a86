//! An adapter as low-rank products only, which is all that other runtimes' adapter files can hold: llama.cpp's GGUF
//! adapters (`lora_a`, `lora_b`), mlx-lm's (which also hold DoRA's magnitudes), and blends.
//!
//! | method | its product |
//! |---|---|
//! | LoRA, rsLoRA, LoRA+ | `B A` itself |
//! | PiSSA, OLoRA | `B A - B0 A0`, a pair of rank `2 r` |
//! | VeRA | `(b B) (d A)`, with the shared matrices multiplied out |
//! | DoRA | `B A`, without the magnitudes |
//! | IA3, norm tuning, prompt tuning | none |

use protocol::{AdapterSpec, TargetModule};

use super::{
    AdapterForm, Place,
    method::{self, dora::MAGNITUDE},
};

/// The change of one module's weight: `scaling b a`.
///
/// A rank `r` can differ from module to module (`rank_pattern`).
#[derive(Debug, Clone, PartialEq)]
pub struct LowRankUpdate {
    /// The block, counted from 0.
    pub layer: usize,
    /// The projection.
    pub module: TargetModule,
    /// The pair's rank, twice the spec's where the method starts from the base.
    pub r: usize,
    /// `[r, in]`, row by row.
    pub a: Vec<f32>,
    /// `[out, r]`, row by row.
    pub b: Vec<f32>,
    /// The factor of the product, which neither side contains.
    pub scaling: f64,
}

/// Why an adapter does not consist of low-rank products only. The texts are shown to the user, after a name and a
/// colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotLowRank {
    /// `m / ||V||` multiplies the rows of `W + s B A`.
    #[error("DoRA also scales rows of the base weights")]
    Magnitudes,
    /// A vector multiplies the rows or the columns of `W`.
    #[error("IA3 scales the base weights and adds nothing to them")]
    Scales,
    /// The norms' weights are trained, by their own method or along with another.
    #[error("it also changes the norms")]
    Norms,
    /// The head is trained whole.
    #[error("it also changes the head")]
    Head,
    /// The trained numbers are embeddings.
    #[error("a learned prompt comes before each row and changes no weights")]
    Prompt,
}

impl NotLowRank {
    /// The first reason for an adapter with these settings, if any: the method's own, then the norms, then the head.
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
    /// The low-rank part of every module that has one, in the layout's order, whatever else its method does. Whether
    /// that is all of the adapter, [`NotLowRank::of`] says.
    ///
    /// # Shapes
    /// - `parameters`: those of the whole adapter, in the layout's order
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

    /// DoRA's magnitudes by layer and module; nothing for other methods.
    ///
    /// # Shapes
    /// - `parameters`: those of the whole adapter, in the layout's order
    /// - yields `[out]` for each adapted module
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
    ///
    /// Formats with one rank and one scale for the whole file need it. The product stays the same; from rank 2 to 3:
    ///
    /// ```text
    /// a = [ a_0 ]        [ a_0 ]        b = [ b_0 b_1 ]  ->  f [ b_0 b_1 0 ],  f = old scaling / new scaling
    ///     [ a_1 ]   ->   [ a_1 ]
    ///                    [  0  ]
    /// ```
    ///
    /// # Panics
    /// If `r` is below the present rank.
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
