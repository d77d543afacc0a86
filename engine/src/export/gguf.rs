//! GGUF files for llama.cpp: headers, and an adapter.
//!
//! The layout is that of [`crate::weights::gguf`]; keys and names are those that llama.cpp's `convert_lora_to_gguf.py`
//! writes. llama.cpp uses one alpha for the whole file and the rank of each tensor, so differences between modules go
//! into `lora_b`.

use super::{ExportError, padded};
use crate::{
    adapter::{LowRankUpdate, ModelShape},
    arch::block_name,
    weights::{gguf::MAGIC, packed::PackedKind},
};

const VERSION: u32 = 3;
const ALIGNMENT: u64 = 32;
/// The numbers of the value types.
const TYPE_UINT32: u32 = 4;
const TYPE_INT32: u32 = 5;
const TYPE_FLOAT32: u32 = 6;
const TYPE_BOOL: u32 = 7;
const TYPE_TEXT: u32 = 8;
const TYPE_ARRAY: u32 = 9;

/// A file's keys and tensors before their data.
#[derive(Default)]
pub(super) struct Header {
    pairs: Vec<u8>,
    num_pairs: u64,
    tensors: Vec<u8>,
    num_tensors: u64,
    /// Where the next tensor begins in the data.
    offset: u64,
}

impl Header {
    fn key(&mut self, key: &str, kind: u32) {
        put_text(&mut self.pairs, key);
        self.pairs.extend(kind.to_le_bytes());
        self.num_pairs += 1;
    }

    /// Adds a pair as stored in another file, including its type.
    pub fn stored(&mut self, key: &str, value: &[u8]) {
        put_text(&mut self.pairs, key);
        self.pairs.extend(value);
        self.num_pairs += 1;
    }

    pub fn unsigned(&mut self, key: &str, value: u32) {
        self.key(key, TYPE_UINT32);
        self.pairs.extend(value.to_le_bytes());
    }

    pub fn flag(&mut self, key: &str, value: bool) {
        self.key(key, TYPE_BOOL);
        self.pairs.push(u8::from(value));
    }

    fn array(&mut self, key: &str, kind: u32, len: usize) {
        self.key(key, TYPE_ARRAY);
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend((len as u64).to_le_bytes());
    }

    pub fn texts(&mut self, key: &str, values: &[String]) {
        self.array(key, TYPE_TEXT, values.len());
        values
            .iter()
            .for_each(|value| put_text(&mut self.pairs, value));
    }

    pub fn integers(&mut self, key: &str, values: &[i32]) {
        self.array(key, TYPE_INT32, values.len());
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.pairs.extend(bytes);
    }

    pub fn text(&mut self, key: &str, value: &str) {
        self.key(key, TYPE_TEXT);
        put_text(&mut self.pairs, value);
    }

    pub fn float(&mut self, key: &str, value: f32) {
        self.key(key, TYPE_FLOAT32);
        self.pairs.extend(value.to_le_bytes());
    }

    /// Adds a tensor of `shape`, slowest dimension first.
    pub fn tensor(&mut self, name: &str, shape: &[u64], kind: PackedKind, num_bytes: u64) {
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

    /// Adds a matrix in f32 with contiguous rows.
    fn matrix(&mut self, name: &str, [rows, cols]: [usize; 2]) {
        let shape = [rows, cols].map(|size| size as u64);
        let num_bytes = 4 * shape[0] * shape[1];
        self.tensor(name, &shape, PackedKind::F32, num_bytes);
    }

    /// The size of all tensors, including padding.
    pub fn data_bytes(&self) -> u64 {
        self.offset
    }

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

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// A LoRA file for a base in GGUF.
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

fn put_floats(data: &mut Vec<u8>, values: &[f32]) {
    data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    pad(data);
}

/// Rows of `[heads 2 hd/2, cols]` in the order of `[heads hd/2 2, cols]`: the order of
/// [`RowOrder::Interleaved`](crate::arch::RowOrder).
fn interleaved(values: &[f32], cols: usize, heads: usize) -> Vec<f32> {
    let rows = values.len() / cols;
    let row = |to: usize| &values[interleaved_row(to, rows / heads) * cols..][..cols];
    (0..rows).flat_map(row).copied().collect()
}

/// The row in HF's order that is at `to` in that order.
pub(super) fn interleaved_row(to: usize, head_dim: usize) -> usize {
    let at = to % head_dim;
    to - at + at % 2 * (head_dim / 2) + at / 2
}
