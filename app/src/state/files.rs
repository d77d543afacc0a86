//! Sorts what is dropped, chosen or pasted: each file, including those of whole folders, goes to the step it belongs
//! to.

mod intake;
mod kind;

use std::collections::{BTreeMap, VecDeque};

pub use intake::{Intake, noun};

use super::Step;
use kind::{Kind, has_several_values, is_recipe, kind, plain_name};

/// The number of bytes at the start of a file that decide what it is.
pub const HEAD_BYTES: u64 = 4096;
/// The number of bytes at the end of a zip that contain its directory.
pub const TAIL_BYTES: u64 = 16_384;
/// The maximum number of adapters taken from one folder; a run may leave dozens of checkpoints.
const MAX_ADAPTERS: usize = 8;
/// The number of files named in one message.
const MAX_NAMES: usize = 12;

/// What is known about a file before it is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    /// The path with the folders it was dropped in: `tiny-model/config.json`.
    pub path: String,
    pub num_bytes: u64,
    /// The first [`HEAD_BYTES`].
    pub head: Vec<u8>,
    /// The last [`TAIL_BYTES`] of a zip; empty for other files.
    pub tail: Vec<u8>,
}

impl Sample {
    fn folder(&self) -> &str {
        folder(&self.path)
    }
}

/// Adapters requested from the engine together; it answers in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdapterLoads {
    waiting: VecDeque<String>,
    num_asked: usize,
}

impl AdapterLoads {
    /// More adapters were requested.
    pub fn add(&mut self, names: Vec<String>) {
        if self.waiting.is_empty() {
            self.num_asked = 0;
        }
        self.num_asked += names.len();
        self.waiting.extend(names);
    }

    /// The name of the adapter that an answer is about; `None` if no answer is due.
    pub fn answered(&mut self) -> Option<String> {
        self.waiting.pop_front()
    }

    /// No answer will come.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn is_under_way(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub fn are_several(&self) -> bool {
        self.num_asked > 1
    }
}

/// Where files go; each number is an index into the sorted list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    /// The files of one model.
    pub model: Vec<usize>,
    /// The files of one dataset, in the order of their names.
    pub dataset: Vec<usize>,
    /// Files about the dataset, which the reader looks into for the names of labels.
    pub cards: Vec<usize>,
    /// How an earlier run was set.
    pub recipe: Option<usize>,
    /// The files of each adapter; the one to try first comes last.
    pub adapters: Vec<Vec<usize>>,
    /// Files that nothing needs.
    pub passed_over: Vec<usize>,
    /// What cannot be used, and why: a sentence or two each.
    pub remarks: Vec<String>,
}

/// Decides where files go. `chosen_for` is the step in whose input they were chosen; what a file clearly is takes
/// precedence.
pub fn sort(files: &[Sample], chosen_for: Option<Step>) -> Sorted {
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_cached_key(|&index| natural(&files[index].path));
    let mut sorting = Sorting {
        files,
        kinds: files.iter().map(kind).collect(),
        order,
        chosen_for,
        sorted: Sorted::default(),
    };
    sorting.take_adapters();
    sorting.take_model();
    sorting.take_rows();
    sorting.sorted.passed_over.sort_unstable();
    sorting.sorted
}

struct Sorting<'a> {
    files: &'a [Sample],
    kinds: Vec<Kind>,
    /// The files sorted by path, with numbers compared by value.
    order: Vec<usize>,
    chosen_for: Option<Step>,
    sorted: Sorted,
}

impl Sorting<'_> {
    fn of(&self, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
        let all = self.order.iter().copied();
        all.filter(|&index| wanted(index)).collect()
    }

    fn is(&self, index: usize, kinds: &[Kind]) -> bool {
        kinds.contains(&self.kinds[index])
    }

    fn names(&self, indices: &[usize]) -> String {
        let names = indices.iter().map(|&index| self.files[index].path.as_str());
        listed(names)
    }

    fn remark(&mut self, text: String) {
        self.sorted.remarks.push(text);
    }

    /// The files in each folder of those.
    fn by_folder(&self, indices: &[usize]) -> BTreeMap<String, Vec<usize>> {
        let mut folders = BTreeMap::<String, Vec<usize>>::new();
        for &index in indices {
            let folder = self.files[index].folder().to_owned();
            folders.entry(folder).or_default().push(index);
        }
        folders
    }

    fn take_adapters(&mut self) {
        use Kind::{AdapterConfig, AdapterPickle, AdapterWeights, AdapterZip};
        let parts =
            self.of(|index| self.is(index, &[AdapterConfig, AdapterWeights, AdapterPickle]));
        let mut adapters = Vec::new();
        for (folder, parts) in self.by_folder(&parts) {
            let name = |index: usize| plain_name(&self.files[index].path);
            let main = ["adapter_model.safetensors", "adapters.safetensors"];
            let has_main = parts
                .iter()
                .any(|&index| main.contains(&name(index).as_str()));
            let (taken, left): (Vec<usize>, Vec<usize>) = parts.iter().partition(|&&index| {
                let is_older = self.kinds[index] == AdapterWeights
                    && name(index).ends_with("_adapters.safetensors");
                let is_other = is_older || self.kinds[index] == AdapterPickle;
                !(has_main && is_other)
            });
            self.sorted.passed_over.extend(left);
            adapters.push((depth(&folder), natural(&folder), taken));
        }
        // The outermost comes last: it is the result of the run.
        adapters.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let mut adapters: Vec<Vec<usize>> = adapters.into_iter().map(|(.., taken)| taken).collect();
        let zips = self.of(|index| {
            let is_damaged = self.chosen_for == Some(Step::Try) && self.is_zip(index);
            self.kinds[index] == AdapterZip || is_damaged
        });
        adapters.extend(zips.into_iter().map(|zip| vec![zip]));
        let surplus = adapters.len().saturating_sub(MAX_ADAPTERS);
        if surplus > 0 {
            self.remark(format!(
                "{} adapters are here; the last {MAX_ADAPTERS} were taken. Drop the others one by one if you need them.",
                adapters.len()
            ));
            let left = adapters.drain(..surplus).flatten();
            self.sorted.passed_over.extend(left);
        }
        self.sorted.adapters = adapters;
    }

    /// An unknown zip, chosen in the input for adapters.
    fn is_zip(&self, index: usize) -> bool {
        self.kinds[index] == Kind::Rows && self.files[index].head.starts_with(b"PK\x03\x04")
    }

    fn take_model(&mut self) {
        use Kind::{
            Gguf, ModelConfig, ModelWeights, ModelZip, OtherWeights, ShardIndex, Tokenizer,
        };
        for index in self.of(|index| self.kinds[index] == ModelZip) {
            let name = &self.files[index].path;
            self.remark(format!(
                "{name} contains a model. Unpack it and drop the folder: models are not read from zips."
            ));
        }
        let companions = self.of(|index| self.is(index, &[ModelConfig, Tokenizer, ShardIndex]));
        if self.chosen_for == Some(Step::Model) {
            // Whatever does not clearly belong to another step is left to the model's own messages.
            let kinds = [
                Gguf,
                ModelWeights,
                OtherWeights,
                ModelConfig,
                Tokenizer,
                ShardIndex,
            ];
            let unclear = [Kind::MaybeRows, Kind::NotRows];
            self.sorted.model = self.of(|index| self.is(index, &kinds) || self.is(index, &unclear));
            return;
        }
        let read = self.of(|index| self.is(index, &[Gguf, ModelWeights]));
        let other = self.of(|index| self.kinds[index] == OtherWeights);
        // With an adapter, they are left from its training; with rows, they can be anything.
        let is_model = read.is_empty()
            && self.sorted.adapters.is_empty()
            && (companions
                .iter()
                .any(|&index| self.kinds[index] == ModelConfig)
                || !self.kinds.contains(&Kind::Rows));
        let weights = if is_model { &other } else { &read };
        if !is_model {
            self.sorted.passed_over.extend(&other);
        }
        let folders: Vec<(String, Vec<usize>)> = self.by_folder(weights).into_iter().collect();
        if folders.is_empty() {
            return self.leave_companions(companions);
        }
        let outermost = folders.iter().map(|(folder, _)| depth(folder)).min();
        let is_outer = |(folder, _): &&(String, Vec<usize>)| Some(depth(folder)) == outermost;
        let chosen: Vec<&(String, Vec<usize>)> = folders.iter().filter(is_outer).collect();
        let models = |(_, weights): &&(String, Vec<usize>)| self.models_in(weights);
        let found: Vec<Vec<usize>> = chosen.iter().flat_map(models).collect();
        let [model] = found.as_slice() else {
            let names: Vec<String> = found.iter().map(|model| self.model_name(model)).collect();
            let number = found.len();
            self.remark(format!(
                "{number} models are here: {}. One is used at a time: drop the one you want.",
                listed(names.iter().map(String::as_str))
            ));
            self.sorted.passed_over.extend(companions);
            self.sorted.passed_over.extend(weights.clone());
            return;
        };
        let folder = self.files[model[0]].folder().to_owned();
        let others: Vec<&str> = folders
            .iter()
            .map(|(folder, _)| folder.as_str())
            .filter(|other| *other != folder)
            .collect();
        let remark = (!others.is_empty()).then(|| {
            format!(
                "There are models in {} too. The outer one was taken; drop that folder alone for the other.",
                listed(others.iter().copied())
            )
        });
        let (mut taken, mut left) = (model.clone(), Vec::new());
        for index in companions {
            let is_with_it = self.files[index].folder() == folder;
            if is_with_it { &mut taken } else { &mut left }.push(index);
        }
        let unused = weights.iter().filter(|index| !taken.contains(index));
        left.extend(unused);
        taken.sort_by_key(|index| self.order.iter().position(|at| at == index));
        self.sorted.model = taken;
        self.sorted.passed_over.extend(left);
        self.sorted.remarks.extend(remark);
    }

    /// Configurations and tokenizers without weights: with an adapter, they belong to its base; otherwise, they are
    /// reported.
    fn leave_companions(&mut self, companions: Vec<usize>) {
        if companions.is_empty() {
            return;
        }
        let is_other = |kind: &Kind| {
            matches!(
                kind,
                Kind::Rows | Kind::MaybeRows | Kind::AdapterZip | Kind::AdapterWeights
            )
        };
        if !self.sorted.adapters.is_empty() {
            self.sorted.passed_over.extend(companions);
        } else if self.kinds.iter().any(is_other) {
            let names = self.names(&companions);
            let verb = if companions.len() == 1 {
                "belongs"
            } else {
                "belong"
            };
            self.remark(format!(
                "{names} {verb} to a model, but its weights are not here: drop its whole folder."
            ));
        } else {
            // The engine says what is missing.
            self.sorted.model = companions;
        }
    }

    /// The weights of each model in a folder; parts of a model are grouped.
    fn models_in(&self, weights: &[usize]) -> Vec<Vec<usize>> {
        let name = |index: usize| plain_name(&self.files[index].path);
        let has_parts = weights.iter().any(|&index| {
            name(index).starts_with("model") && name(index).ends_with(".safetensors")
        });
        let mut models = BTreeMap::<String, Vec<usize>>::new();
        for &index in weights {
            let name = name(index);
            let is_beside = ["mmproj", "imatrix"].iter().any(|part| name.contains(part));
            let is_original = has_parts && name.starts_with("consolidated");
            if weights.len() > 1 && (is_beside || is_original) {
                continue;
            }
            // All safetensors files in a folder belong to one model, or the engine says why not.
            let model = match self.kinds[index] {
                Kind::Gguf => without_part(&name),
                _ => String::new(),
            };
            models.entry(model).or_default().push(index);
        }
        models.into_values().collect()
    }

    fn model_name(&self, model: &[usize]) -> String {
        let first = &self.files[model[0]];
        match (self.kinds[model[0]], first.folder()) {
            (Kind::Gguf, _) | (_, "") => first.path.clone(),
            (_, folder) => folder.to_owned(),
        }
    }

    fn take_rows(&mut self) {
        use Kind::{Companion, Junk, MaybeRows, NotRows, Recipe, Rows};
        let taken: Vec<usize> = self.sorted.adapters.iter().flatten().copied().collect();
        let is_left = |index: usize| {
            !taken.contains(&index)
                && !self.sorted.model.contains(&index)
                && !self.sorted.passed_over.contains(&index)
        };
        let left = self.of(|index| {
            is_left(index) && self.is(index, &[Rows, MaybeRows, NotRows, Companion, Recipe, Junk])
        });
        let of = |kinds: &[Kind]| -> Vec<usize> {
            let all = left.iter().copied();
            all.filter(|&index| self.is(index, kinds)).collect()
        };
        let folders: Vec<&str> = self
            .sorted
            .adapters
            .iter()
            .chain([&self.sorted.model])
            .flatten()
            .map(|&index| self.files[index].folder())
            .collect();
        // Files in the folder of a model or an adapter belong to it, unless they can only be tables.
        let is_in_folder = |index: usize| {
            let path = &self.files[index].path;
            let is_within = |folder: &&str| {
                let rest = path.strip_prefix(*folder);
                !folder.is_empty() && rest.is_some_and(|rest| rest.starts_with('/'))
            };
            folders.iter().any(is_within)
        };
        let is_beside = |index: usize| {
            let file = &self.files[index];
            let name = plain_name(&file.path);
            let of_export = ["log.jsonl", "held_out.jsonl", "evaluation.json"];
            let is_object = name.ends_with(".json") && !has_several_values(&file.head);
            let is_plain = self.kinds[index] == MaybeRows || is_object;
            let is_of_run = of_export.contains(&name.as_str()) && !self.sorted.adapters.is_empty();
            is_in_folder(index) && is_plain || is_of_run
        };
        let is_empty = |index: usize| self.files[index].num_bytes == 0;
        let found = of(&[Rows, MaybeRows]);
        let (beside, found): (Vec<usize>, Vec<usize>) =
            found.into_iter().partition(|&index| is_beside(index));
        let has_tables = found
            .iter()
            .any(|&index| self.kinds[index] == Rows && !is_empty(index));
        // Prose in a folder of tables describes them.
        let (about, found): (Vec<usize>, Vec<usize>) = found.into_iter().partition(|&index| {
            let is_prose = self.kinds[index] == MaybeRows && !self.files[index].folder().is_empty();
            has_tables && is_prose
        });
        let (empty, rows): (Vec<usize>, Vec<usize>) =
            found.into_iter().partition(|&index| is_empty(index));
        let has_others = !rows.is_empty() || !folders.is_empty();
        let (recipes, companions) = (of(&[Recipe]), of(&[Companion, Junk]));
        // One that comes with an adapter says how that was made.
        let (ours, recipes): (Vec<usize>, Vec<usize>) = recipes.into_iter().partition(|&index| {
            is_recipe(&self.files[index].head) && self.sorted.adapters.is_empty()
        });
        let others = of(&[NotRows]);
        self.sorted.recipe = ours.first().copied();
        let mut remarks = Vec::new();
        let mut passed_over = [beside, about].concat();
        passed_over.extend(ours.iter().skip(1));
        let dataset = if !rows.is_empty() {
            remarks.extend(
                empty
                    .iter()
                    .map(|&index| format!("{} is empty and was skipped.", self.files[index].path)),
            );
            rows
        } else if !empty.is_empty() && !has_others {
            empty
        } else {
            passed_over.extend(empty);
            Vec::new()
        };
        let has_recipe = self.sorted.recipe.is_some();
        if has_others || has_recipe || !dataset.is_empty() || !self.sorted.remarks.is_empty() {
            let (cards, companions): (Vec<usize>, Vec<usize>) =
                companions.into_iter().partition(|&index| {
                    let path = &self.files[index].path;
                    let is_of_model = is_in_folder(index) || folders.contains(&folder(path));
                    is_card(path) && !dataset.is_empty() && !is_of_model
                });
            self.sorted.cards = cards;
            passed_over.extend([others, recipes, companions].concat());
            self.sorted.dataset = dataset;
        } else if let Some(&recipe) = recipes.first() {
            remarks.push(format!(
                "{} describes how an adapter was made. To load the adapter, drop its zip or its folder.",
                self.files[recipe].path
            ));
            passed_over.extend([others, companions].concat());
        } else {
            // If nothing is clearly a dataset, the reader says what the first file is.
            let unclear: Vec<usize> = others.into_iter().chain(companions).collect();
            let is_flat = |index: usize| self.files[index].folder().is_empty();
            let all_flat = unclear.iter().all(|&index| is_flat(index));
            if unclear.is_empty() {
                // Remarks say why nothing was taken.
            } else if self.chosen_for == Some(Step::Model) {
                self.sorted.model = unclear;
            } else if self.chosen_for == Some(Step::Try) {
                self.sorted.adapters.push(unclear);
            } else if unclear.len() == 1 || all_flat && self.chosen_for == Some(Step::Data) {
                self.sorted.dataset = unclear;
            } else {
                let names = self.names(&unclear);
                remarks.push(format!(
                    "Nothing here is a dataset, a model or an adapter: {names}."
                ));
            }
        }
        self.sorted.passed_over.extend(passed_over);
        self.sorted.remarks.extend(remarks);
    }
}

/// The folders of a path; empty for a file dropped by itself.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A file's name without its folders.
pub fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The names under which the files of a dataset are read: their paths, whose folders may name a split, without the folder
/// that all of them came in, which tells nothing apart.
pub fn dataset_names(paths: &[&str]) -> Vec<String> {
    let outer = paths.first().and_then(|path| path.split_once('/'));
    let shared = outer.map(|(folder, _)| format!("{folder}/"));
    let shared = shared.filter(|shared| paths.iter().all(|path| path.starts_with(shared)));
    let shared = shared.map_or(0, |shared| shared.len());
    paths.iter().map(|path| path[shared..].to_owned()).collect()
}

/// A file's name with its folder, which identifies its adapter: `checkpoint-20/adapter_config.json`.
pub fn with_folder(path: &str) -> &str {
    let mut slashes = path.rmatch_indices('/').map(|(at, _)| at);
    match (slashes.next(), slashes.next()) {
        (Some(_), Some(outer)) => &path[outer + 1..],
        _ => path,
    }
}

/// The name of an adapter whose first file has this name: its folder, or the file.
pub fn shown_adapter(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// Whether a file of that name may tell about a dataset's columns.
fn is_card(path: &str) -> bool {
    let names = ["readme.md", "dataset_info.json", "dataset_infos.json"];
    names.contains(&plain_name(path).as_str())
}

/// How deeply a folder is nested.
fn depth(folder: &str) -> usize {
    if folder.is_empty() {
        0
    } else {
        1 + folder.matches('/').count()
    }
}

/// The name of a GGUF file without the number of its part: `big-00001-of-00003.gguf` is `big`.
fn without_part(name: &str) -> String {
    let stem = name.strip_suffix(".gguf").unwrap_or(name);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let part = stem.rsplit_once("-of-").and_then(|(start, total)| {
        let (start, number) = start.rsplit_once('-')?;
        (digits(total) && digits(number)).then_some(start)
    });
    part.unwrap_or(stem).to_owned()
}

/// Orders `checkpoint-9` before `checkpoint-10`.
fn natural(text: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let words = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(words);
        let digits = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        parts.push((0, word.to_lowercase()));
        parts.push((number.parse().unwrap_or(u64::MAX), number.to_owned()));
        rest = after;
    }
    parts
}

/// Whether an adapter names the bundled model as its base, in its configuration or in its file's name.
pub fn is_for(files: &[Sample], adapter: &[usize], base: &str) -> bool {
    let base = base.to_lowercase();
    adapter.iter().any(|&index| {
        let file = &files[index];
        let is_config = kind(file) == Kind::AdapterConfig;
        let head = String::from_utf8_lossy(&file.head).to_lowercase();
        plain_name(&file.path).contains(&base) || is_config && head.contains(&base)
    })
}

/// Names separated by commas; if there are many, the first ones and the number of others.
pub fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown: Vec<&str> = names.take(MAX_NAMES).collect();
    let shown = shown.join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
