//! A whole model with an adapter merged into it, as one zip: a Hugging Face folder, or a GGUF file with a Modelfile.
//!
//! ```text
//! ModelFiles --rows--> f32 --merge (sums in f64)--> f32 | F16 | Q8_0 | Q4_0 --slices--> FileSink
//! ```
//!
//! The weights come from the model's own file, tensor by tensor, and are written in slices: at most one projection is
//! held, or a slice of 4 MB of the embedding and the head. Quantized weights are merged as the numbers they stand
//! for, so the file matches the base that the adapter was trained on.
//!
//! Safetensors are F32: what a few steps of training add to a weight is often smaller than the distance between two
//! neighboring halves, and rounding to F16 or BF16 would remove it. In GGUF, norms are F32, and rows that are not made
//! of whole blocks of 32 are F16. In a Q4_0 file, the matrix that makes the logits (the embedding if the head is tied)
//! is Q8_0. llama.cpp uses Q6_K, a type that this engine lacks, and Q8_0 loses less.

mod folder;
mod from_files;
mod llama_cpp;
mod quantize;
mod zip;

use std::ops::Range;

use protocol::{AdapterSpec, Failure, FailureKind, MergedKind, TargetModule};

pub use self::{
    from_files::merge_files,
    zip::{FileSink, ZIP64_FROM},
};
use self::{llama_cpp::HeaderError, quantize::put_row, zip::Zip};
use super::gguf::{interleaved_row, pad};
use crate::{
    adapter::{Merging, Place},
    arch::{self, block_name},
    pacing::Interruption,
    surroundings::{Control, Surroundings},
    tokenizer::Tokenizer,
    weights::{checkpoint::ModelFiles, config::ModelConfig, quantized::WeightKind},
};

/// How much of a matrix is read, written and reported at a time, in bytes of f32.
const SLICE_BYTES: usize = 4 << 20;
/// Above this size the weights are split into several files, as Hugging Face does.
pub const SHARD_BYTES: u64 = 5_000_000_000;

/// Why an adapter has no merged form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedMerge {
    #[error("a learned prompt comes before each row and changes no weights")]
    Prompt,
    #[error("the tokenizer cannot be included: {0}")]
    Tokenizer(String),
}

impl From<RefusedMerge> for Failure {
    fn from(refused: RefusedMerge) -> Self {
        let remedy = match &refused {
            RefusedMerge::Prompt => "Export the PEFT adapter instead.",
            RefusedMerge::Tokenizer(_) => "Export the merged model as safetensors instead.",
        };
        let what = format!("The merged model cannot be written: {refused}.");
        Failure::new(FailureKind::WrongState, what).remedy(remedy)
    }
}

/// Why an adapter cannot be merged, if so.
pub fn refusal(spec: &AdapterSpec) -> Option<RefusedMerge> {
    let has_prompt = spec.method.facts().has_prompt;
    has_prompt.then_some(RefusedMerge::Prompt)
}

/// A tensor on its way into the file.
struct Planned {
    hf_name: String,
    /// Slowest dimension first.
    shape: Vec<u64>,
    kind: WeightKind,
    num_bytes: u64,
}

impl Planned {
    /// The number of rows, and of numbers in each.
    fn size(&self) -> [usize; 2] {
        // The sizes of a config were read as 32-bit numbers.
        let cols = self.shape.last().map_or(1, |&cols| cols as usize);
        match self.shape.as_slice() {
            [rows, _] => [*rows as usize, cols],
            _ => [1, cols],
        }
    }
}

/// What is merged, and how it is written.
pub struct Merge<'a> {
    pub files: &'a ModelFiles,
    pub tokenizer: &'a Tokenizer,
    pub form: &'a dyn Merging,
    pub parameters: &'a [f32],
    pub kind: MergedKind,
    /// The name of the GGUF file, and the `Modelfile` for it.
    pub file_name: &'a str,
    pub modelfile: &'a str,
    /// [`SHARD_BYTES`], except in tests.
    pub shard_bytes: u64,
    /// [`ZIP64_FROM`], except in tests.
    pub zip64_from: u64,
    /// Told of every slice in bytes; a stop ends the export.
    pub surroundings: &'a dyn Surroundings,
}

impl Merge<'_> {
    /// Writes the zip into `sink`. Messages arrive between slices, and the surroundings are told of each of them.
    ///
    /// # Errors
    /// [`Interruption::Stopped`] if the user stopped it; a refusal; a file or a sink that fails; numbers that are not
    /// finite or too large for the type. The sink then holds an incomplete file.
    pub async fn write(&self, sink: &mut dyn FileSink) -> Result<(), Interruption<Failure>> {
        if let Some(refused) = refusal(&self.form.layout().spec) {
            return Err(failed(refused));
        }
        let config = ModelConfig {
            // A trained head is no longer the embedding.
            tie_word_embeddings: self.files.config.tie_word_embeddings
                && self.form.layout().head().is_none(),
            ..self.files.config.clone()
        };
        let tensors = self.plan(&config)?;
        let mut out = Writer {
            zip: Zip::new(sink, self.zip64_from),
            done: 0,
            total: tensors.iter().map(|tensor| tensor.num_bytes).sum(),
        };
        if self.kind == MergedKind::Safetensors {
            self.write_folder(&config, &tensors, &mut out).await?;
        } else {
            self.write_gguf(&config, &tensors, &mut out).await?;
        }
        out.zip.finish().map_err(Interruption::Failed)
    }

    /// The size of the weights in this form, for a base with its own head.
    pub fn num_bytes(files: &ModelFiles, kind: MergedKind) -> u64 {
        let config = &files.config;
        let sizes = config.tensors().into_iter();
        let sizes = sizes.map(|(name, shape)| {
            let kind = stored_kind(kind, &name, &shape, config.tie_word_embeddings);
            num_bytes(kind, &shape).unwrap_or(0)
        });
        sizes.sum()
    }

    /// Lists the tensors in the order of the file, each with its type and size.
    fn plan(&self, config: &ModelConfig) -> Result<Vec<Planned>, Interruption<Failure>> {
        let tensors = config.tensors().into_iter().map(|(hf_name, shape)| {
            let kind = stored_kind(self.kind, &hf_name, &shape, config.tie_word_embeddings);
            let num_bytes = num_bytes(kind, &shape)?;
            Some(Planned {
                hf_name,
                shape,
                kind,
                num_bytes,
            })
        });
        let all: Option<Vec<Planned>> = tensors.collect();
        all.ok_or_else(|| {
            let what = "The merged model is too large.";
            failed(Failure::new(FailureKind::UnsupportedModel, what))
        })
    }

    async fn write_folder(
        &self,
        config: &ModelConfig,
        tensors: &[Planned],
        out: &mut Writer<'_>,
    ) -> Result<(), Interruption<Failure>> {
        for (name, bytes) in
            folder::small_files(self.files, config, self.tokenizer).map_err(failed)?
        {
            out.add(name, &bytes)?;
        }
        let (shards, index) = folder::shards(tensors, self.shard_bytes);
        if let Some(index) = index {
            let index = folder::text_file(&index);
            out.add("model.safetensors.index.json", &index)?;
        }
        for shard in shards {
            out.begin(&shard.name, shard.num_bytes)?;
            out.write(&shard.header)?;
            for tensor in &tensors[shard.tensors] {
                self.write_tensor(tensor, out).await?;
            }
            out.end()?;
        }
        Ok(())
    }

    async fn write_gguf(
        &self,
        config: &ModelConfig,
        tensors: &[Planned],
        out: &mut Writer<'_>,
    ) -> Result<(), Interruption<Failure>> {
        let header = llama_cpp::header(self.files, config, self.tokenizer, self.kind, tensors);
        let header = header.await.map_err(|error| match error {
            HeaderError::Model(error) => failed(error),
            HeaderError::Refused(refused) => failed(refused),
        })?;
        out.add("Modelfile", self.modelfile.as_bytes())?;
        let data_bytes = header.data_bytes();
        let header = header.finish();
        out.begin(self.file_name, header.len() as u64 + data_bytes)?;
        out.write(&header)?;
        for tensor in tensors {
            self.write_tensor(tensor, out).await?;
            let mut rest = vec![0; (tensor.num_bytes % 32) as usize];
            let held = rest.len();
            pad(&mut rest);
            out.write(&rest[held..])?;
        }
        out.end()
    }

    /// Reads a tensor, merges what the adapter has for it, and writes it. What is trained whole replaces the base's.
    async fn write_tensor(
        &self,
        tensor: &Planned,
        out: &mut Writer<'_>,
    ) -> Result<(), Interruption<Failure>> {
        let [rows, cols] = tensor.size();
        // The rows of the base are read in whole heads, in any format.
        let head_dim = self.files.config.interleaved_head_dim(&tensor.hf_name);
        if let Some(trained) = self.trained(&tensor.hf_name) {
            return self.write_rows(tensor, trained, None, out).await;
        }
        if tensor.shape.len() == 1 {
            let values = self.files.vector(&tensor.hf_name, cols).await;
            let mut values = values.map_err(failed)?;
            if let Some((layer, module)) = of_projection(&tensor.hf_name, ".bias") {
                let (form, parameters) = (self.form, self.parameters);
                form.merge_bias(parameters, layer, module, &mut values);
            }
            return self.write_rows(tensor, &values, None, out).await;
        }
        if let Some((layer, module)) = of_projection(&tensor.hf_name, ".weight") {
            let mut values = Vec::with_capacity(rows * cols);
            for wanted in slices(rows, cols, head_dim.unwrap_or(1)) {
                let read = self.files.rows(&tensor.hf_name, [rows, cols], wanted).await;
                values.extend(read.map_err(failed)?);
                self.pace(out).await?;
            }
            let (form, parameters) = (self.form, self.parameters);
            form.merge(parameters, layer, module, &mut values);
            let order = head_dim.filter(|_| self.kind != MergedKind::Safetensors);
            return self.write_rows(tensor, &values, order, out).await;
        }
        for wanted in slices(rows, cols, 1) {
            let read = self.files.rows(&tensor.hf_name, [rows, cols], wanted).await;
            let values = read.map_err(failed)?;
            self.write_rows(tensor, &values, None, out).await?;
        }
        Ok(())
    }

    /// Writes rows that are in memory, slice by slice; with a `head_dim`, in the order in which GGUF stores queries and
    /// keys.
    async fn write_rows(
        &self,
        tensor: &Planned,
        values: &[f32],
        head_dim: Option<usize>,
        out: &mut Writer<'_>,
    ) -> Result<(), Interruption<Failure>> {
        let [_, cols] = tensor.size();
        for wanted in slices(values.len() / cols, cols, 1) {
            let mut bytes = Vec::new();
            for row in wanted {
                let from = head_dim.map_or(row, |head_dim| interleaved_row(row, head_dim));
                if !put_row(tensor.kind, &values[from * cols..][..cols], &mut bytes) {
                    let kind = self.kind.type_name();
                    let what = format!("A merged weight is not finite, or too large for {kind}.");
                    let failure = Failure::new(FailureKind::NonFinite, what);
                    let remedy = "Export another type, or train again with a lower learning rate.";
                    return Err(failed(failure.at(tensor.hf_name.clone()).remedy(remedy)));
                }
            }
            out.write(&bytes)?;
            out.done += bytes.len() as u64;
            self.pace(out).await?;
        }
        Ok(())
    }

    /// Reports the progress, and lets messages arrive.
    async fn pace(&self, out: &Writer<'_>) -> Result<(), Interruption<Failure>> {
        self.surroundings.progressed(out.done, out.total);
        self.surroundings.yield_now().await;
        match self.surroundings.control() {
            Control::Stop => Err(Interruption::Stopped),
            Control::Run | Control::Pause => Ok(()),
        }
    }

    /// The numbers of a norm or the head, if the adapter has its own.
    fn trained(&self, hf_name: &str) -> Option<&[f32]> {
        let slot = self
            .form
            .layout()
            .slots
            .iter()
            .find(|slot| match slot.place {
                Place::Norm { layer, norm } => {
                    hf_name == block_name(layer, &format!("{}.weight", norm.name()))
                }
                Place::FinalNorm => hf_name == arch::FINAL_NORM.hf,
                Place::Head => hf_name == arch::HEAD.hf,
                Place::Module { .. } | Place::Prompt => false,
            })?;
        Some(&self.parameters[slot.range.clone()])
    }
}

/// The zip being written.
struct Writer<'a> {
    zip: Zip<'a>,
    done: u64,
    total: u64,
}

impl Writer<'_> {
    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), Interruption<Failure>> {
        self.zip.add(name, bytes).map_err(Interruption::Failed)
    }

    fn begin(&mut self, name: &str, num_bytes: u64) -> Result<(), Interruption<Failure>> {
        let begun = self.zip.begin(name, num_bytes);
        begun.map_err(Interruption::Failed)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Interruption<Failure>> {
        self.zip.write(bytes).map_err(Interruption::Failed)
    }

    fn end(&mut self) -> Result<(), Interruption<Failure>> {
        self.zip.end().map_err(Interruption::Failed)
    }
}

fn failed(failure: impl Into<Failure>) -> Interruption<Failure> {
    Interruption::Failed(failure.into())
}

/// The type in which a tensor is stored.
fn stored_kind(kind: MergedKind, hf_name: &str, shape: &[u64], is_tied: bool) -> WeightKind {
    let makes_logits = hf_name == arch::HEAD.hf || (is_tied && hf_name == arch::EMBEDDING.hf);
    let wanted = match kind {
        _ if shape.len() == 1 => WeightKind::F32,
        MergedKind::Safetensors => WeightKind::F32,
        MergedKind::GgufF16 => WeightKind::F16,
        MergedKind::GgufQ8_0 => WeightKind::Q8_0,
        MergedKind::GgufQ4_0 if makes_logits => WeightKind::Q8_0,
        MergedKind::GgufQ4_0 => WeightKind::Q4_0,
    };
    let cols = shape.last().map_or(1, |&cols| cols as usize);
    match wanted.stored_row_bytes(cols) {
        Some(_) => wanted,
        None => WeightKind::F16,
    }
}

/// The size of a tensor in that type; `None` if its rows are no whole blocks, or if it overflows.
fn num_bytes(kind: WeightKind, shape: &[u64]) -> Option<u64> {
    let (cols, rows) = shape.split_last()?;
    let row_bytes = kind.stored_row_bytes(*cols as usize)? as u64;
    rows.iter()
        .try_fold(row_bytes, |product, &size| product.checked_mul(size))
}

/// The projection whose weight or bias, as `ending` says, has this name.
fn of_projection(hf_name: &str, ending: &str) -> Option<(usize, TargetModule)> {
    let (layer, path) = hf_name.strip_prefix("model.layers.")?.split_once('.')?;
    let path = path.strip_suffix(ending)?;
    let module = TargetModule::ALL
        .into_iter()
        .find(|module| module.path() == path)?;
    Some((layer.parse().ok()?, module))
}

/// Cuts `rows` into slices of about `SLICE_BYTES`, each beginning at a multiple of `group` rows, such as those of a
/// head.
fn slices(rows: usize, cols: usize, group: usize) -> impl Iterator<Item = Range<usize>> {
    let step = (SLICE_BYTES / (4 * cols)).max(1).next_multiple_of(group);
    (0..rows)
        .step_by(step)
        .map(move |first| first..rows.min(first + step))
}
