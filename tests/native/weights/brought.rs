//! What people have at hand: parts of models, models of other programs, files that go with models. Each is taken, or
//! refused for what it is.

use std::collections::BTreeMap;

use engine::weights::{
    checkpoint::{ModelFiles, NamedSource, open},
    error::ModelError,
    quantized::WeightKind,
};
use futures_executor::block_on;
use protocol::{Failure, FailureKind};
use serde_json::{Value, json};

use crate::builder::{
    Gguf, Tensor, named, safetensors, tiny_gguf, tiny_json, tiny_safetensors, tokenizer_json, value,
};

fn failure(files: Vec<NamedSource>) -> Failure {
    let failure = match block_on(open(files)) {
        Ok(model) => panic!("{} was opened", model.name),
        Err(error) => Failure::from(error),
    };
    assert!(failure.remedy.is_some(), "{failure}");
    failure
}

#[track_caller]
fn refused(files: Vec<NamedSource>, kind: FailureKind, what: &[&str], remedy: &str) {
    let failure = failure(files);
    assert_eq!(failure.kind, kind, "{failure}");
    for part in what {
        assert!(failure.what.contains(part), "{failure}");
    }
    let told = failure.remedy.unwrap_or_default();
    assert!(told.contains(remedy), "{told}");
}

fn opened(files: Vec<NamedSource>) -> ModelFiles {
    block_on(open(files)).unwrap()
}

fn config_and_tokenizer(config: &Value) -> Vec<NamedSource> {
    vec![
        named("config.json", config.to_string()),
        named("tokenizer.json", tokenizer_json()),
    ]
}

/// A safetensors file of these.
fn file_of<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<u8> {
    let tensors: Vec<_> = tensors
        .into_iter()
        .map(|t| {
            (
                t.name.as_str(),
                "F32",
                t.shape.as_slice(),
                t.bytes.as_slice(),
            )
        })
        .collect();
    safetensors(&tensors)
}

/// All matrices of a model, and its last norm.
fn numbers(model: &ModelFiles) -> BTreeMap<String, Vec<f32>> {
    let tensors = model.config.tensors().into_iter();
    tensors
        .map(|(name, shape)| {
            let size = |at: usize| shape[at] as usize;
            let values = match shape.len() {
                1 => block_on(model.vector(&name, size(0))),
                _ => block_on(model.rows(&name, [size(0), size(1)], 0..size(0))),
            };
            (name, values.unwrap())
        })
        .collect()
}

/// The model in two, three and as many files as it has tensors; with the index, or known by their names alone.
#[test]
fn a_model_in_parts_is_the_model() {
    let (whole, tensors) = tiny_safetensors(WeightKind::F32, "F32", true);
    let mut files = config_and_tokenizer(&tiny_json(true));
    files.push(named("model.safetensors", whole));
    let expected = numbers(&opened(files));
    for (count, digits) in [(2, 5), (3, 3), (tensors.len(), 5)] {
        for has_index in [false, true] {
            let each = tensors.len().div_ceil(count);
            let mut parts: Vec<NamedSource> = Vec::new();
            let mut weight_map = BTreeMap::new();
            let chunks: Vec<&[Tensor]> = tensors.chunks(each).collect();
            for (index, chunk) in chunks.iter().enumerate() {
                let (number, all) = (index + 1, chunks.len());
                let name = format!("model-{number:0digits$}-of-{all:0digits$}.safetensors");
                weight_map.extend(
                    chunk
                        .iter()
                        .map(|tensor| (tensor.name.clone(), name.clone())),
                );
                parts.push(named(&name, file_of(*chunk)));
            }
            // In any order, and with what else lies in such a folder.
            parts.reverse();
            parts.extend(config_and_tokenizer(&tiny_json(true)));
            parts.push(named("README.md", "# Tiny"));
            parts.push(named("consolidated.safetensors", file_of(&tensors[..1])));
            if has_index {
                let index = json!({"metadata": {"total_size": 1}, "weight_map": weight_map});
                parts.push(named("model.safetensors.index.json", index.to_string()));
            }
            let model = opened(parts);
            assert_eq!(model.name, "model");
            let unused = ["README.md", "consolidated.safetensors"];
            assert_eq!(model.unused_files, unused);
            assert_eq!(numbers(&model), expected, "{count} files");
            let hash = block_on(model.sha256_hex(|_, _| ())).unwrap();
            assert_eq!(hash.len(), 64);
        }
    }
}

#[test]
fn missing_parts_are_named() {
    let (_, tensors) = tiny_safetensors(WeightKind::F32, "F32", true);
    let part = |number: usize| {
        let name = format!("model-{number:05}-of-00003.safetensors");
        named(&name, file_of(&tensors[number..=number]))
    };
    let all = |mut parts: Vec<NamedSource>| {
        parts.extend(config_and_tokenizer(&tiny_json(true)));
        parts
    };
    refused(
        all(vec![part(1), part(3)]),
        FailureKind::ModelFile,
        &["1 of the model's 3 files of weights is missing: model-00002-of-00003.safetensors"],
        "all of the files together",
    );
    refused(
        all(vec![part(2)]),
        FailureKind::ModelFile,
        &["are missing: model-00001-of-00003.safetensors, model-00003-of-00003.safetensors"],
        "all of the files together",
    );
    // Other programs write fewer digits, which the missing ones have as well.
    let short = |number: usize| {
        let name = format!("model-{number:03}-of-003.safetensors");
        named(&name, file_of(&tensors[number..=number]))
    };
    refused(
        all(vec![short(1), short(3)]),
        FailureKind::ModelFile,
        &["1 of the model's 3 files of weights is missing: model-002-of-003.safetensors"],
        "all of the files together",
    );
    let index = json!({"weight_map": {"a": "first.safetensors", "b": "second.safetensors"}});
    let index = || named("model.safetensors.index.json", index.to_string());
    refused(
        all(vec![
            index(),
            named("first.safetensors", file_of(&tensors[..1])),
        ]),
        FailureKind::ModelFile,
        &["is missing: second.safetensors"],
        "all of the files together",
    );
    refused(
        all(vec![index()]),
        FailureKind::ModelFile,
        &["only lists the files"],
        ".safetensors files that it lists",
    );
    // A tensor in two parts is nobody's model.
    let twice = all(vec![
        named("m-00001-of-00002.safetensors", file_of(&tensors)),
        named("m-00002-of-00002.safetensors", file_of(&tensors[3..])),
    ]);
    assert!(failure(twice).what.contains("is there twice"));
}

#[test]
fn what_wrappers_add_to_names_is_passed_over() {
    let (whole, tensors) = tiny_safetensors(WeightKind::F32, "F32", true);
    let mut files = config_and_tokenizer(&tiny_json(true));
    files.push(named("model.safetensors", whole));
    let expected = numbers(&opened(files));
    for wrapped in [
        "_orig_mod.",
        "module.",
        "module._orig_mod.",
        "_fsdp_wrapped_module.",
    ] {
        let renamed: Vec<Tensor> = tensors
            .iter()
            .map(|tensor| Tensor {
                name: format!("{wrapped}{}", tensor.name),
                ..tensor.clone()
            })
            .collect();
        let mut files = config_and_tokenizer(&tiny_json(true));
        files.push(named("model.safetensors", file_of(&renamed)));
        let model = opened(files);
        assert_eq!(numbers(&model), expected);
        assert!(model.notes[0].contains(wrapped), "{:?}", model.notes);
    }
}

#[test]
fn a_head_that_is_nowhere_is_the_embedding_unless_config_says_otherwise() {
    let mut config = tiny_json(true);
    config
        .as_object_mut()
        .unwrap()
        .remove("tie_word_embeddings");
    let with = |config: &Value, tied| {
        let mut files = config_and_tokenizer(config);
        let weights = tiny_safetensors(WeightKind::F32, "F32", tied).0;
        files.push(named("model.safetensors", weights));
        files
    };
    let model = opened(with(&config, true));
    assert!(model.config.tie_word_embeddings);
    assert!(
        model.notes[0].contains("tie_word_embeddings"),
        "{:?}",
        model.notes
    );
    // With a head of its own there is nothing to say.
    let model = opened(with(&config, false));
    assert!(!model.config.tie_word_embeddings && model.notes.is_empty());
    // Said to be apart, and not there.
    refused(
        with(&tiny_json(false), true),
        FailureKind::ModelFile,
        &["lm_head.weight is missing"],
        "\"tie_word_embeddings\": true",
    );
}

#[test]
fn a_tokenizer_of_another_kind_is_named_with_the_way() {
    let pieces = b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02\n\x05\n\x03<s>".to_vec();
    for (name, bytes) in [
        ("tokenizer.model", pieces.clone()),
        ("spiece.model", pieces),
        ("tokenizer.model", b"IQ== 0\nIg== 1\n".to_vec()),
        ("vocab.json", br#"{"<unk>": 0, "a": 1}"#.to_vec()),
        ("merges.txt", b"#version: 0.2\na b\n".to_vec()),
    ] {
        let mut files = config_and_tokenizer(&tiny_json(true));
        files[1] = named(name, bytes);
        files.push(named(
            "model.safetensors",
            tiny_safetensors(WeightKind::F32, "F32", true).0,
        ));
        refused(files, FailureKind::Tokenizer, &[name], "tokenizer.json");
    }
}

#[test]
fn quantized_repositories_are_refused_by_what_quantized_them() {
    let (_, tensors) = tiny_safetensors(WeightKind::F32, "F32", true);
    let unquantized = "unquantized repository";
    for (key, quantization, method) in [
        (
            "quantization_config",
            json!({"quant_method": "bitsandbytes", "load_in_4bit": true}),
            "bitsandbytes (4-bit)",
        ),
        (
            "quantization_config",
            json!({"quant_method": "gptq", "bits": 4}),
            "GPTQ (4-bit)",
        ),
        (
            "quantization",
            json!({"group_size": 64, "bits": 4}),
            "MLX (4-bit)",
        ),
    ] {
        let mut config = tiny_json(true);
        config[key] = quantization;
        let mut files = config_and_tokenizer(&config);
        files.push(named("model.safetensors", file_of(&tensors)));
        refused(files, FailureKind::UnsupportedModel, &[method], unquantized);
    }
    // Where only the tensors tell.
    for (name, method) in [
        ("model.layers.0.mlp.up_proj.scales", "MLX"),
        ("model.layers.0.mlp.up_proj.qweight", "GPTQ or AWQ"),
        ("model.layers.0.mlp.up_proj.weight.absmax", "bitsandbytes"),
    ] {
        let mut odd = tensors.clone();
        odd[4].name = name.to_owned();
        let mut files = config_and_tokenizer(&tiny_json(true));
        files.push(named("model.safetensors", file_of(&odd)));
        refused(files, FailureKind::UnsupportedModel, &[method], unquantized);
    }
}

#[test]
fn scaled_positions_are_named_as_llama_3s() {
    for (key, rope) in [
        (
            "rope_scaling",
            json!({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64}),
        ),
        ("rope_scaling", json!({"type": "llama3", "factor": 32.0})),
        (
            "rope_parameters",
            json!({"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}),
        ),
    ] {
        let mut config = tiny_json(true);
        config[key] = rope;
        let mut files = config_and_tokenizer(&config);
        files.push(named(
            "model.safetensors",
            tiny_safetensors(WeightKind::F32, "F32", true).0,
        ));
        refused(
            files,
            FailureKind::UnsupportedModel,
            &["Llama 3.1 and 3.2", key],
            "SmolLM2",
        );
    }
    let mut gguf = tiny();
    let mut factors = gguf.tensors[1].clone();
    factors.name = "rope_freqs.weight".to_owned();
    gguf.tensors.push(factors);
    let files = vec![named("m.gguf", gguf.bytes())];
    let what = ["Llama 3.1 and 3.2", "rope_freqs.weight"];
    refused(files, FailureKind::UnsupportedModel, &what, "SmolLM2");
}

fn tiny() -> Gguf {
    tiny_gguf(WeightKind::Q8_0, 8, true).0
}

#[test]
fn gguf_files_of_other_purposes_are_named() {
    let cases: [(&str, Vec<u8>, &str, &str); 6] = [
        (
            "general.type",
            value::text("adapter"),
            "LoRA adapter",
            "Adapters",
        ),
        (
            "adapter.type",
            value::text("lora"),
            "LoRA adapter",
            "Adapters",
        ),
        (
            "general.type",
            value::text("imatrix"),
            "importance matrix",
            "model's own",
        ),
        (
            "imatrix.chunk_count",
            value::u32(3),
            "importance matrix",
            "model's own",
        ),
        (
            "general.type",
            value::text("mmproj"),
            "mmproj",
            "language model",
        ),
        (
            "general.architecture",
            value::text("clip"),
            "mmproj",
            "language model",
        ),
    ];
    for (key, value, what, remedy) in cases {
        let file = named("m.gguf", tiny().set(key, value).bytes());
        refused(vec![file], FailureKind::ModelFile, &[what], remedy);
    }
    let mut vocabulary = tiny();
    vocabulary.tensors.clear();
    let file = named("vocab.gguf", vocabulary.bytes());
    refused(
        vec![file],
        FailureKind::ModelFile,
        &["a vocabulary"],
        "model's own",
    );
    let old = [
        &2i32.to_le_bytes()[..],
        &19i32.to_le_bytes(),
        b"blk.0.attn_k.weight",
        &[1, 0, 0, 0],
    ]
    .concat();
    refused(
        vec![named("imatrix.dat", old)],
        FailureKind::ModelFile,
        &["importance matrix"],
        ".gguf",
    );
}

#[test]
fn a_split_gguf_is_told_how_to_merge() {
    let split = |number: u32| {
        let mut gguf = tiny();
        gguf.set("split.no", value::u32(number))
            .set("split.count", value::u32(2));
        gguf.bytes()
    };
    let merge = "llama-gguf-split --merge";
    let first = || named("tiny-00001-of-00002.gguf", split(0));
    let second = || named("tiny-00002-of-00002.gguf", split(1));
    for files in [
        vec![first(), second()],
        vec![first()],
        vec![second()],
        vec![named("renamed.gguf", split(0))],
    ] {
        refused(
            files,
            FailureKind::UnsupportedModel,
            &["split into several files"],
            merge,
        );
    }
}

#[test]
fn other_endings_versions_and_types_have_their_own_remedies() {
    let mut bytes = tiny().bytes();
    bytes[4..8].reverse();
    let big = vec![named("m.gguf", bytes.clone())];
    refused(big, FailureKind::ModelFile, &["big-endian"], "little");
    bytes[4..8].copy_from_slice(&1u32.to_le_bytes());
    let old = vec![named("m.gguf", bytes)];
    refused(
        old,
        FailureKind::ModelFile,
        &["version 1"],
        "current llama.cpp",
    );
    let mut new = tiny();
    new.tensors[3].number = 77;
    let new = vec![named("m.gguf", new.bytes())];
    refused(new, FailureKind::ModelFile, &["tensor type 77"], "Q8_0");
}

#[test]
fn quantized_gguf_files_are_named_as_they_are_sold() {
    for (file_type, number, name, tensor_type) in [
        (15, 12, "Q4_K_M", "Q4_K"),
        (17, 13, "Q5_K_M", "Q5_K"),
        (30, 23, "IQ4_XS", "IQ4_XS"),
    ] {
        let mut gguf = tiny();
        gguf.set("general.file_type", value::u32(file_type));
        for tensor in gguf
            .tensors
            .iter_mut()
            .filter(|tensor| tensor.shape.len() > 1)
        {
            tensor.number = number;
        }
        let what = [
            format!("{name} file, and"),
            format!("the type {tensor_type} of"),
        ];
        let what = what.each_ref().map(String::as_str);
        let files = vec![named("m.gguf", gguf.bytes())];
        refused(
            files,
            FailureKind::UnsupportedModel,
            &what,
            "Q8_0, F16, BF16 or F32",
        );
    }
    // As llama.cpp writes Q4_0: one matrix is Q6_K.
    let mut gguf = tiny_gguf(WeightKind::Q4_0, 2, true).0;
    gguf.set("general.file_type", value::u32(2));
    gguf.tensors[0].number = 14;
    let files = vec![named("m.gguf", gguf.bytes())];
    let what = ["this is a Q4_0 file, and the type Q6_K of tensor token_embd.weight"];
    refused(
        files,
        FailureKind::UnsupportedModel,
        &what,
        "the head as Q6_K",
    );
}

#[test]
fn weights_of_other_programs_are_named() {
    for (name, bytes, what, remedy) in [
        (
            "pytorch_model.bin",
            &b"PK\x03\x04archive/data.pkl"[..],
            "a PyTorch checkpoint",
            "safe_serialization",
        ),
        (
            "consolidated.00.pth",
            b"\x80\x02}q\x00.",
            "a PyTorch checkpoint",
            "safe_serialization",
        ),
        (
            "model.onnx",
            b"\x08\x08\x12\x07pytorch\xff",
            "an ONNX model",
            "original files",
        ),
        (
            "tf_model.h5",
            b"\x89HDF\r\n\x1a\n",
            "an HDF5 file",
            "original files",
        ),
        (
            "model.mlmodel",
            b"\x08\x04\xff\xfe",
            "a Core ML model",
            "original files",
        ),
        (
            "flax_model.msgpack",
            b"\x81\xa5\xff\xfe",
            "a Flax model",
            "original files",
        ),
    ] {
        // Alone, and as the folder of a repository has it.
        refused(
            vec![named(name, bytes)],
            FailureKind::ModelFile,
            &[name, what],
            remedy,
        );
        let mut folder = config_and_tokenizer(&tiny_json(true));
        folder.insert(0, named("README.md", "# A model"));
        folder.push(named(name, bytes));
        refused(folder, FailureKind::ModelFile, &[name, what], remedy);
    }
}

#[test]
fn adapters_are_no_models() {
    let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    let adapter = safetensors(&[(name, "F32", &[1, 1], &[0; 4])]);
    let mlx = safetensors(&[(
        "model.layers.0.self_attn.q_proj.lora_a",
        "F32",
        &[1, 1],
        &[0; 4],
    )]);
    for bytes in [adapter.clone(), mlx] {
        let config = named("adapter_config.json", r#"{"peft_type": "LORA"}"#);
        let files = vec![named("adapter_model.safetensors", bytes), config];
        refused(
            files,
            FailureKind::ModelFile,
            &["holds an adapter"],
            "Adapters",
        );
    }
    // Next to a model it is skipped.
    let mut files = config_and_tokenizer(&tiny_json(true));
    files.push(named(
        "model.safetensors",
        tiny_safetensors(WeightKind::F32, "F32", true).0,
    ));
    files.push(named("adapter_model.safetensors", adapter));
    files.push(named("adapter_config.json", r#"{"peft_type": "LORA"}"#));
    let mut unused = opened(files).unused_files;
    unused.sort();
    assert_eq!(unused, ["adapter_config.json", "adapter_model.safetensors"]);
}

#[test]
fn what_a_model_does_not_need_cannot_sink_it() {
    let mut files = config_and_tokenizer(&tiny_json(true));
    files.push(named(
        "model.safetensors",
        tiny_safetensors(WeightKind::F32, "F32", true).0,
    ));
    files.push(named("trainer_state.json", r#"{"loss": NaN}"#));
    files.push(named("notes.json", "{"));
    files.push(named("training_args.bin", b"PK\x03\x04"));
    files.push(named("empty.txt", ""));
    assert_eq!(opened(files).unused_files.len(), 4);
}

#[test]
fn several_models_are_told_apart() {
    let gguf = |name: &str| named(name, tiny().bytes());
    let two = vec![gguf("a-Q8_0.gguf"), gguf("a-F16.gguf")];
    let what = ["a-Q8_0.gguf, a-F16.gguf"];
    refused(two, FailureKind::ModelFile, &what, "one model only");
    let what_goes_with_it = vec![gguf("m.gguf"), gguf("mmproj-m.gguf")];
    assert_eq!(opened(what_goes_with_it).unused_files, ["mmproj-m.gguf"]);
    let error = block_on(open(vec![
        named(
            "a/model-00001-of-00001.safetensors",
            tiny_safetensors(WeightKind::F32, "F32", true).0,
        ),
        named(
            "b/model-00001-of-00001.safetensors",
            tiny_safetensors(WeightKind::F32, "F32", true).0,
        ),
    ]));
    assert!(matches!(error, Err(ModelError::Ambiguous { .. })));
}

/// A tokenizer larger than the embedding loads, and so do special ids beyond it.
#[test]
fn a_vocabulary_beyond_the_embedding_loads() {
    let mut gguf = tiny();
    gguf.set("llama.vocab_size", value::u32(8))
        .set(
            "tokenizer.ggml.tokens",
            value::strings(&[
                "<unk>", "<s>", "</s>", "a", "b", "ab", "\u{120}", "\u{e9}", "<pad>", "<more>",
            ]),
        )
        .set(
            "tokenizer.ggml.token_type",
            value::i32s(&[3, 3, 3, 1, 1, 1, 1, 1, 3, 3]),
        );
    assert_eq!(
        opened(vec![named("m.gguf", gguf.bytes())])
            .config
            .vocab_size,
        8
    );
    for (key, value, is_told) in [
        ("tokenizer.ggml.eos_token_id", value::u32(8), true),
        ("tokenizer.ggml.bos_token_id", value::u32(90), true),
        (
            "tokenizer.ggml.padding_token_id",
            value::u32(u32::MAX),
            false,
        ),
        // As some converters write it.
        (
            "tokenizer.ggml.padding_token_id",
            [&5u32.to_le_bytes()[..], &(-1i32).to_le_bytes()].concat(),
            false,
        ),
    ] {
        let model = opened(vec![named("m.gguf", tiny().set(key, value).bytes())]);
        assert_eq!(!model.notes.is_empty(), is_told, "{key}: {:?}", model.notes);
    }
}
