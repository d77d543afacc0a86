//! A model as the user gave it: one GGUF file, or safetensors files with their JSON files.
//!
//! Files come in any order, with anything lying next to them. [`open`] decides what each is and takes what it
//! needs:
//!
//! ```text
//! sniff        every file by its first bytes and JSON keys -> Content        (foreign: what the unusable ones are)
//! select       the files of the weights, all shards of one model
//! llama_cpp    GGUF: settings, vocabulary, template and tensors from the one file      (purpose, vocabulary)
//! hugging_face safetensors headers, config.json, tokenizer.json, chat template
//! check        every tensor that the architecture has, by name, shape and type
//! read         afterwards, on demand: a matrix by slices, its rows in HF's order
//! ```
//!
//! What is left over is named in [`ModelFiles::unused_files`]; a file that is merely damaged or foreign costs
//! only itself unless the model needs it.

mod foreign;
mod hugging_face;
mod llama_cpp;
mod purpose;
mod read;
mod select;
mod sniff;
mod vocabulary;

use std::{collections::BTreeMap, ops::Range};

use protocol::ModelSummary;

use crate::arch::HEAD;

use self::{
    read::RowOrder,
    select::{Weights, take_weights},
    sniff::sniff,
};
use super::{
    config::{ConfigError, ModelConfig},
    error::{ModelError, TensorProblem},
    gguf, hash, json,
    quantized::QuantizedMatrix,
    source::{ByteSource, SourceError},
    tensor::TensorEntry,
};
use crate::device::DeviceProfile;

pub use self::foreign::Foreign;
pub(crate) use self::foreign::is_pickle;
pub use self::vocabulary::{GgufVocabulary, VocabularyError};

/// A file and what the user calls it, with the folder if one was dropped.
pub struct NamedSource {
    /// The path as the browser gives it, such as `SmolLM2/config.json`.
    pub name: String,
    /// The bytes.
    pub source: Box<dyn ByteSource>,
}

impl NamedSource {
    /// Attaches the file's name to a failure.
    fn error(&self, error: SourceError) -> ModelError {
        let file = self.name.clone();
        ModelError::Source { file, error }
    }

    /// Reads a range.
    ///
    /// # Errors
    /// [`ModelError::Source`]
    async fn read(&self, offset: u64, num_bytes: usize) -> Result<Vec<u8>, ModelError> {
        let read = self.source.read(offset, num_bytes).await;
        read.map_err(|error| self.error(error))
    }

    /// Reads all of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`] before anything is read, or [`ModelError::Source`].
    async fn read_whole(&self, limit: u64) -> Result<Vec<u8>, ModelError> {
        let num_bytes = self.source.num_bytes();
        if num_bytes > limit {
            let file = self.name.clone();
            return Err(ModelError::TooLarge {
                file,
                num_bytes,
                limit,
            });
        }
        self.read(0, num_bytes as usize).await
    }

    /// Reads all of a JSON file of at most `limit` bytes, without a byte order mark.
    ///
    /// # Errors
    /// Those of [`Self::read_whole`].
    async fn read_json(&self, limit: u64) -> Result<Vec<u8>, ModelError> {
        self.read_whole(limit).await.map(json::without_mark)
    }
}

/// The format of the weights, which also decides the names and the order of rows in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelFormat {
    /// One GGUF file, names as in llama.cpp.
    Gguf,
    /// One or several safetensors files, names as in HF.
    Safetensors,
}

/// What the tokenizer is built from; [`Tokenizer::from_source`](crate::tokenizer::Tokenizer::from_source) does
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSource {
    /// The vocabulary in the GGUF file's metadata.
    Gguf(GgufVocabulary),
    /// The files next to the safetensors, as bytes.
    Json {
        tokenizer_json: Vec<u8>,
        /// tokenizer_config.json
        config_json: Option<Vec<u8>>,
    },
}

/// An opened model: everything small is read, every tensor is checked, the weights are still in the file.
pub struct ModelFiles {
    /// The sizes of the model, checked.
    pub config: ModelConfig,
    /// Which names and row order the weights file has.
    pub format: ModelFormat,
    /// From the file's metadata, else the file's name without its extension.
    pub name: String,
    /// Hub id of these very weights, where the file names it or its name implies it.
    pub base_model_name: Option<String>,
    /// The type of most weights by the file's name for it, such as `Q4_1`.
    pub quantization: String,
    /// Size of the weights file, or of all of them, in bytes.
    pub file_bytes: u64,
    /// Number of weights; a tied head counts once.
    pub parameters: u64,
    /// What the tokenizer is built from.
    pub tokenizer: TokenizerSource,
    /// The Jinja source of the chat template, from its own file or else from tokenizer_config.json or GGUF
    /// metadata.
    pub chat_template: Option<String>,
    /// Names of the given files that were not needed.
    pub unused_files: Vec<String>,
    /// What was taken otherwise than the files say, a sentence each.
    pub notes: Vec<String>,
    /// What the type of the whole file is called, such as `Q4_K_M`; only GGUF files have one.
    file_type: Option<&'static str>,
    /// The bytes of the weights. Several files are joined one after the other.
    weights: NamedSource,
    /// The tensors by HF name.
    tensors: BTreeMap<String, TensorEntry>,
    /// Names in a GGUF file for which the family has no HF name.
    unknown_tensors: Vec<String>,
}

/// Opens the model in `files`, given in any order; decides by content what each is. Checks every tensor's name,
/// shape and type, and reads no weights yet.
///
/// # Errors
/// A [`ModelError`] that names the file and what to do about it.
pub async fn open(files: Vec<NamedSource>) -> Result<ModelFiles, ModelError> {
    let mut sniffed = Vec::new();
    for file in files {
        sniffed.push((sniff(&file).await?, file));
    }
    let model = match take_weights(&mut sniffed).await? {
        Weights::Gguf(file) => llama_cpp::open(file, sniffed).await?,
        Weights::Safetensors(files) => hugging_face::open(files, sniffed).await?,
    };
    model.check()?;
    Ok(model)
}

impl ModelFiles {
    /// Reads the matrix `hf_name` by slices of a few megabytes, its rows in HF's order.
    ///
    /// # Shapes
    /// - `shape`, and the result: `[out, in]`
    ///
    /// # Errors
    /// If the model has no such tensor or it has another shape, if the file cannot be read any more, and if a
    /// weight is NaN or infinite.
    pub async fn matrix(
        &self,
        hf_name: &str,
        shape: [usize; 2],
    ) -> Result<QuantizedMatrix, ModelError> {
        let entry = self.tensor(hf_name, &shape)?;
        let [rows, cols] = shape;
        read::matrix(&self.weights, entry, rows, cols, self.row_order(hf_name)).await
    }

    /// Reads the rows `wanted` of the matrix `hf_name` as numbers, in HF's order. For queries and keys of an
    /// interleaved file, `wanted` must begin and end with a head, as its rows lie there in another order.
    ///
    /// # Shapes
    /// - `shape`: `[out, in]` of the whole matrix
    /// - the result: `[wanted, in]`, row by row
    ///
    /// # Errors
    /// As [`Self::matrix`].
    pub async fn rows(
        &self,
        hf_name: &str,
        shape: [usize; 2],
        wanted: Range<usize>,
    ) -> Result<Vec<f32>, ModelError> {
        let entry = self.tensor(hf_name, &shape)?;
        let [rows, cols] = shape;
        let order = self.row_order(hf_name);
        let quantized = read::part(&self.weights, entry, rows, wanted, cols, order).await?;
        Ok(read::numbers(&quantized))
    }

    /// Returns the key-value pairs of a GGUF file as its bytes have them; none of another format. See
    /// [`gguf::stored_pairs`].
    ///
    /// # Errors
    /// If the file cannot be read any more.
    pub async fn gguf_pairs(&self) -> Result<Vec<(String, Vec<u8>)>, ModelError> {
        if self.format != ModelFormat::Gguf {
            return Ok(Vec::new());
        }
        let pairs = gguf::stored_pairs(self.weights.source.as_ref()).await;
        pairs.map_err(|error| ModelError::Gguf {
            file: self.weights.name.clone(),
            error,
        })
    }

    /// Reads the vector `hf_name` of `len` weights, such as a norm's or a bias.
    ///
    /// # Errors
    /// As [`Self::matrix`].
    pub async fn vector(&self, hf_name: &str, len: usize) -> Result<Vec<f32>, ModelError> {
        let entry = self.tensor(hf_name, &[len])?;
        let row = read::matrix(&self.weights, entry, 1, len, RowOrder::AsStored).await?;
        Ok(read::numbers(&row))
    }

    /// Returns the SHA-256 of the weights file, or of several one after the other, in hexadecimal; `progress`
    /// gets the bytes done and the total. A file that was hashed before is not read again.
    ///
    /// # Errors
    /// [`ModelError::Source`]
    pub async fn sha256_hex(&self, progress: impl FnMut(u64, u64)) -> Result<String, ModelError> {
        if let Some(known) = self.weights.source.sha256_hex() {
            return Ok(known.to_owned());
        }
        let hash = hash::sha256_hex(self.weights.source.as_ref(), progress).await;
        hash.map_err(|error| self.weights.error(error))
    }

    /// Returns the model's name on the hub without its owner, else the file's own name for it, which some
    /// converters fill with the name of a training run.
    pub fn display_name(&self) -> &str {
        let hub_name = self
            .base_model_name
            .as_deref()
            .and_then(|id| id.rsplit('/').next());
        hub_name.unwrap_or(&self.name)
    }

    /// Returns what the page is told of the model. `sha256` is that of the weights file.
    pub fn summary(&self, sha256: String) -> ModelSummary {
        let config = &self.config;
        ModelSummary {
            name: self.display_name().to_owned(),
            base_model_name: self.base_model_name.clone(),
            architecture: config.arch.model_type.to_owned(),
            parameters: self.parameters,
            num_hidden_layers: config.num_hidden_layers,
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_attention_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            vocab_size: config.vocab_size,
            max_position_embeddings: config.max_position_embeddings,
            quantization: self.quantization.clone(),
            file_bytes: self.file_bytes,
            sha256,
            has_chat_template: self.chat_template.is_some(),
        }
    }

    /// Compares the file's tensors with those that the architecture has, and reports all differences at once.
    ///
    /// Tensors in types that are not read have an error of their own, as another file of the same model helps
    /// there. Tensors that follow from others (inverse frequencies, a tied head's copy) are passed over.
    ///
    /// # Errors
    /// [`ModelError::Quantization`], [`ModelError::Tensors`], or [`ModelError::Config`] for Llama 3's RoPE
    /// factors.
    pub fn check(&self) -> Result<(), ModelError> {
        let file = &self.weights.name;
        if self.tensors.contains_key(ROPE_FACTORS) {
            return Err(ModelError::Config {
                file: file.clone(),
                error: ConfigError::Feature {
                    field: ROPE_FACTORS.to_owned(),
                    value: String::new(),
                },
            });
        }
        let expected: BTreeMap<_, _> = self.config.tensors().into_iter().collect();
        let unexpected = self
            .tensors
            .iter()
            .filter(|(name, _)| !expected.contains_key(*name) && !is_redundant(name, &self.config));
        let unexpected = unexpected.map(|(_, entry)| &entry.name);
        let mut problems: Vec<_> = unexpected
            .chain(&self.unknown_tensors)
            .map(|name| TensorProblem::Unexpected { name: name.clone() })
            .collect();
        let mut unreadable = Vec::new();
        for (hf_name, shape) in &expected {
            match self.tensors.get(hf_name) {
                Some(entry) if entry.kind.is_none() => unreadable.push(entry),
                entry => problems.extend(self.shape_problem(hf_name, shape, entry)),
            }
        }
        if let Some(first) = unreadable.first() {
            return Err(ModelError::Quantization {
                file: file.clone(),
                file_type: self.file_type,
                type_name: first.type_name,
                tensor: first.name.clone(),
                others: unreadable.len() - 1,
                is_gguf: self.format == ModelFormat::Gguf,
            });
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(ModelError::Tensors {
            file: file.clone(),
            problems,
        })
    }

    /// Refuses weights that the device could not hold, which would otherwise show only once all of them are
    /// read.
    ///
    /// # Errors
    /// [`ModelError::TooHeavy`]
    pub fn check_size(&self, device: DeviceProfile) -> Result<(), ModelError> {
        let sizes = self.tensors.values().map(|entry| entry.num_bytes);
        let num_bytes = sizes.fold(0, u64::saturating_add);
        match device.max_weights_bytes {
            Some(limit) if num_bytes > limit => Err(ModelError::TooHeavy {
                file: self.weights.name.clone(),
                num_bytes,
                limit,
            }),
            _ => Ok(()),
        }
    }

    /// Returns the entry of a tensor that must have `shape`.
    ///
    /// # Errors
    /// [`ModelError::Tensors`] with the one problem.
    fn tensor(&self, hf_name: &str, shape: &[usize]) -> Result<&TensorEntry, ModelError> {
        let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        let entry = self.tensors.get(hf_name);
        match (self.shape_problem(hf_name, &shape, entry), entry) {
            (None, Some(entry)) => Ok(entry),
            (problem, _) => Err(ModelError::Tensors {
                file: self.weights.name.clone(),
                problems: problem.into_iter().collect(),
            }),
        }
    }

    /// Returns what is wrong with the tensor `hf_name`, if anything: it is missing, or has another shape.
    fn shape_problem(
        &self,
        hf_name: &str,
        shape: &[u64],
        entry: Option<&TensorEntry>,
    ) -> Option<TensorProblem> {
        match entry {
            None => Some(TensorProblem::Missing {
                name: self.name_in_file(hf_name),
            }),
            Some(entry) if entry.shape != shape => Some(TensorProblem::Shape {
                name: entry.name.clone(),
                expected: shape.to_vec(),
                found: entry.shape.clone(),
            }),
            Some(_) => None,
        }
    }

    /// Returns what the file would call the tensor, for messages.
    fn name_in_file(&self, hf_name: &str) -> String {
        let name = match self.format {
            ModelFormat::Gguf => self.config.arch.gguf_from_hf(hf_name),
            ModelFormat::Safetensors => None,
        };
        name.unwrap_or_else(|| hf_name.to_owned())
    }

    /// Returns how the rows of a tensor lie in the file.
    fn row_order(&self, hf_name: &str) -> RowOrder {
        match (self.format, self.config.interleaved_head_dim(hf_name)) {
            (ModelFormat::Gguf, Some(head_dim)) => RowOrder::Interleaved { head_dim },
            _ => RowOrder::AsStored,
        }
    }
}

/// GGUF's factors of Llama 3's scaled rotary embeddings, which are the only trace of the scaling in such a
/// file.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Returns whether a tensor follows from the others: old checkpoints store RoPE's inverse frequencies, and some
/// tied ones a copy of the embedding as the head.
fn is_redundant(name: &str, config: &ModelConfig) -> bool {
    name.ends_with(".rotary_emb.inv_freq") || (config.tie_word_embeddings && name == HEAD.hf)
}

/// Returns the type of most weights among `tensors`; empty if there are none.
fn main_type(tensors: &[TensorEntry]) -> String {
    let mut weights_of = BTreeMap::<&str, u64>::new();
    for tensor in tensors {
        let sum = weights_of.entry(tensor.type_name).or_default();
        *sum = sum.saturating_add(tensor.num_weights());
    }
    let most = weights_of.into_iter().max_by_key(|&(_, count)| count);
    most.map_or(String::new(), |(name, _)| name.to_owned())
}

/// Returns the file's name without folder and extension.
fn stem(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match file.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem.to_owned(),
        _ => file.to_owned(),
    }
}
