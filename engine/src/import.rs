//! An adapter that PEFT, mlx-lm, llama.cpp's converter or an earlier run saved, back in: its files, the folder
//! that they lie in, or a zip that holds them.
//!
//! ```text
//! [NamedSource] -> archive::unpacked -> Given (which file is what) -> Incoming (PEFT's names and config)
//!     -> config::spec -> every tensor against AdapterLayout::tensors -> AdapterFiles -> AdapterForm
//! ```
//!
//! Nothing is guessed: what does not fit the loaded model is refused with every reason found, and what PEFT
//! would load otherwise than this engine (a start from the base that was not converted) is refused as well.
//!
//! | program | files | how it differs from PEFT's |
//! |---|---|---|
//! | PEFT | `adapter_model.safetensors`, `adapter_config.json` | |
//! | mlx-lm | `adapters.safetensors`, `adapter_config.json` | `A` and `B` transposed; the scale instead of alpha |
//! | llama.cpp | one `.gguf` | GGUF names; rows of `B` interleaved for queries and keys; one alpha |
//!
//! The config is believed only as far as the file can hold what it describes: no layout is made and nothing is
//! allocated for a rank that the weights file is too small for.

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
    weights::{checkpoint::NamedSource, quantized::WeightKind, tensor::TensorEntry},
};

use self::{
    given::{Content, Given},
    incoming::Incoming,
};
pub use crate::adapter::peft::Remedy;
pub use error::{ArchiveError, ImportError, Mismatch};

/// The maximum number of bytes of an adapter's config; far more than any has.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// A sound adapter for the model that it was checked against: every tensor of its layout is there, has the
/// right shape, and is finite. [`Self::form`] and [`Self::to_merge`] use it up.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterFiles {
    /// The name of the weights' file, or of the archive or folder that it came in.
    pub name: String,
    /// `base_model_name_or_path`: the model that the config names. Another name than the loaded model's costs a
    /// note and no more: names differ for the same weights, and the shapes decide.
    pub base: Option<String>,
    /// Method, ranks, modules and scale, as the config says.
    pub spec: AdapterSpec,
    /// Names of the given files that are no part of it.
    pub unused_files: Vec<String>,
    /// Numbers by PEFT's names: those of [`AdapterLayout::tensors`], row by row.
    tensors: BTreeMap<String, Vec<f32>>,
}

impl AdapterFiles {
    /// Reads and checks the files, which may come in any order; their content says what each is. `shape` is
    /// that of the loaded model.
    ///
    /// # Errors
    /// [`ImportError::Mismatches`] with every reason, or what keeps the files from being read at all.
    pub async fn open(files: Vec<NamedSource>, shape: &ModelShape) -> Result<Self, ImportError> {
        let mut given = Given::of(archive::unpacked(files).await?).await?;
        let file = given.weights()?;
        let incoming = match file.1 {
            Content::Gguf => Incoming::of_gguf(&file.0, shape).await?,
            _ => Incoming::of_safetensors(&file.0, given.config(&file.0.name).await?).await?,
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
            // A file in an archive is inflated from front to back, so going back in it means to start again.
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
                // For a file in an archive, the archive's name: that is what the user chose.
                name: file.name.split('/').next().unwrap_or_default().to_owned(),
                base,
                spec,
                unused_files: given.others,
                tensors: values,
            }),
            _ => Err(ImportError::Mismatches { base, mismatches }),
        }
    }

    /// Returns the adapter over the model that it was checked against, and its parameters.
    ///
    /// # Shapes
    /// - the parameters: `[num_parameters]`, in the layout's order
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

    /// Returns the adapter for merging alone, which needs no model on a device, and its parameters; `shape` is
    /// that which it was checked against.
    ///
    /// # Shapes
    /// - the parameters: `[num_parameters]`, in the layout's order
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

    /// Copies the trained tensors into their places in `parameters`, the layout's flat array.
    ///
    /// # Shapes
    /// - `parameters`: `[num_parameters]` of the layout
    ///
    /// # Errors
    /// As [`Self::take`].
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

    /// Takes the matrices that all modules share (VeRA's), in the layout's order.
    ///
    /// # Shapes
    /// - the result: one flat array per matrix, row by row
    ///
    /// # Errors
    /// As [`Self::take`].
    fn take_shared(&mut self, layout: &AdapterLayout) -> Result<Vec<Vec<f32>>, Failure> {
        let shared = layout.shared();
        let names = shared.iter().map(|matrix| matrix.name);
        names.map(|name| self.take(name)).collect()
    }

    /// Takes the numbers of a tensor.
    ///
    /// # Errors
    /// A failure of the kind `Internal` for one that is not there, which the check rules out.
    fn take(&mut self, name: &str) -> Result<Vec<f32>, Failure> {
        self.tensors.remove(name).ok_or_else(|| {
            let what = "The adapter lacks a tensor that it was checked for.";
            Failure::new(FailureKind::Internal, what).at(name)
        })
    }
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// [`ImportError::TooLarge`] before anything is read, or [`ImportError::Source`].
async fn whole(file: &NamedSource, limit: u64) -> Result<Vec<u8>, ImportError> {
    let num_bytes = file.source.num_bytes();
    if num_bytes > limit {
        let file = file.name.clone();
        return Err(ImportError::TooLarge { file, num_bytes });
    }
    Ok(file.source.read(0, num_bytes as usize).await?)
}

/// Returns the layout, if the file of `num_bytes` bytes can hold it: what a config asks for is not believed
/// before. Otherwise adds a mismatch for the key that most likely is wrong.
///
/// ```text
/// "r": 1000000 over 135 M weights, in a file of 2 MB     refused at `r`, before anything is allocated
/// ```
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

/// Compares the tensors of the file with those of the layout, adds every difference to `mismatches`, and
/// returns the names of those that fit. Each name of the layout is used up by the first tensor that has it, so a
/// second one is unexpected: renaming can make two names of a file equal.
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

/// Returns whether two shapes are the same.
fn is_same(shape: &[u64], expected: &[usize]) -> bool {
    shape
        .iter()
        .copied()
        .eq(expected.iter().map(|&size| size as u64))
}

/// Returns whether a tensor is of a type that is read here: adapters are not quantized.
fn is_float(entry: &TensorEntry) -> bool {
    matches!(
        entry.kind,
        Some(WeightKind::F32 | WeightKind::F16 | WeightKind::Bf16)
    )
}
