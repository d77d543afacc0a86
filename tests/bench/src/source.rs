//! Files of the bench: the real model's, read in slices from the browser, and random ones, made in memory.

use std::{future::Future, pin::Pin};

use engine::weights::{
    checkpoint::NamedSource,
    config::ModelConfig,
    source::{ByteSource, SourceError},
};
use js_sys::{Function, Promise, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::draw;

/// A file that JavaScript reads: `read(offset, length)` gives a promise of a `Uint8Array`.
pub struct JsSource {
    pub num_bytes: u64,
    pub read: Function,
}

impl ByteSource for JsSource {
    fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        let failure = |error: JsValue| SourceError::Read(format!("{error:?}"));
        Box::pin(async move {
            let (offset, length) = (offset as f64, num_bytes as f64);
            let promise = self
                .read
                .call2(&JsValue::NULL, &offset.into(), &length.into())
                .map_err(failure)?;
            let bytes = JsFuture::from(promise.unchecked_into::<Promise>())
                .await
                .map_err(failure)?;
            Ok(bytes.unchecked_into::<Uint8Array>().to_vec())
        })
    }
}

/// The files of a model of this shape with drawn weights, in f32.
pub fn drawn_files(config: &ModelConfig) -> Result<Vec<NamedSource>, serde_json::Error> {
    let json = serde_json::json!({
        "architectures": [config.arch.class],
        "model_type": config.arch.model_type,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.rms_norm_eps,
        "tie_word_embeddings": true,
    });
    // No text is read or written, so the vocabulary can be empty.
    let tokenizer = r#"{"model": {}, "added_tokens": []}"#;
    let files = [
        ("config.json", json.to_string().into_bytes()),
        ("tokenizer.json", tokenizer.as_bytes().to_vec()),
        ("model.safetensors", safetensors(config)?),
    ];
    Ok(files
        .into_iter()
        .map(|(name, bytes)| NamedSource {
            name: name.to_owned(),
            source: Box::new(bytes),
        })
        .collect())
}

/// The length of the header, the header, the numbers.
fn safetensors(config: &ModelConfig) -> Result<Vec<u8>, serde_json::Error> {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in config.tensors() {
        let start = end;
        end += 4 * shape.iter().product::<u64>();
        let entry =
            serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] });
        header.insert(name, entry);
    }
    let header = serde_json::to_vec(&header)?;
    let mut file = Vec::with_capacity(8 + header.len() + end as usize);
    file.extend((header.len() as u64).to_le_bytes());
    file.extend(header);
    for (name, shape) in config.tensors() {
        let name = name.trim_end_matches(".weight");
        let weights = match shape[..] {
            [rows, cols] => draw::matrix(name, rows as usize, cols as usize),
            _ => draw::norm(name, shape.iter().product::<u64>() as usize),
        };
        file.extend(weights.into_iter().flat_map(f32::to_le_bytes));
    }
    Ok(file)
}
