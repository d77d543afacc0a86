//! Compares losses, gradients and whole training curves with PyTorch and PEFT.

use std::collections::BTreeMap;

use burn::tensor::Device;
use engine::{
    model::Model,
    pacing::Pacing,
    train::{state::TrainingState, step::evaluate},
};
use futures_executor::block_on;
use protocol::{AdapterSpec, Precision, RunSpec};
use serde::Deserialize;

use crate::common::{
    adapter::{fill_by_rule, named_ranges, parameters_by_rule},
    fixture::{self, Recipe, Row, Step, assert_near_relative, assert_share, run_spec},
    golden::{self, EXACT, TrainingErrors, check_steps, norm},
    host::ScriptedHost,
    load,
};

#[test]
fn tiny_model_trains_as_in_peft_on_all_modules() {
    check_training("tiny", "all");
}

#[test]
fn tiny_model_trains_as_in_peft_on_queries_and_values() {
    check_training("tiny", "qv");
}

#[test]
fn odd_model_trains_as_in_peft_on_all_modules() {
    check_training("odd", "all");
}

#[test]
fn odd_model_trains_as_in_peft_on_queries_and_values() {
    check_training("odd", "qv");
}

#[test]
fn qwen2_trains_as_in_peft_on_all_modules() {
    check_training("qwen2", "all");
}

#[test]
fn qwen2_trains_as_in_peft_on_queries_and_values() {
    check_training("qwen2", "qv");
}

#[test]
fn qwen3_trains_as_in_peft_on_all_modules() {
    check_training("qwen3", "all");
}

#[test]
fn qwen3_trains_as_in_peft_on_queries_and_values() {
    check_training("qwen3", "qv");
}

fn check_training(name: &str, variant: &str) {
    let device = Device::flex();
    let training = golden::check_training(name, variant, &device, EXACT);
    let TrainingErrors { gradient, curve } = block_on(training);
    println!("{name} {variant}: gradients within {gradient:.1e}, losses within {curve:.1e}");
}

#[derive(Deserialize)]
struct BundledGradients {
    #[serde(rename = "lora")]
    adapter: AdapterSpec,
    rule: Rule,
    rows: Vec<Row>,
    b_zero: BundledGradient,
    b_rule: BundledGradient,
}

#[derive(Deserialize)]
struct Rule {
    bound_a: f64,
    bound_b: f64,
    #[serde(default)]
    check: Vec<RuleCheck>,
}

#[derive(Deserialize)]
struct RuleCheck {
    name: String,
    bound: f64,
    first: Vec<f32>,
}

#[derive(Deserialize)]
struct BundledGradient {
    loss: f64,
    scored_tokens: usize,
    grad_norm: f64,
    norms: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Curve {
    #[serde(rename = "lora")]
    adapter: AdapterSpec,
    rule: Rule,
    recipe: Recipe,
    held_out_loss: HeldOutLoss,
    final_norms: BTreeMap<String, f64>,
    steps: Vec<Step>,
    rows: Vec<Row>,
    held_out: Vec<Row>,
}

#[derive(Deserialize)]
struct HeldOutLoss {
    before: f64,
    after: f64,
}

#[test]
fn bundled_model_has_the_gradients_of_peft() {
    let Some(model) = load::bundled_model("bundled_model_has_the_gradients_of_peft") else {
        return;
    };
    let golden: BundledGradients = fixture::json("train/smol.gradients.json");
    assert!(!golden.rule.check.is_empty());
    for check in &golden.rule.check {
        let mut first = vec![0.0; check.first.len()];
        fill_by_rule(&check.name, check.bound as f32, &mut first);
        assert_eq!(first, check.first, "the rule for {}", check.name);
    }
    let tensors = fixture::tensors("train/smol.gradients.safetensors");
    let spec = RunSpec {
        adapter: golden.adapter.clone(),
        ..RunSpec::default()
    };
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let batches = [fixture::batch(&golden.rows)];
    let Rule {
        bound_a, bound_b, ..
    } = golden.rule;
    let variants = [
        ("b_zero", 0.0, &golden.b_zero),
        ("b_rule", bound_b, &golden.b_rule),
    ];
    for (variant, bound_b, expected) in variants {
        let mut state = block_on(TrainingState::start(&spec, &model, golden::profile())).unwrap();
        state.parameters = parameters_by_rule(&state.form.layout, bound_a, bound_b);
        let mean = block_on(state.gradient(&model, &batches, &pacing)).unwrap();
        assert_eq!(mean.scored_tokens, expected.scored_tokens);
        assert_share(variant, mean.loss, expected.loss, 1e-4);
        assert_share(variant, norm(&mean.gradients), expected.grad_norm, 1e-3);
        for (name, range) in named_ranges(&state.form.layout) {
            let gradient = &mean.gradients[range];
            let what = format!("{variant} {name}");
            assert_share(&what, norm(gradient), expected.norms[&name], 1e-3);
            if let Some(expected) = tensors.get(&format!("{variant}.{name}")) {
                assert_near_relative(&what, gradient, expected, 1e-3);
            }
        }
    }
}

#[test]
fn bundled_model_learns_as_in_peft() {
    let Some(model) = load::bundled_model("bundled_model_learns_as_in_peft") else {
        return;
    };
    let golden: Curve = fixture::json("train/smol.curve.json");
    // The first steps have warmed up and moved both moments; the rest takes minutes.
    let is_whole = std::env::var_os("INLAY_DRILLS").is_some();
    let num_steps = if is_whole { golden.steps.len() } else { 6 };
    let spec = run_spec(&golden.adapter, &golden.recipe);
    let mut state = block_on(TrainingState::start(&spec, &model, golden::profile())).unwrap();
    state.parameters =
        parameters_by_rule(&state.form.layout, golden.rule.bound_a, golden.rule.bound_b);

    let HeldOutLoss { before, after } = golden.held_out_loss;
    let loss = held_out_loss(&model, &state, &golden.held_out);
    assert!((loss - before).abs() < 1e-3, "{loss} before, not {before}");
    let steps: Vec<Vec<Vec<Row>>> = golden
        .rows
        .chunks(4)
        .map(|rows| vec![rows.to_vec()])
        .collect();
    let steps: Vec<&[Vec<Row>]> = steps.iter().map(Vec::as_slice).collect();
    block_on(check_steps(
        &model,
        &spec,
        &mut state,
        &steps,
        &golden.steps[..num_steps],
        1e-3,
    ));
    if !is_whole {
        return;
    }
    let loss = held_out_loss(&model, &state, &golden.held_out);
    assert!((loss - after).abs() < 1e-3, "{loss} after, not {after}");
    for (name, range) in named_ranges(&state.form.layout) {
        let expected = golden.final_norms[&name];
        assert_share(&name, norm(&state.parameters[range]), expected, 0.01);
    }
}

fn held_out_loss(model: &Model, state: &TrainingState, rows: &[Row]) -> f64 {
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let batch = fixture::batch(rows);
    let adapter = state.upload(model);
    block_on(evaluate(
        model,
        Some(&adapter),
        &batch,
        Precision::Single,
        &pacing,
    ))
    .unwrap()
        / batch.num_scored() as f64
}
