//! A matrix product through the engine's kernels.

use burn::tensor::{Device, Tensor, TensorData};
use engine::{
    kernels::FrozenMatrix,
    kernels::matmul,
    tensor::read_all,
    weights::quantized::{QuantizedMatrix, WeightKind, unpack_row},
};
use serde::Deserialize;

use crate::draw::{Words, draw};

/// `[m, k] x [k, n]`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct ProductSpec {
    m: usize,
    k: usize,
    n: usize,
    transposed: Side,
    /// The type of the right side.
    #[serde(default)]
    weights: Weights,
}

/// The side that is stored transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    None,
    Lhs,
    Rhs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Weights {
    #[default]
    F32,
    F16,
    #[serde(rename = "q4_1")]
    Q4One,
    #[serde(rename = "q8_0")]
    Q8Zero,
}

/// Operands on the device.
pub struct Product {
    spec: ProductSpec,
    lhs: Tensor<2>,
    rhs: Rhs,
}

#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
enum Rhs {
    Dense(Tensor<2>),
    /// The engine's frozen weights: `x W^T` if the right side is stored transposed, otherwise `x W`.
    Quantized(Box<(FrozenMatrix, QuantizedMatrix)>),
}

impl Product {
    pub fn new(spec: ProductSpec, device: &Device) -> Self {
        let ProductSpec {
            m,
            k,
            n,
            transposed,
            weights,
        } = spec;
        let tensor = |name: &str, rows: usize, cols: usize, is_transposed: bool| {
            let shape = if is_transposed {
                [cols, rows]
            } else {
                [rows, cols]
            };
            let values = draw(&format!("{name} {rows} {cols}"), rows * cols);
            Tensor::<2>::from_data(TensorData::new(values, shape), device)
        };
        let lhs = tensor("lhs", m, k, transposed == Side::Lhs);
        let (rows, cols) = if transposed == Side::Rhs {
            (n, k)
        } else {
            (k, n)
        };
        let kind = match weights {
            Weights::F32 => None,
            Weights::F16 => Some(WeightKind::F16),
            Weights::Q4One => Some(WeightKind::Q4_1),
            Weights::Q8Zero => Some(WeightKind::Q8_0),
        };
        let rhs = match kind {
            None => Rhs::Dense(tensor("rhs", k, n, transposed == Side::Rhs)),
            Some(kind) => {
                let matrix = quantized(kind, rows, cols);
                let weights = FrozenMatrix::from_quantized(matrix.clone(), device);
                Rhs::Quantized(Box::new((weights, matrix)))
            }
        };
        Self { spec, lhs, rhs }
    }

    fn multiply(&self) -> Tensor<2> {
        let (lhs, side) = (self.lhs.clone(), self.spec.transposed);
        let lhs = if side == Side::Lhs {
            lhs.transpose()
        } else {
            lhs
        };
        match &self.rhs {
            Rhs::Dense(rhs) if side == Side::Rhs => matmul(lhs, rhs.clone().transpose()),
            Rhs::Dense(rhs) => matmul(lhs, rhs.clone()),
            Rhs::Quantized(quantized) if side == Side::Rhs => quantized.0.forward(lhs, None),
            Rhs::Quantized(quantized) => quantized.0.backward(lhs, None),
        }
    }

    /// Computes `times` products; resolves once all are done.
    pub async fn run(&self, times: u32) -> Result<(), String> {
        let mut last = self.multiply();
        for _ in 1..times {
            last = self.multiply();
        }
        // The queue is in order, so a number of the last product is available only once all are done.
        let corner = read_all(last.slice([0..1, 0..1])).await;
        corner.map(drop).map_err(|lost| lost.0)
    }

    /// The largest error of some elements, compared with sums in f64, relative to the size of the operands.
    pub async fn error(&self) -> Result<f64, String> {
        let ProductSpec {
            m,
            k,
            n,
            transposed,
            ..
        } = self.spec;
        let product = read_all(self.multiply()).await.map_err(|lost| lost.0)?;
        let lhs = draw(&format!("lhs {m} {k}"), m * k);
        let rhs = self.rhs_values();
        let element = |row: usize, column: usize| -> f64 {
            let terms = (0..k).map(|inner| {
                let left = match transposed {
                    Side::Lhs => lhs[inner * m + row],
                    _ => lhs[row * k + inner],
                };
                let right = match transposed {
                    Side::Rhs => rhs[column * k + inner],
                    _ => rhs[inner * n + column],
                };
                f64::from(left) * f64::from(right)
            });
            terms.sum()
        };
        let errors = (0..64).map(|at| {
            let (row, column) = ((at * 7919 + 13) % m, (at * 104_729 + 7) % n);
            (f64::from(product[row * n + column]) - element(row, column)).abs()
        });
        Ok(errors.fold(0.0, f64::max) / (k as f64).sqrt())
    }

    fn rhs_values(&self) -> Vec<f32> {
        let ProductSpec { k, n, .. } = self.spec;
        match &self.rhs {
            Rhs::Dense(_) => draw(&format!("rhs {k} {n}"), k * n),
            Rhs::Quantized(quantized) => {
                let matrix = &quantized.1;
                let QuantizedMatrix {
                    kind, rows, cols, ..
                } = *matrix;
                let mut values = vec![0.0; rows * cols];
                for (row, out) in values.chunks_mut(cols).enumerate() {
                    let part = |words: &'_ [u32]| {
                        let width = words.len() / rows;
                        row * width..(row + 1) * width
                    };
                    unpack_row(
                        kind,
                        &matrix.words[part(&matrix.words)],
                        &matrix.scales[part(&matrix.scales)],
                        out,
                    );
                }
                values
            }
        }
    }
}

/// Random weights of about the size of 1.
fn quantized(kind: WeightKind, rows: usize, cols: usize) -> QuantizedMatrix {
    let mut words = Words::of(&format!("{kind:?} {rows} {cols}"));
    let half = |exponent: u32, word: u32| (exponent << 10) | (word & 0x83ff);
    let num_words = rows * cols / kind.weights_per_word();
    let weights = (0..num_words).map(|_| match kind {
        // Two halves of about 1, either sign.
        WeightKind::F16 => {
            let word = words.next();
            half(14, word) | (half(14, word >> 16) << 16)
        }
        _ => words.next(),
    });
    let weights = weights.collect();
    // A scale of 2^-7 (of bytes) or 2^-3 (of halves of bytes), and a minimum of about 1.
    let exponent = if kind == WeightKind::Q8_0 { 8 } else { 12 };
    let has_minimum = kind == WeightKind::Q4_1;
    let scale = |word: u32| {
        let minimum = if has_minimum { half(15, word >> 16) } else { 0 };
        (half(exponent, word) & 0x7fff) | (minimum << 16)
    };
    let num_scales = if kind.has_scales() {
        rows * cols / 32
    } else {
        0
    };
    QuantizedMatrix {
        kind,
        rows,
        cols,
        words: weights,
        scales: (0..num_scales).map(|_| scale(words.next())).collect(),
    }
}
