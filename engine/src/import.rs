//! An adapter of PEFT's, or of an earlier run, back in: `adapter_config.json` and `adapter_model.safetensors`, or a zip
//! that holds them.
//!
//! ```text
//! [NamedSource] -> open -> config::spec -> every tensor against AdapterLayout::tensors -> AdapterFiles -> AdapterForm
//! ```
//!
//! Nothing is guessed: what does not fit the loaded model is refused with every reason found, and what PEFT would load
//! otherwise than we (a start from the base that was not converted) is refused as well.

mod archive;
mod config;
mod error;

use std::collections::BTreeMap;

use burn::tensor::Device;

use crate::{
    adapter::{AdapterForm, AdapterLayout, ModelShape, PROJECTIONS},
    model::Llama,
    protocol::{AdapterSpec, Failure, Method},
    weights::{
        checkpoint::NamedSource,
        json,
        pack::word_from,
        packed::{PackedKind, unpack_row},
        safetensors::SafetensorsHeader,
        source::ByteSource,
        tensor::TensorEntry,
    },
};

pub use error::{ImportError, Mismatch};

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
    /// By their names in the file: those of [`AdapterLayout::tensors`].
    tensors: BTreeMap<String, Vec<f32>>,
}

impl AdapterFiles {
    /// Reads and checks the files, which may come in any order; their content says what each is.
    ///
    /// # Errors
    /// [`ImportError::Mismatches`] with every reason, or what keeps the files from being read at all.
    pub async fn open(files: Vec<NamedSource>, shape: &ModelShape) -> Result<Self, ImportError> {
        let files = archive::unpacked(files).await?;
        let (mut configs, mut weights, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for file in files {
            match Content::of(&file).await? {
                Content::Json => configs.push(file),
                Content::Safetensors => weights.push(file),
                Content::Pickle => return Err(ImportError::Pickle { file: file.name }),
                Content::Other => others.push(file.name),
            }
        }
        // Of a whole folder only one JSON file names a type of PEFT's.
        let mut config = None;
        for file in configs {
            let text = whole(&file, MAX_CONFIG_BYTES).await?;
            match json::from_slice::<serde_json::Map<_, _>>(&text) {
                Ok(map) if map.contains_key("peft_type") => config = Some(map),
                Ok(_) => others.push(file.name),
                Err(error) if file.name.ends_with("adapter_config.json") => {
                    return Err(ImportError::Config(error));
                }
                Err(_) => others.push(file.name),
            }
        }
        let config = config.ok_or(ImportError::NoConfig { others })?;
        let file = match <[NamedSource; 1]>::try_from(weights) {
            Ok([file]) => file,
            Err(weights) if weights.is_empty() => return Err(ImportError::NoWeights),
            Err(weights) => {
                let files = weights.into_iter().map(|file| file.name).collect();
                return Err(ImportError::SeveralWeights { files });
            }
        };
        let header = SafetensorsHeader::read(&*file.source).await?;
        let mut mismatches = Vec::new();
        let spec = config::spec(&config, shape, &header.tensors, &mut mismatches);
        let mut tensors = BTreeMap::new();
        if let Some(spec) = &spec {
            let layout = laid_out(spec, shape, file.source.num_bytes(), &mut mismatches);
            if let Some(layout) = layout {
                let fitting = compare(&layout, &header.tensors, &mut mismatches);
                for entry in fitting {
                    let values = values(&*file.source, entry).await?;
                    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                        let (tensor, value) = (entry.name.clone(), f64::from(*value));
                        mismatches.push(Mismatch::NonFinite { tensor, value });
                    }
                    tensors.insert(entry.name.clone(), values);
                }
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
                tensors,
            }),
            _ => Err(ImportError::Mismatches { base, mismatches }),
        }
    }

    /// The adapter over the model that it was checked against.
    ///
    /// # Errors
    /// The device's failure while the base is read.
    pub async fn form(mut self, model: &Llama) -> Result<(AdapterForm, Vec<f32>), Failure> {
        let (mut form, mut parameters) = AdapterForm::start(&self.spec, model, 0).await?;
        self.take_parameters(&form.layout, &mut parameters);
        form.set_projection(self.take_projection(), model);
        Ok((form, parameters))
    }

    /// The adapter for merging alone, which needs no model on a device; `shape` is that which it was checked against.
    pub fn to_merge(mut self, shape: &ModelShape, device: &Device) -> (AdapterForm, Vec<f32>) {
        let layout = AdapterLayout::new(&self.spec, shape);
        let mut parameters = vec![0.0; layout.num_parameters];
        self.take_parameters(&layout, &mut parameters);
        let form = AdapterForm::to_merge(layout, self.take_projection(), device);
        (form, parameters)
    }

    fn take_parameters(&mut self, layout: &AdapterLayout, parameters: &mut [f32]) {
        for slot in &layout.slots {
            if let Some(values) = self.tensors.remove(&slot.name(self.spec.method)) {
                parameters[slot.range.clone()].copy_from_slice(&values);
            }
        }
    }

    fn take_projection(&mut self) -> [Vec<f32>; 2] {
        PROJECTIONS.map(|name| self.tensors.remove(name).unwrap_or_default())
    }
}

/// What a file is, by its first bytes.
enum Content {
    Json,
    Safetensors,
    /// What `torch.save` writes: a zip, or a pickle.
    Pickle,
    Other,
}

impl Content {
    async fn of(file: &NamedSource) -> Result<Self, ImportError> {
        let num_bytes = file.source.num_bytes().min(9) as usize;
        let start = file.source.read(0, num_bytes).await?;
        let text = start.trim_ascii_start();
        Ok(if start.len() == 9 && start[8] == b'{' {
            Self::Safetensors
        } else if text.first() == Some(&b'{') {
            Self::Json
        } else if start.starts_with(b"\x80\x02") || start.starts_with(b"PK\x03\x04") {
            Self::Pickle
        } else {
            Self::Other
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
        } else if spec.method == Method::PromptTuning {
            "num_virtual_tokens"
        } else {
            "r"
        };
        let what = format!(
            "an adapter of this size has {num_parameters} parameters, and the file of {num_bytes} bytes holds fewer"
        );
        mismatches.push(Mismatch::Config {
            key: key.to_owned(),
            what,
        });
        return None;
    }
    Some(AdapterLayout::new(spec, shape))
}

/// The entries that are as the layout wants them.
fn compare<'a>(
    layout: &AdapterLayout,
    entries: &'a [TensorEntry],
    mismatches: &mut Vec<Mismatch>,
) -> Vec<&'a TensorEntry> {
    let mut missing: BTreeMap<String, Vec<usize>> = layout.tensors().into_iter().collect();
    let mut fitting = Vec::new();
    for entry in entries {
        let tensor = entry.name.clone();
        match missing.remove(&tensor) {
            None => mismatches.push(Mismatch::Unexpected { tensor }),
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
            Some(_) => fitting.push(entry),
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

/// The numbers of a float tensor.
async fn values(source: &dyn ByteSource, entry: &TensorEntry) -> Result<Vec<f32>, ImportError> {
    let kind = entry.kind.unwrap_or(PackedKind::F32);
    let bytes = source.read(entry.offset, entry.num_bytes as usize).await?;
    let words: Vec<u32> = bytes.chunks(4).map(word_from).collect();
    let mut values = vec![0.0; entry.num_weights() as usize];
    unpack_row(kind, &words, &[], &mut values);
    Ok(values)
}
