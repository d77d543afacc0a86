//! Models that are large, or whose headers say so. Their files take no room: all but the header is a hole.

use std::fs::OpenOptions;

use serde_json::{Value, json};

use super::{Input, Kind, Says, Step, kind};
use crate::visit::{TINY, fixture};

#[path = "../../../../native/common/gguf_header.rs"]
mod gguf_header;

use gguf_header::{llama, llama_of};

const TOO_LARGE: &str = "this model is too large: its weights take 7.1 GB, and a browser tab can hold at most 3.3 GB of them";
const GIGABYTES: u64 = 1_000_000_000;
const F16: u32 = 1;

pub(super) fn kinds() -> Vec<Kind> {
    vec![
        kind(
            "weights that no tab can hold, refused before they are read",
            vec![
                gguf("7 GB in GGUF", TOO_LARGE, || {
                    llama("llama", 4096, 17, F16, 16)
                }),
                gguf("26 GB in GGUF", "its weights take 25.4 GB", || {
                    llama("llama", 5120, 40, F16, 16)
                }),
                gguf(
                    "an embedding of 8 GB and a block",
                    "its weights take 9.8 GB",
                    || {
                        let words: Vec<String> =
                            (0..500_000).map(|word| format!("w{word}")).collect();
                        llama_of("llama", [8192, 1, 16], F16, &words, &[])
                    },
                ),
                safetensors("7 GB in three files", "its weights take 7.1 GB", 3),
            ],
        ),
        kind(
            "headers that claim more than there is",
            vec![
                claim(
                    "2^60 metadata keys",
                    "number of metadata keys 1152921504606846976",
                    "keys.gguf",
                    || gguf_front(1, 1 << 60, &[]),
                ),
                claim(
                    "2^60 tensors",
                    "number of tensors 1152921504606846976",
                    "tensors.gguf",
                    || gguf_front(1 << 60, 0, &[]),
                ),
                claim(
                    "10^9 words",
                    "array length 1000000000",
                    "words.gguf",
                    || {
                        let mut pair = text("tokenizer.ggml.tokens");
                        // An array of texts.
                        pair.extend(9u32.to_le_bytes());
                        pair.extend(8u32.to_le_bytes());
                        pair.extend(GIGABYTES.to_le_bytes());
                        gguf_front(1, 1, &pair)
                    },
                ),
                claim(
                    "a header of terabytes",
                    "model.safetensors is a damaged safetensors file",
                    "model.safetensors",
                    || (1u64 << 43).to_le_bytes().to_vec(),
                ),
                claim(
                    "a tensor of terabytes",
                    "is cut off: at least 8796093022",
                    "terabytes.safetensors",
                    || {
                        let end = 1u64 << 43;
                        let tensor = json!({ "dtype": "F32", "shape": [1u64 << 20, 1 << 21], "data_offsets": [0, end] });
                        safetensors_front(&json!({ "model.embed_tokens.weight": tensor }))
                    },
                ),
            ],
        ),
    ]
}

/// A GGUF of this header and size.
fn gguf(
    name: &'static str,
    says: &'static str,
    header: impl Fn() -> (Vec<u8>, u64) + 'static,
) -> Input {
    Input::new(Step::Model, name, Says(says), move |visit| {
        let (front, num_bytes) = header();
        let path = visit.write(&format!("{name}/model.gguf"), front)?;
        OpenOptions::new()
            .write(true)
            .open(&path)?
            .set_len(num_bytes)?;
        Ok(vec![path])
    })
}

/// A Llama of 7 GB in so many files of safetensors.
fn safetensors(name: &'static str, says: &'static str, parts: u64) -> Input {
    Input::new(Step::Model, name, Says(says), move |visit| {
        const HIDDEN: u64 = 4096;
        const LAYERS: u64 = 10;
        let layers = LAYERS * parts;
        let config = json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN,
            "intermediate_size": HIDDEN, "num_hidden_layers": layers, "num_attention_heads": 32,
            "num_key_value_heads": 32, "vocab_size": 320, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "max_position_embeddings": 64, "tie_word_embeddings": true,
        });
        let mut files = vec![
            visit.write(&format!("{name}/config.json"), config.to_string())?,
            fixture("model/tiny/tokenizer.json")?,
        ];
        for part in 0..parts {
            let mut tensors = Vec::new();
            for layer in LAYERS * part..LAYERS * (part + 1) {
                for matrix in [
                    "self_attn.q",
                    "self_attn.k",
                    "self_attn.v",
                    "self_attn.o",
                    "mlp.gate",
                    "mlp.up",
                    "mlp.down",
                ] {
                    let name = format!("model.layers.{layer}.{matrix}_proj.weight");
                    tensors.push((name, vec![HIDDEN, HIDDEN]));
                }
                for norm in ["input_layernorm", "post_attention_layernorm"] {
                    tensors.push((format!("model.layers.{layer}.{norm}.weight"), vec![HIDDEN]));
                }
            }
            if part == 0 {
                tensors.push(("model.embed_tokens.weight".to_owned(), vec![320, HIDDEN]));
                tensors.push(("model.norm.weight".to_owned(), vec![HIDDEN]));
            }
            let mut end = 0;
            let mut header = serde_json::Map::new();
            for (name, shape) in tensors {
                let start = end;
                end += 2 * shape.iter().product::<u64>();
                let tensor =
                    json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, end] });
                header.insert(name, tensor);
            }
            let front = safetensors_front(&header.into());
            let num_bytes = front.len() as u64 + end;
            let file = format!("{name}/model-{:05}-of-{parts:05}.safetensors", part + 1);
            let path = visit.write(&file, front)?;
            OpenOptions::new()
                .write(true)
                .open(&path)?
                .set_len(num_bytes)?;
            files.push(path);
        }
        Ok(files)
    })
}

/// One weights file, with the tiny model's other files where they belong to it.
fn claim(
    name: &'static str,
    says: &'static str,
    file: &'static str,
    contents: impl Fn() -> Vec<u8> + 'static,
) -> Input {
    Input::new(Step::Model, name, Says(says), move |visit| {
        let mut files = vec![visit.write(&format!("{name}/{file}"), contents())?];
        if file.ends_with(".safetensors") {
            for own in TINY.into_iter().filter(|own| own.ends_with(".json")) {
                files.push(fixture(&format!("model/tiny/{own}"))?);
            }
        }
        Ok(files)
    })
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// A GGUF that ends in its metadata.
fn gguf_front(num_tensors: u64, num_pairs: u64, pairs: &[u8]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(num_tensors.to_le_bytes());
    bytes.extend(num_pairs.to_le_bytes());
    bytes.extend(pairs);
    bytes.resize(bytes.len() + 1_000, 0);
    bytes
}

fn safetensors_front(header: &Value) -> Vec<u8> {
    text(&header.to_string())
}
