//! The bundled model file, read for real.

use engine::weights::{
    checkpoint::{ModelFiles, TokenizerSource},
    quantized::{QuantizedMatrix, WeightKind, unpack_row},
};
use futures_executor::block_on;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::fetched::open_bundled;

fn row(matrix: &QuantizedMatrix, row: usize) -> Vec<f32> {
    let (words, scales) = (
        matrix.kind.words_per_row(matrix.cols),
        matrix.kind.scales_per_row(matrix.cols),
    );
    let mut out = vec![0.0; matrix.cols];
    unpack_row(
        matrix.kind,
        &matrix.words[row * words..][..words],
        &matrix.scales[row * scales..][..scales],
        &mut out,
    );
    out
}

#[test]
fn the_bundled_model_is_what_it_should_be() {
    let Some(model) = open_bundled("the_bundled_model_is_what_it_should_be") else {
        return;
    };
    assert_eq!(model.name, "Smollm2 135M 8k Lc100K Mix1 Ep2");
    assert_eq!(
        model.base_model_name.as_deref(),
        Some("HuggingFaceTB/SmolLM2-135M-Instruct")
    );
    assert_eq!(model.quantization, "Q4_1");
    assert_eq!(model.parameters, 134_515_008);
    assert_eq!(model.file_bytes, 98_362_432);
    assert!(model.unused_files.is_empty());
    let config = &model.config;
    assert_eq!(config.hidden_size, 576);
    assert_eq!(config.intermediate_size, 1536);
    assert_eq!(config.num_hidden_layers, 30);
    assert_eq!(config.num_attention_heads, 9);
    assert_eq!(config.num_key_value_heads, 3);
    assert_eq!(config.head_dim, 64);
    assert_eq!(config.vocab_size, 49_152);
    assert_eq!(config.max_position_embeddings, 8192);
    assert_eq!(config.rope_theta, 100_000.0);
    assert_eq!(config.rms_norm_eps, f64::from(1e-5_f32));
    assert!(config.tie_word_embeddings);
    assert_eq!(config.bos_token_id, Some(1));
    assert_eq!(config.eos_token_ids, [2]);
    let TokenizerSource::Gguf(vocabulary) = &model.tokenizer else {
        panic!("the vocabulary is in the GGUF file");
    };
    assert_eq!(vocabulary.model, "gpt2");
    assert_eq!(vocabulary.pre, "smollm");
    assert_eq!(vocabulary.tokens.len(), 49_152);
    assert_eq!(vocabulary.tokens[1], "<|im_start|>");
    assert_eq!(vocabulary.token_types.len(), 49_152);
    assert_eq!(vocabulary.token_types[1], 3);
    assert_eq!(vocabulary.merges.len(), 48_900);
    assert_eq!(vocabulary.unk_token_id, Some(0));
    assert_eq!(vocabulary.pad_token_id, Some(2));
    assert!(!vocabulary.add_bos_token && !vocabulary.add_space_prefix);
    let template = model.chat_template.as_deref().unwrap();
    assert!(template.contains("<|im_start|>assistant"));
    let hash = block_on(model.sha256_hex(|_, _| ())).unwrap();
    assert!(hash.starts_with("b179c952"), "{hash}");
    let summary = model.summary(hash);
    assert_eq!(summary.architecture, "llama");
    assert!(summary.has_chat_template);
}

/// Values as transformers gives them, see `tests/reference/weights.py`.
#[derive(Deserialize)]
struct Golden {
    tensors: Vec<GoldenTensor>,
    rows: Vec<GoldenRow>,
}

#[derive(Deserialize)]
struct GoldenTensor {
    name: String,
    shape: Vec<usize>,
    sha256: String,
}

#[derive(Deserialize)]
struct GoldenRow {
    name: String,
    row: usize,
    bytes: String,
}

/// All weights of a tensor, unpacked, row after row.
fn weights(model: &ModelFiles, name: &str, shape: &[usize]) -> Vec<f32> {
    match *shape {
        [len] => block_on(model.vector(name, len)).unwrap(),
        [rows, cols] => {
            let matrix = block_on(model.matrix(name, [rows, cols])).unwrap();
            (0..rows).flat_map(|index| row(&matrix, index)).collect()
        }
        _ => panic!("{name} has the shape {shape:?}"),
    }
}

/// As the golden values are written; adding zero makes zeros of negative zeros.
fn bytes(weights: &[f32]) -> Vec<u8> {
    let bytes = |&weight: &f32| (weight + 0.0).to_le_bytes();
    weights.iter().flat_map(bytes).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn all_weights_of_the_bundled_model_are_those_of_transformers() {
    let Some(model) = open_bundled("all_weights_of_the_bundled_model_are_those_of_transformers")
    else {
        return;
    };
    let golden = include_str!("../../fixtures/weights/smollm2.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    for expected in &golden.rows {
        let shape = &golden
            .tensors
            .iter()
            .find(|t| t.name == expected.name)
            .unwrap()
            .shape;
        let cols = shape[shape.len() - 1];
        let weights = weights(&model, &expected.name, shape);
        let row = bytes(&weights[expected.row * cols..][..cols]);
        assert_eq!(
            hexadecimal(&row),
            expected.bytes,
            "{} row {}",
            expected.name,
            expected.row
        );
    }
    assert_eq!(golden.tensors.len(), model.config.tensors().len());
    for expected in &golden.tensors {
        let weights = weights(&model, &expected.name, &expected.shape);
        let digest = hexadecimal(&Sha256::digest(bytes(&weights)));
        assert_eq!(digest, expected.sha256, "{}", expected.name);
    }
}

#[test]
fn only_tensors_of_the_right_shape_are_given() {
    let Some(model) = open_bundled("only_tensors_of_the_right_shape_are_given") else {
        return;
    };
    let embedding = block_on(model.matrix("model.embed_tokens.weight", [49_152, 576])).unwrap();
    assert_eq!(embedding.kind, WeightKind::Q8_0);
    assert!(block_on(model.matrix("model.embed_tokens.weight", [576, 49_152])).is_err());
    assert!(block_on(model.matrix("lm_head.weight", [49_152, 576])).is_err());
    assert!(block_on(model.vector("model.norm.weight", 575)).is_err());
}
