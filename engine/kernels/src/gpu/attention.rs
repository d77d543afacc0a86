//! Attention with a running softmax (Dao et al., arXiv 2205.14135): scores are computed tile by tile, in the forward
//! and again in the backward, and are never in memory as a whole.
//!
//! A workgroup owns a tile of rows (queries in [`forward`] and [`backward`]'s queries, keys in its keys) and walks over
//! blocks of columns (the others). Its units form groups: a group owns [`ROWS`] rows; each of its units computes some
//! columns of a block's scores and sums some dimensions of the rows' results. In between, the scores pass through
//! workgroup memory.

mod backward;
mod forward;
mod statistics;

use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::prelude::*;

pub use self::{backward::backward, forward::forward};
use super::{
    calibration::Variant,
    operand::{Four, load},
};
use crate::{Heads, operand::Sight};

/// Rows of a group of units.
pub const ROWS: usize = 8;

/// How a workgroup is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Units of a group; they divide the dimensions of a head.
    pub lanes: usize,
    pub groups: usize,
    /// Columns of a block that one unit computes.
    pub columns: usize,
    /// Vectors of a head.
    pub vectors: usize,
}

impl Plan {
    fn new(variant: Variant, heads: Heads) -> Self {
        let vectors = heads.head_dim / 4;
        let (most_lanes, groups, block) = match variant {
            Variant::Register => (4, 1, 32),
            Variant::Shared => (16, 4, 32),
        };
        let mut lanes = most_lanes;
        while !vectors.is_multiple_of(lanes) {
            lanes /= 2;
        }
        Self {
            lanes,
            groups,
            columns: block / lanes,
            vectors,
        }
    }

    /// Columns of a block.
    pub fn block(self) -> usize {
        self.lanes * self.columns
    }

    /// Rows of a workgroup.
    pub fn rows(self) -> usize {
        self.groups * ROWS
    }

    /// Vectors of a head that one unit sums.
    pub fn share(self) -> usize {
        self.vectors / self.lanes
    }

    fn dim(self) -> CubeDim {
        CubeDim::new_1d((self.lanes * self.groups) as u32)
    }
}

/// Whether heads of that size are read in vectors, and there is something to compute.
pub fn fits(heads: Heads) -> bool {
    // Sums of a tile have to fit registers.
    let fits = heads.head_dim.is_multiple_of(4) && heads.head_dim <= 256;
    fits && heads.batch * heads.tokens > 0
}

/// A unit within its group.
#[cube]
fn lane(#[comptime] plan: Plan) -> usize {
    UNIT_POS as usize % comptime!(plan.lanes)
}

/// A unit's group within the workgroup.
#[cube]
fn group(#[comptime] plan: Plan) -> usize {
    UNIT_POS as usize / comptime!(plan.lanes)
}

/// The first row of a unit's group.
#[cube]
fn first_of_group(#[comptime] plan: Plan) -> usize {
    CUBE_POS_X as usize * comptime!(plan.rows()) + group(plan) * ROWS
}

/// The rows of a unit's group. Rows past the end read the last row again and are not written.
#[cube]
fn rows_of_group(limit: usize, #[comptime] plan: Plan) -> Sequence<usize> {
    let mut rows = Sequence::<usize>::new();
    #[unroll]
    for r in 0..ROWS {
        rows.push(min(first_of_group(plan) + r, limit - 1));
    }
    rows
}

/// The first vectors of the columns a unit computes in the block at `start`: the head begins at `base`, with `stride`
/// from column to column. Columns past `last` read the last one again.
#[cube]
fn columns_of_unit(
    base: usize,
    start: usize,
    last: usize,
    stride: usize,
    #[comptime] plan: Plan,
) -> Sequence<usize> {
    let mut columns = Sequence::<usize>::new();
    #[unroll]
    for c in 0..comptime!(plan.columns) {
        let column = start + lane(plan) + c * comptime!(plan.lanes);
        columns.push(base + min(column, last) * stride);
    }
    columns
}

/// What limits which keys a query sees, apart from the beginning of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// There is a table; see [`Sight`].
    pub table: bool,
    /// The table is a tree's.
    pub path: bool,
    pub window: bool,
}

impl Limits {
    /// The limits, the table, and the window if there is one.
    fn of(sight: Sight<CubeBackend>) -> (Self, Option<CubeTensor>, usize) {
        let path = sight.is_path();
        let (table, window) = sight.limits();
        let limits = Self {
            table: table.is_some(),
            path,
            window: window.is_some(),
        };
        (limits, table, window.unwrap_or_default())
    }

    fn any(self) -> bool {
        self.table || self.window
    }
}

/// The first key that a query sees, from the one in the table and its position among the keys.
#[cube]
fn first_visible(
    of_table: usize,
    position: usize,
    window: usize,
    #[comptime] limits: Limits,
) -> usize {
    let mut first = 0usize.runtime();
    if comptime!(limits.table) {
        first = of_table;
    }
    if comptime!(limits.window) {
        first = max(first, max(position + 1, window) - window);
    }
    first
}

/// A unit's share of its rows' results, before anything is added.
#[cube]
fn no_sums(#[comptime] plan: Plan) -> Array<Vector<f32, Four>> {
    let len = comptime!(ROWS * plan.share());
    let mut sums = Array::<Vector<f32, Four>>::new(len);
    #[unroll]
    for i in 0..len {
        sums[i] = Vector::new(0.0f32);
    }
    sums
}

/// `a . b` over a head for every row of `rows` and every column of `columns`, row-major; the sequences hold the first
/// vectors of the heads.
#[cube]
fn scores<E: Float>(
    a: &Tensor<Vector<E, Four>>,
    rows: &Sequence<usize>,
    b: &Tensor<Vector<E, Four>>,
    columns: &Sequence<usize>,
    sums: &mut Array<f32>,
    #[comptime] vectors: usize,
) {
    #[unroll]
    for i in 0..comptime!(rows.len() * columns.len()) {
        sums[i] = 0.0;
    }
    for at in 0..vectors {
        let mut left = Sequence::<Vector<f32, Four>>::new();
        #[unroll]
        for r in 0..comptime!(rows.len()) {
            left.push(load(a, rows[r] + at));
        }
        #[unroll]
        for c in 0..comptime!(columns.len()) {
            let right = load(b, columns[c] + at);
            #[unroll]
            for r in 0..comptime!(rows.len()) {
                sums[comptime!(r * columns.len() + c)] += left[r].dot(right);
            }
        }
    }
}

/// Adds the columns of a block, each times its weight, to a unit's share of its rows: `weights` holds `block` of them
/// for every row of the workgroup. `first` is the vector at which the unit's share of column 0 begins, `stride` counts
/// vectors from one column to the next; columns past `last` read the last one again with weight zero.
#[cube]
fn add_weighted<E: Float>(
    sums: &mut Array<Vector<f32, Four>>,
    weights: &Shared<[f32]>,
    group: usize,
    values: &Tensor<Vector<E, Four>>,
    first: usize,
    stride: usize,
    start: usize,
    last: usize,
    #[comptime] plan: Plan,
) {
    // Four columns at a time, so that the sums are loaded and stored a quarter as often.
    let together = comptime!(4usize);
    for quarter in 0..comptime!(plan.block() / together) {
        #[unroll]
        for i in 0..together {
            let column = quarter * together + i;
            let at = first + min(start + column, last) * stride;
            let mut shares = Sequence::<Vector<f32, Four>>::new();
            #[unroll]
            for v in 0..comptime!(plan.share()) {
                shares.push(load(values, at + v));
            }
            #[unroll]
            for r in 0..ROWS {
                let weight = weights[(group * ROWS + r) * comptime!(plan.block()) + column];
                #[unroll]
                for v in 0..comptime!(plan.share()) {
                    sums[r * comptime!(plan.share()) + v] += Vector::new(weight) * shares[v];
                }
            }
        }
    }
}
