use serde_json::{Value, json};

use super::*;
use crate::arch::{LLAMA, QWEN2, QWEN3};

fn smollm() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
        "max_position_embeddings": 8192, "rope_theta": 100000, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "attention_bias": false, "mlp_bias": false,
        "rope_scaling": null, "rope_interleaved": false
    })
}

/// The config with `field` set to `value`, read.
fn with(field: &str, value: Value) -> Result<ModelConfig, ConfigError> {
    let mut config = smollm();
    config[field] = value;
    ModelConfig::from_json(config.to_string().as_bytes())
}

fn without(field: &str) -> Result<ModelConfig, ConfigError> {
    let mut config = smollm();
    config.as_object_mut().unwrap().remove(field);
    ModelConfig::from_json(config.to_string().as_bytes())
}

#[test]
fn the_config_of_smollm_is_read() {
    let config = ModelConfig::from_json(smollm().to_string().as_bytes()).unwrap();
    assert_eq!(
        config,
        ModelConfig {
            arch: &LLAMA,
            hidden_size: 576,
            intermediate_size: 1536,
            num_hidden_layers: 30,
            num_attention_heads: 9,
            num_key_value_heads: 3,
            head_dim: 64,
            vocab_size: 49_152,
            max_position_embeddings: 8192,
            rope_theta: 100_000.0,
            rms_norm_eps: 1e-5,
            tie_word_embeddings: true,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
        }
    );
    assert_eq!(config.num_parameters(), 134_515_008);
    assert_eq!(config.tensors().len(), 272);
}

#[test]
fn absent_fields_have_the_defaults_of_hf() {
    let default = |field| without(field).unwrap();
    assert_eq!(default("num_key_value_heads").num_key_value_heads, 9);
    assert_eq!(
        default("max_position_embeddings").max_position_embeddings,
        2048
    );
    assert_eq!(default("rope_theta").rope_theta, 10_000.0);
    assert_eq!(default("rms_norm_eps").rms_norm_eps, 1e-6);
    assert!(!default("tie_word_embeddings").tie_word_embeddings);
    assert_eq!(default("bos_token_id").bos_token_id, Some(1));
    assert_eq!(default("eos_token_id").eos_token_ids, [2]);
    assert_eq!(default("hidden_act").head_dim, 64);
    for field in [
        "hidden_size",
        "vocab_size",
        "num_hidden_layers",
        "intermediate_size",
    ] {
        let missing = ConfigError::Missing {
            field: field.to_owned(),
        };
        assert_eq!(without(field), Err(missing));
    }
}

#[test]
fn other_spellings_are_read() {
    assert_eq!(
        with("eos_token_id", json!([2, 7])).unwrap().eos_token_ids,
        [2, 7]
    );
    assert_eq!(with("head_dim", json!(32)).unwrap().head_dim, 32);
    let rope = json!({"rope_type": "default", "rope_theta": 5e5});
    assert_eq!(with("rope_parameters", rope).unwrap().rope_theta, 500_000.0);
    assert!(
        with("eos_token_id", Value::Null)
            .unwrap()
            .eos_token_ids
            .is_empty()
    );
    assert!(with("rope_scaling", json!({"type": "default"})).is_ok());
    let both = json!({"type": "default", "rope_type": "default"});
    assert!(with("rope_scaling", both).is_ok());
    let key_value_heads = with("num_key_value_heads", Value::Null);
    assert_eq!(key_value_heads.unwrap().num_key_value_heads, 9);
    assert!(without("model_type").is_ok());
    assert!(without("architectures").is_ok());
    let config = with("eos_token_id", json!(2)).unwrap();
    let generation = config.with_generation_config(br#"{"eos_token_id": [0, 2]}"#);
    assert_eq!(generation.unwrap().eos_token_ids, [0, 2]);
}

#[test]
fn impossible_numbers_are_refused() {
    for (field, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(577)),
        ("num_attention_heads", json!(0)),
        ("num_attention_heads", json!(u32::MAX)),
        ("num_key_value_heads", json!(2)),
        ("num_key_value_heads", json!(0)),
        ("head_dim", json!(63)),
        ("head_dim", json!(0)),
        ("vocab_size", json!(1u32 << 30)),
        ("num_hidden_layers", json!(100_000)),
        ("rope_theta", json!(0)),
        ("rope_theta", json!(-1.0)),
        ("rms_norm_eps", json!(0)),
        ("rms_norm_eps", json!(1)),
    ] {
        let error = with(field, value.clone()).unwrap_err();
        assert!(
            matches!(error, ConfigError::Invalid { .. }),
            "{field} {value}: {error}"
        );
    }
    for (field, value) in [
        ("hidden_size", json!("576")),
        ("hidden_size", json!(-1)),
        ("hidden_size", json!(5_000_000_000u64)),
        ("eos_token_id", json!("</s>")),
    ] {
        let error = with(field, value.clone()).unwrap_err();
        assert!(
            matches!(error, ConfigError::Json(_)),
            "{field} {value}: {error}"
        );
    }
}

#[test]
fn features_that_change_the_output_are_refused() {
    for (field, value) in [
        (
            "rope_scaling",
            json!({"rope_type": "llama3", "factor": 8.0}),
        ),
        ("rope_scaling", json!({"type": "linear", "factor": 2.0})),
        (
            "rope_scaling",
            json!({"type": "linear", "rope_type": "linear", "factor": 2.0}),
        ),
        ("rope_parameters", json!({"rope_type": "yarn"})),
        (
            "rope_parameters",
            json!({"rope_type": "default", "partial_rotary_factor": 0.5}),
        ),
        ("attention_bias", json!(true)),
        ("mlp_bias", json!(true)),
        ("hidden_act", json!("gelu")),
    ] {
        let error = with(field, value.clone()).unwrap_err();
        assert!(
            matches!(error, ConfigError::Feature { .. }),
            "{field} {value}: {error}"
        );
    }
}

#[test]
fn ids_beyond_the_embedding_are_passed_over_with_a_word() {
    for (field, value, told) in [
        ("eos_token_id", json!(49_152), "eos_token_id 49152"),
        ("eos_token_id", json!([2, 60_000]), "eos_token_id 60000"),
        ("bos_token_id", json!(50_000), "bos_token_id 50000"),
    ] {
        let note = with(field, value).unwrap().unembedded_ids_note().unwrap();
        assert!(
            note.contains(told) && note.contains("49152 tokens"),
            "{note}"
        );
    }
    assert_eq!(without("vocab").unwrap().unembedded_ids_note(), None);
}

#[test]
fn quantized_weights_are_named_by_what_made_them() {
    for (field, value, method) in [
        (
            "quantization_config",
            json!({"quant_method": "gptq", "bits": 4}),
            "GPTQ (4-bit)",
        ),
        (
            "quantization_config",
            json!({"quant_method": "awq", "bits": 4}),
            "AWQ (4-bit)",
        ),
        (
            "quantization_config",
            json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}),
            "bitsandbytes (4-bit)",
        ),
        (
            "quantization_config",
            json!({"load_in_8bit": true}),
            "bitsandbytes (8-bit)",
        ),
        (
            "quantization_config",
            json!({"quant_method": "compressed-tensors"}),
            "compressed-tensors",
        ),
        ("quantization_config", json!({"quant_method": "fp8"}), "FP8"),
        (
            "quantization",
            json!({"group_size": 64, "bits": 4}),
            "MLX (4-bit)",
        ),
        (
            "quantization_config",
            json!({"group_size": 32, "bits": 8}),
            "MLX (8-bit)",
        ),
    ] {
        let expected = ConfigError::Quantized {
            method: method.to_owned(),
        };
        assert_eq!(with(field, value), Err(expected));
    }
}

#[test]
fn a_head_that_config_leaves_open_is_the_embedding_where_there_is_none() {
    let mut config = smollm();
    config
        .as_object_mut()
        .unwrap()
        .remove("tie_word_embeddings");
    let bytes = config.to_string().into_bytes();
    assert!(!ModelConfig::says_tied(&bytes));
    for is_tied in [false, true] {
        let read = ModelConfig::from_json_of(&bytes, is_tied).unwrap();
        assert_eq!(read.tie_word_embeddings, is_tied);
    }
    let said = smollm().to_string().into_bytes();
    assert!(ModelConfig::says_tied(&said));
    assert!(
        ModelConfig::from_json_of(&said, false)
            .unwrap()
            .tie_word_embeddings
    );
}

#[test]
fn what_keeps_an_architecture_out_is_told() {
    for (name, reason) in [
        ("olmo2", "not supported yet"),
        ("mixtral", "mixture of experts"),
        ("mamba2", "recurrent"),
        ("qwen2_vl", "images"),
        ("MBartForConditionalGeneration", "encoder with a decoder"),
        ("whisper", "sound"),
    ] {
        let error = with("model_type", json!(name)).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(reason), "{error}");
    }
    let classes = json!(["LlamaForSequenceClassification"]);
    let error = with("architectures", classes).unwrap_err().to_string();
    assert!(error.contains("classifies"), "{error}");
}

#[test]
fn other_architectures_are_named() {
    for name in ["gemma3", "gpt2", "mistral", "olmo2"] {
        let architecture = name.to_owned();
        let expected = ConfigError::Architecture { architecture };
        assert_eq!(with("model_type", json!(name)), Err(expected));
    }
    for name in ["bert", "xlm-roberta", "distilbert", "mpnet", "modernbert"] {
        let architecture = name.to_owned();
        let expected = ConfigError::Encoder { architecture };
        assert_eq!(with("model_type", json!(name)), Err(expected));
    }
    let classifier = with("architectures", json!(["LlamaForSequenceClassification"]));
    assert!(matches!(classifier, Err(ConfigError::Architecture { .. })));
    // Another architecture's fields may have other types; its name comes first.
    let odd = br#"{"model_type": "gemma3n", "hidden_size": [1, 2], "intermediate_size": {}}"#;
    let error = ModelConfig::from_json(odd).unwrap_err();
    assert!(matches!(error, ConfigError::Architecture { .. }), "{error}");
    assert_eq!(
        ModelConfig::from_json(b"{}"),
        Err(ConfigError::NoArchitecture)
    );
}

#[test]
fn encoders_are_known_by_their_tensors() {
    assert!(looks_like_encoder([
        "pooler.dense.weight",
        "bert.embeddings.word_embeddings.weight"
    ]));
    assert!(looks_like_encoder([
        "encoder.layer.0.attention.self.query.weight"
    ]));
    assert!(looks_like_encoder(["token_embd_norm.weight"]));
    assert!(!looks_like_encoder([
        "model.embed_tokens.weight",
        "model.norm.weight"
    ]));
    assert!(!looks_like_encoder([]));
}

#[test]
fn qwens_differ_from_llama_in_what_they_leave_out() {
    let read = |model_type: &str, class: &str, more: Value| {
        let mut config = smollm();
        config["model_type"] = json!(model_type);
        config["architectures"] = json!([class]);
        let fields = config.as_object_mut().unwrap();
        for absent in ["bos_token_id", "eos_token_id", "max_position_embeddings"] {
            fields.remove(absent);
        }
        fields.extend(more.as_object().unwrap().clone());
        ModelConfig::from_json(config.to_string().as_bytes())
    };
    let window =
        json!({"use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 21});
    let qwen2 = read("qwen2", "Qwen2ForCausalLM", window).unwrap();
    assert_eq!((qwen2.arch, qwen2.head_dim), (&QWEN2, 64));
    assert_eq!(qwen2.max_position_embeddings, 32_768);
    assert_eq!((qwen2.bos_token_id, &*qwen2.eos_token_ids), (None, &[][..]));
    let shape = |config: &ModelConfig, name: &str| {
        let mut tensors = config.tensors().into_iter();
        tensors
            .find(|(tensor, _)| tensor == name)
            .map(|(_, shape)| shape)
    };
    let bias = "model.layers.29.self_attn.k_proj.bias";
    assert_eq!(shape(&qwen2, bias), Some(vec![192]));

    let qwen3 = read("qwen3", "Qwen3ForCausalLM", json!({"eos_token_id": 3})).unwrap();
    assert_eq!((qwen3.arch, qwen3.head_dim), (&QWEN3, 128));
    assert_eq!(qwen3.eos_token_ids, [3]);
    let query = "model.layers.0.self_attn.q_proj.weight";
    assert_eq!(shape(&qwen3, query), Some(vec![9 * 128, 576]));
    let norm = "model.layers.0.self_attn.q_norm.weight";
    assert_eq!(shape(&qwen3, norm), Some(vec![128]));
    assert_eq!(shape(&qwen3, bias), None);

    // Null is not the default of the class, which is 32, but one for each query head.
    for (model_type, class) in [("qwen2", "Qwen2ForCausalLM"), ("qwen3", "Qwen3ForCausalLM")] {
        let config = read(model_type, class, json!({"num_key_value_heads": null})).unwrap();
        assert_eq!(config.num_key_value_heads, 9);
    }

    for more in [
        json!({"use_sliding_window": true}),
        json!({"layer_types": ["full_attention", "sliding_attention"]}),
    ] {
        let refused = read("qwen2", "Qwen2ForCausalLM", more).unwrap_err();
        assert!(matches!(refused, ConfigError::Feature { .. }), "{refused}");
    }
    let biased = read("qwen3", "Qwen3ForCausalLM", json!({"attention_bias": true}));
    assert!(matches!(biased, Err(ConfigError::Feature { .. })));
    let embedder = read("qwen3", "Qwen3ForSequenceClassification", json!({}));
    assert!(matches!(embedder, Err(ConfigError::Architecture { .. })));
}
