//! Files that come with a dataset and hold no rows.

use std::io::{Read, SeekFrom};

use super::{features::Features, source::Input};

/// The number of bytes of a description that are read.
const MAX_BYTES: u64 = 4 << 20;

/// Why each file is skipped. None is skipped if there would be no file left.
pub(super) fn skipped(inputs: &[Input]) -> Vec<Option<&'static str>> {
    let skipped: Vec<_> = inputs.iter().map(|input| what_it_is(&input.name)).collect();
    match skipped.iter().any(Option::is_none) {
        true => skipped,
        false => vec![None; inputs.len()],
    }
}

/// What the skipped files say about labels: the first one that says anything.
pub(super) fn features(inputs: &mut [Input], skipped: &[Option<&'static str>]) -> Option<Features> {
    let mut files = inputs.iter_mut().zip(skipped);
    files.find_map(|(input, skipped)| {
        if skipped.is_none() || !Features::is_told_by(&input.name) {
            return None;
        }
        let mut bytes = Vec::new();
        input.source.seek(SeekFrom::Start(0)).ok()?;
        (&mut input.source)
            .take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .ok()?;
        Features::of_companion(&input.name, &String::from_utf8_lossy(&bytes))
    })
}

/// Why a file of this name holds no rows; `None` if it may hold some.
fn what_it_is(name: &str) -> Option<&'static str> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, ""));
    let is_one_of = |names: &[&str]| names.contains(&name.as_str());
    if is_one_of(&[
        "dataset_infos.json",
        "dataset_info.json",
        "dataset_dict.json",
        "state.json",
        "croissant.json",
    ]) {
        return Some("it describes the dataset");
    }
    if [
        "readme",
        "license",
        "licence",
        "citation",
        "changelog",
        "contributing",
        "notice",
    ]
    .contains(&if extension.is_empty() {
        name.as_str()
    } else {
        stem
    }) {
        return Some("it is about the dataset");
    }
    if name.starts_with('.') || is_one_of(&["thumbs.db", "desktop.ini"]) {
        return Some("it belongs to the system or to Git");
    }
    if is_one_of(&[
        "merges.txt",
        "vocab.txt",
        "vocab.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "config.json",
        "generation_config.json",
        "adapter_config.json",
        "trainer_state.json",
    ]) {
        return Some("it belongs to a model");
    }
    if ["py", "ipynb", "sh", "lock", "toml", "crc", "sha256", "md5"].contains(&extension) {
        return Some("it is not data");
    }
    None
}
