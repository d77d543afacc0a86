//! What a header says about one tensor, and the checks that GGUF and safetensors share.
//!
//! Both formats end up as a list of [`TensorEntry`] with absolute offsets and shapes in HF's order, so whatever
//! reads weights does not know which format they came from.

use super::quantized::WeightKind;

/// The maximum number of tensors in a file: far above any real model (a Llama of 80 blocks has 723), and low
/// enough to limit the cost of a hostile header.
pub const MAX_TENSORS: u64 = 65_536;

/// One tensor of a file. Its bytes `offset..offset + num_bytes` were checked to lie inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name in the file.
    pub name: String,
    /// Slowest dimension first, as in HF: `[out, in]` for a projection. GGUF files list them the other way
    /// round.
    pub shape: Vec<u64>,
    /// The file's name for the element type, such as `Q4_K`.
    pub type_name: &'static str,
    /// How the weights are stored; `None` for types that this engine does not read, such as `Q4_K` or `I64`.
    /// Such a tensor is no error until a model needs it.
    pub kind: Option<WeightKind>,
    /// Where its first byte is, from the start of the file; of several joined files, from the start of the
    /// first.
    pub offset: u64,
    /// The size in bytes. In GGUF files it is zero if `kind` is `None`, since it is not needed then.
    pub num_bytes: u64,
}

impl TensorEntry {
    /// Returns the number of weights, 1 for a scalar (an empty shape). The parsers refuse shapes whose product
    /// overflows; an entry that was made otherwise counts as the most there can be.
    pub fn num_weights(&self) -> u64 {
        checked_num_weights(&self.shape).unwrap_or(u64::MAX)
    }
}

/// Returns the product of `shape`, or `None` if it overflows at any dimension. Shapes are claims of a file, so
/// 2^32 x 2^32 must not wrap around to a small number.
///
/// As in the `safetensors` crate, a zero does not excuse what comes before it: `[0, 2^40, 2^40]` is empty, and
/// `[2^40, 2^40, 0]` is refused.
pub(crate) fn checked_num_weights(shape: &[u64]) -> Option<u64> {
    shape
        .iter()
        .try_fold(1u64, |product, &dimension| product.checked_mul(dimension))
}

/// Why the tensors of a file cannot lie where it says.
pub(crate) enum LayoutProblem<'a> {
    /// This tensor begins before the previous one ends.
    Overlap(&'a TensorEntry),
    /// There are bytes between the previous tensor and this one; reported only where the format forbids them.
    Hole(&'a TensorEntry),
}

/// Walks the tensors in the order of their bytes, from `start` on, and reports the first that begins before the
/// previous one ends, or (with `dense`) after it. Returns the end of the last one, which is `start` if there
/// are none.
///
/// Safetensors are dense: bytes that no tensor owns could hide another file in it. GGUF pads tensors to its
/// alignment, so gaps are normal there, and tensors whose size is unknown (zero) overlap nothing.
///
/// # Errors
/// The first [`LayoutProblem`] in the order of the bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_shapes_never_wrap_around() {
        let large = 1 << 40;
        for (shape, expected) in [
            (vec![], Some(1)),
            (vec![3, 4], Some(12)),
            (vec![0, large, large], Some(0)),
            (vec![large, large, 0], None),
            (vec![1 << 32, 1 << 32], None),
        ] {
            assert_eq!(checked_num_weights(&shape), expected, "{shape:?}");
            let entry = TensorEntry {
                name: "w".to_owned(),
                shape,
                type_name: "F32",
                kind: Some(WeightKind::F32),
                offset: 0,
                num_bytes: 0,
            };
            assert_eq!(entry.num_weights(), expected.unwrap_or(u64::MAX));
        }
    }
}
