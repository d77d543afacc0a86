//! What an adapter needs of the model that it changes.
//!
//! [`Model`](crate::model::Model) implements it. The trait keeps the direction of the dependencies: the model knows
//! adapters, and adapters know no model. A method reads weights through it when it starts (DoRA the row norms, PiSSA
//! and OLoRA whole matrices), and at every upload.
//!
//! Everything here is frozen; nothing gives out a mutable reference.

use burn::tensor::{Device, Tensor};
use protocol::{BlockNorm, TargetModule};

use super::ModelShape;
use crate::kernels::FrozenMatrix;

/// A frozen model on a device.
pub trait Base {
    /// The sizes that determine an adapter's layout.
    fn shape(&self) -> ModelShape;

    /// The device that holds the weights, and on which the adapter is made.
    fn device(&self) -> &Device;

    /// A projection of a block, `[out, in]`, still quantized where the file was.
    fn projection(&self, layer: usize, module: TargetModule) -> &FrozenMatrix;

    /// The weight of a block's norm, `[1, d]`.
    fn block_norm(&self, layer: usize, norm: BlockNorm) -> &Tensor<2>;

    /// The weight of the norm after the last block, `[1, d]`.
    fn last_norm(&self) -> &Tensor<2>;

    /// The head, `[v, d]`, which may be the embedding. It is always the base's, even if an adapter trains its own.
    fn head(&self) -> &FrozenMatrix;

    /// The embeddings of `ids`, which must all be in the vocabulary.
    ///
    /// # Shapes
    /// - `ids`: `n` token ids
    /// - returns `[n, d]`, f32
    fn embeddings(&self, ids: &[u32]) -> Tensor<2>;
}
