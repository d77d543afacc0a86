//! Compares the tiny models with values from transformers and PEFT; see `tests/reference/README.md`.

use engine::{data::TokenSequence, train::state::TrainingState};
use protocol::RunSpec;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};

use crate::{
    common::golden::{self, Tolerances},
    device::{device, random},
};

/// The tolerances of a device, which has its own arithmetic.
const TOLERANCES: Tolerances = Tolerances {
    forward: 1e-3,
    loss: 1e-4,
    gradient: 1e-3,
    curve: 1e-3,
    parameters: 1e-3,
};

#[wasm_bindgen_test]
async fn models_equal_transformers() {
    for name in ["tiny", "odd", "qwen2", "qwen3"] {
        let error = golden::check_forward(name, &device().await, TOLERANCES).await;
        console_log!("{name}: logits within {error:.1e}");
    }
}

#[wasm_bindgen_test]
async fn tiny_model_trains_as_in_peft_on_all_modules() {
    check_training("tiny", "all").await;
}

#[wasm_bindgen_test]
async fn tiny_model_trains_as_in_peft_on_queries_and_values() {
    check_training("tiny", "qv").await;
}

#[wasm_bindgen_test]
async fn odd_model_trains_as_in_peft_on_all_modules() {
    check_training("odd", "all").await;
}

#[wasm_bindgen_test]
async fn odd_model_trains_as_in_peft_on_queries_and_values() {
    check_training("odd", "qv").await;
}

#[wasm_bindgen_test]
async fn qwen2_trains_as_in_peft_on_all_modules() {
    check_training("qwen2", "all").await;
}

#[wasm_bindgen_test]
async fn qwen2_trains_as_in_peft_on_queries_and_values() {
    check_training("qwen2", "qv").await;
}

#[wasm_bindgen_test]
async fn qwen3_trains_as_in_peft_on_all_modules() {
    check_training("qwen3", "all").await;
}

#[wasm_bindgen_test]
async fn qwen3_trains_as_in_peft_on_queries_and_values() {
    check_training("qwen3", "qv").await;
}

#[wasm_bindgen_test]
async fn packed_rows_have_the_loss_and_gradient_of_unpacked_ones() {
    let mut random = random();
    for name in ["tiny", "odd", "qwen2", "qwen3"] {
        let model = golden::model(name, &device().await).await;
        let mut state = TrainingState::start(&RunSpec::default(), &model, golden::profile())
            .await
            .unwrap();
        let parameters = state.parameters.iter_mut();
        parameters.for_each(|parameter| *parameter += 0.1 * random.unit());
        // Short ones and one that is longer than a tile of the kernels.
        let rows: Vec<TokenSequence> = [2..14, 2..14, 2..14, 40..80, 2..40]
            .into_iter()
            .map(|lengths| {
                let length = random.size(lengths);
                TokenSequence {
                    row: 0,
                    ids: (0..length).map(|_| random.size(3..320) as u32).collect(),
                    loss_mask: (0..length).map(|index| index > 0).collect(),
                }
            })
            .collect();
        let error = golden::check_packing(&model, &state, &rows).await;
        console_log!("{name}: packed gradients within {error:.1e}");
    }
}

async fn check_training(name: &str, variant: &str) {
    let errors = golden::check_training(name, variant, &device().await, TOLERANCES).await;
    console_log!(
        "{name} {variant}: gradients within {:.1e}, losses within {:.1e}",
        errors.gradient,
        errors.curve
    );
}
