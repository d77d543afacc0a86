//! Golden files; see `tests/reference/README.md`. The browser's tests read them through this module too.

use std::collections::BTreeMap;

use engine::data::{TokenSequence, batch::Batch};
use protocol::{AdapterSpec, LrSchedulerType, RunSpec};
use safetensors::SafeTensors;
use serde::{Deserialize, de::DeserializeOwned};

use super::file;

pub fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&file::bytes(name)).unwrap()
}

/// All tensors of a file, flat.
pub fn tensors(name: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = file::bytes(name);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |bytes: &[u8]| bytemuck::pod_collect_to_vec(bytes);
    file.iter()
        .map(|(name, view)| (name.to_owned(), floats(view.data())))
        .collect()
}

#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    pub ids: Vec<u32>,
    pub loss_mask: Vec<u8>,
}

impl Row {
    pub fn sequence(&self) -> TokenSequence {
        TokenSequence {
            row: 0,
            ids: self.ids.clone(),
            loss_mask: self.loss_mask.iter().map(|&scored| scored != 0).collect(),
        }
    }
}

pub fn batch(rows: &[Row]) -> Batch {
    let sequences: Vec<TokenSequence> = rows.iter().map(Row::sequence).collect();
    Batch::new(&sequences.iter().collect::<Vec<_>>())
}

/// Like [`batch`], packed.
pub fn packed(rows: &[Row]) -> Batch {
    let sequences: Vec<TokenSequence> = rows.iter().map(Row::sequence).collect();
    Batch::packed(&sequences.iter().collect::<Vec<_>>())
}

#[derive(Debug, Deserialize)]
pub struct Recipe {
    learning_rate: f64,
    lr_scheduler_type: LrSchedulerType,
    warmup_steps: u64,
    adam_beta1: f64,
    adam_beta2: f64,
    adam_epsilon: f64,
    weight_decay: f64,
    max_grad_norm: f64,
    max_steps: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    pub step: u64,
    pub loss: f64,
    pub learning_rate: f64,
    pub grad_norm: f64,
    pub scored_tokens: usize,
}

/// The run that a golden file was made with.
pub fn run_spec(spec: &AdapterSpec, recipe: &Recipe) -> RunSpec {
    RunSpec {
        adapter: spec.clone(),
        learning_rate: recipe.learning_rate,
        lr_scheduler_type: recipe.lr_scheduler_type,
        warmup_ratio: recipe.warmup_steps as f64 / recipe.max_steps as f64,
        weight_decay: recipe.weight_decay,
        adam_beta1: recipe.adam_beta1,
        adam_beta2: recipe.adam_beta2,
        adam_epsilon: recipe.adam_epsilon,
        max_grad_norm: recipe.max_grad_norm,
        max_steps: recipe.max_steps,
        ..RunSpec::default()
    }
}

/// Fails if an element differs from the golden value by more than `tolerance`, and names it. Returns the largest
/// difference.
#[track_caller]
pub fn assert_near(what: &str, actual: &[f32], expected: &[f32], tolerance: f64) -> f64 {
    assert_eq!(actual.len(), expected.len(), "{what} has another length");
    let (index, difference) = largest_difference(actual, expected);
    assert!(
        difference <= tolerance,
        "{what}: element {index} is {}, not {}",
        actual[index],
        expected[index]
    );
    difference
}

/// Like [`assert_near`], where tolerance and result are relative to the largest golden element.
#[track_caller]
pub fn assert_near_relative(what: &str, actual: &[f32], expected: &[f32], tolerance: f64) -> f64 {
    let largest = expected
        .iter()
        .fold(0.0, |largest, &x| f64::from(x).abs().max(largest));
    assert!(largest > 0.0, "{what}: the golden is all zero");
    assert_near(what, actual, expected, tolerance * largest) / largest
}

/// Fails if a number differs from the golden value by more than a share of it; returns the relative difference.
#[track_caller]
pub fn assert_share(what: &str, actual: f64, expected: f64, tolerance: f64) -> f64 {
    let difference = (actual - expected).abs();
    assert!(
        difference <= tolerance * expected.abs(),
        "{what} is {actual}, not {expected}"
    );
    difference / expected.abs()
}

fn largest_difference(actual: &[f32], expected: &[f32]) -> (usize, f64) {
    let mut largest = (0, 0.0);
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let difference = (f64::from(actual) - f64::from(expected)).abs();
        // NaN counts as the largest difference.
        if difference.is_nan() || difference > largest.1 {
            largest = (index, difference);
            if difference.is_nan() {
                break;
            }
        }
    }
    largest
}
