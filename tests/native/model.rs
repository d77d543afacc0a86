//! Forward passes against transformers.

use burn::tensor::Tensor;
use engine::{data::batch::Batch, layers::block::KeyValueCache, model::Llama};
use futures_executor::block_on;
use serde::Deserialize;

use crate::common::{
    fixture::{self, Row, assert_near, assert_share},
    host::{RUN, ScriptedHost},
    load,
    random::Random,
};
use engine::train::{pacing::Pacing, step::evaluate};

#[derive(Deserialize)]
struct Forward {
    rows: Vec<Row>,
    loss: f64,
    scored_tokens: usize,
}

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

fn check_forward(name: &str) {
    let model = load::fixture_model(name);
    let golden: Forward = fixture::json(&format!("model/{name}.forward.json"));
    let tensors = fixture::tensors(&format!("model/{name}.forward.safetensors"));
    let batch = fixture::batch(&golden.rows);
    assert_ne!(batch.lengths[0], batch.lengths[1], "a row must be padded");
    let check = |tensor: &str, actual: Tensor<2>| {
        let actual = floats(actual);
        let golden = &tensors[tensor];
        let width = actual.len() / (batch.b * batch.t);
        let padded = golden.len() / (batch.b * width);
        for (row, &len) in batch.lengths.iter().enumerate() {
            let expected = &golden[row * padded * width..][..len * width];
            let actual = &actual[row * batch.t * width..][..len * width];
            assert_near(
                &format!("{name} {tensor}, row {row}"),
                actual,
                expected,
                1e-4,
            );
        }
    };

    let context = model.context(batch.b, batch.t, 0, None);
    let mut hidden = model.embed(&batch.ids);
    check("hidden.embed", hidden.clone());
    for block in &model.blocks {
        hidden = block.forward(hidden, None, &context, None).0;
        check(&format!("hidden.layer.{}", block.index), hidden.clone());
    }
    let normed = model.final_norm(hidden).0;
    check("hidden.norm", normed.clone());
    check("logits", model.head().forward(normed));

    assert_eq!(batch.num_scored(), golden.scored_tokens);
    let loss = base_loss(&model, &batch);
    assert_share(&format!("{name}'s loss"), loss, golden.loss, 1e-5);
}

fn base_loss(model: &Llama, batch: &Batch) -> f64 {
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host, RUN);
    block_on(evaluate(model, None, batch, &pacing)).unwrap() / batch.num_scored() as f64
}

/// Logits of the real file at every position, and what it writes token by token from a cache.
#[test]
fn bundled_model_equals_transformers() {
    let Some(model) = load::bundled_model("bundled_model_equals_transformers") else {
        return;
    };
    let Prompts { stride, prompts } = fixture::json("model/smol.logits.json");
    let goldens = fixture::tensors("model/smol.logits.safetensors");
    for prompt in &prompts {
        let rows = logits(&model, &prompt.ids);
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
            assert_eq!(continued(&model, &prompt.ids, greedy.ids.len()), greedy.ids);
        }
    }
}

#[track_caller]
fn check_top(what: &str, logits: &[f32], top: &Top) {
    let actual: Vec<f32> = top.ids.iter().map(|&id| logits[id]).collect();
    assert_near(what, &actual, &top.logits, 1e-3);
}

/// Logits at every position of one row, without a cache.
fn logits(model: &Llama, ids: &[u32]) -> Vec<Vec<f32>> {
    let context = model.context(1, ids.len(), 0, None);
    let mut hidden = model.embed(ids);
    for block in &model.blocks {
        hidden = block.forward(hidden, None, &context, None).0;
    }
    let logits = floats(model.head().forward(model.final_norm(hidden).0));
    logits
        .chunks(model.config.vocab_size)
        .map(<[f32]>::to_vec)
        .collect()
}

/// The most likely tokens one after the other.
fn continued(model: &Llama, prompt: &[u32], num_tokens: usize) -> Vec<u32> {
    let mut cache = vec![KeyValueCache::default(); model.blocks.len()];
    let (mut past, mut next, mut written) = (0, prompt.to_vec(), Vec::new());
    while written.len() < num_tokens {
        let logits = floats(model.next_logits(&next, past, None, &mut cache));
        past += next.len();
        let likeliest = (0u32..)
            .zip(&logits)
            .max_by(|(_, a), (_, b)| a.total_cmp(b));
        next = vec![likeliest.unwrap().0];
        written.push(next[0]);
    }
    written
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// What a cache holds stands for the tokens themselves, however they came in.
#[test]
fn cached_tokens_are_seen_as_if_they_were_given_again() {
    let mut random = Random::new();
    for name in ["tiny", "odd"] {
        let model = load::fixture_model(name);
        let len = random.size(6..30);
        let ids: Vec<u32> = (0..len).map(|_| random.size(0..320) as u32).collect();
        let whole = logits(&model, &ids);
        let mut cache = vec![KeyValueCache::default(); model.blocks.len()];
        let mut past = 0;
        while past < len {
            let end = random.size(past + 1..len + 1);
            let next = model.next_logits(&ids[past..end], past, None, &mut cache);
            let what = format!("{name}, tokens {past}..{end} of {len}");
            assert_near(&what, &floats(next), &whole[end - 1], 1e-4);
            past = end;
        }
    }
}
