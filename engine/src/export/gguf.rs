//! GGUF files for llama.cpp: an adapter.
//!
//! The layout is that of [`crate::weights::gguf`]; keys and names are those that `convert_lora_to_gguf.py` of llama.cpp
//! writes. llama.cpp takes one alpha for the whole file and the rank from each tensor, so whatever differs between modules
//! goes into `lora_b`.

use super::ExportError;
use crate::{
    adapter::{LowRankUpdate, ModelShape},
    protocol::TargetModule,
    weights::gguf::MAGIC,
};

const VERSION: u32 = 3;
/// What llama.cpp calls all models that this engine runs.
const ARCHITECTURE: &str = "llama";
const ALIGNMENT: usize = 32;
/// Numbers of the types of values.
const TYPE_FLOAT32: u32 = 6;
const TYPE_TEXT: u32 = 8;
/// Number of the type of F32 tensors.
const GGML_F32: u32 = 0;

/// A file's keys and tensors before their data.
#[derive(Default)]
struct Header {
    pairs: Vec<u8>,
    num_pairs: u64,
    tensors: Vec<u8>,
    num_tensors: u64,
    /// Where the next tensor begins in the data.
    offset: usize,
}

impl Header {
    fn key(&mut self, key: &str, kind: u32) {
        put_text(&mut self.pairs, key);
        self.pairs.extend(kind.to_le_bytes());
        self.num_pairs += 1;
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, TYPE_TEXT);
        put_text(&mut self.pairs, value);
    }

    fn float(&mut self, key: &str, value: f32) {
        self.key(key, TYPE_FLOAT32);
        self.pairs.extend(value.to_le_bytes());
    }

    /// A matrix in f32; rows are what is contiguous.
    fn matrix(&mut self, name: &str, [rows, cols]: [usize; 2]) {
        put_text(&mut self.tensors, name);
        self.tensors.extend(2u32.to_le_bytes());
        for size in [cols, rows] {
            self.tensors.extend((size as u64).to_le_bytes());
        }
        self.tensors.extend(GGML_F32.to_le_bytes());
        self.tensors.extend((self.offset as u64).to_le_bytes());
        self.num_tensors += 1;
        self.offset += (4 * rows * cols).next_multiple_of(ALIGNMENT);
    }

    fn finish(self) -> Vec<u8> {
        let mut file = Vec::with_capacity(self.offset + self.pairs.len() + self.tensors.len() + 64);
        file.extend(MAGIC);
        file.extend(VERSION.to_le_bytes());
        file.extend(self.num_tensors.to_le_bytes());
        file.extend(self.num_pairs.to_le_bytes());
        file.extend(self.pairs);
        file.extend(self.tensors);
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// A module's name in a GGUF file.
fn tensor_name(layer: usize, module: TargetModule) -> String {
    let name = match module {
        TargetModule::QProj => "attn_q",
        TargetModule::KProj => "attn_k",
        TargetModule::VProj => "attn_v",
        TargetModule::OProj => "attn_output",
        TargetModule::GateProj => "ffn_gate",
        TargetModule::UpProj => "ffn_up",
        TargetModule::DownProj => "ffn_down",
    };
    format!("blk.{layer}.{name}.weight")
}

/// A LoRA file for a base in GGUF.
///
/// # Errors
/// [`ExportError::EmptyAdapter`] without any update.
pub fn adapter(
    updates: Vec<LowRankUpdate>,
    shape: &ModelShape,
    name: &str,
) -> Result<Vec<u8>, ExportError> {
    let first = updates.first().ok_or(ExportError::EmptyAdapter)?;
    let alpha = first.scaling * first.r as f64;
    let mut header = Header::default();
    header.text("general.type", "adapter");
    header.text("general.architecture", ARCHITECTURE);
    header.text("general.name", name);
    header.text("adapter.type", "lora");
    header.float("adapter.lora.alpha", alpha as f32);
    let mut data: Vec<u8> = Vec::new();
    for update in updates {
        let (layer, module, r) = (update.layer, update.module, update.r);
        let update = update.padded(r, alpha / r as f64);
        let name = tensor_name(layer, module);
        let (in_features, out_features) = (update.a.len() / r, update.b.len() / r);
        header.matrix(&format!("{name}.lora_a"), [r, in_features]);
        put_floats(&mut data, &update.a);
        header.matrix(&format!("{name}.lora_b"), [out_features, r]);
        let heads = match module {
            TargetModule::QProj => Some(shape.num_attention_heads),
            TargetModule::KProj => Some(shape.num_key_value_heads),
            _ => None,
        };
        match heads {
            Some(heads) => put_floats(&mut data, &interleaved(&update.b, r, heads)),
            None => put_floats(&mut data, &update.b),
        }
    }
    let mut file = header.finish();
    file.extend(data);
    Ok(file)
}

fn put_floats(data: &mut Vec<u8>, values: &[f32]) {
    data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
}

/// Rows of `[heads 2 hd/2, cols]` in the order of `[heads hd/2 2, cols]`: llama.cpp rotates neighbours where HF rotates
/// halves, so GGUF files of Llama-class models have the rows of queries and keys so.
fn interleaved(values: &[f32], cols: usize, heads: usize) -> Vec<f32> {
    let rows = values.len() / cols;
    let head_dim = rows / heads;
    let row = |to: usize| {
        let (head, at) = (to / head_dim, to % head_dim);
        let from = head * head_dim + at % 2 * (head_dim / 2) + at / 2;
        &values[from * cols..][..cols]
    };
    (0..rows).flat_map(row).copied().collect()
}
