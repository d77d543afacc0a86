//! One training example as the model sees it.
//!
//! ```text
//! ids        1 | 40 | 7 | 12 | 2         t tokens, at least 2
//! loss_mask  -    -   -    ^   ^         7 predicts 12, 12 predicts 2
//! ```

/// The token ids of one row, and which of them the loss covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSequence {
    /// 0-based row number in the dropped file.
    pub row: usize,
    /// At most as many as the sequence length.
    pub ids: Vec<u32>,
    /// `loss_mask[i]`: the model learns to predict `ids[i]` from the tokens before it. `loss_mask[0]` is false.
    pub loss_mask: Vec<bool>,
}

impl TokenSequence {
    /// Returns the number of tokens that the loss covers.
    pub fn num_scored(&self) -> usize {
        self.loss_mask.iter().filter(|&&trained| trained).count()
    }
}
