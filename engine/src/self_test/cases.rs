//! The cases of the self-test, which compare a device's results with sums in f64.
//!
//! | case | what | shapes |
//! |---|---|---|
//! | matmul | `X Y`, not in halves | `[53, 576] [576, 1536]` |
//! | transposed matmul | `X^T Y^T` of views, not in halves | `[192, 61] [75, 192]` |
//! | Q4_1 projection, and its gradient | `X W^T`, `dY W` with quantized `W` | `n = 37`, `W` `[576, 1536]` |
//! | softmax attention, and its gradient | causal, grouped heads; `dQ`, `dK`, `dV` | `t = 69`, `h = 9`, `kv = 3`, `hd = 64` |
//! | rotation of heads | RoPE of several heads | `t = 43`, `h = 3`, `hd = 64` |
//! | SwiGLU of a norm, norm's gradient | the elementwise kernels | `[43, 576]` |
//! | LoRA gradient of A and of B | through the projection with an adapter | `n = 45`, `d = 576`, `r = 8` |
//!
//! Most widths are those of SmolLM2-135M; the numbers of rows are odd, so that the last tile of every kernel is a
//! partial one. Inputs come from one ChaCha8 stream, so every device gets the same. An error is the largest difference
//! among the compared elements over their largest reference: small elements are not held to a relative error of their
//! own, since sums cancel.

mod attention;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use protocol::{DeviceProblem, Precision, SelfTestCase};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    kernels::{Activation, FrozenMatrix, gated, matmul, rms_norm, rms_norm_backward},
    layers::{
        float_type,
        projection::{self, LoraPair, ModuleAdapter, Unchanged},
    },
    surroundings::Clock,
    tensor::read_all,
    weights::quantized::{QuantizedMatrix, WeightKind, unpack_row},
};

/// The number of elements of a result that are compared, besides its corners; each reference is a whole sum.
const NUM_COMPARED: usize = 400;

/// Returns the largest allowed error, relative to the largest reference value.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Single => 1e-4,
        Precision::Half => 2e-2,
    }
}

/// Runs every case that applies to `precision`; the first that fails ends the test.
///
/// # Errors
/// [`DeviceProblem::WrongResult`] with the case, [`DeviceProblem::InitFailed`] if a result cannot be read.
pub async fn run_cases(
    device: &Device,
    clock: &dyn Clock,
    precision: Precision,
) -> Result<Vec<SelfTestCase>, DeviceProblem> {
    let mut bench = Bench {
        device,
        clock,
        precision,
        rng: ChaCha8Rng::seed_from_u64(0x1a7a),
        passed: Vec::new(),
    };
    if precision == Precision::Single {
        bench.matmul().await?;
        bench.transposed_matmul().await?;
    }
    bench.quantized_projection().await?;
    bench.attention().await?;
    bench.rotation().await?;
    bench.elements().await?;
    bench.lora_gradient().await?;
    Ok(bench.passed)
}

/// A self-test under way: the device under test, the stream of its inputs, and the cases passed so far.
struct Bench<'a> {
    /// The device under test.
    device: &'a Device,
    /// Times the cases, for the report.
    clock: &'a dyn Clock,
    /// In which activations are; what stays in 32 bits in a block stays so here.
    precision: Precision,
    /// Draws inputs, and which elements are compared.
    rng: ChaCha8Rng,
    /// Cases in the order in which they ran.
    passed: Vec<SelfTestCase>,
}

/// A matrix on the host, for the reference, and on the device.
struct Pair {
    /// Row by row.
    values: Vec<f32>,
    /// The length of a row.
    cols: usize,
    /// The same numbers on the device, in f32.
    tensor: Tensor<2>,
}

impl Pair {
    /// Returns an element in f64.
    fn at(&self, row: usize, col: usize) -> f64 {
        f64::from(self.values[row * self.cols + col])
    }
}

impl Bench<'_> {
    /// Checks a product of two dense matrices.
    async fn matmul(&mut self) -> Result<(), DeviceProblem> {
        let (m, k, n) = (53, 576, 1536);
        let (x, y) = (self.random(m, k), self.random(k, n));
        let product = matmul(x.tensor.clone(), y.tensor.clone());
        let reference = |i, j| (0..k).map(|l| x.at(i, l) * y.at(l, j)).sum();
        self.compare("matmul", product, reference).await
    }

    /// Checks a product of two transposed views, which a kernel must read in place by their strides.
    async fn transposed_matmul(&mut self) -> Result<(), DeviceProblem> {
        let (m, k, n) = (61, 192, 75);
        let (x, y) = (self.random(k, m), self.random(n, k));
        let product = matmul(
            x.tensor.clone().unsqueeze::<3>().swap_dims(1, 2),
            y.tensor.clone().unsqueeze::<3>().swap_dims(1, 2),
        );
        let reference = |i, j| (0..k).map(|l| x.at(l, i) * y.at(j, l)).sum();
        self.compare("transposed matmul", product.reshape([m, n]), reference)
            .await
    }

    /// Checks the forward and the backward of a projection with a Q4_1 matrix, which has scales and minima.
    async fn quantized_projection(&mut self) -> Result<(), DeviceProblem> {
        let (n, rows, cols) = (37, 576, 1536);
        let quantized = self.random_quantized(rows, cols);
        let mut dense = vec![0.0f32; rows * cols];
        let (row_words, row_scales) = (quantized.words.len() / rows, quantized.scales.len() / rows);
        for (row, out) in dense.chunks_exact_mut(cols).enumerate() {
            let words = &quantized.words[row * row_words..][..row_words];
            unpack_row(
                quantized.kind,
                words,
                &quantized.scales[row * row_scales..][..row_scales],
                out,
            );
        }
        // The reference is a product with the unpacked matrix, which other tests hold to the format.
        let weight = |row: usize, col: usize| f64::from(dense[row * cols + col]);
        let matrix = FrozenMatrix::from_quantized(quantized, self.device);
        let x = self.random(n, cols);
        let forward = |i, j| (0..cols).map(|l| x.at(i, l) * weight(j, l)).sum();
        self.compare(
            "Q4_1 projection",
            matrix.forward(self.activations(&x), None),
            forward,
        )
        .await?;
        let dy = self.random(n, rows);
        let backward = |i, j| (0..rows).map(|l| dy.at(i, l) * weight(l, j)).sum();
        self.compare(
            "Q4_1 projection's gradient",
            matrix.backward(self.activations(&dy), None),
            backward,
        )
        .await
    }

    async fn elements(&mut self) -> Result<(), DeviceProblem> {
        const EPS: f64 = 1e-5;
        let (n, d) = (43, 576);
        let (x, weight, up) = (self.random(n, d), self.random(1, d), self.random(n, d));
        // Computed from the inputs as they are in f32: the device may round, the reference may not.
        let inverse_rms: Vec<f64> = (0..n)
            .map(|row| {
                let square: f64 = (0..d).map(|l| x.at(row, l).powi(2)).sum();
                1.0 / (square / d as f64 + EPS).sqrt()
            })
            .collect();
        let gate = rms_norm(
            x.tensor.clone(),
            &weight.tensor,
            EPS,
            float_type(self.precision),
        );
        let product = gated(gate, self.activations(&up), Activation::Silu);
        let reference = |i: usize, j| {
            let gate = weight.at(0, j) * x.at(i, j) * inverse_rms[i];
            gate / (1.0 + (-gate).exp()) * up.at(i, j)
        };
        self.compare("SwiGLU of a norm", product, reference).await?;
        let dy = self.random(n, d);
        let dx = rms_norm_backward(
            self.activations(&dy),
            x.tensor.clone(),
            &weight.tensor,
            EPS,
            up.tensor.clone(),
        );
        let products: Vec<f64> = (0..n)
            .map(|row| {
                let terms = (0..d).map(|l| weight.at(0, l) * dy.at(row, l) * x.at(row, l));
                terms.sum::<f64>() / d as f64
            })
            .collect();
        let reference = |i: usize, j| {
            let along = x.at(i, j) * products[i] * inverse_rms[i].powi(2);
            up.at(i, j) + (weight.at(0, j) * dy.at(i, j) - along) * inverse_rms[i]
        };
        self.compare("norm's gradient", dx, reference).await
    }

    /// Checks a projection's gradients with an adapter: `dA = s (dy B)^T x` and `dB = s dy^T (x A^T)`.
    ///
    /// A gradient that is missing counts as zeros, which no reference equals.
    async fn lora_gradient(&mut self) -> Result<(), DeviceProblem> {
        let (n, d, r, scaling) = (45, 576, 8, 2.0);
        let (x, a, b) = (self.random(n, d), self.random(r, d), self.random(d, r));
        let dy = self.random(n, d);
        let weight = FrozenMatrix::from_quantized(self.random_quantized(d, d), self.device);
        let lora = ModuleAdapter {
            low_rank: Some(LoraPair {
                a: a.tensor.clone(),
                b: b.tensor.clone(),
                scaling,
            }),
            ..ModuleAdapter::new(Unchanged)
        };
        let saved = projection::Saved::new(self.activations(&x), &weight, None, &lora, None);
        let dy_ = self.activations(&dy);
        let (_, gradients) = projection::backward(dy_, &weight, &lora, &saved);
        let mut gradients = gradients.into_iter();
        let mut gradient = |shape| match gradients.next() {
            Some(gradient) => gradient.reshape(shape),
            None => Tensor::zeros(shape, self.device),
        };
        let (d_a, d_b) = (gradient([r, d]), gradient([d, r]));
        let reference_a = |i, j| {
            let d_low_rank = |row| (0..d).map(|l| dy.at(row, l) * b.at(l, i)).sum::<f64>();
            (0..n)
                .map(|row| scaling * d_low_rank(row) * x.at(row, j))
                .sum()
        };
        self.compare("LoRA gradient of A", d_a, reference_a).await?;
        let reference_b = |i, j| {
            let low_rank = |row| (0..d).map(|l| x.at(row, l) * a.at(j, l)).sum::<f64>();
            (0..n)
                .map(|row| scaling * dy.at(row, i) * low_rank(row))
                .sum()
        };
        self.compare("LoRA gradient of B", d_b, reference_b).await
    }

    /// Compares elements spread over the result with their references, and notes the case as passed.
    ///
    /// # Shapes
    /// - `result`: `[rows, cols]`, in any precision
    /// - `reference`: the element of a row and a column
    ///
    /// # Errors
    /// [`DeviceProblem::WrongResult`] if the error is above the tolerance, [`DeviceProblem::InitFailed`] if the result
    /// cannot be read.
    async fn compare(
        &mut self,
        name: &str,
        result: Tensor<2>,
        reference: impl Fn(usize, usize) -> f64,
    ) -> Result<(), DeviceProblem> {
        let name = match self.precision {
            Precision::Single => name.to_owned(),
            Precision::Half => format!("{name}, 16-bit"),
        };
        let tolerance = tolerance(self.precision);
        let started = self.clock.now_millis();
        let [rows, cols] = result.dims();
        let values = read_all(result.cast(FloatDType::F32))
            .await
            .map_err(|failure| DeviceProblem::InitFailed { message: failure.0 })?;
        let elapsed_millis = self.clock.now_millis() - started;
        let (mut max_difference, mut max_reference) = (0.0f64, 0.0f64);
        // The corners, where bounds are checked, and a random choice of the rest.
        let corners = [(0, 0), (0, cols - 1), (rows - 1, 0), (rows - 1, cols - 1)];
        let chosen: Vec<_> = (0..NUM_COMPARED)
            .map(|_| {
                (
                    self.rng.next_u32() as usize % rows,
                    self.rng.next_u32() as usize % cols,
                )
            })
            .collect();
        for (row, col) in corners.into_iter().chain(chosen) {
            let expected = reference(row, col);
            let difference = (f64::from(values[row * cols + col]) - expected).abs();
            // NaN must not count as small.
            max_difference = if difference.is_nan() {
                f64::INFINITY
            } else {
                max_difference.max(difference)
            };
            max_reference = max_reference.max(expected.abs());
        }
        let max_error = max_difference / max_reference;
        // Not `>`: that a reference of zeros leaves no number must not pass.
        if !max_error.le(&tolerance) {
            return Err(DeviceProblem::WrongResult {
                case: name,
                max_error,
                tolerance,
            });
        }
        self.passed.push(SelfTestCase {
            name,
            max_error,
            tolerance,
            elapsed_millis,
        });
        Ok(())
    }

    /// Returns a matrix in the precision of the blocks.
    fn activations(&self, pair: &Pair) -> Tensor<2> {
        match self.precision {
            Precision::Single => pair.tensor.clone(),
            Precision::Half => pair.tensor.clone().cast(FloatDType::F16),
        }
    }

    /// Makes a matrix of numbers uniform in `[-1, 1)`, multiples of 2^-23 that f32 holds exactly.
    fn random(&mut self, rows: usize, cols: usize) -> Pair {
        let values: Vec<f32> = (0..rows * cols)
            .map(|_| (self.rng.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0)
            .collect();
        let tensor = Tensor::from_data(TensorData::new(values.clone(), [rows, cols]), self.device);
        Pair {
            values,
            cols,
            tensor,
        }
    }

    /// Makes a Q4_1 matrix with scales near 1/8 and offsets near -1, so that its weights are spread around 0.
    ///
    /// # Shapes
    /// - returns `[rows, cols]`; `cols` must be a multiple of 32
    fn random_quantized(&mut self, rows: usize, cols: usize) -> QuantizedMatrix {
        let kind = WeightKind::Q4_1;
        let words = (0..rows * cols / 8).map(|_| self.rng.next_u32()).collect();
        let scales = (0..rows * cols / 32)
            .map(|_| {
                let d = half::f16::from_f32(0.1 + (self.rng.next_u32() >> 8) as f32 / 3e8);
                let m = half::f16::from_f32(-1.0 + (self.rng.next_u32() >> 8) as f32 / 3e8);
                u32::from(d.to_bits()) | (u32::from(m.to_bits()) << 16)
            })
            .collect();
        QuantizedMatrix {
            kind,
            rows,
            cols,
            words,
            scales,
        }
    }
}
