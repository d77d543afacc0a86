//! VeRA (Kopiczko et al., arXiv 2310.11454): `W x + b (B (d (A x)))` with `A` and `B` drawn once for all modules and
//! never trained; `d` `[1, r]` starts at 0.1, `b` `[1, out]` at zero. A smaller module uses the first columns of `A`
//! and the first rows of `B`.
//!
//! The projection sees a low-rank pair of `d A` and `b B`; [`Vectors`] leads its gradients to `d` and `b`:
//!
//! ```text
//! A' = d A  (row i of A times d_i)      d_d[i] = sum over the row i of  dA' A
//! B' = b B  (row i of B times b_i)      d_b[i] = sum over the row i of  dB' B
//! ```
//!
//! Alpha does not scale it, and all modules have one rank, since they share the matrices. A rank costs one number per
//! module, so ranks are far higher than LoRA's.

use std::rc::Rc;

use burn::tensor::Tensor;
use protocol::{AdapterSpec, Failure, FailureKind, TargetModule};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Adaptation, ModuleOnDevice, ModuleOnHost, Projections, Start, Started};
use crate::{
    adapter::{
        Matrix, ModelShape, Part, Slot,
        merge::Dense,
        peft::{ConfigReader, ConfigWriter, PeftConfig, Remedy},
        shared::SharedMatrix,
        slot::{ModulePart, ModuleSlots},
    },
    kernels::FrozenMatrix,
    layers::projection::{GradientRule, Gradients, LoraPair, ModuleAdapter},
};

/// The vector `b`, `[out]` in the file.
const LAMBDA_B: Part = Part::new("vera_lambda_b");
/// The vector `d`, `[r]` in the file.
const LAMBDA_D: Part = Part::new("vera_lambda_d");
/// What `d` starts at: PEFT's default of `d_initial`.
const D_INITIAL: f32 = 0.1;

/// VeRA as [`super::of`] returns it.
pub(super) struct Vera;

impl Adaptation for Vera {
    fn projections(&self) -> Option<&dyn Projections> {
        Some(self)
    }

    fn config(&self) -> &dyn PeftConfig {
        self
    }
}

impl Projections for Vera {
    fn parts(&self, r: usize, _: TargetModule, features: (usize, usize)) -> Vec<ModulePart> {
        vec![
            ModulePart::vector(LAMBDA_B, features.1),
            ModulePart::vector(LAMBDA_D, r),
        ]
    }

    /// `A` `[r, largest in]` and `B` `[largest out, r]`, uniform within Kaiming's bound `sqrt(6 / fan in)`, as in PEFT;
    /// the fan in is the number of columns.
    fn shared(&self, r: usize, (largest_in, largest_out): (usize, usize)) -> Vec<SharedMatrix> {
        let matrix = |name, rows, cols| SharedMatrix {
            name,
            shape: [rows, cols],
            bound: (6.0 / cols as f64).sqrt(),
        };
        vec![
            matrix("base_model.vera_A", r, largest_in),
            matrix("base_model.vera_B", largest_out, r),
        ]
    }

    fn start<'a>(&self, mut start: Start<'a>, _: &'a mut ChaCha8Rng) -> Started<'a> {
        Box::pin(async move {
            start.part(LAMBDA_D)?.fill(D_INITIAL);
            let module: Rc<dyn ModuleOnDevice> = Rc::new(Module::of(&start)?);
            Ok(module)
        })
    }

    fn to_merge(
        &self,
        slots: &ModuleSlots<'_>,
        shared: &[Rc<Matrix>],
    ) -> Result<Rc<dyn ModuleOnHost>, Failure> {
        Ok(Rc::new(Numbers::of(slots, shared)?))
    }
}

impl PeftConfig for Vera {
    fn peft_type(&self) -> &'static str {
        "VERA"
    }

    /// Writes the settings. `save_projection` is true, as the file contains the shared matrices; so the key of PEFT's
    /// random generator means nothing and is 0.
    fn write(&self, spec: &AdapterSpec, _: &ModelShape, config: &mut ConfigWriter) {
        config.put_modules(spec);
        config.put("r", json!(spec.r));
        config.put("vera_dropout", json!(spec.lora_dropout));
        config.put("d_initial", json!(0.1));
        config.put("projection_prng_key", json!(0));
        config.put("save_projection", json!(true));
        config.put_blocks(spec);
    }

    /// Reads the rank and the modules. Without the shared matrices in the file there is no adapter: only torch could
    /// draw them.
    fn read(&self, spec: &mut AdapterSpec, reader: &mut dyn ConfigReader) {
        spec.r = reader.count("r");
        if reader.value("save_projection") != Some(&Value::Bool(true)) {
            let what = "the shared matrices were not saved with it";
            reader.refuse("save_projection", what, Remedy::Convert);
        }
        reader.read_modules(spec);
    }
}

/// Where the vectors of a module are, and what they scale: all that merging needs.
#[derive(Debug)]
struct Numbers {
    /// `b`, `[1, out]`.
    lambda_b: Slot,
    /// `d`, `[1, r]`.
    lambda_d: Slot,
    /// The shared `A`, at its full width.
    a: Rc<Matrix>,
    /// The shared `B`, at its full height.
    b: Rc<Matrix>,
    /// How many columns of `A` the module uses.
    in_features: usize,
}

impl Numbers {
    /// Finds the vectors of a module and the adapter's two shared matrices.
    ///
    /// # Errors
    /// As [`ModuleSlots::slot`], or if the shared matrices are missing.
    fn of(slots: &ModuleSlots<'_>, shared: &[Rc<Matrix>]) -> Result<Self, Failure> {
        let [a, b] = shared else {
            let what = "The matrices that all modules share are missing.";
            return Err(Failure::new(FailureKind::Internal, what));
        };
        Ok(Self {
            lambda_b: slots.slot(LAMBDA_B)?,
            lambda_d: slots.slot(LAMBDA_D)?,
            a: a.clone(),
            b: b.clone(),
            in_features: slots.in_features,
        })
    }

    /// Multiplies the part of the shared matrices that the module uses by its vectors.
    ///
    /// # Shapes
    /// - returns `d A` `[r, in]` and `b B` `[out, r]`, row by row
    fn scaled(&self, parameters: &[f32]) -> [Vec<f32>; 2] {
        let d = self.lambda_d.on_host(parameters);
        let lambda_b = self.lambda_b.on_host(parameters);
        let (r, cols) = (d.len(), self.a.shape[1]);
        let rows = self.a.values.chunks_exact(cols).zip(d);
        let a = rows.flat_map(|(row, &d)| {
            let row = &row[..self.in_features];
            row.iter().map(move |&value| value * d)
        });
        let rows = self.b.values.chunks_exact(r).zip(lambda_b);
        let b = rows.flat_map(|(row, &factor)| row.iter().map(move |&value| value * factor));
        [a.collect(), b.collect()]
    }
}

impl ModuleOnHost for Numbers {
    /// `W + (b B) (d A)`
    fn merge(&self, parameters: &[f32], weight: &mut Dense<'_>) {
        let [a, b] = self.scaled(parameters);
        weight.add_product(&b, &a, 1.0);
    }

    fn product(&self, parameters: &[f32]) -> Option<[Vec<f32>; 2]> {
        Some(self.scaled(parameters))
    }
}

/// A module on the device.
#[derive(Debug)]
struct Module {
    /// Where its vectors are.
    numbers: Numbers,
    /// The columns of the shared `A` that the module uses, `[r, in]`.
    a: Tensor<2>,
    /// The rows of the shared `B` that the module uses, `[out, r]`.
    b: Tensor<2>,
}

impl Module {
    /// Takes its part of the shared matrices on the device.
    ///
    /// # Errors
    /// As `Numbers::of`.
    fn of(start: &Start<'_>) -> Result<Self, Failure> {
        let numbers = Numbers::of(&start.slots, start.shared)?;
        let (a, b) = (numbers.a.tensor.clone(), numbers.b.tensor.clone());
        Ok(Self {
            a: a.slice_dim(1, 0..start.weight.cols()),
            b: b.slice_dim(0, 0..start.weight.rows()),
            numbers,
        })
    }
}

impl ModuleOnHost for Module {
    fn merge(&self, parameters: &[f32], weight: &mut Dense<'_>) {
        self.numbers.merge(parameters, weight);
    }

    fn product(&self, parameters: &[f32]) -> Option<[Vec<f32>; 2]> {
        self.numbers.product(parameters)
    }
}

impl ModuleOnDevice for Module {
    fn forward(&self, flat: &Tensor<1>, _: &FrozenMatrix) -> ModuleAdapter {
        let d = self.numbers.lambda_d.on_device(flat).transpose();
        let lambda_b = self.numbers.lambda_b.on_device(flat).transpose();
        ModuleAdapter {
            low_rank: Some(LoraPair {
                a: self.a.clone() * d,
                b: self.b.clone() * lambda_b,
                scaling: 1.0,
            }),
            ..ModuleAdapter::new(Vectors {
                a: self.a.clone(),
                b: self.b.clone(),
            })
        }
    }
}

/// The gradient rule: the pair is `d A` and `b B`, with the vectors `d` `[r]` and `b` `[out]` trained.
#[derive(Debug)]
struct Vectors {
    /// `A`, `[r, in]`.
    a: Tensor<2>,
    /// `B`, `[out, r]`.
    b: Tensor<2>,
}

impl GradientRule for Vectors {
    fn trained(&self, seen: Gradients) -> Vec<Tensor<2>> {
        let pair = seen.pair.into_iter();
        let vectors = pair.flat_map(|[d_a, d_b]| {
            [
                (d_b * self.b.clone()).sum_dim(1),
                (d_a * self.a.clone()).sum_dim(1),
            ]
        });
        vectors.chain(seen.scale).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Array, Random};

    #[test]
    fn the_gradients_are_those_of_the_vectors() {
        let mut random = Random::new();
        let [out, cols, r] = [2..20, 2..20, 2..6].map(|range| random.size(range));
        let (d_a, d_b) = (random.array([r, cols]), random.array([out, r]));
        let (a, b) = (random.array([r, cols]), random.array([out, r]));
        let rule = Vectors {
            a: a.tensor(),
            b: b.tensor(),
        };
        let trained = rule.trained(Gradients {
            pair: Some([d_a.tensor(), d_b.tensor()]),
            scale: None,
        });
        let [d_lambda_b, d_lambda_d] = <[Tensor<2>; 2]>::try_from(trained).unwrap();
        let dot = |x: &Array<2>, y: &Array<2>| {
            Array::from_fn([x.shape[0], 1], |i| {
                let products = x.row(i).iter().zip(y.row(i));
                products.map(|(x, y)| x * y).sum()
            })
        };
        dot(&d_b, &b).assert_close("b", d_lambda_b, 1e-5);
        dot(&d_a, &a).assert_close("d", d_lambda_d, 1e-5);
    }
}
