//! Writes small model files, valid ones and (on demand) invalid ones.

use std::time::SystemTime;

use engine::{
    arch::LLAMA,
    weights::{checkpoint::NamedSource, config::ModelConfig, quantized::WeightKind},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// A generator with a new seed, which is printed so that a failure can be repeated.
pub fn fresh_rng() -> ChaCha8Rng {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = now.unwrap().as_nanos() as u64;
    println!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// Every kind that the engine reads, with its number in GGUF and its name.
pub const KINDS: [(WeightKind, u32, &str); 8] = [
    (WeightKind::F32, 0, "F32"),
    (WeightKind::F16, 1, "F16"),
    (WeightKind::Q4_0, 2, "Q4_0"),
    (WeightKind::Q4_1, 3, "Q4_1"),
    (WeightKind::Q5_0, 6, "Q5_0"),
    (WeightKind::Q5_1, 7, "Q5_1"),
    (WeightKind::Q8_0, 8, "Q8_0"),
    (WeightKind::Bf16, 30, "BF16"),
];

/// Stored bytes of `num_weights` random weights, all finite.
pub fn random_weights(kind: WeightKind, num_weights: usize, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; kind.stored_row_bytes(num_weights).unwrap()];
    rng.fill_bytes(&mut bytes);
    for block in bytes.chunks_exact_mut(kind.stored_block_bytes()) {
        // One bit of the exponent is cleared, so that it is never all ones.
        match kind {
            WeightKind::F32 => block[2] &= 0x7F,
            WeightKind::Bf16 => block[0] &= 0x7F,
            WeightKind::Q4_1 | WeightKind::Q5_1 => {
                block[1] &= 0xFB;
                block[3] &= 0xFB;
            }
            _ => block[1] &= 0xFB,
        }
    }
    bytes
}

/// A tensor to write.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    /// Slowest first.
    pub shape: Vec<u64>,
    /// The number of the type in GGUF.
    pub number: u32,
    pub bytes: Vec<u8>,
}

/// A GGUF file in the making. Keys and tensors are written in order, and may be wrong.
#[derive(Clone)]
pub struct Gguf {
    pub version: u32,
    pub alignment: usize,
    pub pairs: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<Tensor>,
}

impl Gguf {
    pub fn new() -> Self {
        Self {
            version: 3,
            alignment: 32,
            pairs: Vec::new(),
            tensors: Vec::new(),
        }
    }

    /// Adds or replaces a pair; `value` begins with the number of its type.
    pub fn set(&mut self, key: &str, value: Vec<u8>) -> &mut Self {
        self.remove(key);
        self.pairs.push((key.to_owned(), value));
        self
    }

    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.pairs.retain(|(other, _)| other != key);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            push_text(&mut file, key);
            file.extend(value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            push_text(&mut file, &tensor.name);
            file.extend((tensor.shape.len() as u32).to_le_bytes());
            for dimension in tensor.shape.iter().rev() {
                file.extend(dimension.to_le_bytes());
            }
            file.extend(tensor.number.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            data.resize(data.len().next_multiple_of(self.alignment), 0);
        }
        file.resize(file.len().next_multiple_of(self.alignment), 0);
        file.extend(data);
        file
    }
}

fn push_text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}

/// Metadata values with their types' numbers before them.
pub mod value {
    use super::push_text;

    fn typed(number: u32, bytes: &[u8]) -> Vec<u8> {
        [&number.to_le_bytes(), bytes].concat()
    }

    pub fn u32(number: u32) -> Vec<u8> {
        typed(4, &number.to_le_bytes())
    }

    pub fn f32(number: f32) -> Vec<u8> {
        typed(6, &number.to_le_bytes())
    }

    pub fn bool(flag: u8) -> Vec<u8> {
        typed(7, &[flag])
    }

    pub fn text(text: &str) -> Vec<u8> {
        let mut bytes = typed(8, &[]);
        push_text(&mut bytes, text);
        bytes
    }

    /// An array that claims `count` items of the type `number`.
    pub fn array(number: u32, count: u64, items: &[u8]) -> Vec<u8> {
        typed(
            9,
            &[&number.to_le_bytes(), &count.to_le_bytes()[..], items].concat(),
        )
    }

    pub fn strings(texts: &[&str]) -> Vec<u8> {
        let mut items = Vec::new();
        for text in texts {
            push_text(&mut items, text);
        }
        array(8, texts.len() as u64, &items)
    }

    pub fn i32s(numbers: &[i32]) -> Vec<u8> {
        let items: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        array(5, numbers.len() as u64, &items)
    }
}

/// Sizes of the small model: all columns are multiples of 32.
pub fn tiny_config(tie_word_embeddings: bool) -> ModelConfig {
    ModelConfig {
        arch: &LLAMA,
        hidden_size: 64,
        intermediate_size: 96,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 16,
        vocab_size: 8,
        max_position_embeddings: 128,
        rope_theta: 10_000.0,
        rms_norm_eps: f64::from(1e-5_f32),
        tie_word_embeddings,
        bos_token_id: Some(1),
        eos_token_ids: vec![2],
    }
}

/// The small model with random weights of `kind` (norms F32) under HF names, in HF's order.
pub fn tiny_tensors(
    config: &ModelConfig,
    kind: WeightKind,
    number: u32,
    rng: &mut ChaCha8Rng,
) -> Vec<Tensor> {
    let tensors = config.tensors().into_iter();
    tensors
        .map(|(name, shape)| {
            let (kind, number) = match shape.len() {
                1 => (WeightKind::F32, 0),
                _ => (kind, number),
            };
            let num_weights = shape.iter().product::<u64>() as usize;
            Tensor {
                bytes: random_weights(kind, num_weights, rng),
                name,
                shape,
                number,
            }
        })
        .collect()
}

/// The order in which GGUF stores the rows of queries and keys, as llama.cpp's converter makes it:
/// `reshape(heads, 2, head_dim / 2, cols).swapaxes(1, 2)`.
pub fn interleave_rows(bytes: &[u8], row_bytes: usize, head_dim: usize) -> Vec<u8> {
    let mut stored = Vec::new();
    for head in bytes.chunks_exact(row_bytes * head_dim) {
        for i in 0..head_dim / 2 {
            for half in 0..2 {
                let row = half * (head_dim / 2) + i;
                stored.extend(&head[row * row_bytes..][..row_bytes]);
            }
        }
    }
    stored
}

/// The small model as a GGUF file, with the tensors that HF would have.
pub fn tiny_gguf(kind: WeightKind, number: u32, tied: bool) -> (Gguf, Vec<Tensor>) {
    let config = tiny_config(tied);
    let tensors = tiny_tensors(&config, kind, number, &mut fresh_rng());
    let mut gguf = Gguf::new();
    gguf.set("general.architecture", value::text("llama"))
        .set("general.name", value::text("Tiny"))
        .set("llama.embedding_length", value::u32(64))
        .set("llama.feed_forward_length", value::u32(96))
        .set("llama.block_count", value::u32(2))
        .set("llama.attention.head_count", value::u32(4))
        .set("llama.attention.head_count_kv", value::u32(2))
        .set("llama.context_length", value::u32(128))
        .set("llama.attention.layer_norm_rms_epsilon", value::f32(1e-5))
        .set("tokenizer.ggml.model", value::text("gpt2"))
        .set("tokenizer.ggml.pre", value::text("smollm"))
        .set(
            "tokenizer.ggml.tokens",
            value::strings(&["<unk>", "<s>", "</s>", "a", "b", "ab", "Ġ", "é"]),
        )
        .set(
            "tokenizer.ggml.token_type",
            value::i32s(&[3, 3, 3, 1, 1, 1, 1, 1]),
        )
        .set("tokenizer.ggml.merges", value::strings(&["a b"]))
        .set("tokenizer.ggml.bos_token_id", value::u32(1))
        .set("tokenizer.ggml.eos_token_id", value::u32(2))
        .set("tokenizer.chat_template", value::text("{{ messages }}"));
    for tensor in &tensors {
        let mut tensor = tensor.clone();
        let rotated = ["q_proj", "k_proj"].iter().any(|p| tensor.name.contains(p));
        if rotated {
            let row_bytes = tensor.bytes.len() / tensor.shape[0] as usize;
            tensor.bytes = interleave_rows(&tensor.bytes, row_bytes, config.head_dim);
        }
        tensor.name = LLAMA.gguf_from_hf(&tensor.name).unwrap();
        gguf.tensors.push(tensor);
    }
    (gguf, tensors)
}

/// A safetensors file: this JSON, then these bytes.
pub fn safetensors_file(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

/// A safetensors file of consecutive `(name, dtype, shape, bytes)`.
pub fn safetensors(tensors: &[(&str, &str, &[u64], &[u8])]) -> Vec<u8> {
    let mut header = json!({"__metadata__": {"format": "pt"}});
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let begin = data.len();
        data.extend_from_slice(bytes);
        header[*name] =
            json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()]});
    }
    safetensors_file(&header.to_string(), &data)
}

/// The small model as a safetensors file, with the tensors it was made of.
pub fn tiny_safetensors(kind: WeightKind, dtype: &str, tied: bool) -> (Vec<u8>, Vec<Tensor>) {
    let mut tensors = tiny_tensors(&tiny_config(tied), kind, 0, &mut fresh_rng());
    for tensor in &mut tensors {
        if tensor.shape.len() == 1 {
            let rng = &mut fresh_rng();
            tensor.bytes = random_weights(kind, tensor.shape[0] as usize, rng);
        }
    }
    let rows: Vec<_> = tensors
        .iter()
        .map(|t| {
            (
                t.name.as_str(),
                dtype,
                t.shape.as_slice(),
                t.bytes.as_slice(),
            )
        })
        .collect();
    (safetensors(&rows), tensors)
}

/// config.json of the small model.
pub fn tiny_json(tied: bool) -> Value {
    json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 8,
        "max_position_embeddings": 128, "rms_norm_eps": f64::from(1e-5_f32), "tie_word_embeddings": tied,
        "bos_token_id": 1, "eos_token_id": 2
    })
}

/// Something that is recognized as a tokenizer.json.
pub fn tokenizer_json() -> String {
    json!({"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}).to_string()
}

/// A file in memory.
pub fn named(name: &str, bytes: impl Into<Vec<u8>>) -> NamedSource {
    NamedSource {
        name: name.to_owned(),
        source: Box::new(bytes.into()),
    }
}
