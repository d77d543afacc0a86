//! What an operation takes or returns as one value, on one backend.

use burn::backend::{
    Backend, ExtensionType, TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};

use crate::quantized::WeightKind;

/// A quantized matrix `W` `[rows, cols]`; see [`crate::quantized`].
#[derive(Debug, Clone, ExtensionType)]
pub struct QuantizedOperand<B: Backend> {
    /// The bits of `u32`s, `[rows, words]`.
    pub words: IntTensor<B>,
    /// The bits of `u32`s, `[rows, cols / 32]`; any tensor for the float kinds.
    pub scales: IntTensor<B>,
    pub kind: WeightKind,
    pub cols: usize,
}

impl<B: Backend> QuantizedOperand<B> {
    /// `[rows, cols]`
    pub fn shape(&self) -> [usize; 2] {
        [self.words.shape()[0], self.cols]
    }
}

/// What a product with a quantized matrix adds to its result.
#[derive(Debug, Clone, ExtensionType)]
pub enum Addend<B: Backend> {
    Nothing,
    /// `scaling u B^T` in a forward, `scaling u A` in a backward, all f32; `u` is `[n, r]`.
    LowRank {
        u: FloatTensor<B>,
        /// `B` `[rows, r]` in a forward, `A` `[r, cols]` in a backward.
        v: FloatTensor<B>,
        scaling: f64,
    },
}

/// Which keys a query sees, apart from those after it; see [`crate::Visibility`].
#[derive(Debug, Clone, ExtensionType)]
pub enum Sight<B: Backend> {
    /// Those of its row.
    Row { window: Option<usize> },
    /// Those of its segment.
    Segment {
        /// For each token of the only row, the first token of its segment and the first token after it, `[t, 2]`.
        table: IntTensor<B>,
        window: Option<usize>,
    },
}

impl<B: Backend> Sight<B> {
    /// The table of segments, and the window.
    pub fn limits(self) -> (Option<IntTensor<B>>, Option<usize>) {
        match self {
            Self::Row { window } => (None, window),
            Self::Segment { table, window } => (Some(table), window),
        }
    }
}

/// The running sums of the softmax over the vocabulary after some chunks of the head.
#[derive(Debug, Clone, ExtensionType)]
pub struct RunningSums<B: Backend> {
    /// The largest logit so far, `[s, 1]`.
    pub maximum: FloatTensor<B>,
    /// Sum of `exp(logit - maximum)`, `[s, 1]`.
    pub sum: FloatTensor<B>,
    /// Sum of `exp(logit - maximum) W_v`, `[s, d]`.
    pub weighted: FloatTensor<B>,
}
