//! Where files go, of whole folders and of files chosen by themselves.

use crate::state::Step;
use crate::state::files::{
    Intake, Sample, Sorted, base_name, dataset_names, is_for, sort, with_folder,
};

fn file(path: &str, head: &[u8]) -> Sample {
    Sample {
        path: path.to_owned(),
        num_bytes: 1000,
        head: head.to_vec(),
        tail: Vec::new(),
    }
}

/// A safetensors file with a tensor of that name.
fn tensors(path: &str, tensor: &str) -> Sample {
    let header = format!(r#"{{"{tensor}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}"#);
    let mut head = (header.len() as u64).to_le_bytes().to_vec();
    head.extend(header.as_bytes());
    file(path, &head)
}

fn zip(path: &str, entries: &[&str]) -> Sample {
    let mut sample = file(path, b"PK\x03\x04");
    sample.head.extend(entries[0].as_bytes());
    sample.tail = entries.join("\0PK\x01\x02").into_bytes();
    sample
}

const CONFIG: &[u8] =
    br#"{"model_type": "llama", "hidden_size": 8, "architectures": ["LlamaForCausalLM"]}"#;
const PEFT: &[u8] = br#"{"peft_type": "LORA", "base_model_name_or_path": "tiny/lamp", "r": 4}"#;
const MLX: &[u8] =
    br#"{"fine_tune_type": "lora", "lora_parameters": {"rank": 8}, "num_layers": 4}"#;

/// The names in each part of what was sorted.
#[derive(Debug, PartialEq, Default)]
struct Names {
    model: Vec<String>,
    dataset: Vec<String>,
    recipe: Vec<String>,
    adapters: Vec<Vec<String>>,
    cards: Vec<String>,
    passed_over: Vec<String>,
    remarks: Vec<String>,
}

fn names(files: &[Sample], chosen_for: Option<Step>) -> Names {
    let Sorted {
        model,
        dataset,
        recipe,
        adapters,
        cards,
        passed_over,
        remarks,
    } = sort(files, chosen_for);
    let mut all: Vec<usize> = adapters.iter().flatten().copied().collect();
    all.extend(
        model
            .iter()
            .chain(&dataset)
            .chain(&recipe)
            .chain(&cards)
            .chain(&passed_over),
    );
    all.sort_unstable();
    let number = all.len();
    all.dedup();
    assert_eq!(all.len(), number, "no file goes to two places");
    let of = |indices: Vec<usize>| -> Vec<String> {
        let names = indices.into_iter().map(|index| files[index].path.clone());
        names.collect()
    };
    Names {
        model: of(model),
        recipe: of(recipe.into_iter().collect()),
        cards: of(cards),
        dataset: of(dataset),
        adapters: adapters.into_iter().map(of).collect(),
        passed_over: of(passed_over),
        remarks,
    }
}

fn dropped(files: &[Sample]) -> Names {
    names(files, None)
}

/// A model's folder as the hub has it.
fn snapshot(folder: &str) -> Vec<Sample> {
    let path = |name: &str| format!("{folder}{name}");
    vec![
        file(&path(".gitattributes"), b"*.bin filter=lfs"),
        file(&path("README.md"), b"# Lamp"),
        file(&path("config.json"), CONFIG),
        file(&path("generation_config.json"), b"{\"eos_token_id\": 2}"),
        file(&path("merges.txt"), b"#version: 0.2\na b"),
        tensors(&path("model.safetensors"), "model.embed_tokens.weight"),
        file(&path("special_tokens_map.json"), b"{}"),
        file(&path("tokenizer.json"), b"{\"version\": \"1.0\"}"),
        file(&path("tokenizer_config.json"), b"{}"),
        file(&path("vocab.json"), b"{\"a\": 0}"),
    ]
}

#[test]
fn a_models_folder_is_a_model_and_no_dataset() {
    for folder in ["", "lamp/", "models/lamp/"] {
        let sorted = dropped(&snapshot(folder));
        let wanted = [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ];
        assert_eq!(sorted.model, wanted.map(|name| format!("{folder}{name}")));
        assert!(sorted.dataset.is_empty() && sorted.adapters.is_empty());
        assert_eq!(sorted.passed_over.len(), 6, "{sorted:?}");
        assert!(sorted.remarks.is_empty());
    }
    // With what other programs load, results of a benchmark, and a log in a folder within.
    let mut more = snapshot("lamp/");
    more.push(file("lamp/pytorch_model.bin", b"\x80\x02"));
    more.push(file("lamp/onnx/model.onnx", b"\x08\x07"));
    more.push(file("lamp/runs/events.out.tfevents.1", b"\x18\0"));
    more.push(file("lamp/LICENSE.txt", b"MIT"));
    more.push(file("lamp/evaluation.json", b"{\"accuracy\": 0.5}"));
    let sorted = dropped(&more);
    assert_eq!(sorted.model.len(), 4);
    assert!(sorted.dataset.is_empty(), "{sorted:?}");
    assert_eq!(sorted.passed_over.len(), 11);
    // A GGUF file in a folder with its papers.
    let gguf = [
        file("quantized/lamp.Q4_1.gguf", b"GGUF\x03"),
        file("quantized/README.md", b"# Lamp"),
        file("quantized/config.json", CONFIG),
    ];
    let sorted = dropped(&gguf);
    assert_eq!(
        sorted.model,
        ["quantized/config.json", "quantized/lamp.Q4_1.gguf"]
    );
    assert_eq!(sorted.passed_over, ["quantized/README.md"]);
}

/// A checkpoint as `transformers.Trainer` leaves it.
fn checkpoint(folder: &str) -> Vec<Sample> {
    let path = |name: &str| format!("{folder}{name}");
    let pickle = b"PK\x03\x04archive/data.pkl";
    vec![
        file(&path("README.md"), b"# Adapter"),
        file(&path("adapter_config.json"), PEFT),
        tensors(
            &path("adapter_model.safetensors"),
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
        ),
        file(
            &path("chat_template.jinja"),
            b"{% for message in messages %}",
        ),
        file(&path("optimizer.pt"), pickle),
        file(&path("rng_state.pth"), pickle),
        file(&path("scheduler.pt"), pickle),
        file(&path("tokenizer.json"), b"{\"version\": \"1.0\"}"),
        file(&path("tokenizer_config.json"), b"{}"),
        file(&path("trainer_state.json"), b"{\"global_step\": 6}"),
        file(&path("training_args.bin"), pickle),
    ]
}

#[test]
fn of_a_training_checkpoint_the_adapter_is_taken() {
    for folder in ["", "checkpoint-6/"] {
        for chosen_for in [None, Some(Step::Try), Some(Step::Data), Some(Step::Model)] {
            let sorted = names(&checkpoint(folder), chosen_for);
            let adapter = ["adapter_config.json", "adapter_model.safetensors"];
            let adapter = adapter.map(|name| format!("{folder}{name}"));
            assert_eq!(sorted.adapters, [adapter.to_vec()], "{chosen_for:?}");
            assert!(sorted.dataset.is_empty(), "{chosen_for:?} {sorted:?}");
            if chosen_for != Some(Step::Model) {
                assert!(sorted.model.is_empty(), "{chosen_for:?} {sorted:?}");
                assert_eq!(sorted.passed_over.len(), 9);
            }
        }
    }
    // DeepSpeed's states lie in a folder within.
    let mut deep = checkpoint("checkpoint-6/");
    deep.push(file(
        "checkpoint-6/global_step6/mp_rank_00_model_states.pt",
        b"\x80\x02",
    ));
    deep.push(file("checkpoint-6/latest", b"global_step6"));
    let sorted = dropped(&deep);
    assert!(sorted.model.is_empty() && sorted.dataset.is_empty());
    assert_eq!(sorted.adapters.len(), 1);
    // MLX's folder, with the states of earlier steps.
    let mlx = [
        file("adapters/adapter_config.json", MLX),
        tensors(
            "adapters/adapters.safetensors",
            "model.layers.0.self_attn.q_proj.lora_a",
        ),
        tensors(
            "adapters/0000100_adapters.safetensors",
            "model.layers.0.self_attn.q_proj.lora_a",
        ),
    ];
    let sorted = dropped(&mlx);
    assert_eq!(
        sorted.adapters,
        [[
            "adapters/adapter_config.json",
            "adapters/adapters.safetensors"
        ]]
    );
    assert_eq!(
        sorted.passed_over,
        ["adapters/0000100_adapters.safetensors"]
    );
}

#[test]
fn every_checkpoint_of_a_run_is_taken_and_the_last_one_is_first_tried() {
    let mut run = checkpoint("out/checkpoint-10/");
    run.extend(checkpoint("out/checkpoint-9/"));
    run.extend(checkpoint("out/"));
    let sorted = dropped(&run);
    let folders: Vec<&str> = sorted
        .adapters
        .iter()
        .map(|adapter| with_folder(&adapter[0]))
        .collect();
    assert_eq!(
        folders,
        [
            "checkpoint-9/adapter_config.json",
            "checkpoint-10/adapter_config.json",
            "out/adapter_config.json",
        ]
    );
    let many: Vec<Sample> = (1..=20)
        .flat_map(|step| checkpoint(&format!("out/checkpoint-{step}/")))
        .collect();
    let sorted = dropped(&many);
    assert_eq!(sorted.adapters.len(), 8);
    assert_eq!(
        sorted.adapters[7][0],
        "out/checkpoint-20/adapter_config.json"
    );
    assert!(sorted.remarks[0].starts_with("20 adapters are here"));
}

#[test]
fn zips_are_told_apart_by_their_directories() {
    let ours = zip(
        "My adapter.zip",
        &[
            "adapter_model.safetensors",
            "adapter_config.json",
            "recipe.json",
        ],
    );
    assert_eq!(dropped(&[ours]).adapters, [["My adapter.zip"]]);
    let rows = zip("rows.zip", &["train.csv", "README.md"]);
    assert_eq!(dropped(std::slice::from_ref(&rows)).dataset, ["rows.zip"]);
    assert_eq!(
        names(&[rows], Some(Step::Try)).adapters,
        [["rows.zip"]],
        "the adapter's own message says what it is not"
    );
    let model = zip("lamp.zip", &["config.json", "model.safetensors"]);
    let sorted = dropped(&[model]);
    assert!(sorted.remarks[0].starts_with("lamp.zip contains a model. Unpack it"));
    assert!(sorted.dataset.is_empty());
    let sheet = zip("Table.xlsx", &["[Content_Types].xml", "xl/workbook.xml"]);
    assert_eq!(dropped(&[sheet]).dataset, ["Table.xlsx"]);
}

#[test]
fn of_a_datasets_folder_the_tables_are_taken() {
    let hub = [
        file("README.md", b"---\nlicense: mit\n---"),
        file("data.parquet", b"PAR1"),
        file("dataset_infos.json", b"{\"default\": {}}"),
    ];
    for chosen_for in [None, Some(Step::Data)] {
        let sorted = names(&hub, chosen_for);
        assert_eq!(sorted.dataset, ["data.parquet"]);
        assert_eq!(sorted.cards, ["dataset_infos.json", "README.md"]);
        assert!(sorted.passed_over.is_empty());
        let samples = hub.to_vec();
        let intake = Intake::of(&samples, &sort(&samples, chosen_for), chosen_for).unwrap();
        assert_eq!(
            intake.passed_over.as_deref(),
            Some("README.md, dataset_infos.json")
        );
    }
    let folder = [
        file("spam/test/part-10.jsonl", b"{\"text\": \"a\"}\n"),
        file("spam/train/part-9.jsonl", b"{\"text\": \"b\"}\n"),
        file("spam/train/part-10.jsonl", b"{\"text\": \"c\"}\n"),
        file("spam/train/notes.txt", b"How it was made"),
        file("spam/picture.png", b"\x89PNG"),
        file("spam/.DS_Store", b"\0\0"),
        file("spam/state.json", b"{\"_fingerprint\": \"a\"}"),
        file("spam/convert.py", b"import json"),
    ];
    let sorted = dropped(&folder);
    assert_eq!(
        sorted.dataset,
        [
            "spam/test/part-10.jsonl",
            "spam/train/part-9.jsonl",
            "spam/train/part-10.jsonl",
        ]
    );
    let paths: Vec<&str> = sorted.dataset.iter().map(String::as_str).collect();
    assert_eq!(
        dataset_names(&paths),
        [
            "test/part-10.jsonl",
            "train/part-9.jsonl",
            "train/part-10.jsonl"
        ]
    );
    assert_eq!(sorted.passed_over.len(), 5);
    let texts = [
        file("stories/one.txt", b"Once"),
        file("stories/two.md", b"Upon"),
        file("stories/LICENSE", b"MIT"),
    ];
    assert_eq!(
        dropped(&texts).dataset,
        ["stories/one.txt", "stories/two.md"]
    );
}

#[test]
fn datasets_keep_the_folders_that_tell_their_files_apart() {
    let cases: [(&[&str], &[&str]); 6] = [
        (&["rows.jsonl"], &["rows.jsonl"]),
        (&["spam/rows.jsonl"], &["rows.jsonl"]),
        // Several folders at once, whose files have the same names.
        (
            &["test/0.jsonl", "train/0.jsonl"],
            &["test/0.jsonl", "train/0.jsonl"],
        ),
        (
            &[
                "spam/data/test/0.jsonl",
                "spam/data/train/0.jsonl",
                "spam/README.md",
            ],
            &["data/test/0.jsonl", "data/train/0.jsonl", "README.md"],
        ),
        (&["one.csv", "spam/two.csv"], &["one.csv", "spam/two.csv"]),
        (
            &["spam/0.csv", "spams/0.csv"],
            &["spam/0.csv", "spams/0.csv"],
        ),
    ];
    for (paths, expected) in cases {
        assert_eq!(dataset_names(paths), expected, "{paths:?}");
    }
}

#[test]
fn files_of_several_steps_go_to_each() {
    let mut files = snapshot("lamp/");
    files.extend(checkpoint("checkpoint-6/"));
    files.push(file("rows.csv", b"question,answer\n"));
    let sorted = dropped(&files);
    assert_eq!(sorted.model.len(), 4);
    assert_eq!(sorted.dataset, ["rows.csv"]);
    assert_eq!(sorted.adapters.len(), 1);
    let intake = Intake::of(&files, &sort(&files, None), None).unwrap();
    let steps: Vec<Step> = intake.taken.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [Step::Model, Step::Data, Step::Try]);
    // All in one heap, JSON among them.
    let mut heap = snapshot("");
    heap.push(file("rows.json", b"[{\"text\": \"a\"}]"));
    heap.push(file("prose.txt", b"Once upon a time"));
    let sorted = dropped(&heap);
    assert_eq!(sorted.dataset, ["prose.txt", "rows.json"]);
    assert_eq!(sorted.model.len(), 4);
}

#[test]
fn files_chosen_in_the_wrong_input_go_where_they_belong() {
    let gguf = [file("lamp.gguf", b"GGUF\x03")];
    assert_eq!(names(&gguf, Some(Step::Data)).model, ["lamp.gguf"]);
    assert_eq!(names(&gguf, Some(Step::Try)).model, ["lamp.gguf"]);
    let csv = [file("rows.csv", b"text\na\n")];
    assert_eq!(names(&csv, Some(Step::Model)).dataset, ["rows.csv"]);
    assert_eq!(names(&csv, Some(Step::Try)).dataset, ["rows.csv"]);
    let adapter = &checkpoint("")[1..3];
    assert_eq!(names(adapter, Some(Step::Data)).adapters.len(), 1);
    let told = |step| Intake::of(adapter, &sort(adapter, Some(step)), Some(step));
    let intake = told(Step::Data).unwrap();
    assert_eq!(
        intake.taken,
        [(
            Step::Try,
            "adapter_config.json, adapter_model.safetensors".to_owned()
        )]
    );
    assert_eq!(told(Step::Try), None, "it goes without saying");
    // Damaged or unknown, it stays where it was chosen, whose message says what it is.
    let damaged = [file("half.safetensors", b"")];
    assert_eq!(names(&damaged, Some(Step::Model)).model.len(), 1);
    let picture = [file("picture.png", b"\x89PNG")];
    assert_eq!(names(&picture, Some(Step::Data)).dataset.len(), 1);
    assert_eq!(names(&picture, Some(Step::Model)).model.len(), 1);
    assert_eq!(names(&picture, Some(Step::Try)).adapters.len(), 1);
    let readme = [file("README.md", b"# Text")];
    assert_eq!(names(&readme, Some(Step::Data)).dataset.len(), 1);
}

#[test]
fn several_models_are_told_of() {
    let mut two = snapshot("models/lamp/");
    two.extend(snapshot("models/torch/"));
    let sorted = dropped(&two);
    assert!(sorted.model.is_empty() && sorted.dataset.is_empty());
    assert_eq!(
        sorted.remarks,
        [
            "2 models are here: models/lamp, models/torch. One is used at a time: drop the one you want."
        ]
    );
    let quantized = [
        file("gguf/lamp.Q4_0.gguf", b"GGUF"),
        file("gguf/lamp.Q8_0.gguf", b"GGUF"),
    ];
    assert!(dropped(&quantized).remarks[0].contains("gguf/lamp.Q4_0.gguf, gguf/lamp.Q8_0.gguf"));
    // The parts of one model count as one, and a projector next to it does not count.
    let parts = [
        file("lamp-00001-of-00002.gguf", b"GGUF"),
        file("lamp-00002-of-00002.gguf", b"GGUF"),
        file("mmproj-lamp.gguf", b"GGUF"),
    ];
    let sorted = dropped(&parts);
    assert_eq!(sorted.model.len(), 2);
    assert_eq!(sorted.passed_over, ["mmproj-lamp.gguf"]);
    // Of a run's folder the outer one is meant.
    let mut run = snapshot("out/");
    run.extend(snapshot("out/checkpoint-5/"));
    let sorted = dropped(&run);
    assert_eq!(sorted.model.len(), 4);
    assert!(sorted.model.iter().all(|path| !path.contains("checkpoint")));
    assert!(sorted.remarks[0].starts_with("There are models in out/checkpoint-5 too."));
}

#[test]
fn one_bad_file_sinks_no_other() {
    let mut files = vec![
        file("good.csv", b"text\na\n"),
        file("picture.png", b"\x89PNG"),
        file("report.pdf", b"%PDF-1.7"),
    ];
    let mut empty = file("empty.csv", b"");
    empty.num_bytes = 0;
    files.push(empty.clone());
    let sorted = dropped(&files);
    assert_eq!(sorted.dataset, ["good.csv"]);
    assert_eq!(sorted.passed_over, ["picture.png", "report.pdf"]);
    assert_eq!(sorted.remarks, ["empty.csv is empty and was skipped."]);
    assert_eq!(
        dropped(&[empty]).dataset,
        ["empty.csv"],
        "the reader says so"
    );
    // A tokenizer without its model does not become rows.
    let lone = [
        file("rows.csv", b"text\na\n"),
        file("tokenizer.json", b"{\"version\": \"1.0\"}"),
    ];
    let sorted = dropped(&lone);
    assert_eq!(sorted.dataset, ["rows.csv"]);
    assert!(sorted.remarks[0].starts_with("tokenizer.json belongs to a model"));
    let recipe = [file("recipe.json", b"{\"seed\": 1}")];
    assert!(dropped(&recipe).remarks[0].contains("drop its zip or its folder"));
    let ours = b"{\n  \"format\": \"inlay-recipe\",\n  \"version\": 1";
    let sorted = dropped(&[file("my settings.json", ours), file("recipe.json", ours)]);
    assert_eq!(sorted.recipe, ["my settings.json"]);
    assert_eq!(sorted.passed_over, ["recipe.json"]);
    assert_eq!(sorted.remarks, Vec::<String>::new());
    let marked = [b"\xEF\xBB\xBF", &ours[..]].concat();
    let sorted = dropped(&[file("saved by an editor.json", &marked)]);
    assert_eq!(sorted.recipe, ["saved by an editor.json"]);
    let sorted = dropped(&[file("recipe.json", ours), file("rows.csv", b"text\na\n")]);
    assert_eq!((sorted.recipe.len(), sorted.dataset.len()), (1, 1));
    // With an adapter, it says how that was made.
    let mut export = vec![file("recipe.json", ours)];
    export.extend(checkpoint("").into_iter().skip(1).take(2));
    let sorted = dropped(&export);
    assert_eq!((sorted.recipe.len(), sorted.adapters.len()), (0, 1));
    assert_eq!(sorted.passed_over, ["recipe.json"]);
    let pictures = [
        file("holiday/1.png", b"\x89PNG"),
        file("holiday/2.png", b"\x89PNG"),
    ];
    assert!(dropped(&pictures).remarks[0].starts_with("Nothing here is a dataset"));
}

#[test]
fn second_downloads_and_odd_names_are_known_by_their_content() {
    let files = [
        file("config (1).json", CONFIG),
        tensors("weights (2).bin", "model.embed_tokens.weight"),
        file("tokenizer (1).json", b"{\"version\": \"1.0\"}"),
    ];
    assert_eq!(dropped(&files).model.len(), 3);
    let adapter = [
        file("config.json", PEFT),
        tensors(
            "lora.safetensors",
            "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight",
        ),
    ];
    assert_eq!(dropped(&adapter).adapters.len(), 1);
    // Keys of a configuration in rows are rows' own.
    let rows = [file(
        "config.json",
        b"{\"model_type\": \"a\", \"hidden_size\": 1}\n{\"model_type\": \"b\", \"hidden_size\": 2}\n",
    )];
    assert_eq!(dropped(&rows).dataset, ["config.json"]);
    assert_eq!(base_name("a/b/c.json"), "c.json");
    assert_eq!(with_folder("a/b/c.json"), "b/c.json");
    assert_eq!(with_folder("b/c.json"), "b/c.json");
}

#[test]
fn an_adapter_of_the_bundled_model_is_known() {
    let config = br#"{"peft_type": "LORA", "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"}"#;
    let files = [
        file("adapter_config.json", config),
        file("inlay-smollm2-135m-instruct-lora.zip", b"PK\x03\x04"),
        file("other/adapter_config.json", PEFT),
    ];
    let is = |index| is_for(&files, &[index], "SmolLM2-135M-Instruct");
    assert!(is(0) && is(1) && !is(2));
}

#[test]
fn pasted_text_is_told_of_and_an_address_is_no_row() {
    let taken = Intake::of_text("a,b\n\n1,2\n").taken;
    assert_eq!(taken, [(Step::Data, "the pasted text, 2 lines".to_owned())]);
    assert!(Intake::of_address("see https://example.com").is_none());
    assert!(Intake::of_address("https://example.com/rows.csv\n").is_some());
    let one = Intake::of_text("once").taken;
    assert_eq!(one[0].1, "the pasted text, 1 line");
}
