//! A frozen projection with an adapter.
//!
//! Every method (see [`crate::adapter`]) is a low-rank pair, a scale of the output, a scale of the input, or some of
//! these:
//!
//! ```text
//! y = g (x' W^T + s (x' A^T) B^T) + b,  x' = l x
//! ```
//!
//! | method | `A`, `B` | `g` | `l` |
//! |---|---|---|---|
//! | LoRA, rsLoRA, LoRA+ | trained | | |
//! | PiSSA, OLoRA | trained, with the fixed start next to it | | |
//! | VeRA | `d A`, `b B` | | |
//! | DoRA | trained | `m` over the norms of `V`'s rows | |
//! | IA3 | | `l` | or `l`, before `down_proj` |
//!
//! The bias `b` is there in some families of models, and frozen. As in PEFT, a scale of the output without a pair
//! (IA3's) multiplies the whole output, `g (x' W^T + b)`, while one with a pair (DoRA's) leaves the bias alone.
//!
//! The update is never merged into a dense `W`. Everything of the adapter is f32; the rest has the precision of `x` and
//! `dy`. Dropout multiplies only the input of the adapter, `D x`; with a scale of the output this means, as in PEFT's
//! DoRA, `y = (x - D x) W^T + g (D x W^T + s (D x A^T) B^T)`.
//!
//! A forward has two steps: [`Saved::new`] computes the adapter's part, and [`forward`] adds it to the product with
//! `W`. A block that is recomputed needs only the first for its last projection.

use std::{fmt::Debug, rc::Rc};

use burn::tensor::{FloatDType, Tensor};

use crate::kernels::FrozenMatrix;
use kernels::{LowRank, add_residual, matmul};

/// One module's adapter on the device, in the form that all methods share; [`crate::adapter`] makes it once per
/// optimizer step.
#[derive(Debug, Clone)]
pub struct ModuleAdapter {
    /// The pair `A`, `B`, if the method adds a product.
    pub low_rank: Option<LoraPair>,
    /// `g`, `[1, out]`; together with a low-rank pair for DoRA, alone for IA3.
    pub output_scale: Option<Tensor<2>>,
    /// `l`, `[1, in]`; not together with a low-rank pair, a scale of the output, or dropout.
    pub input_scale: Option<Tensor<2>>,
    /// How the gradients computed here become those of what the method trains.
    pub rule: Rc<dyn GradientRule>,
}

/// A low-rank pair on the device, in f32.
#[derive(Debug, Clone)]
pub struct LoraPair {
    /// `A`, `[r, in]`
    pub a: Tensor<2>,
    /// `B`, `[out, r]`
    pub b: Tensor<2>,
    /// `s`, the factor of the product.
    pub scaling: f64,
}

/// The gradients of the tensors of a [`ModuleAdapter`], with the same shapes, in f32.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// The gradients of `A` `[r, in]` and `B` `[out, r]`, if there is a pair.
    pub pair: Option<[Tensor<2>; 2]>,
    /// The gradient of the scale of the output, `[1, out]`, or of the input, `[1, in]`.
    pub scale: Option<Tensor<2>>,
}

/// How the gradients of the tensors that the projection sees become those of the tensors that a method trains: the
/// chain rule of what the method did in its forward.
pub trait GradientRule: Debug {
    /// The gradients of the trained tensors, in the order of the layout's parts, each with as many elements as its
    /// part.
    fn trained(&self, seen: Gradients) -> Vec<Tensor<2>>;
}

/// The rule of methods that train what the projection sees.
#[derive(Debug, Clone, Copy)]
pub struct Unchanged;

impl GradientRule for Unchanged {
    fn trained(&self, seen: Gradients) -> Vec<Tensor<2>> {
        let Gradients { pair, scale } = seen;
        pair.into_iter().flatten().chain(scale).collect()
    }
}

impl ModuleAdapter {
    /// Whether the scale of the output multiplies the bias, too, as IA3's does.
    fn scales_bias(&self) -> bool {
        self.low_rank.is_none() && self.output_scale.is_some()
    }

    /// An adapter that does not change anything yet; methods fill in what they have.
    pub fn new(rule: impl GradientRule + 'static) -> Self {
        Self {
            low_rank: None,
            output_scale: None,
            input_scale: None,
            rule: Rc::new(rule),
        }
    }

    /// The gradients of the trained tensors, flattened, in the order of the layout's parts.
    fn trained(&self, seen: Gradients) -> Vec<Tensor<1>> {
        let trained = self.rule.trained(seen).into_iter();
        trained.map(|gradient| gradient.flatten(0, 1)).collect()
    }
}

/// What [`backward`] needs from a forward with an adapter. What is not listed is computed again, or not needed.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The adapter's input, after dropout but before a scale, `[n, in]`.
    input: Tensor<2>,
    /// `input A^T`, `[n, r]`
    low_rank: Option<Tensor<2>>,
    /// The output before the scale `g`, `[n, out]`, for the input after dropout; with the bias if the scale multiplies
    /// it.
    unscaled: Option<Tensor<2>>,
    /// The mask, `[n, in]`: zeros and `1 / (1 - p)`s; `None` if dropout is off.
    dropout: Option<Tensor<2>>,
}

impl Saved {
    /// Computes the adapter's part of a forward whose output is not needed.
    ///
    /// With a scale of the output this contains the product with `W`, which [`forward`] then takes from here instead of
    /// computing it again.
    ///
    /// # Shapes
    /// - `x`: `[n, in]`, the input of the projection before dropout
    /// - `weight`: `[out, in]`
    /// - `bias`: `[1, out]`
    /// - `dropout`: `[n, in]`, which multiplies the adapter's input
    pub fn new(
        x: Tensor<2>,
        weight: &FrozenMatrix,
        bias: Option<&Tensor<2>>,
        adapter: &ModuleAdapter,
        dropout: Option<Tensor<2>>,
    ) -> Self {
        let input = match &dropout {
            Some(mask) => times(x.clone(), mask),
            None => x,
        };
        let low_rank = adapter.low_rank.as_ref();
        let low_rank = low_rank.map(|pair| matmul(input.clone(), pair.a.clone().transpose()));
        let mut saved = Self {
            input,
            low_rank,
            unscaled: None,
            dropout,
        };
        if adapter.output_scale.is_some() {
            let unscaled = weight.forward(saved.input.clone(), saved.product(adapter));
            let bias = bias.filter(|_| adapter.scales_bias());
            saved.unscaled = Some(with_bias(unscaled, bias));
        }
        saved
    }

    /// The low-rank addend of the product with `W`: `s (input A^T) B^T`.
    fn product(&self, adapter: &ModuleAdapter) -> Option<LowRank> {
        let pair = adapter.low_rank.as_ref()?;
        Some(LowRank {
            u: self.low_rank.clone()?,
            v: pair.b.clone(),
            scaling: pair.scaling,
        })
    }
}

/// Multiplies `x` `[n, c]` by a factor in f32, a row `[1, c]` or a mask `[n, c]`, and rounds to the precision of `x`.
fn times(x: Tensor<2>, factor: &Tensor<2>) -> Tensor<2> {
    let precision = FloatDType::from(x.dtype());
    (x.cast(FloatDType::F32) * factor.clone()).cast(precision)
}

/// The sum over the rows of a product, in f32: `[n, c] -> [1, c]`.
fn column_sums(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    (a.clone().cast(FloatDType::F32) * b.clone().cast(FloatDType::F32)).sum_dim(0)
}

/// The sum of an output `[n, out]` and a bias `[1, out]`, in the precision of the output.
fn with_bias(output: Tensor<2>, bias: Option<&Tensor<2>>) -> Tensor<2> {
    match bias {
        Some(bias) => {
            let precision = FloatDType::from(output.dtype());
            output + bias.clone().cast(precision)
        }
        None => output,
    }
}

/// Computes a projection; `adapter` is what [`Saved::new`] made from the same `x` and `bias`.
///
/// # Shapes
/// - `x`: `[n, in]`
/// - `weight`: `[out, in]`
/// - `bias`: `[1, out]`
/// - returns `[n, out]`, in the precision of `x`
pub fn forward(
    x: Tensor<2>,
    weight: &FrozenMatrix,
    bias: Option<&Tensor<2>>,
    adapter: Option<(&ModuleAdapter, &Saved)>,
) -> Tensor<2> {
    let is_in_scale = adapter.is_some_and(|(adapter, _)| adapter.scales_bias());
    let output = without_bias(x, weight, adapter);
    with_bias(output, bias.filter(|_| !is_in_scale))
}

/// Computes the output without a bias, unless the adapter scales it.
///
/// With dropout and a scale of the output, the dropped part of the input takes the base alone, so it is a second
/// product.
fn without_bias(
    x: Tensor<2>,
    weight: &FrozenMatrix,
    adapter: Option<(&ModuleAdapter, &Saved)>,
) -> Tensor<2> {
    let Some((adapter, saved)) = adapter else {
        return weight.forward(x, None);
    };
    if let Some((scale, unscaled)) = adapter.output_scale.as_ref().zip(saved.unscaled.as_ref()) {
        let scaled = times(unscaled.clone(), scale);
        return match saved.dropout {
            Some(_) => weight.forward(x - saved.input.clone(), None) + scaled,
            None => scaled,
        };
    }
    let x = match &adapter.input_scale {
        Some(scale) => times(x, scale),
        None => x,
    };
    weight.forward(x, saved.product(adapter))
}

/// Computes the gradients of a projection: of its input, through the frozen weight and the adapter, and of the trained
/// tensors.
///
/// With `u = s (g dy) B`, and without dropout, `dx = l ((g dy) W + u A)`; the low-rank part is an addend of the product
/// with `W`, so `dx` is written once. With dropout, the adapter's part is multiplied by the mask first. The bias is
/// frozen and constant, so it has no part in this.
///
/// # Shapes
/// - `dy`: `[n, out]`
/// - `weight`: `[out, in]`
/// - returns `[n, in]`, in the precision of `dy`, and the flattened gradients in the order of the layout's parts
pub fn backward(
    dy: Tensor<2>,
    weight: &FrozenMatrix,
    adapter: &ModuleAdapter,
    saved: &Saved,
) -> (Tensor<2>, Vec<Tensor<1>>) {
    let scaled = scaled_gradient(&dy, adapter);
    let (d_low_rank, mut seen) = adapter_gradients(&dy, &scaled, adapter, saved);
    let through_adapter = d_low_rank
        .zip(adapter.low_rank.as_ref())
        .map(|(u, pair)| LowRank {
            u,
            v: pair.a.clone(),
            scaling: 1.0,
        });
    let dx = match (&saved.dropout, &adapter.input_scale) {
        // The mask is between the input and the adapter, so the parts cannot share one sum.
        (Some(mask), _) => {
            let precision = FloatDType::from(dy.dtype());
            let masked = match (through_adapter, &adapter.output_scale) {
                (Some(LowRank { u, v, .. }), None) => matmul(u, v) * mask.clone(),
                (product, _) => {
                    // `g dy - dy` takes the path of the dropped input.
                    let dropped = weight.backward(scaled - dy.clone(), product);
                    dropped.cast(FloatDType::F32) * mask.clone()
                }
            };
            add_residual(masked, weight.backward(dy, None)).cast(precision)
        }
        (None, Some(scale)) => {
            let dx = weight.backward(dy, None);
            seen.scale = Some(column_sums(&dx, &saved.input));
            times(dx, scale)
        }
        (None, None) => weight.backward(scaled, through_adapter),
    };
    (dx, adapter.trained(seen))
}

/// Computes the gradients of the trained tensors, when that of the input is not needed.
///
/// A scale of the input needs `dy W` all the same, so it takes the whole [`backward`].
///
/// # Shapes
/// - `dy`: `[n, out]`
/// - returns the flattened gradients in the order of the layout's parts
pub fn gradients_only(
    dy: &Tensor<2>,
    weight: &FrozenMatrix,
    adapter: &ModuleAdapter,
    saved: &Saved,
) -> Vec<Tensor<1>> {
    if adapter.input_scale.is_some() {
        return backward(dy.clone(), weight, adapter, saved).1;
    }
    let scaled = scaled_gradient(dy, adapter);
    let (_, seen) = adapter_gradients(dy, &scaled, adapter, saved);
    adapter.trained(seen)
}

/// The gradient before the scale of the output, `g dy` `[n, out]`.
fn scaled_gradient(dy: &Tensor<2>, adapter: &ModuleAdapter) -> Tensor<2> {
    match &adapter.output_scale {
        Some(scale) => times(dy.clone(), scale),
        None => dy.clone(),
    }
}

/// Computes `u = s g dy B`, the gradient of `input A^T`, and the gradients of `A`, `B` and `g`:
///
/// ```text
/// dA = u^T input      dB = s (g dy)^T (input A^T)      dg = sum over rows of dy * unscaled
/// ```
///
/// # Shapes
/// - `dy`, `scaled`: `[n, out]`
/// - returns `[n, r]`, if there is a pair
fn adapter_gradients(
    dy: &Tensor<2>,
    scaled: &Tensor<2>,
    adapter: &ModuleAdapter,
    saved: &Saved,
) -> (Option<Tensor<2>>, Gradients) {
    let scale = saved
        .unscaled
        .as_ref()
        .map(|unscaled| column_sums(dy, unscaled));
    let pair = adapter.low_rank.as_ref().zip(saved.low_rank.as_ref());
    let Some((pair, low_rank)) = pair else {
        return (None, Gradients { pair: None, scale });
    };
    let d_low_rank = matmul(scaled.clone(), pair.b.clone()).mul_scalar(pair.scaling);
    let b = matmul(scaled.clone().transpose(), low_rank.clone()).mul_scalar(pair.scaling);
    let a = matmul(d_low_rank.clone().transpose(), saved.input.clone());
    let pair = Some([a, b]);
    (Some(d_low_rank), Gradients { pair, scale })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::testing::{Array, KINDS, Random};

    /// The inputs of a projection and its adapter in f64, and which parts of the adapter exist.
    #[derive(Clone)]
    struct Case {
        x: Array<2>,
        w: Array<2>,
        a: Array<2>,
        b: Array<2>,
        /// `g`; ones if there is none.
        g: Array<2>,
        /// `l`; ones if there is none.
        l: Array<2>,
        mask: Array<2>,
        /// `b`; zeros if there is none.
        bias: Array<2>,
        is_bias_scaled: bool,
        scaling: f64,
    }

    impl Case {
        /// The output by the formula in the module's documentation.
        fn reference(&self) -> Array<2> {
            let [_, cols] = self.x.shape;
            let x = Array::from_fn(self.x.shape, |i| self.x.values[i] * self.l.values[i % cols]);
            let dropped = Array::from_fn(x.shape, |i| x.values[i] * self.mask.values[i]);
            let update = dropped
                .matmul(&self.a.transposed())
                .matmul(&self.b.transposed());
            let [base, of_dropped] = [&x, &dropped].map(|x| x.matmul(&self.w.transposed()));
            let out = base.shape[1];
            Array::from_fn(base.shape, |i| {
                let scaled = of_dropped.values[i] + self.scaling * update.values[i];
                let (g, bias) = (self.g.values[i % out], self.bias.values[i % out]);
                let bias = if self.is_bias_scaled { g * bias } else { bias };
                base.values[i] - of_dropped.values[i] + g * scaled + bias
            })
        }

        fn gradient(&self, dy: &Array<2>, of: impl Fn(&mut Self) -> &mut Array<2>) -> Array<2> {
            let at = of(&mut self.clone()).clone();
            at.gradient(dy, |value| {
                let mut case = self.clone();
                of(&mut case).clone_from(value);
                case.reference()
            })
        }
    }

    #[test]
    fn both_passes_equal_the_formula_for_every_combination() {
        let mut random = Random::new();
        for kind in KINDS {
            for (has_pair, has_g, has_l, has_dropout, has_bias) in [
                (true, false, false, false, false),
                (true, false, false, false, true),
                (true, false, false, true, true),
                (true, true, false, false, true),
                (true, true, false, true, true),
                (false, true, false, false, false),
                (false, true, false, false, true),
                (false, false, true, false, true),
            ] {
                let [n, out, r] = [1..9, 1..20, 1..6].map(|range| random.size(range));
                let cols = if kind.has_scales() {
                    32
                } else {
                    random.size(1..20)
                };
                let (quantized, w) = random.quantized(kind, out, cols);
                let weight = FrozenMatrix::from_quantized(quantized, &Device::flex());
                let mut drawn = |shape: [usize; 2], is_there: bool, other: f64| {
                    let array = random.array(shape);
                    Array::from_fn(shape, |i| if is_there { array.values[i] } else { other })
                };
                let case = Case {
                    x: drawn([n, cols], true, 0.0),
                    w,
                    a: drawn([r, cols], has_pair, 0.0),
                    b: drawn([out, r], has_pair, 0.0),
                    g: drawn([1, out], has_g, 1.0),
                    l: drawn([1, cols], has_l, 1.0),
                    mask: {
                        let coin = drawn([n, cols], true, 0.0);
                        let mask = |value: f64| if value < 0.0 { 0.0 } else { 1.5 };
                        Array::from_fn([n, cols], |i| match has_dropout {
                            true => mask(coin.values[i]),
                            false => 1.0,
                        })
                    },
                    bias: drawn([1, out], has_bias, 0.0),
                    is_bias_scaled: has_g && !has_pair,
                    scaling: 0.7,
                };
                let dy = drawn([n, out], true, 0.0);
                let adapter = ModuleAdapter {
                    low_rank: has_pair.then(|| LoraPair {
                        a: case.a.tensor(),
                        b: case.b.tensor(),
                        scaling: case.scaling,
                    }),
                    output_scale: has_g.then(|| case.g.tensor()),
                    input_scale: has_l.then(|| case.l.tensor()),
                    rule: Rc::new(Unchanged),
                };
                let dropout = has_dropout.then(|| case.mask.tensor());
                let bias = has_bias.then(|| case.bias.tensor());
                let bias = bias.as_ref();
                let saved = Saved::new(case.x.tensor(), &weight, bias, &adapter, dropout);
                let y = forward(case.x.tensor(), &weight, bias, Some((&adapter, &saved)));
                case.reference().assert_close("forward", y, 1e-5);
                let (dx, trained) = backward(dy.tensor(), &weight, &adapter, &saved);
                case.gradient(&dy, |case| &mut case.x)
                    .assert_close("input", dx, 1e-4);
                let only = gradients_only(&dy.tensor(), &weight, &adapter, &saved);
                let mut expected = Vec::new();
                if has_pair {
                    expected.push(case.gradient(&dy, |case| &mut case.a));
                    expected.push(case.gradient(&dy, |case| &mut case.b));
                }
                if has_g {
                    expected.push(case.gradient(&dy, |case| &mut case.g));
                }
                if has_l {
                    expected.push(case.gradient(&dy, |case| &mut case.l));
                }
                assert_eq!(
                    (trained.len(), only.len()),
                    (expected.len(), expected.len())
                );
                for (expected, gradients) in expected.iter().zip(trained.into_iter().zip(only)) {
                    for gradient in [gradients.0, gradients.1] {
                        expected.assert_close("adapter", gradient.reshape(expected.shape), 1e-4);
                    }
                }
            }
        }
    }

    #[test]
    fn without_an_adapter_the_base_is_alone() {
        let mut random = Random::new();
        let (quantized, w) = random.quantized(KINDS[0], 7, 64);
        let weight = FrozenMatrix::from_quantized(quantized, &Device::flex());
        let x = random.array([5, 64]);
        let y = forward(x.tensor(), &weight, None, None);
        x.matmul(&w.transposed()).assert_close("forward", y, 1e-5);
    }
}
