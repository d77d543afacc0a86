//! Fresh random inputs in every run, and references in f64, without tensors or devices. The browser's tests use it,
//! too.

use std::ops::Range;

use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use kernels::{
    Activation,
    quantized::{QuantizedMatrix, WeightKind},
};

/// Every kind of quantized matrix.
pub const KINDS: [WeightKind; 8] = WeightKind::ALL;

/// Draws inputs.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn from_seed(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number of the range.
    pub fn size(&mut self, range: Range<usize>) -> usize {
        range.start + self.0.next_u32() as usize % range.len()
    }

    /// Uniform in `[-1, 1)`.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn units(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.unit()).collect()
    }

    pub fn array<const D: usize>(&mut self, shape: [usize; D]) -> Array<D> {
        let values = self.units(shape.iter().product());
        Array {
            shape,
            values: values.into_iter().map(f64::from).collect(),
        }
    }

    /// A quantized matrix and its weights by the formulas of [`WeightKind`]. Quantized kinds need whole blocks.
    pub fn quantized(
        &mut self,
        kind: WeightKind,
        rows: usize,
        cols: usize,
    ) -> (QuantizedMatrix, Array<2>) {
        self.packed_with(kind, rows, cols, |random| {
            let d = f16::from_f32(0.01 + 0.1 * random.unit().abs());
            (d, f16::from_f32(random.unit()))
        })
    }

    /// Like [`Self::quantized`], where `scale` draws `d` and `m` of a block; kinds without an offset ignore `m`.
    pub fn packed_with(
        &mut self,
        kind: WeightKind,
        rows: usize,
        cols: usize,
        scale: impl Fn(&mut Self) -> (f16, f16),
    ) -> (QuantizedMatrix, Array<2>) {
        let (mut words, mut scales, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            let mut row = Vec::new();
            if kind.has_scales() {
                assert!(cols.is_multiple_of(32));
                for _ in 0..cols / 32 {
                    let scale = scale(self);
                    self.block(kind, scale, &mut row, &mut scales, &mut weights);
                }
            } else {
                self.floats(kind, cols, &mut row, &mut weights);
            }
            let per_word = kind.weights_per_word();
            words.extend(
                row.chunks(per_word)
                    .map(|fields| word(fields, 32 / per_word)),
            );
        }
        let matrix = QuantizedMatrix {
            kind,
            rows,
            cols,
            words,
            scales,
        };
        let values = weights;
        (
            matrix,
            Array {
                shape: [rows, cols],
                values,
            },
        )
    }

    fn floats(
        &mut self,
        kind: WeightKind,
        cols: usize,
        fields: &mut Vec<u32>,
        weights: &mut Vec<f64>,
    ) {
        for value in self.units(cols) {
            let (bits, value) = match kind {
                WeightKind::F16 => {
                    let value = f16::from_f32(value);
                    (u32::from(value.to_bits()), value.to_f64())
                }
                WeightKind::Bf16 => {
                    let value = half::bf16::from_f32(value);
                    (u32::from(value.to_bits()), value.to_f64())
                }
                _ => (value.to_bits(), f64::from(value)),
            };
            fields.push(bits);
            weights.push(value);
        }
    }

    fn block(
        &mut self,
        kind: WeightKind,
        (d, m): (f16, f16),
        fields: &mut Vec<u32>,
        scales: &mut Vec<u32>,
        weights: &mut Vec<f64>,
    ) {
        let (levels, zero, has_offset) = match kind {
            WeightKind::Q4_0 => (16, 8.0, false),
            WeightKind::Q4_1 => (16, 0.0, true),
            WeightKind::Q5_0 => (32, 16.0, false),
            WeightKind::Q5_1 => (32, 0.0, true),
            _ => (256, 128.0, false),
        };
        let m = if has_offset { m } else { f16::ZERO };
        scales.push(u32::from(d.to_bits()) | (u32::from(m.to_bits()) << 16));
        for _ in 0..32 {
            let q = self.size(0..levels) as u32;
            fields.push(q);
            weights.push(d.to_f64() * (f64::from(q) - zero) + m.to_f64());
        }
    }
}

/// Packs fields of `bits` bits in ascending order.
fn word(fields: &[u32], bits: usize) -> u32 {
    let shifted = fields.iter().enumerate();
    shifted.fold(0, |word, (index, field)| word | (field << (bits * index)))
}

/// A tensor of the references, row-major.
#[derive(Debug, Clone)]
pub struct Array<const D: usize> {
    pub shape: [usize; D],
    pub values: Vec<f64>,
}

impl<const D: usize> Array<D> {
    pub fn from_fn(shape: [usize; D], value: impl FnMut(usize) -> f64) -> Self {
        let values = (0..shape.iter().product()).map(value).collect();
        Self { shape, values }
    }

    /// Scales every element.
    pub fn plus(&self, other: &Self) -> Self {
        assert_eq!(self.shape, other.shape);
        Self::from_fn(self.shape, |index| self.values[index] + other.values[index])
    }

    pub fn times(mut self, factor: f64) -> Self {
        self.values.iter_mut().for_each(|value| *value *= factor);
        self
    }

    /// The gradient of `sum(dy * f(self))` by central differences.
    pub fn gradient<const E: usize>(&self, dy: &Array<E>, f: impl Fn(&Self) -> Array<E>) -> Self {
        const STEP: f64 = 1e-5;
        let product = |x: &Self| -> f64 {
            let y = f(x);
            assert_eq!(y.shape, dy.shape);
            y.values.iter().zip(&dy.values).map(|(y, dy)| y * dy).sum()
        };
        let mut x = self.clone();
        Self::from_fn(self.shape, |index| {
            let here = self.values[index];
            x.values[index] = here + STEP;
            let above = product(&x);
            x.values[index] = here - STEP;
            let below = product(&x);
            x.values[index] = here;
            (above - below) / (2.0 * STEP)
        })
    }

    /// The largest absolute value.
    pub fn largest(&self) -> f64 {
        self.values.iter().fold(0.0, |x: f64, y| x.max(y.abs()))
    }

    /// Fails if `actual` is off by more than a share of the largest element, or of 0.1 if all are smaller: sums of
    /// numbers around 1 that cancel out keep the errors of their terms. Returns the largest error as such a share.
    #[track_caller]
    pub fn assert_values_close(&self, what: &str, actual: &[f32], tolerance: f64) -> f64 {
        let unit = self.largest().max(0.1);
        self.assert_values_within(what, actual, tolerance * unit) / unit
    }

    /// Fails if `actual` is off by more than `tolerance`; returns the largest distance.
    #[track_caller]
    pub fn assert_values_within(&self, what: &str, actual: &[f32], tolerance: f64) -> f64 {
        assert_eq!(actual.len(), self.values.len(), "{what} has another size");
        let mut largest = 0.0f64;
        for (index, (&actual, expected)) in actual.iter().zip(&self.values).enumerate() {
            let difference = (f64::from(actual) - expected).abs();
            assert!(
                difference <= tolerance,
                "{what}: element {index} is {actual}, not {expected} +- {tolerance:.1e}; shape {:?}",
                self.shape
            );
            largest = largest.max(difference);
        }
        largest
    }
}

impl Array<2> {
    pub fn at(&self, row: usize, col: usize) -> f64 {
        self.values[row * self.shape[1] + col]
    }

    pub fn transposed(&self) -> Self {
        let [rows, cols] = self.shape;
        Self::from_fn([cols, rows], |index| self.at(index % rows, index / rows))
    }

    pub fn matmul(&self, rhs: &Self) -> Self {
        let ([rows, inner], [rhs_rows, cols]) = (self.shape, rhs.shape);
        assert_eq!(inner, rhs_rows);
        Self::from_fn([rows, cols], |index| {
            let (row, col) = (index / cols, index % cols);
            (0..inner).map(|l| self.at(row, l) * rhs.at(l, col)).sum()
        })
    }

    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.shape[1]..][..self.shape[1]]
    }

    /// An activation of every element, and its derivative, each by its own formula.
    pub fn activated(&self, activation: Activation) -> [Self; 2] {
        let of = |x: f64| match activation {
            Activation::Silu => {
                let s = 1.0 / (1.0 + (-x).exp());
                [x * s, s * (1.0 + x * (1.0 - s))]
            }
            Activation::GeluTanh => {
                let root = std::f64::consts::FRAC_2_PI.sqrt();
                let tanh = (root * (x + 0.044715 * x.powi(3))).tanh();
                let d_inner = root * (1.0 + 3.0 * 0.044715 * x.powi(2));
                let slope = 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * d_inner;
                [0.5 * x * (1.0 + tanh), slope]
            }
        };
        [0, 1].map(|which| Self::from_fn(self.shape, |i| of(self.values[i])[which]))
    }

    /// RMSNorm of the rows; `weight` is `[1, d]`.
    pub fn rms_norm(&self, weight: &Self, eps: f64) -> Self {
        let [_, d] = self.shape;
        Self::from_fn(self.shape, |index| {
            let row = self.row(index / d);
            let mean_square = row.iter().map(|x| x * x).sum::<f64>() / d as f64;
            weight.values[index % d] * self.values[index] / (mean_square + eps).sqrt()
        })
    }
}

impl Array<3> {
    /// The products of matrices of equal shape with others of equal shape.
    pub fn products(lhs: &[Array<2>], rhs: &[Array<2>]) -> Self {
        let products = lhs.iter().zip(rhs).map(|(lhs, rhs)| lhs.matmul(rhs).values);
        Self {
            shape: [lhs.len(), lhs[0].shape[0], rhs[0].shape[1]],
            values: products.flatten().collect(),
        }
    }
}
