//! Whole folders dropped on the window, files in the wrong input, and what is pasted: each goes where it belongs.

use std::path::{Path, PathBuf};

use e2e::browser::Window;
use e2e::page::{Page, Seen};
use serde_json::json;

use crate::visit::{LOADING, Outcome, SOON, Visit, fixture, picture, questions, seed, wait_for};

/// Copies fixtures into a folder of the visit's, with other files next to them, and gives the folder's path.
fn folder(
    visit: &Visit,
    name: &str,
    copied: &[(&str, &str)],
    written: &[(&str, &str)],
) -> Result<PathBuf, Box<dyn std::error::Error>> {
    for (from, as_name) in copied {
        let bytes = std::fs::read(fixture(from)?)?;
        visit.write(&format!("{name}/{as_name}"), bytes)?;
    }
    for (file, text) in written {
        visit.write(&format!("{name}/{file}"), text)?;
    }
    Ok(visit.folder.join(name).canonicalize()?)
}

/// Drops files and folders in the middle of the window, as a file manager does.
fn drop_on_window(visit: &Visit, paths: &[&Path]) -> Outcome {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    for kind in ["dragEnter", "dragOver", "drop"] {
        visit.browser.session.devtools(
            "Input.dispatchDragEvent",
            json!({
                "type": kind, "x": 300, "y": 300,
                "data": { "items": [], "files": paths, "dragOperationsMask": 1 },
            }),
        )?;
    }
    Ok(())
}

fn paste(visit: &Visit, text: &str) -> Outcome {
    let script = "const data = new DataTransfer(); data.setData('text/plain', arguments[0]); \
                  const event = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }); \
                  document.body.dispatchEvent(event)";
    visit.browser.session.script(script, json!([text]))?;
    Ok(())
}

#[test]
fn folders_and_files_go_where_they_belong() -> Outcome {
    let Some(visit) = Visit::start("files", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let model = folder(
        &visit,
        "tiny-model",
        &[
            ("model/tiny/config.json", "config.json"),
            ("model/tiny/model.safetensors", "model.safetensors"),
            ("model/tiny/tokenizer.json", "tokenizer.json"),
        ],
        &[
            (".gitattributes", "*.safetensors filter=lfs"),
            ("README.md", "# Tiny"),
            ("merges.txt", "#version: 0.2"),
            ("generation_config.json", "{}"),
            ("vocab.json", "{\"a\": 0}"),
        ],
    )?;
    let checkpoint = folder(
        &visit,
        "checkpoint-6",
        &[
            (
                "strangers/lora.all_linear/adapter_config.json",
                "adapter_config.json",
            ),
            (
                "strangers/lora.all_linear/adapter_model.safetensors",
                "adapter_model.safetensors",
            ),
            ("model/tiny/tokenizer.json", "tokenizer.json"),
        ],
        &[
            ("optimizer.pt", "PK\u{3}\u{4}archive/data.pkl"),
            ("training_args.bin", "PK\u{3}\u{4}archive/data.pkl"),
            ("trainer_state.json", "{\"global_step\": 6}"),
            ("README.md", "# Adapter"),
        ],
    )?;
    let rows = folder(
        &visit,
        "questions",
        &[],
        &[
            ("data/one.jsonl", &questions(6, seed())),
            ("data/two.jsonl", &questions(4, seed())),
            ("README.md", "# Questions"),
            ("dataset_infos.json", "{}"),
        ],
    )?;

    // A model's folder by itself brings no dataset.
    drop_on_window(&visit, &[&model])?;
    wait_for(
        &page,
        "What was taken",
        &[
            "Model: tiny-model/config.json",
            "Skipped: ",
            "tiny-model/merges.txt",
        ],
    )?;
    page.wait_for_text("SHA-256", LOADING)?;
    page.wait_for_status(&["Ready"], LOADING)?;
    assert!(
        page.status()?.contains("add your data"),
        "{}",
        page.status()?
    );
    picture(&page, "files-model")?;

    // A dataset and a checkpoint together go to their steps.
    drop_on_window(&visit, &[&rows, &checkpoint])?;
    wait_for(
        &page,
        "What was taken",
        &[
            "Dataset: questions/data/one.jsonl, questions/data/two.jsonl",
            "Adapter: checkpoint-6/adapter_config.json, checkpoint-6/adapter_model.safetensors",
            "checkpoint-6/optimizer.pt",
            "questions/dataset_infos.json",
        ],
    )?;
    wait_for(&page, "Dataset summary", &["10 rows"])?;
    wait_for(&page, "Adapters", &["checkpoint-6"])?;
    page.press("Dismiss what was taken")?;

    // What is chosen in the wrong input is not lost.
    let config = checkpoint.join("adapter_config.json");
    let weights = checkpoint.join("adapter_model.safetensors");
    page.choose_files("Dataset files", &[&config, &weights])?;
    wait_for(&page, "What was taken", &["Adapter: adapter_config.json"])?;
    wait_for(
        &page,
        "Adapters",
        &["checkpoint-6", "adapter_model.safetensors"],
    )?;
    wait_for(&page, "Dataset summary", &["10 rows"])?;

    // Pasted text is a dataset; an address is none.
    paste(&visit, "https://example.com/rows.csv")?;
    wait_for(&page, "What was taken", &["That is an address"])?;
    paste(
        &visit,
        "question,answer\nWho?,Nobody\nWhat?,Nothing\nWhen?,Never\n",
    )?;
    wait_for(&page, "What was taken", &["the pasted text, 4 lines"])?;
    wait_for(&page, "Dataset summary", &["3 rows"])?;
    picture(&page, "files-pasted")?;
    page.expect_quiet_console()?;
    Ok(())
}

/// Which split the page takes a file for.
fn wait_for_split(page: &Page, file: &str, split: &str) -> Outcome {
    page.wait(&format!("{file} as {split}"), LOADING, || {
        let side = page.value(&format!("Split of {file}"))?;
        Ok(if side == split {
            Seen::Yes(())
        } else {
            Seen::NotYet(side)
        })
    })?;
    Ok(())
}

#[test]
fn folders_named_as_splits_are_splits() -> Outcome {
    let Some(visit) = Visit::start("split-folders", Window::default())? else {
        return Ok(());
    };
    let page = visit.page()?;
    let rows = |seed| questions(4, seed);
    // All files have the same name, so only their folders tell them apart.
    let data = folder(
        &visit,
        "answers",
        &[],
        &[
            ("train/0.jsonl", &rows(seed())),
            ("test/0.jsonl", &rows(seed() + 1)),
            ("README.md", "# Answers"),
        ],
    )?;
    page.choose_files("Dataset folder", &[&data])?;
    wait_for(&page, "Dataset summary", &["8 rows"])?;
    wait_for_split(&page, "train/0.jsonl", "Train")?;
    wait_for_split(&page, "test/0.jsonl", "Test")?;
    page.wait_for_text("these are never trained on", SOON)?;

    // The folders of the splits by themselves, without the one around them.
    drop_on_window(&visit, &[&data.join("test"), &data.join("train")])?;
    wait_for(
        &page,
        "What was taken",
        &["Dataset: test/0.jsonl, train/0.jsonl"],
    )?;
    wait_for_split(&page, "train/0.jsonl", "Train")?;
    wait_for_split(&page, "test/0.jsonl", "Test")?;
    page.expect_quiet_console()?;
    Ok(())
}
