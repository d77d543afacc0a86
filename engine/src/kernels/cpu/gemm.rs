//! The product that everything rests on: `C = A B` or `C += factor A B`, with `A` strided and `B` in panels.
//!
//! Blocked as by Goto and van de Geijn (ACM TOMS 34:3, 2008), but for `A`, which is read where it lies: a block of `B`
//! is packed (and unpacked, where the weights are quantised) into panels once and multiplied with all rows of its
//! piece; the innermost loop holds [`ROWS`] rows by [`WIDTH`] columns of `C` in registers.

use super::{
    panel::{Right, Strided, WIDTH},
    parallel::{self, Shared},
    simd::{F32x4, LANES},
};

/// Rows of `C` that the innermost loop holds: with eight columns that is twelve sums, which with a row of the panel and
/// an element of `A` fill fifteen of a x86-64's sixteen vector registers. Four rows took a fifth longer.
const ROWS: usize = 6;
/// Depth of a panel: 16 KiB, a third of the first-level cache.
const DEPTH: usize = 512;
/// Columns of a piece: as many as share a block's scale in a packed matrix.
const COLUMNS: usize = 32;
/// Rows of a piece that are multiplied with one panel before the next: their part of `A` stays in the second-level
/// cache.
const ROW_BLOCK: usize = 60;

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

/// `C = A B` or `C += factor A B` on all threads; `lhs` is `[m, k]`, `rhs` `[k, n]`, `out` row-major `[m, n]`.
pub fn gemm(lhs: Strided<'_>, rhs: Right<'_>, out: &mut [f32], into: Into) {
    let (m, [_, n]) = (lhs.rows, rhs.shape());
    assert_eq!(out.len(), m * n);
    let slice = Shared::new(out);
    let columns = n.div_ceil(COLUMNS);
    // Rows are split only where there are too few columns to keep all threads busy.
    let wanted = 4 * parallel::num_threads();
    let row_pieces = wanted.div_ceil(columns).min(m.div_ceil(ROW_BLOCK)).max(1);
    let rows = m.div_ceil(row_pieces).next_multiple_of(ROWS);
    parallel::for_each(row_pieces * columns, |piece| {
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
    let mut panels = vec![0.0f32; DEPTH.min(k) * width.next_multiple_of(WIDTH)];
    let mut into = into;
    for start in (0..k).step_by(DEPTH) {
        let depth = DEPTH.min(k - start);
        let panels = &mut panels[..depth * width.next_multiple_of(WIDTH)];
        for (index, panel) in panels.chunks_exact_mut(depth * WIDTH).enumerate() {
            rhs.fill(start, column + index * WIDTH, panel);
        }
        for row in (0..lhs.rows).step_by(ROW_BLOCK) {
            let rows = ROW_BLOCK.min(lhs.rows - row);
            for (index, panel) in panels.chunks_exact(depth * WIDTH).enumerate() {
                let first = index * WIDTH;
                let out = Output {
                    start: out.start + row * out.stride + first,
                    ..out
                };
                let lhs = lhs.rows_from(row, rows);
                // SAFETY: as the caller promises.
                unsafe { block(lhs, start, panel, out, WIDTH.min(width - first), into) };
            }
        }
        if into == Into::Replace {
            into = Into::Add { factor: 1.0 };
        }
    }
}

/// Packs a whole right side into panels one after the other, each `k` rows deep.
pub fn pack(rhs: Right<'_>, panels: &mut [f32]) {
    let [k, n] = rhs.shape();
    assert_eq!(panels.len(), k * n.next_multiple_of(WIDTH));
    for (index, panel) in panels.chunks_exact_mut((k * WIDTH).max(1)).enumerate() {
        rhs.fill(0, index * WIDTH, panel);
    }
}

/// A product with panels that [`pack`] made of a right side `[depth, ..]`, of which the first `lhs.cols` rows and the
/// first `width` columns take part; on this thread.
///
/// # Safety
/// As [`product`].
pub unsafe fn multiply_panels(
    lhs: Strided<'_>,
    panels: &[f32],
    depth: usize,
    width: usize,
    out: Output<'_>,
    into: Into,
) {
    for (index, panel) in panels.chunks_exact(depth * WIDTH).enumerate() {
        let first = index * WIDTH;
        if first >= width {
            break;
        }
        let mut into = into;
        for start in (0..lhs.cols).step_by(DEPTH) {
            let rows = DEPTH.min(lhs.cols - start);
            let panel = &panel[start * WIDTH..][..rows * WIDTH];
            let out = Output {
                start: out.start + first,
                ..out
            };
            // SAFETY: as the caller promises.
            unsafe { block(lhs, start, panel, out, WIDTH.min(width - first), into) };
            if into == Into::Replace {
                into = Into::Add { factor: 1.0 };
            }
        }
    }
}

/// `lhs[.., start..start + depth]` times one panel.
///
/// # Safety
/// As [`product`].
unsafe fn block(
    lhs: Strided<'_>,
    start: usize,
    panel: &[f32],
    out: Output<'_>,
    width: usize,
    into: Into,
) {
    let depth = panel.len() / WIDTH;
    let mut row = 0;
    while row < lhs.rows {
        let rows = ROWS.min(lhs.rows - row);
        // SAFETY: `Strided` holds all its elements, and these rows and columns are among them.
        let a = unsafe {
            lhs.pointer()
                .add(row * lhs.row_stride + start * lhs.col_stride)
        };
        let tile = Tile {
            a,
            row_stride: lhs.row_stride,
            col_stride: lhs.col_stride,
            depth,
            panel: panel.as_ptr(),
        };
        let to = out.start + row * out.stride;
        let last = to + (rows - 1) * out.stride + width;
        // The bounds are checked here, once for the tile.
        let end = out.slice.at(last);
        debug_assert!(!end.is_null());
        let to = out.slice.at(to);
        // SAFETY: the tile's rows of `A`, the panel's rows and the output's elements exist; nobody else writes there.
        unsafe {
            match rows {
                1 => tile.run::<1>(to, out.stride, width, into),
                2 => tile.run::<2>(to, out.stride, width, into),
                3 => tile.run::<3>(to, out.stride, width, into),
                4 => tile.run::<4>(to, out.stride, width, into),
                5 => tile.run::<5>(to, out.stride, width, into),
                _ => tile.run::<ROWS>(to, out.stride, width, into),
            }
        }
        row += rows;
    }
}

/// A few rows of `A` and a panel of `B`.
struct Tile {
    a: *const f32,
    row_stride: usize,
    col_stride: usize,
    depth: usize,
    panel: *const f32,
}

type Sums<const R: usize> = [[F32x4; 2]; R];

impl Tile {
    /// # Safety
    /// `R` rows of `A` and of `to` exist, `depth` rows of the panel, and `width <= WIDTH` columns of `to`.
    #[inline(always)]
    unsafe fn run<const R: usize>(&self, to: *mut f32, stride: usize, width: usize, into: Into) {
        // SAFETY: as the caller promises.
        let sums = unsafe {
            if self.col_stride == 1 {
                self.row_major::<R>()
            } else {
                self.strided::<R>()
            }
        };
        for (row, sums) in sums.into_iter().enumerate() {
            // SAFETY: as the caller promises.
            unsafe { write(sums, to.add(row * stride), width, into) };
        }
    }

    /// # Safety
    /// See [`Self::run`]; neighbouring columns of `A` are neighbours in memory.
    #[inline(always)]
    unsafe fn row_major<const R: usize>(&self) -> Sums<R> {
        const UNROLLED: usize = 4;
        let mut sums = [[F32x4::zero(); 2]; R];
        // SAFETY: all offsets stay inside the rows, as the caller promises.
        unsafe {
            let rows: [*const f32; R] =
                std::array::from_fn(|row| self.a.add(row * self.row_stride));
            let unrolled = self.depth / UNROLLED * UNROLLED;
            let mut k = 0;
            while k < unrolled {
                for step in k..k + UNROLLED {
                    multiply(&mut sums, self.panel.add(step * WIDTH), |row| {
                        *rows[row].add(step)
                    });
                }
                k += UNROLLED;
            }
            while k < self.depth {
                multiply(&mut sums, self.panel.add(k * WIDTH), |row| {
                    *rows[row].add(k)
                });
                k += 1;
            }
        }
        sums
    }

    /// # Safety
    /// See [`Self::run`].
    #[inline(always)]
    unsafe fn strided<const R: usize>(&self) -> Sums<R> {
        let mut sums = [[F32x4::zero(); 2]; R];
        let mut a = self.a;
        for k in 0..self.depth {
            // SAFETY: all offsets stay inside the rows, as the caller promises; the last advance is not read.
            unsafe {
                multiply(&mut sums, self.panel.add(k * WIDTH), |row| {
                    *a.add(row * self.row_stride)
                });
                a = a.wrapping_add(self.col_stride);
            }
        }
        sums
    }
}

/// Adds one row of the panel times one element of each row of `A`.
///
/// # Safety
/// The panel's row exists.
#[inline(always)]
unsafe fn multiply<const R: usize>(
    sums: &mut Sums<R>,
    panel: *const f32,
    a: impl Fn(usize) -> f32,
) {
    // SAFETY: as the caller promises.
    let (low, high) = unsafe { (F32x4::load(panel), F32x4::load(panel.add(LANES))) };
    for (row, sums) in sums.iter_mut().enumerate() {
        let a = F32x4::splat(a(row));
        sums[0] = a.mul_add(low, sums[0]);
        sums[1] = a.mul_add(high, sums[1]);
    }
}

/// # Safety
/// `width` elements can be written to `to`.
#[inline(always)]
unsafe fn write(sums: [F32x4; 2], to: *mut f32, width: usize, into: Into) {
    if width == WIDTH {
        // SAFETY: eight elements can be read and written.
        unsafe {
            for (half, sum) in sums.into_iter().enumerate() {
                let to = to.add(half * LANES);
                match into {
                    Into::Replace => sum.store(to),
                    Into::Add { factor } => {
                        sum.mul_add(F32x4::splat(factor), F32x4::load(to)).store(to);
                    }
                }
            }
        }
        return;
    }
    let sums = sums.map(F32x4::to_array);
    for (lane, sum) in sums.as_flattened().iter().take(width).enumerate() {
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
