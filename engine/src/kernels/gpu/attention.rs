//! Attention with a running softmax (Dao et al., arXiv 2205.14135): scores are computed tile by tile, forward and again
//! backward, and never lie in memory as a whole.
//!
//! A workgroup owns a tile of rows (queries in [`forward`] and [`backward`]'s queries, keys in its keys) and walks over
//! blocks of columns (the others). Its units stand in groups: a group owns [`ROWS`] rows; of a block's scores each of
//! its units computes some columns, of the rows' results each sums some dimensions. In between the scores pass through
//! workgroup memory.

mod backward;
mod forward;

use cubecl::prelude::*;

pub use self::{backward::backward, forward::forward};
use super::{calibration::Variant, operand::Four};
use crate::kernels::Heads;

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

/// `a . b` over a head for every row of `rows` and every column of `columns`, row-major; the sequences hold the first
/// vectors of the heads.
#[cube]
fn scores(
    a: &Tensor<Vector<f32, Four>>,
    rows: &Sequence<usize>,
    b: &Tensor<Vector<f32, Four>>,
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
            left.push(a[rows[r] + at]);
        }
        #[unroll]
        for c in 0..comptime!(columns.len()) {
            let right = b[columns[c] + at];
            #[unroll]
            for r in 0..comptime!(rows.len()) {
                sums[comptime!(r * columns.len() + c)] += left[r].dot(right);
            }
        }
    }
}

/// Adds to a unit's share of its rows the columns of a block, each by its weight: `weights` holds `block` of them for
/// every row of the workgroup. `first` is the vector at which the unit's share of column 0 begins, `stride` counts
/// vectors from one column to the next; columns past `last` read it again and weigh nothing.
#[cube]
fn add_weighted(
    sums: &mut Array<Vector<f32, Four>>,
    weights: &Shared<[f32]>,
    group: usize,
    values: &Tensor<Vector<f32, Four>>,
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
                shares.push(values[at + v]);
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
