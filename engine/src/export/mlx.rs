//! An adapter for mlx-lm: `adapters.safetensors` and mlx-lm's own `adapter_config.json` (`mlx_lm.tuner.utils`).
//!
//! mlx-lm creates the layers from the config, with one rank, one scale and one set of modules in the last `num_layers`
//! blocks, and then loads the file's tensors. So ranks are padded with zeros, and different scales go into `lora_b`; a
//! block without tensors keeps a `lora_b` of zeros.
//!
//! ```text
//! model.layers.3.self_attn.q_proj.lora_a    [in, r]     PEFT's lora_A, transposed
//! model.layers.3.self_attn.q_proj.lora_b    [r, out]    PEFT's lora_B, transposed
//! model.layers.3.self_attn.q_proj.m         [out]       DoRA's magnitudes
//! ```
//!
//! `y = x W^T + scale (x a) b`: mlx-lm multiplies by `scale` directly and knows no alpha. Its config has the same name
//! as PEFT's but other keys, so the two adapters need folders of their own.

use protocol::ExportKind;
use serde_json::json;

use super::{ExportError, adapter::safetensors, padded, pretty_json, refusal};
use crate::adapter::{AdapterForm, ModelShape, NamedTensor, NotLowRank};

/// Returns the files by name: the tensors, and the config that mlx-lm makes layers from.
///
/// The scale is that of the first module, and the rank the largest of all modules. `parameters` are in the order of
/// `form`'s layout; `base` is the model's name in the config, which mlx-lm itself does not read.
///
/// # Shapes
/// - a pair's `a`: `[r, in]`, written as `[in, r]`
/// - a pair's `b`: `[out, r]`, written as `[r, out]`
/// - DoRA's magnitudes: `[out]`
///
/// # Errors
/// [`ExportError::NoForm`] if MLX has no form for the method, [`ExportError::EmptyAdapter`] if no module is adapted.
pub fn files(
    form: &AdapterForm,
    parameters: &[f32],
    shape: &ModelShape,
    base: &str,
) -> Result<[(&'static str, Vec<u8>); 2], ExportError> {
    let spec = &form.layout.spec;
    if let Some(error) = refusal(ExportKind::Mlx, spec) {
        return Err(error);
    }
    let pairs = form.pairs(parameters);
    let first = pairs.first().ok_or(ExportError::EmptyAdapter)?;
    let scale = first.scaling;
    let rank = pairs.iter().map(|pair| pair.r).max().unwrap_or(first.r);
    let first_layer = pairs.iter().map(|pair| pair.layer).min().unwrap_or(0);
    // Paths within a block, as mlx-lm compares them with: `self_attn.q_proj`.
    let keys: Vec<&str> = spec
        .target_modules
        .iter()
        .map(|module| module.path())
        .collect();
    let mut tensors = Vec::new();
    for pair in pairs {
        let pair = padded(pair, rank, scale)?;
        let prefix = format!("model.layers.{}.{}", pair.layer, pair.module.path());
        let (in_features, out_features) = (pair.a.len() / rank, pair.b.len() / rank);
        let a = format!("{prefix}.lora_a");
        tensors.push(transposed(a, &pair.a, [rank, in_features]));
        let b = format!("{prefix}.lora_b");
        tensors.push(transposed(b, &pair.b, [out_features, rank]));
    }
    for (layer, module, values) in form.magnitudes(parameters) {
        tensors.push(NamedTensor {
            name: format!("model.layers.{layer}.{}.m", module.path()),
            shape: vec![values.len()],
            values: values.to_vec(),
        });
    }
    let is_dora = NotLowRank::of(spec) == Some(NotLowRank::Magnitudes);
    let config = json!({
        "model": base,
        "fine_tune_type": if is_dora { "dora" } else { "lora" },
        // Counted from the last block, so everything from the first adapted block on.
        "num_layers": shape.num_hidden_layers - first_layer,
        "lora_parameters": {
            "rank": rank,
            "scale": scale,
            "dropout": spec.lora_dropout,
            "keys": keys,
        },
    });
    Ok([
        ("adapters.safetensors", safetensors(&tensors)?),
        ("adapter_config.json", pretty_json(&config)?.into_bytes()),
    ])
}

/// Returns `[rows, cols]` as `[cols, rows]`, which is how mlx-lm stores its pairs.
///
/// # Shapes
/// - `values`: `[rows, cols]`, row by row
/// - returns a tensor of shape `[cols, rows]`, row by row
fn transposed(name: String, values: &[f32], [rows, cols]: [usize; 2]) -> NamedTensor {
    let column = |col: usize| values.iter().skip(col).step_by(cols).copied();
    NamedTensor {
        name,
        shape: vec![cols, rows],
        values: (0..cols).flat_map(column).collect(),
    }
}
