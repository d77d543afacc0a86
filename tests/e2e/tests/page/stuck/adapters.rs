//! Adapters that are small, but whose archives or configs stand for much.

use serde_json::{Value, json};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::{Input, Kind, Says, Step, kind};
use crate::visit::adapter;
use crate::zipped::{changed, deflated, packed, shared};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";
const SHARED: &str = "several of its entries share the same bytes";

pub(super) fn kinds() -> Vec<Kind> {
    vec![
        kind(
            "archives whose entries share their bytes",
            vec![
                zip("a thousand entries of one file", SHARED, || {
                    shared(&stored(&[(TENSORS, &[b'x'; 4 << 20])]), 1_000)
                }),
                zip("an entry inside another one", SHARED, entry_in_entry),
                zip("two thousand empty entries", "it has 2000 entries", || {
                    shared(&stored(&[(TENSORS, b"")]), 2_000)
                }),
                zip("a bomb", "expand to 314572802 bytes, more than the", || {
                    deflated(&[(CONFIG, b"{}"), (TENSORS, &vec![0; 300 << 20])])
                }),
                zip(
                    "a bomb that says that it is small",
                    "adapter_model.safetensors in the archive is damaged",
                    || {
                        let files: [(&str, &[u8]); 2] =
                            [(TENSORS, &vec![0; 300 << 20]), (CONFIG, b"{}")];
                        changed(&deflated(&files), 24, &[100, 0, 0, 0])
                    },
                ),
            ],
        ),
        kind(
            "configs that ask for more than there is",
            vec![
                config(
                    "a rank of 2^18",
                    "r: an adapter of this size has",
                    |config| {
                        config["r"] = json!(1 << 18);
                    },
                ),
                config(
                    "a million ranks",
                    "which is too large for this file",
                    |config| {
                        let ranks = (0..1_000_000)
                            .map(|at| (format!("layers.{at}.q_proj"), json!(1 << 20)));
                        config["rank_pattern"] = Value::Object(ranks.collect());
                    },
                ),
                config("lists in lists", "nested more than 64 deep", |config| {
                    config["modules_to_save"] = (0..100).fold(json!([]), |inner, _| json!([inner]));
                }),
            ],
        ),
    ]
}

fn zip(name: &'static str, says: &'static str, bytes: impl Fn() -> Vec<u8> + 'static) -> Input {
    Input::new(Step::Try, name, Says(says), move |visit| {
        Ok(vec![visit.write(&format!("{name}/lora.zip"), bytes())?])
    })
}

/// An adapter of the tiny model with another config.
fn config(name: &'static str, says: &'static str, change: impl Fn(&mut Value) + 'static) -> Input {
    Input::new(Step::Try, name, Says(says), move |visit| {
        let mut files = adapter("lora.all_linear")?;
        let mut config: Value = serde_json::from_slice(&std::fs::read(&files[0])?)?;
        change(&mut config);
        files[0] = visit.write(&format!("{name}/{CONFIG}"), config.to_string())?;
        Ok(files)
    })
}

fn stored(files: &[(&str, &[u8])]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    packed(files, options)
}

/// The config's entry lies in the middle of the tensors'.
fn entry_in_entry() -> Vec<u8> {
    let alone = stored(&[(CONFIG, b"{}")]);
    let entry = &alone[..30 + CONFIG.len() + 2];
    let tensors = [&[b'x'; 100], entry, &vec![b'x'; 1 << 20]].concat();
    let zip = stored(&[(CONFIG, b"{}"), (TENSORS, &tensors)]);
    let inside = zip.windows(entry.len()).rposition(|bytes| bytes == entry);
    let inside = inside.unwrap_or_default() as u32;
    // Where the first record says that its entry begins.
    changed(&zip, 42, &inside.to_le_bytes())
}
