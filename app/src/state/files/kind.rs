//! Determines what a file is, by its name and its first and last bytes.

use super::Sample;

/// What a file is, considered by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gguf,
    /// A safetensors file with a model's weights.
    ModelWeights,
    /// Weights of a model that the engine cannot read: pickles, ONNX and the like.
    OtherWeights,
    /// The index of a model in several files.
    ShardIndex,
    ModelConfig,
    /// What a model loads for its tokens: tokenizer.json, its configuration, a chat template, a SentencePiece model.
    Tokenizer,
    AdapterConfig,
    AdapterWeights,
    /// An adapter as `torch.save` wrote it.
    AdapterPickle,
    /// A zip that contains an adapter.
    AdapterZip,
    /// A zip that contains a whole model.
    ModelZip,
    /// How an adapter was made, as the export writes it.
    Recipe,
    /// A table or JSON, by its name or its first bytes.
    Rows,
    /// Whatever else may be a dataset: plain text, names that say nothing.
    MaybeRows,
    /// A file that comes with a model, a dataset or a run but is not needed by any step.
    Companion,
    /// A picture, a document, a program: no rows, but the reader can say what it is.
    NotRows,
    /// Leftovers of file managers and version control.
    Junk,
}

/// Names of files that come with a model, a dataset or a training run and are not needed here.
const COMPANIONS: [&str; 38] = [
    "added_tokens.json",
    "all_results.json",
    "args.json",
    "config_sentence_transformers.json",
    "dataset_dict.json",
    "dataset_info.json",
    "dataset_infos.json",
    "eval_results.json",
    "generation_config.json",
    "global_step",
    "latest",
    "merges.txt",
    "modules.json",
    "optimizer.bin",
    "optimizer.pt",
    "params.json",
    "preprocessor_config.json",
    "processor_config.json",
    "quantize_config.json",
    "requirements.txt",
    "scaler.pt",
    "scheduler.bin",
    "scheduler.pt",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "state.json",
    "test_results.json",
    "tokenizer.vocab",
    "train_results.json",
    "trainer_log.jsonl",
    "trainer_state.json",
    "training_args.bin",
    "training_args.json",
    "use_policy.md",
    "vocab.json",
    "vocab.txt",
    "vocabulary.txt",
    "zero_to_fp32.py",
];

/// Extensions of tables and JSON, possibly compressed.
const ROWS: [&str; 18] = [
    "jsonl", "ndjson", "json", "json5", "csv", "tsv", "tab", "psv", "parquet", "arrow", "feather",
    "xlsx", "xls", "ods", "gz", "zst", "bz2", "xz",
];

/// Extensions of files that are not datasets.
const NOT_ROWS: [&str; 48] = [
    "png", "jpg", "jpeg", "gif", "webp", "svg", "bmp", "tif", "tiff", "ico", "avif", "heic", "mp3",
    "wav", "flac", "ogg", "mp4", "mov", "mkv", "webm", "pdf", "doc", "docx", "ppt", "pptx", "odt",
    "rtf", "epub", "py", "pyc", "ipynb", "sh", "bat", "ps1", "rs", "c", "cpp", "h", "js", "css",
    "yml", "yaml", "toml", "ini", "cfg", "lock", "log", "exe",
];

/// Extensions of weights that only other programs read.
const OTHER_WEIGHTS: [&str; 12] = [
    "bin",
    "pt",
    "pth",
    "ckpt",
    "onnx",
    "onnx_data",
    "h5",
    "msgpack",
    "tflite",
    "ot",
    "npz",
    "pkl",
];

/// How a recipe begins, without spaces.
const RECIPE_START: &str = "{\"format\":\"inlay-recipe\"";

/// Prefixes of the names of adapter tensors written by PEFT and MLX.
const ADAPTER_TENSORS: [&str; 7] = [
    "base_model.model.",
    "lora_A",
    "lora_B",
    "lora_a",
    "lora_b",
    "prompt_embeddings",
    "vera_lambda",
];

/// What a file is, by its first bytes if possible, otherwise by its name.
pub fn kind(file: &Sample) -> Kind {
    let name = plain_name(&file.path);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    if is_junk(&file.path, &name) {
        return Kind::Junk;
    }
    if let Some(kind) = by_first_bytes(file, &name) {
        return kind;
    }
    if is_recipe(&file.head) {
        return Kind::Recipe;
    }
    match name.as_str() {
        "recipe.json" => return Kind::Recipe,
        "adapter_model.bin" => return Kind::AdapterPickle,
        "adapter_config.json" => return Kind::AdapterConfig,
        "tokenizer.json"
        | "tokenizer_config.json"
        | "chat_template.jinja"
        | "chat_template.json"
        | "tokenizer.model"
        | "spiece.model" => return Kind::Tokenizer,
        _ => {}
    }
    if name.ends_with(".index.json") {
        return Kind::ShardIndex;
    }
    let is_state = name.starts_with("rng_state") || name.starts_with("random_states");
    if COMPANIONS.contains(&name.as_str()) || is_state || is_about(&name) {
        return Kind::Companion;
    }
    if ending == "json" && !has_several_values(&file.head) {
        let text = String::from_utf8_lossy(&file.head);
        let has = |key: &str| text.contains(&format!("\"{key}\""));
        if has("peft_type") || has("lora_parameters") {
            return Kind::AdapterConfig;
        }
        let is_config = has("model_type") || has("architectures");
        if is_config && (name == "config.json" || has("hidden_size") || has("vocab_size")) {
            return Kind::ModelConfig;
        }
        if name == "config.json" {
            let is_other = text.trim_start().starts_with('{') && text.trim_end().ends_with('}');
            return if is_other {
                Kind::Companion
            } else {
                Kind::ModelConfig
            };
        }
    }
    match ending {
        "gguf" => Kind::Gguf,
        "safetensors" => weights(&name, &file.head),
        ending if OTHER_WEIGHTS.contains(&ending) => Kind::OtherWeights,
        ending if NOT_ROWS.contains(&ending) => Kind::NotRows,
        ending if ROWS.contains(&ending) => Kind::Rows,
        _ if file.head.starts_with(b"PAR1") || starts_json(&file.head) => Kind::Rows,
        _ => Kind::MaybeRows,
    }
}

/// The file's name in lower case, without the number that browsers append to a second download: `config (1).json`.
pub fn plain_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let Some((stem, ending)) = name.rsplit_once('.') else {
        return name;
    };
    let numbered = stem
        .strip_suffix(')')
        .and_then(|stem| stem.rsplit_once(" ("));
    match numbered {
        Some((stem, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{stem}.{ending}")
        }
        _ => name,
    }
}

fn is_junk(path: &str, name: &str) -> bool {
    let folders = ["__MACOSX", ".git", "__pycache__", "node_modules", ".cache"];
    path.split('/').any(|part| folders.contains(&part))
        || name.starts_with('.')
        || ["thumbs.db", "desktop.ini", "icon\r"].contains(&name)
}

/// Whether the file describes the other files for people.
fn is_about(name: &str) -> bool {
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    let stems = [
        "readme",
        "license",
        "licence",
        "notice",
        "changelog",
        "citation",
        "copying",
        "model_card",
    ];
    stems.contains(&stem) && ["", "md", "txt", "rst", "html", "cff"].contains(&ending)
}

fn by_first_bytes(file: &Sample, name: &str) -> Option<Kind> {
    let head = &file.head;
    if head.starts_with(b"GGUF") {
        Some(Kind::Gguf)
    } else if is_safetensors(head) {
        Some(weights(name, head))
    } else if head.starts_with(b"PK\x03\x04") {
        Some(zip(file, name))
    } else if head.starts_with(b"SQLite format 3") {
        Some(Kind::NotRows)
    } else {
        None
    }
}

/// A safetensors file starts with the length of its JSON header, little-endian in 64 bits, then the header.
fn is_safetensors(head: &[u8]) -> bool {
    let Some((length, rest)) = head.split_first_chunk::<8>() else {
        return false;
    };
    let length = u64::from_le_bytes(*length);
    (2..=100_000_000).contains(&length) && rest.first() == Some(&b'{')
}

/// An adapter's weights or a model's, by the tensors' names.
fn weights(name: &str, head: &[u8]) -> Kind {
    let is_named_so = name == "adapter_model.safetensors" || name.ends_with("adapters.safetensors");
    let text = String::from_utf8_lossy(head);
    if is_named_so || ADAPTER_TENSORS.iter().any(|start| text.contains(start)) {
        Kind::AdapterWeights
    } else {
        Kind::ModelWeights
    }
}

/// What a zip contains, by the names in its directory, which is at its end.
fn zip(file: &Sample, name: &str) -> Kind {
    let (first, last) = (
        String::from_utf8_lossy(&file.head),
        String::from_utf8_lossy(&file.tail),
    );
    let holds = |part: &str| first.contains(part) || last.contains(part);
    // The name of an exported zip.
    let is_exported = name.starts_with("inlay-") && name.ends_with("-lora.zip");
    if holds("data.pkl") {
        let is_state = COMPANIONS.contains(&name) || name.starts_with("rng_state");
        return match name {
            "adapter_model.bin" => Kind::AdapterPickle,
            _ if is_state => Kind::Companion,
            _ => Kind::OtherWeights,
        };
    }
    if is_exported || last.contains("adapter_config.json") {
        Kind::AdapterZip
    } else if holds("[Content_Types].xml") {
        if last.contains("xl/") || name.ends_with(".xlsx") {
            Kind::Rows
        } else {
            Kind::NotRows
        }
    } else if last.contains(".gguf")
        || last.contains("config.json") && last.contains(".safetensors")
    {
        Kind::ModelZip
    } else {
        Kind::Rows
    }
}

/// Whether the file says that it is a recipe of Inlay's, which it does first.
pub fn is_recipe(head: &[u8]) -> bool {
    let start = after_mark(head)
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace());
    start.take(RECIPE_START.len()).eq(RECIPE_START.as_bytes())
}

/// What comes after the byte order mark, which an editor may have put there.
fn after_mark(head: &[u8]) -> &[u8] {
    head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head)
}

fn starts_json(head: &[u8]) -> bool {
    matches!(
        after_mark(head).trim_ascii_start().first(),
        Some(b'{' | b'[')
    )
}

/// Whether the text is a list, or lines of JSON: rows, whatever their keys are.
pub fn has_several_values(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let first = text.lines().next().unwrap_or_default().trim_end();
    let is_cut = first.len() == text.trim_end().len();
    text.starts_with('[') || (first.starts_with('{') && first.ends_with('}') && !is_cut)
}
