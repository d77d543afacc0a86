//! The adapter's files for PEFT: `adapter_model.safetensors` and `adapter_config.json`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use protocol::{AdapterSpec, ExportFile, ModelSummary};
use safetensors::{Dtype, View};

use super::{ExportError, ExportInput, pretty_json};
use crate::adapter::{AdapterLayout, ModelShape, NamedTensor, peft};

/// A tensor on its way into the file.
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

/// The files that PEFT loads, from checked tensors.
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

pub(super) fn safetensors(tensors: &[NamedTensor]) -> Result<Vec<u8>, ExportError> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(
        tensors.iter().map(|tensor| (&tensor.name, Written(tensor))),
        Some(metadata),
    )?)
}

/// The name by which `from_pretrained` finds the base model: its hub ID, if known.
pub fn base_model(model: &ModelSummary) -> &str {
    model.base_model_name.as_deref().unwrap_or(&model.name)
}
