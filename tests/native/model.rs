//! Compares forward passes with transformers.

use burn::tensor::{Device, Tensor};
use engine::layers::block::KeyValueCache;
use futures_executor::block_on;
use protocol::Precision;
use serde::Deserialize;

use crate::common::{
    fixture::{self, assert_near},
    golden::{self, EXACT, continued, logits},
    load,
    random::Random,
};

#[derive(Deserialize)]
struct Prompts {
    stride: usize,
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    name: String,
    ids: Vec<u32>,
    last_top: Top,
    top: Vec<Top>,
    greedy: Option<Greedy>,
}

/// The highest logits at a position.
#[derive(Deserialize)]
struct Top {
    ids: Vec<usize>,
    logits: Vec<f32>,
}

#[derive(Deserialize)]
struct Greedy {
    ids: Vec<u32>,
}

#[test]
fn tiny_model_equals_transformers() {
    check_forward("tiny");
}

#[test]
fn odd_model_equals_transformers() {
    check_forward("odd");
}

#[test]
fn qwen2_equals_transformers() {
    check_forward("qwen2");
}

#[test]
fn qwen3_equals_transformers() {
    check_forward("qwen3");
}

fn check_forward(name: &str) {
    let error = block_on(golden::check_forward(name, &Device::flex(), EXACT));
    println!("{name}: logits within {error:.1e}");
}

/// Checks the logits of the real file at every position, and the tokens it writes from a cache.
#[test]
fn bundled_model_equals_transformers() {
    let Some(model) = load::bundled_model("bundled_model_equals_transformers") else {
        return;
    };
    let Prompts { stride, prompts } = fixture::json("model/smol.logits.json");
    let goldens = fixture::tensors("model/smol.logits.safetensors");
    for prompt in &prompts {
        let rows = block_on(logits(&model, &prompt.ids));
        assert_eq!(rows.len(), prompt.top.len());
        let last = &rows[rows.len() - 1];
        for (position, (row, top)) in rows.iter().zip(&prompt.top).enumerate() {
            check_top(&format!("{}, position {position}", prompt.name), row, top);
        }
        check_top(&format!("{}, last", prompt.name), last, &prompt.last_top);
        let strided: Vec<f32> = last.iter().copied().step_by(stride).collect();
        let golden = &goldens[&format!("{}.last_logits", prompt.name)];
        assert_near(&prompt.name, &strided, golden, 1e-3);
        if let Some(greedy) = &prompt.greedy {
            let continued = continued(&model, &prompt.ids, greedy.ids.len());
            assert_eq!(block_on(continued), greedy.ids);
        }
    }
}

#[track_caller]
fn check_top(what: &str, logits: &[f32], top: &Top) {
    let actual: Vec<f32> = top.ids.iter().map(|&id| logits[id]).collect();
    assert_near(what, &actual, &top.logits, 1e-3);
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// A cache is equivalent to the tokens themselves, however they were added.
#[test]
fn cached_tokens_are_seen_as_if_they_were_given_again() {
    let mut random = Random::new();
    // The last outgrows its cache.
    for (name, lengths) in [
        ("tiny", 6..30),
        ("odd", 6..30),
        ("qwen2", 6..30),
        ("qwen3", 6..30),
        ("tiny", 260..300),
    ] {
        let model = load::fixture_model(name);
        let len = random.size(lengths);
        let ids: Vec<u32> = (0..len).map(|_| random.size(0..320) as u32).collect();
        let whole = block_on(logits(&model, &ids));
        let mut cache = vec![KeyValueCache::default(); model.blocks.len()];
        let mut past = 0;
        while past < len {
            let end = random.size(past + 1..len + 1);
            let next =
                model.next_logits(&ids[past..end], past, None, Precision::Single, &mut cache);
            let what = format!("{name}, tokens {past}..{end} of {len}");
            assert_near(&what, &floats(next), &whole[end - 1], 1e-4);
            past = end;
        }
    }
}
