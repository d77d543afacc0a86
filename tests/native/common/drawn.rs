//! Random models and adapters.

use engine::{
    arch::FAMILIES,
    weights::{
        checkpoint::{ModelFiles, NamedSource, open},
        config::ModelConfig,
    },
};
use futures_executor::block_on;
use protocol::{AdapterSpec, LayerRange, Method, TargetModule};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;

use super::{file, random::Random};

/// A model of any family, of one to three blocks with odd sizes, and the tokenizer of the committed models.
pub struct DrawnModel {
    pub config: ModelConfig,
    weights: Vec<u8>,
}

impl DrawnModel {
    pub fn new(random: &mut Random) -> Self {
        let num_key_value_heads = random.size(1..4);
        let config = ModelConfig {
            arch: FAMILIES[random.size(0..FAMILIES.len())],
            hidden_size: random.size(8..70),
            intermediate_size: random.size(8..90),
            num_hidden_layers: random.size(1..4),
            num_attention_heads: num_key_value_heads * random.size(1..4),
            num_key_value_heads,
            head_dim: 2 * random.size(3..10),
            vocab_size: 320 + random.size(0..9),
            max_position_embeddings: 128,
            rope_theta: 1e4,
            rms_norm_eps: 1e-5,
            tie_word_embeddings: random.size(0..2) == 1,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
        };
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = config
            .tensors()
            .into_iter()
            .map(|(name, shape)| {
                let shape: Vec<usize> = shape.into_iter().map(|size| size as usize).collect();
                let is_bias = name.ends_with(".bias");
                let values = (0..shape.iter().product()).map(|_| match shape.as_slice() {
                    [_] if is_bias => 0.3 * random.unit(),
                    // A norm's.
                    [_] => 1.0 + 0.1 * random.unit(),
                    // Of unit variance in, unit variance out.
                    _ => random.unit() * (3.0 / config.hidden_size as f32).sqrt(),
                });
                let bytes = values.flat_map(f32::to_le_bytes).collect();
                (name, shape, bytes)
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (
                name,
                TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
            )
        });
        let weights = safetensors::serialize(views, None).unwrap();
        Self { config, weights }
    }

    pub fn sources(&self) -> Vec<NamedSource> {
        let config = &self.config;
        let mut json = json!({
            "architectures": [config.arch.class],
            "model_type": config.arch.model_type,
            "hidden_act": "silu",
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "num_hidden_layers": config.num_hidden_layers,
            "num_attention_heads": config.num_attention_heads,
            "num_key_value_heads": config.num_key_value_heads,
            "head_dim": config.head_dim,
            "vocab_size": config.vocab_size,
            "max_position_embeddings": config.max_position_embeddings,
            "rope_theta": config.rope_theta,
            "rms_norm_eps": config.rms_norm_eps,
            "tie_word_embeddings": config.tie_word_embeddings,
            "bos_token_id": config.bos_token_id,
            "eos_token_id": config.eos_token_ids,
        });
        for (switch, built) in config.arch.switches {
            json[*switch] = json!(built);
        }
        let files = [
            ("config.json", json.to_string().into_bytes()),
            ("tokenizer.json", file::bytes("model/odd/tokenizer.json")),
            ("model.safetensors", self.weights.clone()),
        ];
        let files = files.into_iter().map(|(name, bytes)| NamedSource {
            name: name.to_owned(),
            source: Box::new(bytes),
        });
        files.collect()
    }

    pub fn files(&self) -> ModelFiles {
        block_on(open(self.sources())).unwrap()
    }
}

/// A random specification of an adapter of `method` for a model with `num_layers` blocks: modules, blocks, ranks, norms
/// and head.
pub fn spec(method: Method, num_layers: usize, random: &mut Random) -> AdapterSpec {
    let first = random.size(0..num_layers);
    let mut modules: Vec<TargetModule> = TargetModule::ALL
        .into_iter()
        .filter(|_| random.size(0..2) == 1)
        .collect();
    if modules.is_empty() {
        modules.push(TargetModule::DownProj);
    }
    let last = num_layers - 1;
    let mut spec = AdapterSpec {
        method,
        r: random.size(1..6),
        // Whole as mostly, and not.
        lora_alpha: random.size(1..34) as f64 / 2.0,
        target_modules: modules,
        layers_to_transform: (random.size(0..2) == 1).then_some(LayerRange { first, last }),
        train_norms: random.size(0..2) == 1 && method.facts().has_modules,
        train_head: random.size(0..3) == 0 && method.facts().has_modules,
        num_virtual_tokens: random.size(1..6),
        ..AdapterSpec::default()
    };
    if method.facts().has_alpha && random.size(0..2) == 1 {
        let module = spec.target_modules[0].name().to_owned();
        spec.rank_pattern.insert(module.clone(), random.size(1..7));
        spec.alpha_pattern
            .insert(module, random.size(1..10) as f64 / 4.0);
    }
    if !method.facts().has_modules {
        spec.target_modules = AdapterSpec::default().target_modules;
        spec.layers_to_transform = None;
    }
    spec
}
