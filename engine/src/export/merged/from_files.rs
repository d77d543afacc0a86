//! Makes a merged model from files only: those of the base, and an adapter in PEFT's form.
//!
//! It is what the merging worker runs, next to a training that goes on in another worker:
//!
//! ```text
//! model files    -> checkpoint::open -> ModelFiles, Tokenizer, ChatTemplate
//! adapter's zip  -> AdapterFiles::open -> MergeForm, parameters       both -> Merge::write -> FileSink
//! ```
//!
//! The adapter is read as any adapter that a user drops, so it is checked again against the model.

use burn::tensor::Device;
use protocol::{Failure, MergedKind};

use super::{FileSink, Merge, SHARD_BYTES, ZIP64_FROM};
use crate::{
    adapter::ModelShape,
    export::{merged_file_name, modelfile},
    import::AdapterFiles,
    pacing::Interruption,
    surroundings::Surroundings,
    template,
    weights::checkpoint::{self, NamedSource},
};

/// Writes `model` with the adapter in `adapter` merged into it, and returns the zip's name. Progress and stopping are
/// as in [`Merge::write`]; nothing is ever on a device.
///
/// `model` are the files that the base was loaded from, `adapter` those of an adapter in any form that the import
/// reads.
///
/// # Errors
/// Those of [`Merge::write`], and whatever is wrong with the files.
pub async fn merge_files(
    model: Vec<NamedSource>,
    adapter: Vec<NamedSource>,
    kind: MergedKind,
    surroundings: &dyn Surroundings,
    sink: &mut dyn FileSink,
) -> Result<String, Interruption<Failure>> {
    let failed = |failure| Interruption::Failed(failure);
    let files = checkpoint::open(model).await;
    let files = files.map_err(|error| failed(error.into()))?;
    let (tokenizer, template) = template::of_model(&files).map_err(failed)?;
    let shape = ModelShape::from(&files.config);
    let adapter = AdapterFiles::open(adapter, &shape).await;
    let adapter = adapter.map_err(|error| failed(error.into()))?;
    let merged = adapter.to_merge(&shape, &Device::default());
    let (form, parameters) = merged.map_err(failed)?;
    let (bos, stops) = modelfile::bos_and_stops(&tokenizer);
    let name = merged_file_name(files.display_name(), kind);
    let gguf_name = name.replace(".zip", ".gguf");
    let modelfile = modelfile::of_model(&gguf_name, template.as_ref(), bos.as_deref(), &stops);
    let merge = Merge {
        files: &files,
        tokenizer: &tokenizer,
        form: &form,
        parameters: &parameters,
        kind,
        file_name: &gguf_name,
        modelfile: &modelfile,
        shard_bytes: SHARD_BYTES,
        zip64_from: ZIP64_FROM,
        surroundings,
    };
    merge.write(sink).await?;
    Ok(name)
}
