//! Which of the given files hold the weights: one file, or all parts of one model in their order.
//!
//! The parts of a sharded checkpoint are those that `model.safetensors.index.json` lists, if it was given and
//! lists one of the files, else those that the names ask for:
//!
//! ```text
//! {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors", ...}}
//! model-00001-of-00002.safetensors  ->  stem model, part 1 of 2, end safetensors  ->  00001 and 00002 are wanted
//! ```
//!
//! Weights of two models are never mixed: what cannot be told apart is refused with the names.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    NamedSource,
    sniff::{Content, MAX_JSON_BYTES},
};
use crate::weights::{error::ModelError, json};

/// The files of one model's weights.
pub(super) enum Weights {
    /// A whole model in one file.
    Gguf(NamedSource),
    /// One or more, never none.
    Safetensors(Vec<NamedSource>),
}

/// Takes the weights out of the files. An image projector, an importance matrix or an adapter next to a model
/// is left among the others.
///
/// Safetensors and GGUF side by side are ambiguous even if they hold the same model. Several GGUF files that are
/// all named as parts are refused as a split model; a single part is found out by its metadata later.
///
/// # Errors
/// Why there are no weights, which parts are missing, or that there is more than one model.
pub(super) async fn take_weights(
    sniffed: &mut Vec<(Content, NamedSource)>,
) -> Result<Weights, ModelError> {
    let mut ggufs = take(sniffed, Content::Gguf);
    let mut tensors = take(sniffed, Content::Safetensors);
    if ggufs.len() + tensors.len() > 1 {
        set_aside(&mut ggufs, &["mmproj", "imatrix"], Content::Gguf, sniffed);
        let adapters = ["adapter_model.", "adapters.safetensors"];
        set_aside(&mut tensors, &adapters, Content::Safetensors, sniffed);
    }
    match (ggufs.as_slice(), tensors.as_slice()) {
        ([], []) => Err(no_weights(sniffed)),
        ([_], []) => Ok(Weights::Gguf(ggufs.remove(0))),
        ([], _) => parts(tensors, sniffed).await.map(Weights::Safetensors),
        (all, []) if all.iter().all(|file| Part::of(&file.name).is_some()) => {
            Err(ModelError::SplitGguf {
                file: ggufs.remove(0).name,
            })
        }
        _ => Err(ambiguous(ggufs.iter().chain(&tensors))),
    }
}

/// Makes the error for weights of more than one model.
fn ambiguous<'a>(files: impl Iterator<Item = &'a NamedSource>) -> ModelError {
    ModelError::Ambiguous {
        what: "weights",
        files: files.map(|file| file.name.clone()).collect(),
    }
}

/// Takes all files of one content.
fn take(sniffed: &mut Vec<(Content, NamedSource)>, wanted: Content) -> Vec<NamedSource> {
    let taken = sniffed.extract_if(.., |(content, _)| *content == wanted);
    taken.map(|(_, file)| file).collect()
}

/// Moves the files whose paths contain one of `names` (lower case) back to `sniffed`, where they end up as
/// unused. If all files have such a name, none is moved, and their content decides later.
fn set_aside(
    files: &mut Vec<NamedSource>,
    names: &[&str],
    content: Content,
    sniffed: &mut Vec<(Content, NamedSource)>,
) {
    let is_aside = |file: &NamedSource| {
        let name = file.name.to_lowercase();
        names.iter().any(|part| name.contains(part))
    };
    if !files.iter().all(is_aside) {
        let aside = files.extract_if(.., |file| is_aside(file));
        sniffed.extend(aside.map(|file| (content, file)));
    }
}

/// One part of several, by its name: `model-00001-of-00002.safetensors`, as transformers and llama.cpp write
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// What stands before the numbers, `model`.
    pub stem: &'a str,
    /// From 1 on.
    number: usize,
    /// The number of parts.
    pub count: usize,
    /// How many digits the part's number and the count are written with: five by transformers.
    num_digits: (usize, usize),
    /// The extension, `safetensors`.
    end: &'a str,
}

impl<'a> Part<'a> {
    /// Reads a name; `None` if it is not that of a part. Numbers have three digits or more, so
    /// `best-of-2024.gguf` and `tale-1-of-2.gguf` are whole files. A part's number is from 1 to the count.
    pub(super) fn of(name: &'a str) -> Option<Self> {
        let (stem, rest) = name.rsplit_once("-of-")?;
        let (stem, number) = stem.rsplit_once('-')?;
        let (count, end) = rest.split_once('.')?;
        let number_of = |text: &str| {
            let is_plain = text.len() >= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            is_plain.then(|| text.parse::<usize>().ok()).flatten()
        };
        let part = Self {
            stem,
            number: number_of(number)?,
            count: number_of(count)?,
            num_digits: (number.len(), count.len()),
            end,
        };
        (part.number >= 1 && part.number <= part.count).then_some(part)
    }
}

/// Returns the name without the folders before it.
fn base_name(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// `model.safetensors.index.json`, of which only the names of the files are used: the headers say which tensor
/// is where.
#[derive(Deserialize)]
struct Index {
    /// File by tensor.
    weight_map: std::collections::BTreeMap<String, String>,
}

/// Returns the parts of one model in their order, as the index says where there is one, else as their names do.
/// What belongs to none of them is given back to `sniffed`.
///
/// Only base names are compared, since an index has no folders and dropped files may. An index that lists none of
/// the given files belongs to another model and is ignored; of several indexes the first counts.
///
/// # Errors
/// [`ModelError::MissingParts`], [`ModelError::Ambiguous`], or an index that is damaged.
async fn parts(
    mut files: Vec<NamedSource>,
    sniffed: &mut Vec<(Content, NamedSource)>,
) -> Result<Vec<NamedSource>, ModelError> {
    let indexes = sniffed.iter();
    let mut indexes = indexes.filter(|(content, _)| *content == Content::ShardIndex);
    let index = indexes.next();
    let wanted: Vec<String> =
        match index {
            Some((_, index)) => {
                let read: Index = json::from_slice(&index.read_json(MAX_JSON_BYTES).await?)
                    .map_err(|error| ModelError::Json {
                        file: index.name.clone(),
                        error,
                    })?;
                let names: BTreeSet<String> = read.weight_map.into_values().collect();
                names.into_iter().collect()
            }
            None => Vec::new(),
        };
    let is_there = |name: &String| {
        let mut given = files.iter().map(|file| base_name(&file.name));
        given.any(|given| given == base_name(name))
    };
    let wanted = match wanted.iter().any(is_there) {
        true => wanted,
        false => wanted_by_names(&files)?,
    };
    if wanted.is_empty() {
        return match files.len() {
            1 => Ok(files),
            _ => Err(ambiguous(files.iter())),
        };
    }
    let missing: Vec<String> = wanted
        .iter()
        .filter(|name| !is_there(name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(ModelError::MissingParts {
            file: files.remove(0).name,
            missing,
            count: wanted.len(),
        });
    }
    let mut found = Vec::new();
    for name in &wanted {
        let at = files
            .iter()
            .position(|file| base_name(&file.name) == base_name(name));
        found.extend(at.map(|at| files.remove(at)));
    }
    // The same name once more is another model's, of another folder.
    if let Some(twice) = files.iter().find(|file| {
        let name = base_name(&file.name);
        wanted.iter().any(|wanted| base_name(wanted) == name)
    }) {
        return Err(ambiguous(found.iter().chain([twice])));
    }
    // What told of them is of no further use.
    sniffed.retain(|(content, _)| *content != Content::ShardIndex);
    sniffed.extend(files.into_iter().map(|file| (Content::Safetensors, file)));
    Ok(found)
}

/// Returns the names of all parts that there must be, derived from the names that were given. The list is empty
/// if no name is that of a part. Numbers are written with as many digits as in the first name.
///
/// ```text
/// given   model-00002-of-00003.safetensors
/// wanted  model-00001-of-00003.safetensors, model-00002-of-00003.safetensors, model-00003-of-00003.safetensors
/// ```
///
/// # Errors
/// [`ModelError::Ambiguous`] for parts of different models, and for more parts than [`MAX_PARTS`].
fn wanted_by_names(files: &[NamedSource]) -> Result<Vec<String>, ModelError> {
    let parts = files
        .iter()
        .filter_map(|file| Part::of(base_name(&file.name)));
    let parts: Vec<Part> = parts.collect();
    let Some(first) = parts.first() else {
        return Ok(Vec::new());
    };
    let is_same =
        |part: &Part| (part.stem, part.count, part.end) == (first.stem, first.count, first.end);
    if !parts.iter().all(is_same) {
        return Err(ambiguous(files.iter()));
    }
    // No model has as many parts, and the names are not trusted.
    if first.count > MAX_PARTS {
        return Err(ambiguous(files.iter()));
    }
    let (number_digits, count_digits) = first.num_digits;
    let names = (1..=first.count).map(|number| {
        format!(
            "{}-{number:0number_digits$}-of-{:0count_digits$}.{}",
            first.stem, first.count, first.end
        )
    });
    Ok(names.collect())
}

/// The maximum number of parts of one model. Names are untrusted, and a list as long as the count in them is
/// made.
const MAX_PARTS: usize = 1024;

/// Returns the most telling reason why no file holds weights: a model in another format, an index alone,
/// nothing at all.
fn no_weights(sniffed: &[(Content, NamedSource)]) -> ModelError {
    let names = || sniffed.iter().map(|(_, file)| file.name.clone()).collect();
    let of_content = |wanted: &dyn Fn(Content) -> bool| {
        let mut found = sniffed.iter().filter(|(content, _)| wanted(*content));
        found.next()
    };
    let foreign =
        of_content(&|content| matches!(content, Content::Other(foreign) if foreign.is_model));
    if let Some((Content::Other(foreign), file)) = foreign {
        return ModelError::NotAModel {
            file: file.name.clone(),
            foreign: *foreign,
        };
    }
    if let Some((_, file)) = of_content(&|content| content == Content::ShardIndex) {
        return ModelError::OnlyIndex {
            file: file.name.clone(),
        };
    }
    match sniffed {
        [] => ModelError::NoFiles,
        [(Content::Empty, file)] => ModelError::Empty {
            file: file.name.clone(),
        },
        [(Content::Other(foreign), file)] => ModelError::NotAModel {
            file: file.name.clone(),
            foreign: *foreign,
        },
        _ => ModelError::NoWeights { files: names() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_names() {
        for (name, stem, number, count) in [
            ("model-00001-of-00002.safetensors", "model", 1, 2),
            ("a-b-00010-of-00010.gguf", "a-b", 10, 10),
        ] {
            let part = Part::of(name).unwrap();
            assert_eq!((part.stem, part.number, part.count), (stem, number, count));
        }
        for name in [
            "model.safetensors",
            "best-of-2024.gguf",
            "tale-1-of-2.gguf",
            "m-00003-of-00002.gguf",
            "m-00000-of-00002.gguf",
            "m-0000x-of-00002.gguf",
        ] {
            assert_eq!(Part::of(name), None, "{name}");
        }
    }
}
