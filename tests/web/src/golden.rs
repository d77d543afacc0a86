//! The tiny models against values from transformers and PEFT; see `tests/reference/README.md`.

use wasm_bindgen_test::{console_log, wasm_bindgen_test};

use crate::{
    common::golden::{self, Tolerances},
    device::device,
};

/// What a device is held to, whose arithmetic is its own.
const TOLERANCES: Tolerances = Tolerances {
    forward: 1e-3,
    loss: 1e-4,
    gradient: 1e-3,
    curve: 1e-3,
    parameters: 1e-3,
};

#[wasm_bindgen_test]
async fn models_equal_transformers() {
    for name in ["tiny", "odd"] {
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

async fn check_training(name: &str, variant: &str) {
    let errors = golden::check_training(name, variant, &device().await, TOLERANCES).await;
    console_log!(
        "{name} {variant}: gradients within {:.1e}, losses within {:.1e}",
        errors.gradient,
        errors.curve
    );
}
