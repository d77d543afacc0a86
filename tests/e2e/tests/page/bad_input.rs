//! Files that cannot be used: each gets its own message, and what was loaded before stays.

use std::error::Error;
use std::path::PathBuf;

use e2e::browser::Window;
use e2e::page::{Page, Seen};
use serde_json::{Value, json};

use crate::visit::{
    Chance, LOADING, Outcome, SOON, Visit, fixture, load, model_file, questions, seed, sentences,
};
use crate::zipped::deflated;

/// Files given together, and words of which the page's answer holds at least one (in any case).
struct Case {
    files: Vec<(&'static str, Vec<u8>)>,
    says: &'static [&'static str],
}

fn case(files: Vec<(&'static str, Vec<u8>)>, says: &'static [&'static str]) -> Case {
    Case { files, says }
}

/// A safetensors file of F32 zeros with these tensors.
fn safetensors(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(
            (*name).to_owned(),
            json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }),
        );
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + end, 0);
    bytes
}

fn llama_config() -> Value {
    json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 32,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 64, "tie_word_embeddings": true,
    })
}

fn model_cases(model: &[u8]) -> Vec<Case> {
    let bert = json!({ "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8 });
    let mut other = llama_config();
    other["model_type"] = json!("mamba");
    other["architectures"] = json!(["MambaForCausalLM"]);
    let embedding: (&str, &[usize]) = ("model.embed_tokens.weight", &[32, 8]);
    vec![
        case(
            vec![("notes.gguf", b"These are notes, not a model.".to_vec())],
            &["not a model"],
        ),
        case(
            vec![("cut.gguf", model[..model.len() / 3].to_vec())],
            &["cut off"],
        ),
        case(
            vec![
                (
                    "model.safetensors",
                    safetensors(&[("embeddings.word_embeddings.weight", &[32, 8])]),
                ),
                ("config.json", bert.to_string().into_bytes()),
                ("tokenizer.json", b"{}".to_vec()),
            ],
            &["encoder"],
        ),
        case(
            vec![
                ("model.safetensors", safetensors(&[embedding])),
                ("config.json", llama_config().to_string().into_bytes()),
            ],
            &["without a tokenizer"],
        ),
        case(
            vec![
                ("model.safetensors", safetensors(&[embedding])),
                ("config.json", other.to_string().into_bytes()),
                ("tokenizer.json", b"{}".to_vec()),
            ],
            &["mamba"],
        ),
        case(
            vec![(
                "half.safetensors",
                safetensors(&[embedding])[..100].to_vec(),
            )],
            &["cut off", "config.json"],
        ),
    ]
}

fn dataset_cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let parquet = std::fs::read(fixture("datasets/parquet/zstd.parquet")?)?;
    let zip = deflated(&[("rows.jsonl", sentences(40, seed()).as_bytes())]);
    let mut chance = Chance(seed());
    let junk: Vec<u8> = (0..5000).map(|_| chance.below(256) as u8).collect();
    Ok(vec![
        case(vec![("empty.jsonl", Vec::new())], &["is empty"]),
        case(vec![("picture.jsonl", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0".to_vec())], &["not a dataset"]),
        case(vec![("table.jsonl", b"first,second\n1,2\n3,4\n".to_vec())], &["which columns to learn from"]),
        case(vec![("half.gz", b"\x1F\x8B\x08\0\0\0\0\0\0\x03cut".to_vec())], &["the file was cut off"]),
        case(vec![("old.doc", b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1\0\0".to_vec())], &["office"]),
        case(vec![("cut.jsonl", b"{\"text\": \"whole\"}\n{\"text\": \"cu".to_vec())], &["line 2"]),
        case(vec![("types.jsonl", b"{\"text\": [5]}\n{\"text\": \"right\"}\n{\"text\": \"right too\"}\n".to_vec())], &["line 1"]),
        case(vec![("line.jsonl", b"{\"text\": \"one\"}\n{\"text\": \"two\"; \"b\": 1}\n{\"text\": \"three\"}\n".to_vec())], &["line 2, column 15"]),
        case(vec![("quote.csv", b"prompt,completion\n\"Who? Nobody\nWhat?,Nothing\nWhen?,Never\n".to_vec())], &["a quote that opens in this row is never closed"]),
        case(vec![("cut.parquet", parquet[..parquet.len() - 100].to_vec())], &["it is cut off: the footer is missing"]),
        case(vec![("cut.zip", zip[..zip.len() / 2].to_vec())], &["its directory is damaged"]),
        case(vec![("blank.csv", b"\n\n  \n".to_vec())], &["is empty"]),
        case(vec![("junk.csv", junk)], &["is a binary file, not a dataset"]),
        case(vec![("shapes.jsonl", b"{\"text\": \"a b c\"}\n{\"prompt\": \"p\", \"completion\": \"c\"}\n{\"other\": 1}\n".to_vec())], &["line 3"]),
    ])
}

#[test]
fn every_bad_file_gets_a_message_and_the_page_stays_usable() -> Outcome {
    let Some(visit) = Visit::start("bad_input", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let good = visit.write("questions.jsonl", questions(10, seed()))?;
    load(&page, &good)?;
    let model = std::fs::read(model_file())?;
    for case in model_cases(&model) {
        give(&visit, &page, "Model files", &case)?;
        page.wait_until_enabled("Start training", LOADING)?;
    }
    for case in dataset_cases()? {
        let said = give(&visit, &page, "Dataset files", &case)?;
        let name = case.files[0].0;
        assert!(said.contains(name), "{name} is named: {said}");
    }
    // Another good file, and the page is as it was.
    page.choose_files("Dataset files", &[&good])?;
    page.wait_for_status(&["Ready"], LOADING)?;
    page.wait_until_enabled("Start training", SOON)?;
    page.expect_quiet_console()?;
    Ok(())
}

/// Gives the files and waits for words in lines that were not on the page before: a message, or a row's problem.
fn give(visit: &Visit, page: &Page, input: &str, case: &Case) -> Result<String, Box<dyn Error>> {
    let names: Vec<&str> = case.files.iter().map(|(name, _)| *name).collect();
    let mut paths: Vec<PathBuf> = Vec::new();
    for (name, bytes) in &case.files {
        paths.push(visit.write(&format!("bad/{name}"), bytes)?);
    }
    let before = page.body_text()?;
    page.choose_files(input, &paths)?;
    let said = page.wait(&format!("a message about {names:?}"), LOADING, || {
        let after = page.body_text()?;
        let is_new = |line: &&str| !line.trim().is_empty() && !before.contains(line.trim());
        let said: Vec<&str> = after.lines().filter(is_new).collect();
        let said = said.join(" ");
        let is_said = case
            .says
            .iter()
            .any(|word| said.to_lowercase().contains(word));
        Ok(if is_said {
            Seen::Yes(said)
        } else {
            Seen::NotYet(said)
        })
    })?;
    println!("{names:?}: {said}");
    Ok(said)
}
