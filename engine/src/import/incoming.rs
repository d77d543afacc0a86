//! An adapter's config and tensors as PEFT names and lays them out, whichever program wrote them.

mod gguf;
mod mlx;
mod peft;

use serde_json::{Map, Value};

use super::{ImportError, Mismatch};
use crate::{
    adapter::ModelShape,
    weights::{
        checkpoint::NamedSource, gguf::GgufHeader, pack::word_from, packed::PackedKind,
        packed::unpack_row, safetensors::SafetensorsHeader, source::ByteSource,
        tensor::TensorEntry,
    },
};

/// The number of weights read at once: even, so that two halves of a word are never apart.
const SLICE_WEIGHTS: usize = 1 << 20;

/// How a tensor's rows lie in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AsInPeft,
    /// Rows and columns changed over, as mlx-lm has its pairs.
    Transposed,
    /// The two halves of each head's rows interleaved, as llama.cpp has those of queries and keys.
    Interleaved {
        head_dim: usize,
    },
}

/// A tensor by PEFT's name and in PEFT's shape.
pub(super) struct IncomingTensor {
    pub entry: TensorEntry,
    order: Order,
}

impl IncomingTensor {
    /// The numbers of a float tensor, as PEFT has them.
    pub async fn values(&self, source: &dyn ByteSource) -> Result<Vec<f32>, ImportError> {
        let entry = &self.entry;
        let kind = entry.kind.unwrap_or(PackedKind::F32);
        let mut values = vec![0.0; entry.num_weights() as usize];
        let mut offset = entry.offset;
        // By slices, so that what is held is hardly more than the numbers.
        for slice in values.chunks_mut(SLICE_WEIGHTS) {
            let end = entry.offset + entry.num_bytes;
            let num_bytes =
                (slice.len() as u64 * entry.num_bytes / entry.num_weights()).min(end - offset);
            let bytes = source.read(offset, num_bytes as usize).await?;
            let words: Vec<u32> = bytes.chunks(4).map(word_from).collect();
            unpack_row(kind, &words, &[], slice);
            offset += num_bytes;
        }
        let cols = entry.shape.last().map_or(1, |&cols| cols as usize).max(1);
        let rows = values.len() / cols;
        Ok(match self.order {
            Order::AsInPeft => values,
            Order::Transposed => {
                let at = |row: usize, col: usize| values[col * rows + row];
                let all = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
                all.map(|(row, col)| at(row, col)).collect()
            }
            Order::Interleaved { head_dim } => {
                // Row `p head_dim / 2 + i` of a head is stored as its row `2 i + p`.
                let stored = |row: usize| {
                    let within = row % head_dim;
                    let half = head_dim / 2;
                    row - within + within % half * 2 + within / half
                };
                let all = (0..rows).flat_map(|row| &values[stored(row) * cols..][..cols]);
                all.copied().collect()
            }
        })
    }
}

/// What was read of an adapter but its numbers.
pub(super) struct Incoming {
    /// As `adapter_config.json` of PEFT's.
    pub config: Map<String, Value>,
    pub tensors: Vec<IncomingTensor>,
}

impl Incoming {
    /// Reads a safetensors file and the config next to it, which is PEFT's or mlx-lm's.
    ///
    /// # Errors
    /// A header that cannot be read, or what mlx-lm's config lacks.
    pub async fn of_safetensors(
        file: &NamedSource,
        config: Map<String, Value>,
    ) -> Result<Self, ImportError> {
        let header = SafetensorsHeader::read(&*file.source).await?;
        if config.contains_key("peft_type") {
            Ok(peft::incoming(config, header.tensors))
        } else {
            mlx::incoming(&config, header.tensors)
        }
    }

    /// Reads a GGUF file, which needs no other file.
    ///
    /// # Errors
    /// A file that cannot be read or is no LoRA adapter for such a model.
    pub async fn of_gguf(file: &NamedSource, shape: &ModelShape) -> Result<Self, ImportError> {
        let header = GgufHeader::read(&*file.source).await?;
        gguf::incoming(&file.name, header, shape)
    }
}

/// Refuses for one reason of the config's.
fn refused(base: Option<String>, mismatch: Mismatch) -> ImportError {
    let mismatches = vec![mismatch];
    ImportError::Mismatches { base, mismatches }
}

/// Whether that config is mlx-lm's.
pub(super) fn is_of_mlx(config: &Map<String, Value>) -> bool {
    ["fine_tune_type", "lora_parameters", "lora_layers"]
        .iter()
        .any(|key| config.contains_key(*key))
}
