//! What an adapter needs of the model that it changes. The model implements it, so that nothing here knows a model.

use burn::tensor::{Device, Tensor};
use protocol::{BlockNorm, TargetModule};

use super::ModelShape;
use crate::kernels::FrozenMatrix;

/// A frozen model on a device.
pub trait Base {
    /// The sizes that determine an adapter's layout.
    fn shape(&self) -> ModelShape;

    fn device(&self) -> &Device;

    /// A projection of a block, `[out, in]`.
    fn projection(&self, layer: usize, module: TargetModule) -> &FrozenMatrix;

    /// The weight of a block's norm, `[1, d]`.
    fn block_norm(&self, layer: usize, norm: BlockNorm) -> &Tensor<2>;

    /// The weight of the norm after the last block, `[1, d]`.
    fn last_norm(&self) -> &Tensor<2>;

    /// The head, `[v, d]`, which may be the embedding.
    fn head(&self) -> &FrozenMatrix;

    /// The embeddings of `ids`, `[n, d]`.
    fn embeddings(&self, ids: &[u32]) -> Tensor<2>;
}
