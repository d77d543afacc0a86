//! What a GGUF file is for, where it is no model by itself, and what its type is called.
//!
//! llama.cpp's tools write adapters, importance matrices, image projectors, control vectors and bare
//! vocabularies in the same format, often next to the model.

use super::ModelError;
use crate::weights::gguf::{GgufError, GgufHeader};

/// An adapter as `convert_lora_to_gguf.py` writes it. Like the constants below, it says in words what the file
/// is, then what to do with it.
const ADAPTER: (&str, &str) = (
    "a LoRA adapter",
    "Load the model that it was made for, then add this file under Adapters.",
);
const IMATRIX: (&str, &str) = (
    "an importance matrix (imatrix), which llama.cpp uses while it quantizes",
    "Choose the model's own .gguf file.",
);
const PROJECTOR: (&str, &str) = (
    "the part of a multimodal model that reads images or sound (mmproj)",
    "Choose the .gguf file of the language model that goes with it.",
);
const CONTROL: (&str, &str) = (
    "a control vector",
    "Choose the model's own .gguf file; Inlay does not use control vectors.",
);
const VOCABULARY: (&str, &str) = (
    "a vocabulary without weights",
    "Choose the model's own .gguf file.",
);

/// Refuses a file that is for something else than being loaded as a model, or only a part of one.
///
/// Many files say in `general.type` what they are. The others are known by their architecture or by the prefix of
/// a key; a part of a split model has a `split.count` above 1.
///
/// # Errors
/// [`ModelError::OtherGguf`], [`ModelError::SplitGguf`], or a key of another type.
pub(super) fn check_purpose(file: &str, header: &GgufHeader) -> Result<(), ModelError> {
    let metadata = &header.metadata;
    let gguf_error = |error: GgufError| ModelError::Gguf {
        file: file.to_owned(),
        error,
    };
    let kind = metadata.text("general.type").map_err(gguf_error)?;
    let architecture = metadata.text("general.architecture").map_err(gguf_error)?;
    let has_keys = |start: &str| metadata.keys().any(|key| key.starts_with(start));
    let parts = metadata.unsigned("split.count").map_err(gguf_error)?;
    let other = match (kind, architecture) {
        (Some("adapter"), _) => Some(ADAPTER),
        (Some("imatrix"), _) => Some(IMATRIX),
        (Some("mmproj"), _) | (_, Some("clip")) => Some(PROJECTOR),
        (_, Some("controlvector")) => Some(CONTROL),
        _ if has_keys("imatrix.") => Some(IMATRIX),
        _ if has_keys("adapter.") => Some(ADAPTER),
        _ if parts.is_some_and(|parts| parts > 1) => {
            return Err(ModelError::SplitGguf {
                file: file.to_owned(),
            });
        }
        _ if header.tensors.is_empty() && has_keys("tokenizer.") => Some(VOCABULARY),
        _ => None,
    };
    match other {
        None => Ok(()),
        Some((what, remedy)) => Err(ModelError::OtherGguf {
            file: file.to_owned(),
            what,
            remedy,
        }),
    }
}

/// llama.cpp's names for the types of a whole file (`enum llama_ftype` in `llama.h`), with the number in
/// `general.file_type`. F32, F16 and BF16 are left out: no message needs them.
const FILE_TYPES: [(u64, &str); 28] = [
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (38, "MXFP4"),
];

/// Returns what a quantized file is called: as its own name says, which is what people chose it by, else as its
/// header does, since converters are known to leave the type that they began with. The longest name that fits
/// counts (`Q4_K_M`, not `Q4_K`).
pub(super) fn file_type(name: &str, number: Option<u64>) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let named = FILE_TYPES.iter().filter(|(_, known)| name.contains(known));
    let named = named.max_by_key(|(_, known)| known.len());
    let numbered = || FILE_TYPES.iter().find(|(known, _)| Some(*known) == number);
    named.or_else(numbered).map(|(_, known)| *known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_as_it_is_sold() {
        for (name, number, expected) in [
            ("tiny-Q4_K_M.gguf", Some(1), Some("Q4_K_M")),
            ("llama.iq4_xs.gguf", None, Some("IQ4_XS")),
            ("model.gguf", Some(15), Some("Q4_K_M")),
            ("model.gguf", Some(1), None),
            ("model.gguf", None, None),
        ] {
            assert_eq!(file_type(name, number), expected, "{name}");
        }
    }
}
