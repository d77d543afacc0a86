//! What a header says about one tensor.

use super::packed::PackedKind;

/// The maximum number of tensors in a file: far above any real model, and low enough to limit the cost of a hostile
/// header.
pub const MAX_TENSORS: u64 = 65_536;

/// One tensor of a file. `offset` and `num_bytes` were checked against the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name in the file.
    pub name: String,
    /// Slowest dimension first, as in HF (GGUF files list them the other way round).
    pub shape: Vec<u64>,
    /// The file's name for the element type, such as `Q4_K`.
    pub type_name: &'static str,
    /// How the weights are stored; `None` for the types that this engine does not read.
    pub kind: Option<PackedKind>,
    /// From the start of the file.
    pub offset: u64,
    /// Zero if `kind` is `None`, since the size is not needed then.
    pub num_bytes: u64,
}

impl TensorEntry {
    /// Number of weights; the parsers refuse shapes whose product overflows.
    pub fn num_weights(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// The product of `shape`, unless it overflows.
pub(crate) fn checked_num_weights(shape: &[u64]) -> Option<u64> {
    // If a dimension is zero, the product is zero, however large the others are.
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1u64, |product, &dimension| product.checked_mul(dimension))
}

/// A range of bytes shared by two tensors, or a gap between two tensors.
pub(crate) enum LayoutProblem<'a> {
    Overlap(&'a TensorEntry),
    Hole(&'a TensorEntry),
}

/// Walks the tensors in the order of their bytes, from `start` on, and reports the first that begins before the
/// previous one ends, or (with `dense`) after it. Returns the end of the last one.
pub(crate) fn check_layout(
    tensors: &[TensorEntry],
    start: u64,
    dense: bool,
) -> Result<u64, LayoutProblem<'_>> {
    let mut order: Vec<&TensorEntry> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.offset, tensor.num_bytes));
    let mut end = start;
    for tensor in order {
        if tensor.num_bytes > 0 && tensor.offset < end {
            return Err(LayoutProblem::Overlap(tensor));
        }
        if dense && tensor.offset != end {
            return Err(LayoutProblem::Hole(tensor));
        }
        end = end.max(tensor.offset.saturating_add(tensor.num_bytes));
    }
    Ok(end)
}
