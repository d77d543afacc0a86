//! An adapter that PEFT, mlx-lm, llama.cpp's converter or an earlier run saved, back in: its files, the folder that they
//! lie in, or a zip that holds them.
//!
//! ```text
//! [NamedSource] -> Given (which file is what) -> Incoming (PEFT's names and config) -> config::spec
//!     -> every tensor against AdapterLayout::tensors -> AdapterFiles -> AdapterForm
//! ```
//!
//! Nothing is guessed: what does not fit the loaded model is refused with every reason found, and what PEFT would load
//! otherwise than we (a start from the base that was not converted) is refused as well.

mod archive;
mod config;
mod error;
mod given;
mod incoming;

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use protocol::{AdapterSpec, Failure, FailureKind};

use crate::{
    adapter::{AdapterForm, AdapterLayout, Base, MergeForm, ModelShape},
    weights::{checkpoint::NamedSource, packed::PackedKind, tensor::TensorEntry},
};

use self::{
    given::{Content, Given},
    incoming::Incoming,
};
pub use crate::adapter::peft::Remedy;
pub use error::{ArchiveError, ImportError, Mismatch};

/// Far more than any config has.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// A sound adapter for the model that it was checked against.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFiles {
    /// The weights' file, or the archive.
    pub name: String,
    /// `base_model_name_or_path`
    pub base: Option<String>,
    pub spec: AdapterSpec,
    /// Names of the given files that are no part of it.
    pub unused_files: Vec<String>,
    /// By PEFT's names: those of [`AdapterLayout::tensors`].
    tensors: BTreeMap<String, Vec<f32>>,
}

impl AdapterFiles {
    /// Reads and checks the files, which may come in any order; their content says what each is.
    ///
    /// # Errors
    /// [`ImportError::Mismatches`] with every reason, or what keeps the files from being read at all.
    pub async fn open(files: Vec<NamedSource>, shape: &ModelShape) -> Result<Self, ImportError> {
        let mut given = Given::of(archive::unpacked(files).await?).await?;
        let file = given.weights()?;
        let incoming = match file.1 {
            Content::Gguf => Incoming::of_gguf(&file.0, shape).await?,
            _ => Incoming::of_safetensors(&file.0, given.config().await?).await?,
        };
        let (file, Incoming { config, tensors }) = (file.0, incoming);
        let entries: Vec<TensorEntry> = tensors.iter().map(|tensor| tensor.entry.clone()).collect();
        let mut mismatches = Vec::new();
        let spec = config::spec(&config, shape, &entries, &mut mismatches);
        let mut values = BTreeMap::new();
        if let Some(spec) = &spec
            && let Some(layout) = laid_out(spec, shape, file.source.num_bytes(), &mut mismatches)
        {
            let fitting = compare(&layout, shape, &entries, &mut mismatches);
            let mut wanted: Vec<_> = tensors
                .iter()
                .filter(|tensor| fitting.contains(&tensor.entry.name))
                .collect();
            // A file in an archive is inflated from front to back.
            wanted.sort_by_key(|tensor| tensor.entry.offset);
            for tensor in wanted {
                let numbers = tensor.values(&*file.source).await?;
                let name = &tensor.entry.name;
                if let Some(value) = numbers.iter().find(|value| !value.is_finite()) {
                    let (tensor, value) = (name.clone(), f64::from(*value));
                    mismatches.push(Mismatch::NonFinite { tensor, value });
                }
                values.insert(name.clone(), numbers);
            }
        }
        let base = config.get("base_model_name_or_path");
        let base = base.and_then(|base| base.as_str()).map(str::to_owned);
        match spec {
            Some(spec) if mismatches.is_empty() => Ok(Self {
                // Of a file in an archive, the archive's.
                name: file.name.split('/').next().unwrap_or_default().to_owned(),
                base,
                spec,
                unused_files: given.others,
                tensors: values,
            }),
            _ => Err(ImportError::Mismatches { base, mismatches }),
        }
    }

    /// The adapter over the model that it was checked against.
    ///
    /// # Errors
    /// The device's failure while the base is read.
    pub async fn form(mut self, base: &dyn Base) -> Result<(AdapterForm, Vec<f32>), Failure> {
        let layout = AdapterLayout::new(&self.spec, &base.shape());
        let shared = self.take_shared(&layout)?;
        let (form, mut parameters) = AdapterForm::with_shared(&self.spec, shared, base).await?;
        self.take_parameters(&layout, &mut parameters)?;
        Ok((form, parameters))
    }

    /// The adapter for merging alone, which needs no model on a device; `shape` is that which it was checked against.
    ///
    /// # Errors
    /// None for an adapter that was checked.
    pub fn to_merge(
        mut self,
        shape: &ModelShape,
        device: &Device,
    ) -> Result<(MergeForm, Vec<f32>), Failure> {
        let layout = AdapterLayout::new(&self.spec, shape);
        let mut parameters = vec![0.0; layout.num_parameters];
        self.take_parameters(&layout, &mut parameters)?;
        let shared = self.take_shared(&layout)?;
        let form = MergeForm::new(layout, shared, device)?;
        Ok((form, parameters))
    }

    fn take_parameters(
        &mut self,
        layout: &AdapterLayout,
        parameters: &mut [f32],
    ) -> Result<(), Failure> {
        for slot in &layout.slots {
            let values = self.take(&slot.name(self.spec.method))?;
            parameters[slot.range.clone()].copy_from_slice(&values);
        }
        Ok(())
    }

    /// The matrices that all modules share.
    fn take_shared(&mut self, layout: &AdapterLayout) -> Result<Vec<Vec<f32>>, Failure> {
        let shared = layout.shared();
        let names = shared.iter().map(|matrix| matrix.name);
        names.map(|name| self.take(name)).collect()
    }

    fn take(&mut self, name: &str) -> Result<Vec<f32>, Failure> {
        self.tensors.remove(name).ok_or_else(|| {
            let what = "The adapter lacks a tensor that it was checked for.";
            Failure::new(FailureKind::Internal, what).at(name)
        })
    }
}

async fn whole(file: &NamedSource, limit: u64) -> Result<Vec<u8>, ImportError> {
    let num_bytes = file.source.num_bytes();
    if num_bytes > limit {
        let file = file.name.clone();
        return Err(ImportError::TooLarge { file, num_bytes });
    }
    Ok(file.source.read(0, num_bytes as usize).await?)
}

/// The layout, if the file can hold it: what a config asks for is not believed before.
fn laid_out(
    spec: &AdapterSpec,
    shape: &ModelShape,
    num_bytes: u64,
    mismatches: &mut Vec<Mismatch>,
) -> Option<AdapterLayout> {
    let num_parameters = AdapterLayout::num_parameters_of(spec, shape);
    // The narrowest type takes two bytes.
    if num_parameters > num_bytes / 2 {
        let key = if spec.train_head {
            "modules_to_save"
        } else if spec.method.facts().has_prompt {
            "num_virtual_tokens"
        } else {
            "r"
        };
        let what = format!(
            "an adapter of this size has {num_parameters} parameters, and the file of {num_bytes} bytes holds fewer"
        );
        mismatches.push(Mismatch::config(key, what, Remedy::Base));
        return None;
    }
    Some(AdapterLayout::new(spec, shape))
}

/// The names of the tensors that are as the layout wants them.
fn compare(
    layout: &AdapterLayout,
    shape: &ModelShape,
    entries: &[TensorEntry],
    mismatches: &mut Vec<Mismatch>,
) -> BTreeSet<String> {
    let mut missing: BTreeMap<String, Vec<usize>> = layout.tensors().into_iter().collect();
    let mut fitting = BTreeSet::new();
    for entry in entries {
        let tensor = entry.name.clone();
        match missing.remove(&tensor) {
            None => {
                let foreign = config::foreign_tensor(&tensor, shape, entries);
                mismatches.push(foreign.unwrap_or(Mismatch::Unexpected { tensor }));
            }
            Some(expected) if !is_same(&entry.shape, &expected) => {
                let actual = entry.shape.clone();
                mismatches.push(Mismatch::Shape {
                    tensor,
                    actual,
                    expected,
                });
            }
            Some(_) if !is_float(entry) => mismatches.push(Mismatch::Type {
                tensor,
                type_name: entry.type_name,
            }),
            Some(_) => {
                fitting.insert(tensor);
            }
        }
    }
    let missing = missing.into_keys();
    mismatches.extend(missing.map(|tensor| Mismatch::Missing { tensor }));
    fitting
}

fn is_same(shape: &[u64], expected: &[usize]) -> bool {
    shape
        .iter()
        .copied()
        .eq(expected.iter().map(|&size| size as u64))
}

fn is_float(entry: &TensorEntry) -> bool {
    matches!(
        entry.kind,
        Some(PackedKind::F32 | PackedKind::F16 | PackedKind::Bf16)
    )
}
