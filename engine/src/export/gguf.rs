//! GGUF files for llama.cpp: headers, and an adapter.
//!
//! ```text
//! "GGUF" | u32 version 3 | u64 number of tensors | u64 number of pairs
//! pairs      u64 length, key | u32 type | value
//! tensors    u64 length, name | u32 dimensions | u64 sizes, fastest first | u32 type | u64 offset in the data
//! zeros up to a multiple of 32
//! data       each tensor at a multiple of 32
//! ```
//!
//! The layout is that of [`crate::weights::gguf`]; keys and names are those that llama.cpp's `convert_lora_to_gguf.py`
//! writes. An adapter has the keys `general.type = "adapter"`, `general.architecture`, `general.name`, `adapter.type =
//! "lora"` and `adapter.lora.alpha`.
//!
//! llama.cpp uses one alpha for the whole file and the rank of each tensor: `scale = alpha / r`. So alpha is that of
//! the first module, and whatever other modules scale differently (rsLoRA, alphas per module) goes into `lora_b`.

use super::{ExportError, padded};
use crate::{
    adapter::{LowRankUpdate, ModelShape},
    arch::block_name,
    weights::{gguf::MAGIC, quantized::WeightKind},
};

/// The version of the format that has 64-bit counts.
const VERSION: u32 = 3;
/// Where tensors begin, in bytes: GGUF's default if no `general.alignment` says otherwise.
const ALIGNMENT: u64 = 32;
/// The numbers of the value types (`gguf_type` in ggml's gguf.h).
const TYPE_UINT32: u32 = 4;
const TYPE_INT32: u32 = 5;
const TYPE_FLOAT32: u32 = 6;
const TYPE_BOOL: u32 = 7;
const TYPE_TEXT: u32 = 8;
const TYPE_ARRAY: u32 = 9;

/// A file's keys and tensors before their data. Their order in the file is that in which they are added, and the data
/// must follow in the same order.
#[derive(Default)]
pub(super) struct Header {
    /// The bytes of the pairs so far.
    pairs: Vec<u8>,
    num_pairs: u64,
    /// The bytes of the tensors' descriptions so far.
    tensors: Vec<u8>,
    num_tensors: u64,
    /// Where the next tensor begins in the data.
    offset: u64,
}

impl Header {
    /// Begins a pair: its key and the type of the value, which the caller appends.
    fn key(&mut self, key: &str, kind: u32) {
        put_text(&mut self.pairs, key);
        self.pairs.extend(kind.to_le_bytes());
        self.num_pairs += 1;
    }

    /// Adds a pair as stored in another file: `value` begins with its type.
    pub fn stored(&mut self, key: &str, value: &[u8]) {
        put_text(&mut self.pairs, key);
        self.pairs.extend(value);
        self.num_pairs += 1;
    }

    /// Adds a number as a u32.
    pub fn unsigned(&mut self, key: &str, value: u32) {
        self.key(key, TYPE_UINT32);
        self.pairs.extend(value.to_le_bytes());
    }

    /// Adds a truth value, one byte.
    pub fn flag(&mut self, key: &str, value: bool) {
        self.key(key, TYPE_BOOL);
        self.pairs.push(u8::from(value));
    }

    /// Begins a pair whose value is an array: the type of its elements and their number.
    fn array(&mut self, key: &str, kind: u32, len: usize) {
        self.key(key, TYPE_ARRAY);
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend((len as u64).to_le_bytes());
    }

    /// Adds an array of texts, such as the tokens of a vocabulary.
    pub fn texts(&mut self, key: &str, values: &[String]) {
        self.array(key, TYPE_TEXT, values.len());
        values
            .iter()
            .for_each(|value| put_text(&mut self.pairs, value));
    }

    /// Adds an array of i32, such as the types of tokens.
    pub fn integers(&mut self, key: &str, values: &[i32]) {
        self.array(key, TYPE_INT32, values.len());
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.pairs.extend(bytes);
    }

    /// Adds a text, UTF-8.
    pub fn text(&mut self, key: &str, value: &str) {
        self.key(key, TYPE_TEXT);
        put_text(&mut self.pairs, value);
    }

    /// Adds a number as an f32.
    pub fn float(&mut self, key: &str, value: f32) {
        self.key(key, TYPE_FLOAT32);
        self.pairs.extend(value.to_le_bytes());
    }

    /// Describes a tensor of `shape`, slowest dimension first, as in HF. GGUF lists the fastest first (`ne`), so the
    /// sizes are reversed. `num_bytes` is its size in the data without padding.
    pub fn tensor(&mut self, name: &str, shape: &[u64], kind: WeightKind, num_bytes: u64) {
        put_text(&mut self.tensors, name);
        self.tensors.extend((shape.len() as u32).to_le_bytes());
        for size in shape.iter().rev() {
            self.tensors.extend(size.to_le_bytes());
        }
        self.tensors.extend(kind.format().ggml_type.to_le_bytes());
        self.tensors.extend(self.offset.to_le_bytes());
        self.num_tensors += 1;
        self.offset += num_bytes.next_multiple_of(ALIGNMENT);
    }

    /// Describes a matrix in f32 with contiguous rows.
    ///
    /// # Shapes
    /// - `[rows, cols]` here, `ne = [cols, rows]` in the file
    fn matrix(&mut self, name: &str, [rows, cols]: [usize; 2]) {
        let shape = [rows, cols].map(|size| size as u64);
        let num_bytes = 4 * shape[0] * shape[1];
        self.tensor(name, &shape, WeightKind::F32, num_bytes);
    }

    /// The size of all tensors in bytes, including padding.
    pub fn data_bytes(&self) -> u64 {
        self.offset
    }

    /// Returns the bytes before the data, padded to where the first tensor begins.
    pub fn finish(self) -> Vec<u8> {
        let mut file = Vec::with_capacity(self.pairs.len() + self.tensors.len() + 64);
        file.extend(MAGIC);
        file.extend(VERSION.to_le_bytes());
        file.extend(self.num_tensors.to_le_bytes());
        file.extend(self.num_pairs.to_le_bytes());
        file.extend(self.pairs);
        file.extend(self.tensors);
        pad(&mut file);
        file
    }
}

/// Pads with zeros to where the next tensor may begin.
pub(super) fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
}

/// Appends a text as GGUF stores it: its length in bytes as a u64, then its bytes without a terminator.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// A LoRA file for a base in GGUF, called `name` there.
///
/// ```text
/// blk.0.attn_q.weight.lora_a    ne = [in, r]     PEFT's bytes of lora_A
/// blk.0.attn_q.weight.lora_b    ne = [r, out]    PEFT's bytes of lora_B, scaled and perhaps in another order of rows
/// ```
///
/// In a family whose query and key rows are interleaved in GGUF (llama), the rows of their `lora_b` are as well, since
/// they are added to those of the weight. `lora_a` reads the hidden state, whose order is the same everywhere.
///
/// # Shapes
/// - `updates[i].a`: `[r, in]`, row by row
/// - `updates[i].b`: `[out, r]`, row by row
///
/// # Errors
/// [`ExportError::EmptyAdapter`] if there are no updates.
pub fn adapter(
    updates: Vec<LowRankUpdate>,
    shape: &ModelShape,
    name: &str,
) -> Result<Vec<u8>, ExportError> {
    let first = updates.first().ok_or(ExportError::EmptyAdapter)?;
    let alpha = first.scaling * first.r as f64;
    // What f32 cannot hold would be zero, and the adapter would do nothing.
    if alpha as f32 == 0.0 || !(alpha as f32).is_finite() {
        let name = "adapter.lora.alpha".to_owned();
        return Err(ExportError::NonFinite { name, value: alpha });
    }
    let mut header = Header::default();
    header.text("general.type", "adapter");
    header.text("general.architecture", shape.arch.gguf);
    header.text("general.name", name);
    header.text("adapter.type", "lora");
    header.float("adapter.lora.alpha", alpha as f32);
    let mut data: Vec<u8> = Vec::new();
    for update in updates {
        let (layer, module, r) = (update.layer, update.module, update.r);
        let update = padded(update, r, alpha / r as f64)?;
        let name = block_name(layer, &format!("{}.weight", module.path()));
        let name = shape.arch.gguf_from_hf(&name).unwrap_or_default();
        let (in_features, out_features) = (update.a.len() / r, update.b.len() / r);
        header.matrix(&format!("{name}.lora_a"), [r, in_features]);
        put_floats(&mut data, &update.a);
        header.matrix(&format!("{name}.lora_b"), [out_features, r]);
        if shape.arch.is_interleaved(module) {
            let b = interleaved(&update.b, r, shape.num_heads(module));
            put_floats(&mut data, &b);
        } else {
            put_floats(&mut data, &update.b);
        }
    }
    let mut file = header.finish();
    file.extend(data);
    Ok(file)
}

/// Appends f32 values in little endian, and zeros up to where the next tensor begins.
fn put_floats(data: &mut Vec<u8>, values: &[f32]) {
    data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    pad(data);
}

/// Returns the rows of `[heads 2 hd/2, cols]` in the order of `[heads hd/2 2, cols]`: the order of
/// [`RowOrder::Interleaved`](crate::arch::RowOrder). It is what `LlamaModel.permute` of `convert_hf_to_gguf.py` does.
///
/// # Shapes
/// - `values`: `[heads hd, cols]`, row by row, in HF's order
/// - returns the same shape in GGUF's order
fn interleaved(values: &[f32], cols: usize, heads: usize) -> Vec<f32> {
    let rows = values.len() / cols;
    let row = |to: usize| &values[interleaved_row(to, rows / heads) * cols..][..cols];
    (0..rows).flat_map(row).copied().collect()
}

/// The row in HF's order that goes to place `to` in GGUF's order. For heads of 6 rows:
///
/// ```text
/// to    0 1 2 3 4 5 | 6 7  8 9  10 11
/// from  0 3 1 4 2 5 | 6 9  7 10  8 11
/// ```
pub(super) fn interleaved_row(to: usize, head_dim: usize) -> usize {
    let at = to % head_dim;
    to - at + at % 2 * (head_dim / 2) + at / 2
}
