//! The small files of a Hugging Face folder: settings, tokenizer, and the headers of safetensors.
//!
//! ```text
//! config.json  generation_config.json  tokenizer.json  tokenizer_config.json  [chat_template.jinja]
//! model.safetensors, or beyond 5 GB:
//! model.safetensors.index.json  model-00001-of-00003.safetensors  model-00002-of-00003.safetensors  ...
//! ```
//!
//! Settings are written from what the engine read of the base and not copied: the weights are F32 now, the head may be
//! its own, and a base in GGUF has no `config.json`.

use serde_json::{Map, Value, json};

use super::{Planned, RefusedMerge};
use crate::{
    tokenizer::{Tokenizer, json_from_gguf},
    weights::{
        checkpoint::{ModelFiles, TokenizerSource},
        config::ModelConfig,
    },
};

/// A weights file and the tensors in it.
pub(super) struct Shard {
    /// The file's name in the folder.
    pub name: String,
    /// Which of the planned tensors it holds, as their indices.
    pub tensors: std::ops::Range<usize>,
    /// Everything before the weights: the length as a u64, and the JSON padded with spaces.
    pub header: Vec<u8>,
    /// The size of the whole file, header included.
    pub num_bytes: u64,
}

/// Splits the tensors into files of at most `shard_bytes`, unless a single tensor is larger, and returns the index if
/// there are several files. Names and index are those of `save_pretrained`:
///
/// ```text
/// {"metadata": {"total_size": 9000000000}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors", ...}}
/// ```
///
/// A header describes its tensors in the order of the file, so that their data has no gaps:
///
/// ```text
/// {"__metadata__": {"format": "pt"}, "model.norm.weight": {"dtype": "F32", "shape": [576],
///     "data_offsets": [0, 2304]}, ...}
/// ```
pub(super) fn shards(tensors: &[Planned], shard_bytes: u64) -> (Vec<Shard>, Option<Value>) {
    let mut ranges = Vec::new();
    let (mut first, mut sum) = (0, 0);
    for (index, tensor) in tensors.iter().enumerate() {
        if index > first && sum + tensor.num_bytes > shard_bytes {
            ranges.push(first..index);
            (first, sum) = (index, 0);
        }
        sum += tensor.num_bytes;
    }
    ranges.push(first..tensors.len());
    let count = ranges.len();
    let mut weight_map = Map::new();
    let mut total = 0;
    let mut shards = Vec::new();
    for (index, range) in ranges.into_iter().enumerate() {
        let name = match count {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
        };
        let mut entries = Map::new();
        entries.insert("__metadata__".to_owned(), json!({"format": "pt"}));
        let mut offset = 0;
        for tensor in &tensors[range.clone()] {
            let end = offset + tensor.num_bytes;
            let entry =
                json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, end]});
            entries.insert(tensor.hf_name.clone(), entry);
            weight_map.insert(tensor.hf_name.clone(), json!(name));
            offset = end;
        }
        total += offset;
        let mut text = Value::from(entries).to_string().into_bytes();
        // The format's own writer does this, too, so that the numbers after it are aligned.
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut header = Vec::from((text.len() as u64).to_le_bytes());
        header.extend(text);
        shards.push(Shard {
            name,
            tensors: range,
            num_bytes: header.len() as u64 + offset,
            header,
        });
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    (shards, (count > 1).then_some(index))
}

/// The files that go with the weights, each with its name. The tokenizer's are the base's own where it has them; from a
/// GGUF base they are made from its vocabulary.
///
/// # Errors
/// [`RefusedMerge::Tokenizer`] for a vocabulary in GGUF that has no `tokenizer.json`.
pub(super) fn small_files(
    files: &ModelFiles,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
) -> Result<Vec<(&'static str, Vec<u8>)>, RefusedMerge> {
    let eos = match config.eos_token_ids.as_slice() {
        [] => Value::Null,
        [one] => json!(one),
        several => json!(several),
    };
    let mut settings = json!({
        "architectures": [config.arch.class], "model_type": config.arch.model_type, "torch_dtype": "float32",
        "hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers, "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads, "head_dim": config.head_dim,
        "vocab_size": config.vocab_size, "max_position_embeddings": config.max_position_embeddings,
        "rope_theta": config.rope_theta, "rope_scaling": null, "rms_norm_eps": config.rms_norm_eps,
        "tie_word_embeddings": config.tie_word_embeddings, "hidden_act": "silu",
        "bos_token_id": config.bos_token_id, "eos_token_id": eos,
    });
    for (switch, built) in config.arch.switches {
        settings[*switch] = json!(built);
    }
    let generation = json!({"bos_token_id": config.bos_token_id, "eos_token_id": eos});
    let (tokenizer_json, tokenizer_config) = match &files.tokenizer {
        TokenizerSource::Json {
            tokenizer_json,
            config_json,
        } => (tokenizer_json.clone(), config_json.clone()),
        TokenizerSource::Gguf(vocabulary) => {
            let json = json_from_gguf(vocabulary)
                .map_err(|error| RefusedMerge::Tokenizer(error.to_string()))?;
            (json.to_string().into_bytes(), None)
        }
    };
    // Without this file `AutoTokenizer` would not know which of the special tokens begins and ends a text.
    let tokenizer_config = tokenizer_config.unwrap_or_else(|| {
        let special = tokenizer.special_ids();
        let text = |id: Option<u32>| id.map(|_| tokenizer.special_text(id));
        text_file(&json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
            "model_max_length": config.max_position_embeddings, "bos_token": text(special.bos),
            "eos_token": text(special.eos), "unk_token": text(special.unk), "pad_token": text(special.pad),
        }))
    });
    let mut all = vec![
        ("config.json", text_file(&settings)),
        ("generation_config.json", text_file(&generation)),
        ("tokenizer.json", tokenizer_json),
        ("tokenizer_config.json", tokenizer_config),
    ];
    if let Some(template) = &files.chat_template {
        all.push(("chat_template.jinja", template.clone().into_bytes()));
    }
    Ok(all)
}

/// Indented JSON with a newline at its end.
pub(super) fn text_file(value: &Value) -> Vec<u8> {
    let text = format!("{value:#}\n");
    text.into_bytes()
}
