//! The element types of ggml: all are known by name, some are readable.
//!
//! The numbers are those of `enum ggml_type` in `ggml.h`. The readable ones are described in
//! [`WeightKind::format`]; the others are listed so that a refusal says `Q4_K` and not `type 12`.
//!
//! A number without a name makes the whole file unusable ([`GgufProblem::TensorType`](super::GgufProblem::TensorType));
//! a type with a name but without a kind only matters if the model needs the tensor.

use kernels::quantized::WeightKind;

/// Returns the name of a ggml type and how this engine reads it (`None` if it does not), by the number in the
/// file. Numbers that ggml never used, or does not use yet, give `None` altogether.
pub(super) fn ggml_type(number: u32) -> Option<(&'static str, Option<WeightKind>)> {
    let mut kinds = WeightKind::ALL.into_iter();
    if let Some(kind) = kinds.find(|kind| kind.format().ggml_type == number) {
        return Some((kind.format().name, Some(kind)));
    }
    let name = match number {
        4 => "Q4_2",
        5 => "Q4_3",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        31 => "Q4_0_4_4",
        32 => "Q4_0_4_8",
        33 => "Q4_0_8_8",
        34 => "TQ1_0",
        35 => "TQ2_0",
        36 => "IQ4_NL_4_4",
        37 => "IQ4_NL_4_8",
        38 => "IQ4_NL_8_8",
        39 => "MXFP4",
        40 => "NVFP4",
        41 => "Q1_0",
        _ => return None,
    };
    Some((name, None))
}
