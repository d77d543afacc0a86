//! The matrix product that everything rests on: `C = A B` or `C += factor A B`, with `A` strided and `B` in panels.
//!
//! Blocked as in Goto and van de Geijn (ACM TOMS 34:3, 2008), except for `A`, which is read in place: a block of `B` is
//! packed (and unpacked, if the weights are quantized) into panels once and multiplied with all rows of its piece; the
//! innermost loop holds [`ROWS`] rows by [`WIDTH`] columns of `C` in registers.

use super::{
    matrix::Strided,
    panel::{Right, WIDTH},
    parallel::{self, Shared},
    simd::{F32x4, LANES},
};
use crate::quantized::BLOCK;

/// Rows of `C` that the innermost loop holds, by four columns: twelve sums, enough to keep two multiply-add units with a
/// latency of four busy, which with a row of `B` and an element of `A` leave two of x86-64's sixteen vector registers
/// free. (Six rows by eight columns need fewer loads, but browsers then run out of registers.)
const ROWS: usize = 12;
/// Depth of a panel, at most: [`ROWS`] rows of `A` so deep (18 KiB) and a panel (12 KiB) lie in the first-level cache
/// together.
const DEPTH: usize = 384;
/// Columns of a piece: as many as share a block's scale in a quantized matrix.
const COLUMNS: usize = 32;
/// The minimum number of rows of a piece: fewer are not worth filling its panels.
const FEWEST_ROWS: usize = 60;

/// What becomes of the product.
#[derive(Clone, Copy, PartialEq)]
pub enum Into {
    /// `C = A B`
    Replace,
    /// `C += factor A B`
    Add { factor: f32 },
}

/// `[m, n]` in memory, rows `stride` apart, at `start` of a slice.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    pub slice: Shared<'a>,
    pub start: usize,
    pub stride: usize,
}

/// `A B` on all threads; `lhs` is `[m, k]`, `rhs` `[k, n]`, and the product `[m, n]` row after row.
pub fn matmul(lhs: Strided<'_>, rhs: Right<'_>) -> Vec<f32> {
    let [k, n] = rhs.shape();
    let len = lhs.rows * n;
    if k == 0 {
        return vec![0.0; len];
    }
    let mut out = Vec::with_capacity(len);
    // Writing zeros first would be another pass through memory.
    let slice = Shared::unwritten(&mut out.spare_capacity_mut()[..len]);
    on_all_threads(lhs, rhs, slice, Into::Replace);
    // SAFETY: the product wrote every element.
    unsafe { out.set_len(len) };
    out
}

/// `C = A B` or `C += factor A B` on all threads; shapes as in [`matmul`].
pub fn gemm(lhs: Strided<'_>, rhs: Right<'_>, out: &mut [f32], into: Into) {
    let [_, n] = rhs.shape();
    assert_eq!(out.len(), lhs.rows * n);
    on_all_threads(lhs, rhs, Shared::new(out), into);
}

/// `slice` holds `m n` elements, which [`Into::Replace`] does not read.
fn on_all_threads(lhs: Strided<'_>, rhs: Right<'_>, slice: Shared<'_>, into: Into) {
    let (m, [k, n]) = (lhs.rows, rhs.shape());
    let columns = n.div_ceil(COLUMNS);
    // Rows are split only if there are too few columns to keep all threads busy.
    let wanted = 4 * parallel::num_threads();
    let row_pieces = wanted.div_ceil(columns).min(m.div_ceil(FEWEST_ROWS)).max(1);
    let rows = m.div_ceil(row_pieces).next_multiple_of(ROWS);
    parallel::for_each(row_pieces * columns, m * k * n, |piece| {
        let (row, column) = (piece / columns * rows, piece % columns * COLUMNS);
        if row >= m {
            return;
        }
        let output = Output {
            slice,
            start: row * n + column,
            stride: n,
        };
        let lhs = lhs.rows_from(row, rows.min(m - row));
        let width = COLUMNS.min(n - column);
        // SAFETY: pieces cover disjoint rows and columns.
        unsafe { product(lhs, rhs, column, width, output, into) };
    });
}

/// The columns `column..column + width` (at most [`COLUMNS`]) of a product, on this thread. `out` is where the first of
/// them goes.
///
/// # Safety
/// Nobody else touches those elements of `out` meanwhile.
pub unsafe fn product(
    lhs: Strided<'_>,
    rhs: Right<'_>,
    column: usize,
    width: usize,
    out: Output<'_>,
    into: Into,
) {
    let [k, _] = rhs.shape();
    debug_assert!(width <= COLUMNS && lhs.cols == k);
    let deepest = even_depth(k);
    let mut panels = vec![0.0f32; deepest * width.next_multiple_of(WIDTH)];
    let mut into = into;
    for start in (0..k).step_by(deepest) {
        let depth = deepest.min(k - start);
        let panels = &mut panels[..depth * width.next_multiple_of(WIDTH)];
        rhs.fill(start, column, depth, panels);
        let step = Step {
            start,
            depth,
            panels,
            stride: depth * WIDTH,
        };
        // SAFETY: as the caller promises.
        unsafe { multiply(lhs, step, out, width, into) };
        if into == Into::Replace {
            into = Into::Add { factor: 1.0 };
        }
    }
}

/// The depth of the panels of a product over `k`: equal parts, whole blocks of a quantized matrix.
fn even_depth(k: usize) -> usize {
    let parts = k.div_ceil(DEPTH).max(1);
    k.div_ceil(parts).next_multiple_of(BLOCK).max(BLOCK)
}

/// Packs a whole right side into consecutive panels, each `k` rows deep.
pub fn pack(rhs: Right<'_>, panels: &mut [f32]) {
    let [k, n] = rhs.shape();
    assert_eq!(panels.len(), k * n.next_multiple_of(WIDTH));
    if k > 0 {
        rhs.fill(0, 0, k, panels);
    }
}

/// A product with panels that [`pack`] made of a right side `[depth, ..]`, of which `lhs.cols` rows from `first` on and
/// the first `width` columns take part; on this thread.
///
/// # Safety
/// As [`product`].
pub unsafe fn multiply_panels(
    lhs: Strided<'_>,
    panels: &[f32],
    depth: usize,
    first: usize,
    width: usize,
    out: Output<'_>,
    into: Into,
) {
    let stride = depth * WIDTH;
    assert!(first + lhs.cols <= depth && width.div_ceil(WIDTH) * stride <= panels.len());
    let deepest = even_depth(lhs.cols);
    let mut into = into;
    for start in (0..lhs.cols).step_by(deepest) {
        let step = Step {
            start,
            depth: deepest.min(lhs.cols - start),
            panels: &panels[(first + start) * WIDTH..],
            stride,
        };
        // SAFETY: as the caller promises.
        unsafe { multiply(lhs, step, out, width, into) };
        if into == Into::Replace {
            into = Into::Add { factor: 1.0 };
        }
    }
}

/// A part of a product's depth, and the panels for it.
#[derive(Clone, Copy)]
struct Step<'a> {
    /// Where the part begins in the left side's columns.
    start: usize,
    depth: usize,
    panels: &'a [f32],
    /// From one panel to the next.
    stride: usize,
}

/// `lhs[.., start..start + depth]` times the panels' first `width` columns.
///
/// # Safety
/// As [`product`].
unsafe fn multiply(lhs: Strided<'_>, step: Step<'_>, out: Output<'_>, width: usize, into: Into) {
    let mut gathered = Gathered::for_matrix(lhs, step.depth);
    let mut row = 0;
    while row < lhs.rows {
        let left = lhs.rows - row;
        let rows = match left {
            1 | 4 | 8 => left,
            _ if lhs.rows >= ROWS => ROWS,
            8.. => 8,
            4.. => 4,
            _ => 1,
        };
        // The last rows are taken together with some before them, which are not written again: one tile of many rows
        // takes less than several of few.
        let again = rows.saturating_sub(left);
        row -= again;
        let out = Output {
            start: out.start + row * out.stride,
            ..out
        };
        // SAFETY: `Strided` holds all its elements, and these rows and columns are among them; the output's rows are
        // checked for every tile.
        unsafe {
            let a = lhs
                .pointer()
                .add(row * lhs.row_stride + step.start * lhs.col_stride);
            let a = Rows {
                a,
                row_stride: lhs.row_stride,
                col_stride: lhs.col_stride,
                again,
            };
            match (rows, &mut gathered) {
                (1, _) => a.multiply::<1>(step, out, width, into),
                (4, _) => a.multiply::<4>(step, out, width, into),
                (8, _) => a.multiply::<8>(step, out, width, into),
                (_, None) => a.multiply::<ROWS>(step, out, width, into),
                (_, Some(gathered)) => {
                    let a = gathered.fill(a, step.depth);
                    a.multiply::<ROWS>(step, out, width, into);
                }
            }
        }
        row += rows;
    }
}

/// A few rows of `A`, starting at some column.
#[derive(Clone, Copy)]
struct Rows {
    a: *const f32,
    row_stride: usize,
    col_stride: usize,
    /// How many of the first rows are only read, because their products exist already.
    again: usize,
}

impl Rows {
    /// `R` rows times all panels, during which they stay in the first-level cache.
    ///
    /// # Safety
    /// `R` rows of `depth` columns exist; and as [`product`].
    #[inline(never)]
    unsafe fn multiply<const R: usize>(
        self,
        step: Step<'_>,
        out: Output<'_>,
        width: usize,
        into: Into,
    ) {
        for first in (0..width).step_by(LANES) {
            let panel = first / WIDTH * step.stride + first % WIDTH;
            let panel = &step.panels[panel..][..(step.depth - 1) * WIDTH + LANES];
            let tile = Tile {
                rows: self,
                depth: step.depth,
                panel: panel.as_ptr(),
            };
            let width = LANES.min(width - first);
            let to = out.start + first;
            // The bounds are checked here, once for the tile.
            out.slice.check(to + (R - 1) * out.stride + width);
            // SAFETY: the tile's rows of `A`, the panel's rows and the output's elements exist; nobody else writes
            // there.
            unsafe { tile.run::<R>(out.slice.at(to), out.stride, width, into) };
        }
    }
}

/// [`ROWS`] rows of an `A` whose columns lie far apart, copied next to each other: in place, they map to a few sets of
/// the first-level cache and evict each other before the next panel.
struct Gathered(Vec<f32>);

impl Gathered {
    fn for_matrix(lhs: Strided<'_>, depth: usize) -> Option<Self> {
        let is_worth_it = lhs.row_stride == 1 && lhs.col_stride > ROWS && lhs.rows >= ROWS;
        is_worth_it.then(|| Self(vec![0.0; depth * ROWS]))
    }

    /// # Safety
    /// [`ROWS`] rows of `depth` columns exist, and lie side by side.
    unsafe fn fill(&mut self, rows: Rows, depth: usize) -> Rows {
        for (column, out) in self.0.chunks_exact_mut(ROWS).take(depth).enumerate() {
            // SAFETY: as the caller promises.
            let from =
                unsafe { std::slice::from_raw_parts(rows.a.add(column * rows.col_stride), ROWS) };
            out.copy_from_slice(from);
        }
        Rows {
            a: self.0.as_ptr(),
            row_stride: 1,
            col_stride: ROWS,
            ..rows
        }
    }
}

/// A few rows of `A` and four columns of a panel of `B`.
struct Tile {
    rows: Rows,
    depth: usize,
    panel: *const f32,
}

impl Tile {
    /// # Safety
    /// `R` rows of `A` and of `to` exist, `depth` rows of the panel, and `width <= LANES` columns of `to`.
    #[inline(always)]
    unsafe fn run<const R: usize>(&self, to: *mut f32, stride: usize, width: usize, into: Into) {
        // SAFETY: as the caller promises. Where columns of `A` are adjacent, or rows are, the compiler knows the
        // distance, which makes half of the addresses constants.
        let sums = unsafe {
            match (self.rows.row_stride, self.rows.col_stride) {
                (row_stride, 1) => self.sums::<R>(row_stride, 1),
                (1, ROWS) => self.sums::<R>(1, ROWS),
                (1, col_stride) => self.sums::<R>(1, col_stride),
                (row_stride, col_stride) => self.sums::<R>(row_stride, col_stride),
            }
        };
        for (row, sum) in sums.into_iter().enumerate() {
            if row >= self.rows.again {
                // SAFETY: as the caller promises.
                unsafe { write(sum, to.add(row * stride), width, into) };
            }
        }
    }

    /// # Safety
    /// See [`Self::run`].
    #[inline(always)]
    unsafe fn sums<const R: usize>(&self, row_stride: usize, col_stride: usize) -> [F32x4; R] {
        let mut sums = [F32x4::zero(); R];
        // One step at a time: unrolled, the compiler gathers all steps of one sum and runs out of registers.
        for k in 0..self.depth {
            // SAFETY: all offsets stay inside the rows, as the caller promises.
            unsafe {
                let b = F32x4::load(self.panel.add(k * WIDTH));
                for (row, sum) in sums.iter_mut().enumerate() {
                    let a = *self.rows.a.add(row * row_stride + k * col_stride);
                    *sum = F32x4::splat(a).mul_add(b, *sum);
                }
            }
        }
        sums
    }
}

/// # Safety
/// `width` elements can be written to `to`.
#[inline(always)]
unsafe fn write(sum: F32x4, to: *mut f32, width: usize, into: Into) {
    if width == LANES {
        // SAFETY: four elements can be read and written.
        unsafe {
            match into {
                Into::Replace => sum.store(to),
                Into::Add { factor } => {
                    sum.mul_add(F32x4::splat(factor), F32x4::load(to)).store(to);
                }
            }
        }
        return;
    }
    for (lane, sum) in sum.to_array().iter().take(width).enumerate() {
        // SAFETY: `width` elements can be read and written.
        unsafe {
            let to = to.add(lane);
            *to = match into {
                Into::Replace => *sum,
                Into::Add { factor } => *to + factor * sum,
            };
        }
    }
}
