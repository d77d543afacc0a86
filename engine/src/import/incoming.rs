//! An adapter's config and tensors as PEFT names and lays them out, whichever program wrote them.
//!
//! Each program has a file that renames its tensors and writes the config that PEFT would have written. From
//! there on, there is one way for all: the checks, the messages and the layout know PEFT's form only.
//!
//! ```text
//! mlx    model.layers.0.self_attn.q_proj.lora_a  [in, r]     -> base_model.model.model.layers.0.self_attn.q_proj
//! gguf   blk.0.attn_q.weight.lora_a              [r, in]            .lora_A.weight  [r, in]
//! ```

mod gguf;
mod mlx;
mod peft;

use serde_json::{Map, Value};

use super::{ImportError, Mismatch};
use crate::{
    adapter::ModelShape,
    weights::{
        checkpoint::NamedSource, gguf::GgufHeader, pack::word_from, quantized::WeightKind,
        quantized::unpack_row, safetensors::SafetensorsHeader, source::ByteSource,
        tensor::TensorEntry,
    },
};

/// The number of weights read at once: even, so that two halves of a word are never apart.
const SLICE_WEIGHTS: usize = 1 << 20;

/// How a tensor's rows lie in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AsInPeft,
    /// Rows and columns are swapped, as mlx-lm has its pairs.
    Transposed,
    /// The two halves of each head's rows are interleaved, as llama.cpp has those of queries and keys.
    ///
    /// ```text
    /// head_dim = 6    row in PEFT  0 1 2 3 4 5     row in the file  0 2 4 1 3 5
    /// ```
    Interleaved {
        head_dim: usize,
    },
}

/// A tensor by PEFT's name and in PEFT's shape; its bytes may lie in another order.
pub(super) struct IncomingTensor {
    /// Name and shape as PEFT has them, offset and type as in the file.
    pub entry: TensorEntry,
    /// How [`Self::values`] must rearrange the numbers.
    order: Order,
}

impl IncomingTensor {
    /// Returns the numbers of a float tensor, as PEFT has them. The caller checks the type and bounds the size before:
    /// a tensor of unknown type is read as F32.
    ///
    /// # Shapes
    /// - the result: that of `entry`, row by row
    ///
    /// # Errors
    /// [`ImportError::Source`]
    pub async fn values(&self, source: &dyn ByteSource) -> Result<Vec<f32>, ImportError> {
        let entry = &self.entry;
        let kind = entry.kind.unwrap_or(WeightKind::F32);
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
        // The shape is PEFT's already; where `values` is transposed, it is `[cols, rows]` until here.
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

/// What was read of an adapter except for its numbers.
pub(super) struct Incoming {
    /// As PEFT's `adapter_config.json`, whether it was read or made.
    pub config: Map<String, Value>,
    /// All tensors of the file. One whose name is not understood keeps it, and is refused as unexpected later.
    pub tensors: Vec<IncomingTensor>,
}

impl Incoming {
    /// Reads a safetensors file's header and takes the config next to it, which is PEFT's if it has `peft_type`, and
    /// mlx-lm's otherwise.
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

/// Makes the error for a single reason that ends the reading. `base` is the model that the file names.
fn refused(base: Option<String>, mismatch: Mismatch) -> ImportError {
    let mismatches = vec![mismatch];
    ImportError::Mismatches { base, mismatches }
}

/// Returns whether a config is mlx-lm's, by keys that PEFT does not have.
pub(super) fn is_of_mlx(config: &Map<String, Value>) -> bool {
    ["fine_tune_type", "lora_parameters", "lora_layers"]
        .iter()
        .any(|key| config.contains_key(*key))
}
