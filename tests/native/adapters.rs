//! Every adapter method against PEFT: the first gradients and a curve of 20 steps; merging; and what is written for PEFT,
//! which `tests/reference/adapters.py` loads there.

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use engine::{
    adapter::{Merging, ModelShape},
    export::{adapter_files, gguf, mlx, refusal},
    kernels::FrozenMatrix,
    model::Model,
    pacing::Pacing,
    train::{state::TrainingState, step::evaluate},
    weights::quantized::{QuantizedMatrix, WeightKind},
};
use futures_executor::block_on;
use protocol::{ExportKind, Precision, TargetModule};

use crate::common::{
    fixture::{self, assert_share},
    golden::{self, EXACT},
    host::ScriptedHost,
};

#[test]
fn every_method_trains_as_in_peft_and_merges() {
    for (case, name) in golden::ADAPTERS {
        let path = format!("adapters/{case}");
        let device = Device::flex();
        let checked = golden::check_adapter(name, &path, &device, EXACT);
        let (errors, model, state) = block_on(checked);
        let merged = match state.form.layout.spec.prompt_tokens() {
            0 => format!("within {:.1e}", check_merge(name, &model, &state)),
            _ => "none: it changes no weights".to_owned(),
        };
        write_export(case, name, &model, &state);
        println!(
            "{case:<18} gradients within {:.1e}, curve within {:.1e}, merged {merged}",
            errors.gradient, errors.curve
        );
    }
}

/// Compares the loss of the adapter merged into the base with that of base and adapter; returns their relative
/// difference.
fn check_merge(name: &str, tuned: &Model, state: &TrainingState) -> f64 {
    let rows: Rows = fixture::json(&format!("model/{name}.forward.json"));
    let batch = fixture::batch(&rows.rows);
    let adapter = state.upload(tuned);
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let loss = |model: &Model, adapter| {
        block_on(evaluate(model, adapter, &batch, Precision::Single, &pacing)).unwrap()
    };
    let (base, unmerged) = (loss(tuned, None), loss(tuned, Some(&adapter)));
    assert!(
        (base - unmerged).abs() > 1e-3 * base,
        "the adapter does nothing"
    );

    let mut merged = block_on(golden::model(name, &Device::flex()));
    for (layer, block) in merged.blocks.iter_mut().enumerate() {
        for module in TargetModule::ALL {
            let matrix = block.matrix_mut(module);
            let mut values: Vec<f32> = matrix.dense().into_data().try_into_vec().unwrap();
            state
                .form
                .merge(&state.parameters, layer, module, &mut values);
            *matrix = dense(values, matrix.rows(), matrix.cols());
        }
        for module in TargetModule::ALL {
            let Some(bias) = &mut block.biases[module as usize] else {
                continue;
            };
            let mut values: Vec<f32> = bias.clone().into_data().try_into_vec().unwrap();
            state
                .form
                .merge_bias(&state.parameters, layer, module, &mut values);
            *bias = Tensor::from_data(TensorData::new(values, bias.dims()), &Device::flex());
        }
        let [input, post_attention] = adapter.blocks[layer].norms.clone();
        let own = |norm: Option<_>, base: &_| norm.unwrap_or_else(|| Clone::clone(base));
        block.input_layernorm = own(input, &block.input_layernorm);
        block.post_attention_layernorm = own(post_attention, &block.post_attention_layernorm);
    }
    if let Some(norm) = adapter.norm.clone() {
        merged.norm = norm;
    }
    if let Some(head) = adapter.head.clone() {
        merged.lm_head = Some(head);
    }
    assert_share(
        "loss of the merged model",
        loss(&merged, None),
        unmerged,
        1e-5,
    )
}

#[derive(serde::Deserialize)]
struct Rows {
    rows: Vec<fixture::Row>,
}

fn dense(values: Vec<f32>, rows: usize, cols: usize) -> FrozenMatrix {
    let quantized = QuantizedMatrix {
        kind: WeightKind::F32,
        rows,
        cols,
        words: values.into_iter().map(f32::to_bits).collect(),
        scales: Vec::new(),
    };
    FrozenMatrix::from_quantized(quantized, &Device::flex())
}

/// Writes the adapter as the page exports it, with the loss that PEFT must find, where `INLAY_ADAPTERS` names a folder.
fn write_export(case: &str, name: &str, model: &Model, state: &TrainingState) {
    let Some(folder) = std::env::var_os("INLAY_ADAPTERS") else {
        return;
    };
    let folder = PathBuf::from(folder).join(case);
    std::fs::create_dir_all(&folder).unwrap();
    let shape = ModelShape::from(&model.config);
    let tensors = state.form.tensors(&state.parameters);
    let spec = &state.form.layout.spec;
    let expected = state.form.layout.tensors();
    let written = tensors
        .iter()
        .map(|tensor| (tensor.name.clone(), tensor.shape.clone()));
    let sorted = |list: Vec<(String, Vec<usize>)>| {
        list.into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(sorted(written.collect()), sorted(expected), "{case}");
    for (file, bytes) in adapter_files(spec, &shape, name, &tensors).unwrap() {
        std::fs::write(folder.join(file.name()), bytes).unwrap();
    }
    if let Ok(files) = mlx::files(&state.form, &state.parameters, &shape, name) {
        std::fs::create_dir_all(folder.join("mlx")).unwrap();
        for (file, bytes) in files {
            std::fs::write(folder.join("mlx").join(file), bytes).unwrap();
        }
    }
    if refusal(ExportKind::Gguf, spec).is_none() {
        let bytes = gguf::adapter(state.form.pairs(&state.parameters), &shape, case).unwrap();
        std::fs::write(folder.join("adapter.gguf"), bytes).unwrap();
    }
    let rows: Rows = fixture::json(&format!("model/{name}.forward.json"));
    let batch = fixture::batch(&rows.rows);
    let (host, adapter) = (ScriptedHost::default(), state.upload(model));
    let pacing = Pacing::new(&host);
    let loss = block_on(evaluate(
        model,
        Some(&adapter),
        &batch,
        Precision::Single,
        &pacing,
    ))
    .unwrap();
    let told = serde_json::json!({ "model": name, "loss": loss / batch.num_scored() as f64 });
    std::fs::write(folder.join("told.json"), told.to_string()).unwrap();
}
