//! Opening what users drop: each kind of bad input has a message of its own.

use std::{
    future::{Future, ready},
    pin::Pin,
};

use engine::weights::{
    checkpoint::{ModelFiles, NamedSource, TokenizerSource, open},
    error::ModelError,
    quantized::WeightKind,
    source::{ByteSource, SourceError},
};
use futures_executor::block_on;
use protocol::{Failure, FailureKind};
use serde_json::{Value, json};

use crate::builder::{
    Gguf, named, safetensors, tiny_gguf, tiny_json, tiny_safetensors, tokenizer_json, value,
};

fn error(files: Vec<NamedSource>) -> ModelError {
    match block_on(open(files)) {
        Ok(model) => panic!("{} was opened", model.name),
        Err(error) => error,
    }
}

/// Opens `files` and answers the failure that the page would show; it always has a remedy.
fn failure(files: Vec<NamedSource>) -> Failure {
    let failure = Failure::from(error(files));
    assert!(failure.remedy.is_some(), "{failure}");
    failure
}

fn tiny() -> Gguf {
    tiny_gguf(WeightKind::Q8_0, 8, true).0
}

fn gguf_failure(gguf: &Gguf) -> Failure {
    failure(vec![named("m.gguf", gguf.bytes())])
}

/// The small safetensors model with this config.json, and more files.
fn hf_files(config: &Value, more: Vec<NamedSource>) -> Vec<NamedSource> {
    let mut files = vec![
        named(
            "model.safetensors",
            tiny_safetensors(WeightKind::Bf16, "BF16", true).0,
        ),
        named("config.json", config.to_string()),
        named("tokenizer.json", tokenizer_json()),
    ];
    files.extend(more);
    files
}

fn opened(files: Vec<NamedSource>) -> ModelFiles {
    block_on(open(files)).unwrap()
}

#[test]
fn files_that_are_no_models_are_named_for_what_they_are() {
    let zip = b"PK\x03\x04rest of the archive";
    let cases: [(&[u8], &str); 7] = [
        (b"Once upon a time", "a text file"),
        (zip, "a zip archive"),
        (b"\x89PNG\r\n\x1a\n....", "a PNG image"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer",
        ),
        (b"\x01\x02\x00\x03\xFE\xFF\x00", "a binary file"),
        (b"{\"a\": ", "a text file"),
    ];
    for (bytes, what) in cases {
        let failure = failure(vec![named("mine.gguf", bytes)]);
        assert_eq!(failure.kind, FailureKind::ModelFile);
        assert!(failure.what.contains(what), "{failure}");
        assert_eq!(failure.place.as_deref(), Some("mine.gguf"));
    }
    assert_eq!(error(vec![]), ModelError::NoFiles);
    let empty = error(vec![named("mine.gguf", "")]);
    assert!(matches!(empty, ModelError::Empty { .. }), "{empty}");
    let none = error(vec![named("config.json", tiny_json(true).to_string())]);
    assert!(matches!(none, ModelError::NoWeights { .. }), "{none}");
    let broken = failure(vec![named("config.json", "{\n\"a\": nope}")]);
    assert_eq!(
        broken.place.as_deref(),
        Some("config.json, line 2, column 7")
    );
}

#[test]
fn truncated_files_say_so() {
    let gguf = tiny().bytes();
    let cut = failure(vec![named("m.gguf", &gguf[..gguf.len() - 100])]);
    assert_eq!(cut.kind, FailureKind::ModelFile);
    assert!(cut.what.contains("cut off"), "{cut}");
    assert!(cut.place.unwrap().contains("tensor "));
    let cut = failure(vec![named("m.gguf", &gguf[..600])]);
    assert!(cut.what.contains("cut off"), "{cut}");

    let mut files = hf_files(&tiny_json(true), vec![]);
    let bytes = tiny_safetensors(WeightKind::Bf16, "BF16", true).0;
    for length in [bytes.len() - 1, 100] {
        files[0] = named("model.safetensors", &bytes[..length]);
        let cut = failure(std::mem::replace(
            &mut files,
            hf_files(&tiny_json(true), vec![]),
        ));
        assert!(cut.what.contains("cut off"), "{cut}");
        assert_eq!(cut.kind, FailureKind::ModelFile);
    }
}

#[test]
fn encoders_are_refused_as_encoders() {
    let bert = safetensors(&[
        ("embeddings.position_ids", "I64", &[1, 1], &[0; 8]),
        ("embeddings.word_embeddings.weight", "F32", &[1, 2], &[0; 8]),
        (
            "encoder.layer.0.attention.self.query.weight",
            "F32",
            &[1, 1],
            &[0; 4],
        ),
    ]);
    let config = json!({"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 2});
    let alone = failure(vec![named("model.safetensors", bert.clone())]);
    let whole = failure(vec![
        named("model.safetensors", bert),
        named("config.json", config.to_string()),
        named("tokenizer.json", tokenizer_json()),
    ]);
    let gguf = gguf_failure(tiny().set("general.architecture", value::text("nomic-bert")));
    for failure in [alone, whole, gguf] {
        assert_eq!(failure.kind, FailureKind::UnsupportedModel);
        assert!(failure.what.contains("is an encoder"), "{failure}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let mut gguf = tiny();
    gguf.remove("tokenizer.ggml.tokens")
        .set("llama.vocab_size", value::u32(8));
    let failed = gguf_failure(&gguf);
    assert_eq!(failed.kind, FailureKind::Tokenizer);

    let mut files = hf_files(&tiny_json(true), vec![]);
    files.remove(2);
    let failed = failure(files);
    assert_eq!(failed.kind, FailureKind::Tokenizer);
    assert!(failed.remedy.unwrap().contains("tokenizer.json"));

    let mut files = hf_files(&tiny_json(true), vec![]);
    files.remove(1);
    let failed = failure(files);
    assert_eq!(failed.kind, FailureKind::ModelFile);
    assert_eq!(failed.what, "config.json is missing");
}

#[test]
fn unsupported_models_are_named() {
    let gemma = gguf_failure(tiny().set("general.architecture", value::text("gemma3")));
    assert_eq!(gemma.kind, FailureKind::UnsupportedModel);
    assert!(gemma.what.contains("gemma3"), "{gemma}");
    assert!(gemma.remedy.unwrap().contains("Llama"));

    let mut config = tiny_json(true);
    config["model_type"] = json!("gpt2");
    let gpt2 = failure(hf_files(&config, vec![]));
    assert_eq!(gpt2.kind, FailureKind::UnsupportedModel);
    assert!(gpt2.what.contains("gpt2"), "{gpt2}");

    let mut quantized = tiny();
    for tensor in &mut quantized.tensors[1..] {
        tensor.number = if tensor.shape.len() > 1 { 12 } else { 0 };
    }
    let quantized = gguf_failure(&quantized);
    assert_eq!(quantized.kind, FailureKind::UnsupportedModel);
    assert!(
        quantized.what.contains("the type Q4_K of tensor blk.0."),
        "{quantized}"
    );
    assert!(quantized.what.contains("and 13 more"), "{quantized}");

    for (key, value) in [
        ("llama.rope.scaling.type", value::text("yarn")),
        ("llama.rope.scale_linear", value::f32(4.0)),
        ("llama.expert_count", value::u32(8)),
    ] {
        let failed = gguf_failure(tiny().set(key, value));
        assert_eq!(failed.kind, FailureKind::UnsupportedModel);
        assert!(failed.what.contains(key), "{failed}");
    }
    let scaled = scaled_embeddings();
    assert!(scaled.what.contains("rope_freqs"), "{scaled}");
}

/// A GGUF file with the factors of scaled rotary embeddings.
fn scaled_embeddings() -> Failure {
    let mut gguf = tiny();
    let mut factors = gguf.tensors[1].clone();
    factors.name = "rope_freqs.weight".to_owned();
    gguf.tensors.push(factors);
    gguf_failure(&gguf)
}

#[test]
fn inconsistent_settings_are_refused() {
    for (key, value) in [
        ("llama.attention.head_count_kv", value::u32(3)),
        ("llama.attention.head_count", value::u32(0)),
        ("llama.attention.head_count", value::i32s(&[4, 4])),
        ("llama.embedding_length", value::text("64")),
        ("llama.rope.dimension_count", value::u32(8)),
        ("llama.attention.value_length", value::u32(32)),
        ("llama.block_count", value::u32(u32::MAX)),
        ("llama.context_length", value::u32(0)),
        ("llama.rope.freq_base", value::f32(f32::NAN)),
    ] {
        let failed = gguf_failure(tiny().set(key, value));
        assert_eq!(failed.kind, FailureKind::ModelFile, "{key}: {failed}");
    }
    for key in [
        "llama.embedding_length",
        "llama.block_count",
        "llama.attention.layer_norm_rms_epsilon",
    ] {
        let failed = gguf_failure(tiny().remove(key));
        assert!(
            failed.what.contains(&format!("{key} is missing")),
            "{failed}"
        );
    }
    let failed = gguf_failure(tiny().set("tokenizer.ggml.token_type", value::i32s(&[1, 1])));
    assert_eq!(failed.kind, FailureKind::Tokenizer);
}

#[test]
fn all_wrong_tensors_are_reported_at_once() {
    let mut gguf = tiny();
    gguf.tensors[1].name = "blk.0.attn_norm.bias".to_owned();
    gguf.tensors[3].shape.reverse();
    let ModelError::Tensors { problems, .. } = error(vec![named("m", gguf.bytes())]) else {
        panic!("the tensors are wrong");
    };
    let mut problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.sort();
    // The block's keys are as wide as two heads of 16.
    assert_eq!(
        problems,
        [
            "blk.0.attn_k.weight has the shape [64, 32] instead of [32, 64]",
            "blk.0.attn_norm.bias is not part of this architecture",
            "blk.0.attn_norm.weight is missing",
        ]
    );
    let mut config = tiny_json(true);
    config["num_hidden_layers"] = json!(3);
    let failed = failure(hf_files(&config, vec![]));
    assert!(failed.what.ends_with("and 4 more"), "{failed}");
    assert!(failed.what.contains("model.layers.2."), "{failed}");
}

#[test]
fn non_finite_weights_are_refused_by_name() {
    let mut gguf = tiny();
    // The scale of the first block of the second row of blk.0.attn_q.
    gguf.tensors[2].bytes[2 * 34..][..2].copy_from_slice(&half::f16::NAN.to_le_bytes());
    assert_eq!(gguf.tensors[2].name, "blk.0.attn_q.weight");
    let model = opened(vec![named("m.gguf", gguf.bytes())]);
    let name = "model.layers.0.self_attn.q_proj.weight";
    let failed = Failure::from(block_on(model.matrix(name, [64, 64])).unwrap_err());
    assert_eq!(
        failed.place.as_deref(),
        Some("m.gguf, tensor blk.0.attn_q.weight")
    );
    assert!(
        failed.what.contains("row 1: column 0 is NaN or infinite"),
        "{failed}"
    );
}

#[test]
fn files_of_several_models_are_refused() {
    let two = vec![
        named("a.gguf", tiny().bytes()),
        named("b.gguf", tiny().bytes()),
    ];
    let error_of_two = error(two);
    assert!(
        error_of_two.to_string().contains("a.gguf, b.gguf"),
        "{error_of_two}"
    );
    let second = named("other.json", tiny_json(false).to_string());
    let ambiguous = error(hf_files(&tiny_json(true), vec![second]));
    assert!(matches!(
        ambiguous,
        ModelError::Ambiguous {
            what: "config.json",
            ..
        }
    ));
}

#[test]
fn files_beside_the_weights_are_used() {
    let named_templates = json!([
        {"name": "tool_use", "template": "wrong"}, {"name": "default", "template": "from the list"}
    ]);
    for (template, expected) in [
        (json!("from the config"), Some("from the config")),
        (named_templates, Some("from the list")),
        (Value::Null, None),
    ] {
        let config =
            json!({"tokenizer_class": "GPT2Tokenizer", "chat_template": template}).to_string();
        let files = vec![
            named("tokenizer_config.json", config.clone()),
            named(
                "generation_config.json",
                r#"{"eos_token_id": [2, 7], "transformers_version": "5"}"#,
            ),
            named("special_tokens_map.json", r#"{"unk_token": "<unk>"}"#),
            named("README.md", "# Tiny"),
        ];
        let model = opened(hf_files(&tiny_json(true), files));
        assert_eq!(model.chat_template.as_deref(), expected);
        assert_eq!(model.config.eos_token_ids, [2, 7]);
        assert_eq!(model.unused_files, ["special_tokens_map.json", "README.md"]);
        let TokenizerSource::Json {
            tokenizer_json: json,
            config_json,
        } = model.tokenizer
        else {
            panic!("the tokenizer is a file of its own");
        };
        assert_eq!(json, tokenizer_json().into_bytes());
        assert_eq!(config_json, Some(config.clone().into_bytes()));
        let files = vec![
            named("tokenizer_config.json", config),
            named("chat_template.jinja", "{{ of_its_own }}"),
        ];
        let model = opened(hf_files(&tiny_json(true), files));
        assert_eq!(model.chat_template.as_deref(), Some("{{ of_its_own }}"));
    }
}

/// Editors on Windows put a byte order mark before a text.
#[test]
fn a_byte_order_mark_before_json_is_passed_over() {
    let marked = |text: String| [b"\xEF\xBB\xBF", text.as_bytes()].concat();
    let config = json!({"tokenizer_class": "A", "chat_template": "of the config"}).to_string();
    let mut files = hf_files(&tiny_json(true), Vec::new());
    files[1] = named("config.json", marked(tiny_json(true).to_string()));
    files[2] = named("tokenizer.json", marked(tokenizer_json()));
    files.push(named("tokenizer_config.json", marked(config.clone())));
    files.push(named(
        "generation_config.json",
        marked(r#"{"eos_token_id": [2, 7], "transformers_version": "5"}"#.to_owned()),
    ));
    let model = opened(files);
    assert!(model.unused_files.is_empty(), "{:?}", model.unused_files);
    assert_eq!(model.config.eos_token_ids, [2, 7]);
    assert_eq!(model.chat_template.as_deref(), Some("of the config"));
    // What is written out again has none.
    let TokenizerSource::Json {
        tokenizer_json: json,
        config_json,
    } = model.tokenizer
    else {
        panic!("the tokenizer is a file of its own");
    };
    assert_eq!(json, tokenizer_json().into_bytes());
    assert_eq!(config_json, Some(config.into_bytes()));
}

#[test]
fn templates_for_other_purposes_are_passed_over() {
    let with = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(name, text)| named(name, *text));
        opened(hf_files(&tiny_json(true), files.collect()))
    };
    let processors = (
        "m/chat_template.json",
        r#"{"chat_template": "a processor's"}"#,
    );
    let config = (
        "m/tokenizer_config.json",
        r#"{"tokenizer_class": "A", "chat_template": "the config's"}"#,
    );
    let own = ("m/chat_template.jinja", "{{ its_own }}");
    let additional = (
        "m/additional_chat_templates/tool_use.jinja",
        "{{ for_tools }}",
    );
    for (files, expected, unused) in [
        (vec![config, processors], "the config's", vec![processors.0]),
        (vec![processors], "a processor's", vec![]),
        (vec![own, processors], "{{ its_own }}", vec![processors.0]),
        (vec![own, additional], "{{ its_own }}", vec![additional.0]),
        (vec![additional, config], "the config's", vec![additional.0]),
    ] {
        let model = with(&files);
        assert_eq!(model.chat_template.as_deref(), Some(expected), "{files:?}");
        assert_eq!(model.unused_files, unused, "{files:?}");
    }
}

#[test]
fn redundant_tensors_are_passed_over() {
    let (bytes, _) = tiny_safetensors(WeightKind::F32, "F32", false);
    // Its own head is there, but the config ties it; HF ignores it likewise.
    let mut files = hf_files(&tiny_json(true), vec![]);
    files[0] = named("model.safetensors", bytes);
    assert!(block_on(open(files)).is_ok());
}

#[test]
fn base_models_are_named_only_where_the_weights_are_theirs() {
    let name = |pairs: &[(&str, &str)]| {
        let mut gguf = tiny();
        for (key, text) in pairs {
            gguf.set(key, value::text(text));
        }
        opened(vec![named("m", gguf.bytes())]).base_model_name
    };
    let parent = (
        "general.base_model.0.repo_url",
        "https://huggingface.co/a/parent",
    );
    let own = ("general.repo_url", "https://huggingface.co/a/own");
    assert_eq!(name(&[]), None);
    assert_eq!(name(&[parent]).as_deref(), Some("a/parent"));
    assert_eq!(name(&[parent, own]).as_deref(), Some("a/own"));
    assert_eq!(name(&[parent, ("general.finetune", "chat")]), None);
}

/// A file that becomes unreadable after its header.
struct Vanishing(Vec<u8>, u64);

impl ByteSource for Vanishing {
    fn num_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        if offset >= self.1 {
            return Box::pin(ready(Err(SourceError::Read("gone".to_owned()))));
        }
        self.0.read(offset, num_bytes)
    }
}

#[test]
fn unreadable_files_are_reported_as_such() {
    let bytes = tiny().bytes();
    for readable in [0, 1, bytes.len() as u64 / 2] {
        let file = NamedSource {
            name: "m.gguf".to_owned(),
            source: Box::new(Vanishing(bytes.clone(), readable)),
        };
        let error = match block_on(open(vec![file])) {
            Err(error) => error,
            Ok(model) => {
                let names = model
                    .config
                    .tensors()
                    .into_iter()
                    .filter(|(_, s)| s.len() == 2);
                let mut reads = names.map(|(name, shape)| {
                    block_on(model.matrix(&name, [shape[0] as usize, shape[1] as usize]))
                });
                reads.find_map(Result::err).unwrap()
            }
        };
        let failure = Failure::from(error);
        assert_eq!(failure.kind, FailureKind::Network, "{failure}");
        assert!(failure.what.contains("gone"), "{failure}");
    }
}
