//! The adapter's files for PEFT: `adapter_model.safetensors` and `adapter_config.json`.
//!
//! Names and shapes come from [`AdapterLayout::tensors`], which the import compares with as well. PEFT names a tensor
//! by its place in the wrapped model (`peft.utils.save_and_load`):
//!
//! ```text
//! base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight    [r, in]
//! base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight    [out, r]
//! base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector    [out], DoRA alone
//! ```
//!
//! All numbers are F32, little endian. The header's metadata is `{"format": "pt"}`, without which transformers refuses
//! a file. PEFT only warns about names that are missing or unexpected and then answers like the base, so [`check`]
//! compares every one.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use protocol::{AdapterSpec, ExportFile, ModelSummary};
use safetensors::{Dtype, View};

use super::{ExportError, ExportInput, pretty_json};
use crate::adapter::{AdapterLayout, ModelShape, NamedTensor, peft};

/// A tensor on its way into the file. The `safetensors` crate writes anything that implements its `View`.
struct Written<'a>(&'a NamedTensor);

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.0.values.iter().flat_map(|value| value.to_le_bytes());
        Cow::Owned(bytes.collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.0.values.as_slice())
    }
}

/// Checks that the tensors are the run's, complete and finite.
///
/// # Errors
/// The first problem in the order of the tensors; a missing tensor comes last.
pub(super) fn check(input: &ExportInput<'_>) -> Result<(), ExportError> {
    if input.tensors.is_empty() || !input.summary.has_adapter {
        return Err(ExportError::EmptyAdapter);
    }
    let shape = ModelShape::from(input.model);
    let layout = AdapterLayout::new(&input.spec.adapter, &shape);
    let mut missing: BTreeMap<String, Vec<usize>> = layout.tensors().into_iter().collect();
    for tensor in input.tensors {
        let name = || tensor.name.clone();
        let Some(expected) = missing.remove(&tensor.name) else {
            return Err(ExportError::UnexpectedTensor { name: name() });
        };
        if tensor.shape != expected {
            return Err(ExportError::WrongShape {
                name: name(),
                actual: format!("{:?}", tensor.shape),
                expected: format!("{expected:?}"),
            });
        }
        let expected = expected.iter().product();
        if tensor.values.len() != expected {
            return Err(ExportError::WrongLength {
                name: name(),
                actual: tensor.values.len(),
                expected,
            });
        }
        if let Some(&value) = tensor.values.iter().find(|value| !value.is_finite()) {
            return Err(ExportError::NonFinite {
                name: name(),
                value: f64::from(value),
            });
        }
    }
    match missing.into_keys().next() {
        Some(name) => Err(ExportError::MissingTensor { name }),
        None => Ok(()),
    }
}

/// The files that PEFT loads, from checked tensors, each with its name in the zip.
///
/// `base` becomes `base_model_name_or_path`, by which `AutoPeftModel` finds the base.
///
/// # Errors
/// None for the tensors listed by [`AdapterLayout::tensors`].
pub fn files(
    spec: &AdapterSpec,
    shape: &ModelShape,
    base: &str,
    tensors: &[NamedTensor],
) -> Result<[(ExportFile, Vec<u8>); 2], ExportError> {
    let config = pretty_json(&peft::config(spec, shape, base))?;
    Ok([
        (ExportFile::Adapter, safetensors(tensors)?),
        (ExportFile::AdapterConfig, config.into_bytes()),
    ])
}

/// Serializes tensors as F32, each under its name; the library orders them by alignment and name.
///
/// ```text
/// u64   length of the header
/// JSON  {"__metadata__": {"format": "pt"}, "name": {"dtype": "F32", "shape": [..], "data_offsets": [..]}, ..}
/// f32   the tensors one after the other, without gaps
/// ```
///
/// # Errors
/// [`ExportError::Safetensors`] for a shape that does not match its values.
pub(super) fn safetensors(tensors: &[NamedTensor]) -> Result<Vec<u8>, ExportError> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(
        tensors.iter().map(|tensor| (&tensor.name, Written(tensor))),
        Some(metadata),
    )?)
}

/// The name by which `from_pretrained` finds the base model: its hub id, if known. Otherwise the model's own name,
/// which the README then asks to replace.
pub fn base_model(model: &ModelSummary) -> &str {
    model.base_model_name.as_deref().unwrap_or(&model.name)
}
