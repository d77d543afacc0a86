//! The dense linear algebra of an initialization (PiSSA, OLoRA), in f64 on the host.
//!
//! What grows with the whole model, products with `W`, runs on the device. What remains is small: `k` vectors of length
//! `n`, where `k` is the rank and a few more. Orthonormalizing them takes about `4 k^2 n` multiplications, their
//! products `k^2 n`, and the eigenvectors of a `k x k` matrix some `k^3` per sweep. WebGPU has no f64.
//!
//! Vectors are the rows of [`Rows`], so that each is contiguous; where a formula speaks of the columns of a matrix, its
//! transpose is stored.

/// Vectors of equal length, stored one after the other.
#[derive(Debug, Clone)]
pub struct Rows {
    /// All elements, vector by vector.
    values: Vec<f64>,
    /// The length of each vector.
    len: usize,
}

impl Rows {
    /// Makes vectors of length `len` from their elements, whose number is a multiple of `len`.
    pub fn new(values: Vec<f64>, len: usize) -> Self {
        Self { values, len }
    }

    /// Makes vectors of length `len` from what a device returned.
    pub fn from_f32(values: &[f32], len: usize) -> Self {
        Self::new(values.iter().map(|&value| f64::from(value)).collect(), len)
    }

    /// Rounds the vectors to f32, for the device or an adapter.
    ///
    /// # Shapes
    /// - returns `[count len]`, vector by vector
    pub fn to_f32(&self) -> Vec<f32> {
        self.values.iter().map(|&value| value as f32).collect()
    }

    /// The number of vectors and their length, `[count, len]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.values.len() / self.len.max(1), self.len]
    }

    /// The vector with this index.
    ///
    /// # Panics
    /// If there is none.
    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.len..][..self.len]
    }

    /// Rounds the vectors to f32 as the columns of a matrix.
    ///
    /// # Shapes
    /// - returns `[len, count]`, row by row
    pub fn to_f32_columns(&self) -> Vec<f32> {
        let column = |at: usize| self.values.iter().skip(at).step_by(self.len.max(1));
        let columns = (0..self.len).flat_map(column);
        columns.map(|&value| value as f32).collect()
    }

    /// Orthonormalizes with Gram-Schmidt, twice, which is enough for any vectors (Giraud et al. 2005). A vector that
    /// depends on those before it becomes zero.
    ///
    /// The first `i` vectors span the same space before and after. With the columns of `W` as vectors the result is `Q`
    /// of `W = Q R`, up to signs.
    pub fn orthonormalize(&mut self) {
        for index in 0..self.shape()[0] {
            let (done, rest) = self.values.split_at_mut(index * self.len);
            let vector = &mut rest[..self.len];
            let before = norm(vector);
            for _ in 0..2 {
                for other in done.chunks_exact(self.len) {
                    let share = dot(vector, other);
                    vector
                        .iter_mut()
                        .zip(other)
                        .for_each(|(v, o)| *v -= share * o);
                }
            }
            let left = norm(vector);
            let factor = if left > 1e-10 * before {
                1.0 / left
            } else {
                0.0
            };
            vector.iter_mut().for_each(|value| *value *= factor);
        }
    }

    /// The first vectors, each multiplied by its factor; as many as there are factors.
    pub fn scaled(&self, factors: &[f64]) -> Self {
        let vectors = factors.iter().zip(self.values.chunks_exact(self.len));
        let scaled = vectors.flat_map(|(factor, vector)| vector.iter().map(move |v| v * factor));
        Self::new(scaled.collect(), self.len)
    }

    /// The scalar products of all pairs of vectors, as the rows of a symmetric matrix.
    ///
    /// # Shapes
    /// - returns `[count, count]`
    pub fn gram(&self) -> Vec<Vec<f64>> {
        let count = self.shape()[0];
        let row = |i| (0..count).map(|j| dot(self.row(i), self.row(j))).collect();
        (0..count).map(row).collect()
    }

    /// Combines the vectors: each row of `turn` holds the coefficients of a new vector.
    ///
    /// # Shapes
    /// - `turn`: `[new count, count]`
    /// - returns `[new count, len]`
    pub fn turned(&self, turn: &[Vec<f64>]) -> Self {
        let mut values = vec![0.0; turn.len() * self.len];
        for (factors, vector) in turn.iter().zip(values.chunks_exact_mut(self.len)) {
            for (index, factor) in factors.iter().enumerate() {
                let row = self.row(index);
                vector
                    .iter_mut()
                    .zip(row)
                    .for_each(|(v, r)| *v += factor * r);
            }
        }
        Self::new(values, self.len)
    }
}

/// The scalar product.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The Euclidean length.
fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// Computes the eigenvalues of a symmetric matrix, largest first, and their eigenvectors, by Jacobi rotations, row by
/// row (Golub and Van Loan, Matrix Computations, 8.5).
///
/// For a Gram matrix, whose eigenvalues are not negative, rounding can leave the smallest slightly below zero.
///
/// # Shapes
/// - `matrix`: `[n, n]`
/// - returns `n` eigenvalues, and `[n, n]` whose row `i` is the eigenvector of eigenvalue `i`, of length 1
pub fn symmetric_eigen(mut matrix: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = matrix.len();
    let identity = |i: usize| (0..n).map(|j| f64::from(u8::from(i == j))).collect();
    let mut vectors: Vec<Vec<f64>> = (0..n).map(identity).collect();
    let scale = (0..n).map(|i| matrix[i][i].abs()).fold(0.0, f64::max);
    // Each round squares what remains off the diagonal; a few are enough for any size.
    for _ in 0..40 {
        let mut largest = 0.0f64;
        for p in 0..n {
            for q in p + 1..n {
                largest = largest.max(matrix[p][q].abs());
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
        if largest <= 1e-15 * scale {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| matrix[b][b].total_cmp(&matrix[a][a]));
    let values = order.iter().map(|&i| matrix[i][i]).collect();
    let vectors = order.into_iter().map(|i| std::mem::take(&mut vectors[i]));
    (values, vectors.collect())
}

/// Rotates rows and columns `p` and `q`, with `p < q`, so that their element becomes zero, and the rows of `vectors`
/// with them. Of the two possible angles it takes the smaller, which makes the sweeps converge.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let off = matrix[p][q];
    if off == 0.0 {
        return;
    }
    let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * off);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    for row in matrix.iter_mut() {
        let (kp, kq) = (row[p], row[q]);
        row[p] = c * kp - s * kq;
        row[q] = s * kp + c * kq;
    }
    let turn = |rows: &mut [Vec<f64>]| {
        let (first, second) = rows.split_at_mut(q);
        for (a, b) in first[p].iter_mut().zip(&mut second[0]) {
            (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
        }
    };
    turn(matrix);
    turn(vectors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn rows(random: &mut Random, count: usize, len: usize) -> Rows {
        let values = (0..count * len).map(|_| f64::from(random.unit()));
        Rows::new(values.collect(), len)
    }

    #[test]
    fn vectors_become_orthonormal_and_dependent_ones_zero() {
        let mut random = Random::new();
        let (count, len) = (random.size(2..12), random.size(12..40));
        let mut rows = rows(&mut random, count, len);
        let copy = rows.row(0).iter().map(|v| 3.0 * v).collect::<Vec<_>>();
        rows.values.extend(copy);
        rows.orthonormalize();
        for (i, row) in rows.gram().iter().enumerate() {
            for (j, &product) in row.iter().enumerate() {
                let expected = f64::from(u8::from(i == j && i < count));
                assert!((product - expected).abs() < 1e-12, "{i} {j}: {product}");
            }
        }
    }

    #[test]
    fn eigenvectors_turn_a_matrix_to_its_eigenvalues() {
        let mut random = Random::new();
        let (count, len) = (random.size(1..20), random.size(1..40));
        let rows = rows(&mut random, count, len);
        let (values, vectors) = symmetric_eigen(rows.gram());
        let turned = rows.turned(&vectors).gram();
        for (i, row) in turned.iter().enumerate() {
            for (j, product) in row.iter().enumerate() {
                let expected = if i == j { values[i] } else { 0.0 };
                let error = (product - expected).abs();
                assert!(error < 1e-10 * values[0], "{i} {j}: {error}");
            }
        }
        assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
    }
}
