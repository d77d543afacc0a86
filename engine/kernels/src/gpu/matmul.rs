//! Matrix products on the GPU: checks the layout of the operands and launches the kernel that suits the GPU.

pub mod register;
pub mod shared;
mod strided;

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use self::register::Tile;
use super::{
    calibration::Variant,
    operand::Along,
    rows::{elements, empty},
};

/// The layout of a matrix from which vectors of four can be read.
#[derive(Debug, Clone, Copy)]
struct VectorLayout {
    along: Along,
    /// Vectors from one edge, or step of `k`, to the next.
    pitch: usize,
    /// Vectors from one matrix of the batch to the next.
    batch: usize,
}

/// Sizes and strides, in elements, of one side of a product.
#[derive(Debug, Clone, Copy)]
struct Side {
    edges: usize,
    k: usize,
    batch_stride: usize,
    edge_stride: usize,
    k_stride: usize,
}

impl Side {
    fn new(tensor: &CubeTensor, edge_dim: usize, k_dim: usize) -> Self {
        let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
        let batch = edge_dim.min(k_dim).checked_sub(1);
        Self {
            edges: shape[edge_dim],
            k: shape[k_dim],
            batch_stride: batch.map_or(0, |dim| strides[dim]),
            edge_stride: strides[edge_dim],
            k_stride: strides[k_dim],
        }
    }

    fn vector_layout(self) -> Option<VectorLayout> {
        let by_four = |stride: usize| stride.is_multiple_of(4).then_some(stride / 4);
        let batch = by_four(self.batch_stride)?;
        if !self.k.is_multiple_of(4) {
            return None;
        }
        let layout = |along, pitch| VectorLayout {
            along,
            pitch,
            batch,
        };
        if self.k_stride == 1 {
            return by_four(self.edge_stride).map(|pitch| layout(Along::K, pitch));
        }
        let in_groups = self.edge_stride == 1 && self.edges.is_multiple_of(4);
        let pitch = by_four(self.k_stride).filter(|_| in_groups)?;
        Some(layout(Along::Edges, pitch))
    }
}

/// `[batch, m, k] x [batch, k, n] -> [batch, m, n]`, or both without `batch`, with the GPU's variant. Either side may
/// be a transposed view and may hold halves; the product is f32.
pub fn matmul(lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
    let variant = Variant::of(&lhs.client);
    matmul_by(variant, lhs, rhs)
}

/// Like [`matmul`], with a given variant if the operands allow it.
pub fn matmul_by(variant: Variant, lhs: CubeTensor, rhs: CubeTensor) -> CubeTensor {
    let rank = lhs.meta.shape().num_dims();
    let (left, right) = (
        Side::new(&lhs, rank - 2, rank - 1),
        Side::new(&rhs, rank - 1, rank - 2),
    );
    let mut shape = lhs.meta.shape().clone();
    shape[rank - 1] = right.edges;
    let out = empty(&lhs, shape, DType::F32);
    let batch = if rank == 3 { lhs.meta.shape()[0] } else { 1 };
    if batch * left.edges * right.edges == 0 {
        return out;
    }
    match (left.vector_layout(), right.vector_layout()) {
        (Some(l), Some(r)) if right.edges.is_multiple_of(4) => {
            let sizes = Sizes {
                batch,
                m: left.edges,
                n: right.edges,
                k: left.k,
            };
            launch_dense(variant, sizes, (lhs, l), (rhs, r), &out);
        }
        _ => launch_strided(batch, (lhs, left), (rhs, right), &out),
    }
    out
}

/// Sizes of a product.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub batch: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Sizes {
    /// A tile that wastes little: short for few rows, narrow for few columns.
    pub fn tile(self) -> Tile {
        Tile {
            rows: match self.m {
                0..=4 => 4,
                5..=8 => 8,
                _ => 16,
            },
            columns: if self.n <= 16 { 4 } else { 16 },
        }
    }

    /// Workgroups of `units` units along columns.
    pub fn register_count(self, tile: Tile) -> CubeCount {
        let columns = tile.columns * register::UNITS as usize;
        count(
            self.n.div_ceil(columns),
            self.m.div_ceil(tile.rows),
            self.batch,
        )
    }

    pub fn shared_count(self) -> CubeCount {
        count(
            self.n.div_ceil(shared::TILE),
            self.m.div_ceil(shared::TILE),
            self.batch,
        )
    }
}

fn count(x: usize, y: usize, z: usize) -> CubeCount {
    CubeCount::Static(x as u32, y as u32, z as u32)
}

fn launch_dense(
    variant: Variant,
    sizes: Sizes,
    (lhs, left): (CubeTensor, VectorLayout),
    (rhs, right): (CubeTensor, VectorLayout),
    out: &CubeTensor,
) {
    let client = out.client.clone();
    let Sizes { m, n, k, .. } = sizes;
    let both = [&lhs, &rhs].map(elements);
    // SAFETY: both kernels clamp edges and steps to the sizes given here, which are the tensors' own, and check rows and
    // columns before they write.
    unsafe {
        match variant {
            Variant::Register => {
                let tile = sizes.tile();
                register::dense_kernel::launch_unchecked(
                    &client,
                    sizes.register_count(tile),
                    CubeDim::new_1d(register::UNITS),
                    lhs.into_tensor_arg(),
                    rhs.into_tensor_arg(),
                    out.clone().into_tensor_arg(),
                    m,
                    n,
                    k / 4,
                    left.pitch,
                    left.batch,
                    right.pitch,
                    right.batch,
                    tile,
                    left.along,
                    right.along,
                    both,
                );
            }
            Variant::Shared => {
                shared::dense_kernel::launch_unchecked(
                    &client,
                    sizes.shared_count(),
                    CubeDim::new_1d(shared::UNITS),
                    lhs.into_tensor_arg(),
                    rhs.into_tensor_arg(),
                    out.clone().into_tensor_arg(),
                    m,
                    n,
                    k / 4,
                    left.pitch,
                    left.batch,
                    right.pitch,
                    right.batch,
                    left.along,
                    right.along,
                    both,
                );
            }
        }
    }
}

fn launch_strided(
    batch: usize,
    (lhs, left): (CubeTensor, Side),
    (rhs, right): (CubeTensor, Side),
    out: &CubeTensor,
) {
    let client = out.client.clone();
    let cubes = count(
        right.edges.div_ceil(strided::UNITS as usize),
        left.edges.div_ceil(strided::ROWS),
        batch,
    );
    let both = [&lhs, &rhs].map(elements);
    // SAFETY: rows are clamped, columns checked, and the strides are the tensors' own.
    unsafe {
        strided::strided_kernel::launch_unchecked(
            &client,
            cubes,
            CubeDim::new_1d(strided::UNITS),
            lhs.into_tensor_arg(),
            rhs.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            left.edges,
            right.edges,
            left.k,
            left.batch_stride,
            left.edge_stride,
            left.k_stride,
            right.batch_stride,
            right.edge_stride,
            right.k_stride,
            both,
        );
    }
}
