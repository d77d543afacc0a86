//! Models with an adapter merged into them: written, read back by the engine's own reader, and scored.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
    path::PathBuf,
};

use burn::tensor::Device;
use engine::{
    adapter::ModelShape,
    export::{
        adapter_files,
        merged::{FileSink, Merge, SHARD_BYTES, ZIP64_FROM, merge_files},
        peft_zip,
    },
    model::Model,
    pacing::{Interruption, Pacing},
    surroundings::Control,
    tokenizer::Tokenizer,
    train::{state::TrainingState, step::evaluate},
    weights::checkpoint::{ModelFiles, open},
};
use futures_executor::block_on;
use protocol::{AdapterSpec, Event, Failure, FailureKind, MergedKind, Method, Precision};

use crate::common::{
    fetched::open_bundled,
    fixture,
    golden::{self, EXACT},
    host::ScriptedHost,
    random::Random,
    workbench::named,
};

/// A file in memory with limited space.
struct Memory {
    bytes: Vec<u8>,
    room: usize,
    largest: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            room: usize::MAX,
            largest: 0,
        }
    }
}

impl FileSink for Memory {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.largest = self.largest.max(bytes.len());
        if self.bytes.len() + bytes.len() > self.room {
            return Err(Failure::new(FailureKind::OutOfMemory, "The disk is full."));
        }
        self.bytes.extend(bytes);
        Ok(())
    }
}

/// A model with an adapter to merge.
pub struct Case {
    files: ModelFiles,
    tokenizer: Tokenizer,
    pub state: TrainingState,
}

impl Case {
    pub fn new(files: ModelFiles, state: TrainingState) -> Self {
        let tokenizer = Tokenizer::from_source(&files.tokenizer)
            .unwrap()
            .with_model_ids(files.config.bos_token_id, &files.config.eos_token_ids);
        Self {
            files,
            tokenizer,
            state,
        }
    }

    fn merge<'a>(&'a self, kind: MergedKind, host: &'a ScriptedHost) -> Merge<'a> {
        Merge {
            files: &self.files,
            tokenizer: &self.tokenizer,
            form: &self.state.form,
            parameters: &self.state.parameters,
            kind,
            file_name: "merged.gguf",
            modelfile: "FROM ./merged.gguf\n",
            shard_bytes: SHARD_BYTES,
            zip64_from: ZIP64_FROM,
            surroundings: host,
        }
    }

    pub fn write(&self, kind: MergedKind) -> Vec<u8> {
        let (host, mut sink) = (ScriptedHost::default(), Memory::default());
        block_on(self.merge(kind, &host).write(&mut sink)).unwrap();
        sink.bytes
    }
}

/// The files of a zip, by name.
pub fn unzip(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        // This also checks the checksum.
        entry.read_to_end(&mut bytes).unwrap();
        let name = entry.name().unwrap().into_owned();
        assert!(files.insert(name, bytes).is_none());
    }
    files
}

/// Numbers of 32 bits as files have them.
pub fn singles(bytes: &[u8]) -> Vec<f32> {
    let numbers = bytes.as_chunks().0.iter();
    numbers.map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

pub fn opened(files: BTreeMap<String, Vec<u8>>) -> ModelFiles {
    let files = files.into_iter().filter(|(name, _)| name != "Modelfile");
    let sources = files.map(|(name, bytes)| named(&name, bytes));
    block_on(open(sources.collect())).unwrap()
}

fn loss(name: &str, model: &Model, state: Option<&TrainingState>) -> f64 {
    #[derive(serde::Deserialize)]
    struct Rows {
        rows: Vec<fixture::Row>,
    }
    let rows: Rows = fixture::json(&format!("model/{name}.forward.json"));
    let batch = fixture::batch(&rows.rows);
    let host = ScriptedHost::default();
    let pacing = Pacing::new(&host);
    let adapter = state.map(|state| state.upload(model));
    block_on(evaluate(
        model,
        adapter.as_ref(),
        &batch,
        Precision::Single,
        &pacing,
    ))
    .unwrap()
}

pub fn loaded(files: &ModelFiles) -> Model {
    block_on(Model::load(files, &Device::flex(), async |_| ())).unwrap()
}

/// A LoRA that does nothing yet: merging gives the base.
pub fn untrained(files: ModelFiles) -> Case {
    let spec = AdapterSpec {
        method: Method::Lora,
        ..AdapterSpec::default()
    };
    let model = loaded(&files);
    let recipe: serde_json::Value = fixture::json("adapters/rs_lora.json");
    let recipe: fixture::Recipe = serde_json::from_value(recipe["recipe"].clone()).unwrap();
    let spec = fixture::run_spec(&spec, &recipe);
    let state = block_on(TrainingState::start(&spec, &model, golden::profile())).unwrap();
    Case::new(files, state)
}

#[test]
fn merged_models_score_as_base_and_adapter_do() {
    // A learned prompt changes no weight.
    let changes_weights = |case: &str| !case.starts_with("prompt_tuning");
    let cases = golden::ADAPTERS.into_iter();
    for (case, name) in cases.filter(|(case, _)| changes_weights(case)) {
        let path = format!("adapters/{case}");
        let device = Device::flex();
        let (_, model, state) = block_on(golden::check_adapter(name, &path, &device, EXACT));
        let (base, tuned) = (loss(name, &model, None), loss(name, &model, Some(&state)));
        let case_files = Case::new(block_on(golden::files(name)), state);
        // An adapter that moves the loss by less than the tolerance would prove nothing.
        assert!((base - tuned).abs() > 1e-3 * base, "{case}");
        let mut told = format!("{case:<12} base {base:.4} tuned {tuned:.4}");
        for kind in MergedKind::ALL {
            let files = opened(unzip(&case_files.write(kind)));
            let has_own_head = case_files.state.form.layout.head().is_some();
            let is_tied = case_files.files.config.tie_word_embeddings && !has_own_head;
            assert_eq!(files.config.tie_word_embeddings, is_tied, "{case}");
            let merged = loss(name, &loaded(&files), None);
            let share = (merged - tuned).abs() / tuned;
            let tolerance = match kind {
                MergedKind::Safetensors => 1e-5,
                MergedKind::GgufF16 => 1e-3,
                MergedKind::GgufQ8_0 => 1e-2,
                MergedKind::GgufQ4_0 => 1e-1,
            };
            assert!(share < tolerance, "{case} {kind:?}: {merged} for {tuned}");
            told += &format!(" {} {share:.1e}", kind.type_name());
        }
        println!("{told}");
        merges_from_files(name, &case_files);
        write_export(case, name, &case_files);
    }
}

/// Merges as the browser's worker does: from the adapter in PEFT's form only. The resulting files are the same; an
/// adapter initialized from the base is a difference by then, and is summed in another order.
fn merges_from_files(name: &str, of: &Case) {
    let TrainingState {
        form, parameters, ..
    } = &of.state;
    let shape = ModelShape::from(&of.files.config);
    let zip = peft_zip(form, parameters, &shape, name, None).unwrap();
    let adapter = named("inlay-lora.zip", zip);
    let kind = MergedKind::Safetensors;
    let (host, mut sink) = (ScriptedHost::default(), Memory::default());
    let model = golden::sources(name);
    let merged = merge_files(model, vec![adapter], kind, &host, &mut sink);
    let zip_name = block_on(merged).unwrap();
    assert!(zip_name.ends_with("-merged-f32.zip"), "{zip_name}");
    let (expected, actual) = (unzip(&of.write(kind)), unzip(&sink.bytes));
    assert!(expected.keys().eq(actual.keys()));
    let tensors = |files: &BTreeMap<String, Vec<u8>>| -> Vec<(String, Vec<f32>)> {
        let file = safetensors::SafeTensors::deserialize(&files["model.safetensors"]).unwrap();
        let tensors = file
            .iter()
            .map(|(name, tensor)| (name.to_owned(), singles(tensor.data())));
        let mut tensors: Vec<_> = tensors.collect();
        tensors.sort_by(|one, other| one.0.cmp(&other.0));
        tensors
    };
    for ((tensor, expected), (same, actual)) in tensors(&expected).iter().zip(tensors(&actual)) {
        assert_eq!((tensor, expected.len()), (&same, actual.len()));
        for (expected, actual) in expected.iter().zip(actual) {
            let error = (expected - actual).abs();
            assert!(
                error <= 1e-6 * expected.abs().max(0.1),
                "{tensor}: {actual} for {expected}"
            );
        }
    }
}

/// Writes every merged form and the adapter itself if `INLAY_MERGED` names a folder; `tests/reference/verify_merged.py`
/// loads them there.
fn write_export(case: &str, model: &str, of: &Case) {
    let Some(folder) = std::env::var_os("INLAY_MERGED") else {
        return;
    };
    let folder = PathBuf::from(folder).join(case);
    std::fs::create_dir_all(&folder).unwrap();
    for kind in MergedKind::ALL {
        let name = format!("{}.zip", kind.type_name());
        std::fs::write(folder.join(name), of.write(kind)).unwrap();
    }
    let TrainingState {
        form, parameters, ..
    } = &of.state;
    let tensors = form.tensors(parameters);
    let shape = ModelShape::from(&of.files.config);
    for (file, bytes) in adapter_files(&form.layout.spec, &shape, model, &tensors).unwrap() {
        std::fs::write(folder.join(file.name()), bytes).unwrap();
    }
    std::fs::write(folder.join("base.txt"), model).unwrap();
}

/// The bundled model with a LoRA of noise: forms, sizes, and the largest write to a sink.
#[test]
fn the_bundled_model_merges_by_slices() {
    let test = "the_bundled_model_merges_by_slices";
    let Some(files) = open_bundled(test) else {
        return;
    };
    let mut case = untrained(files);
    let mut random = Random::new();
    for parameter in &mut case.state.parameters {
        *parameter += 0.04 * (random.unit() - 0.5);
    }
    for kind in MergedKind::ALL {
        let (host, mut sink) = (ScriptedHost::default(), Memory::default());
        block_on(case.merge(kind, &host).write(&mut sink)).unwrap();
        println!("{}: {} bytes", kind.type_name(), sink.bytes.len());
        // A vocabulary is in the header, which is written at once.
        assert!(sink.largest <= 8 << 20, "{kind:?}: {}", sink.largest);
        let files = opened(unzip(&sink.bytes));
        assert_eq!(files.config.num_hidden_layers, 30);
        let own = Tokenizer::from_source(&files.tokenizer).unwrap();
        let text = "Two foxes, 1234 of them, said: h\u{e9}llo!<|im_end|>\n";
        assert_eq!(own.encode(text), case.tokenizer.encode(text), "{kind:?}");
    }
    write_export("bundled", "bundled", &case);
}

#[test]
fn a_second_write_of_what_was_read_gives_the_same_numbers() {
    for name in ["tiny", "odd", "qwen2", "qwen3"] {
        let first = untrained(block_on(golden::files(name)));
        for kind in MergedKind::ALL {
            let zip = first.write(kind);
            assert_eq!(
                zip,
                first.write(kind),
                "{name} {kind:?}: the same bytes twice"
            );
            let files = unzip(&zip);
            let again = untrained(opened(files.clone()));
            let mut config = first.files.config.clone();
            if kind != MergedKind::Safetensors {
                // GGUF has it in 32 bits.
                config.rms_norm_eps = f64::from(config.rms_norm_eps as f32);
            }
            assert_eq!(again.files.config, config, "{name} {kind:?}");
            let again = unzip(&again.write(kind));
            let weights = match kind {
                MergedKind::Safetensors => "model.safetensors",
                _ => "merged.gguf",
            };
            assert!(files[weights].len() > 10_000);
            let data = |files: &BTreeMap<String, Vec<u8>>| {
                // Where the tensors begin; the name before them may differ.
                let bytes = files[weights].clone();
                let sizes = Merge::num_bytes(&first.files, kind) as usize;
                bytes[bytes.len() - sizes..].to_vec()
            };
            assert_eq!(data(&files), data(&again), "{name} {kind:?}");
        }
    }
}

/// Every number within half a step of its block, through every format and back.
#[test]
fn numbers_come_back_within_what_their_type_keeps() {
    for name in ["tiny", "odd", "qwen2", "qwen3"] {
        let case = untrained(block_on(golden::files(name)));
        for kind in MergedKind::ALL {
            let files = opened(unzip(&case.write(kind)));
            for (tensor, shape) in case.files.config.tensors() {
                let &[rows, cols] = shape.as_slice() else {
                    continue;
                };
                let shape = [rows as usize, cols as usize];
                let read =
                    |files: &ModelFiles| block_on(files.rows(&tensor, shape, 0..shape[0])).unwrap();
                let (before, after) = (read(&case.files), read(&files));
                let blocks = before.chunks(32).zip(after.chunks(32));
                for (before, after) in blocks {
                    let largest = before
                        .iter()
                        .fold(0.0f32, |most, value| most.max(value.abs()));
                    let step = match kind {
                        MergedKind::Safetensors => 0.0,
                        MergedKind::GgufF16 => largest / 1024.0,
                        MergedKind::GgufQ8_0 => largest / 127.0 * 0.55,
                        MergedKind::GgufQ4_0 => largest / 8.0 * 1.01,
                    };
                    for (before, after) in before.iter().zip(after) {
                        let error = (before - after).abs();
                        assert!(error <= step, "{name} {tensor} {kind:?}: {before} {after}");
                    }
                }
            }
        }
    }
}

#[test]
fn shards_hold_every_tensor_once_and_zip64_is_read() {
    let case = untrained(block_on(golden::files("odd")));
    let host = ScriptedHost::default();
    let (mut sink, mut whole) = (Memory::default(), Memory::default());
    let merge = Merge {
        shard_bytes: 60_000,
        zip64_from: 100,
        ..case.merge(MergedKind::Safetensors, &host)
    };
    block_on(merge.write(&mut sink)).unwrap();
    let merge = case.merge(MergedKind::Safetensors, &host);
    block_on(merge.write(&mut whole)).unwrap();
    let (files, whole) = (unzip(&sink.bytes), unzip(&whole.bytes));
    let index: serde_json::Value =
        serde_json::from_slice(&files["model.safetensors.index.json"]).unwrap();
    let map = index["weight_map"].as_object().unwrap();
    assert_eq!(map.len(), case.files.config.tensors().len());
    let one = safetensors::SafeTensors::deserialize(&whole["model.safetensors"]).unwrap();
    let mut sum = 0;
    for (tensor, shard) in map {
        let shard = safetensors::SafeTensors::deserialize(&files[shard.as_str().unwrap()]).unwrap();
        let (part, all) = (shard.tensor(tensor).unwrap(), one.tensor(tensor).unwrap());
        assert_eq!(
            (part.shape(), part.data()),
            (all.shape(), all.data()),
            "{tensor}"
        );
        sum += part.data().len() as u64;
    }
    assert_eq!(index["metadata"]["total_size"], sum);
    let shards = files.keys().filter(|name| name.contains("-of-")).count();
    assert!(shards > 2);
}

#[test]
fn a_stop_and_a_full_disk_end_the_export() {
    let case = untrained(block_on(golden::files("tiny")));
    let host = ScriptedHost::new(vec![(5, Control::Stop)]);
    let mut sink = Memory::default();
    let stopped = block_on(case.merge(MergedKind::Safetensors, &host).write(&mut sink));
    assert_eq!(stopped, Err(Interruption::Stopped));
    assert_eq!(host.now(), 5, "obeyed at once");

    let whole = case.write(MergedKind::GgufQ8_0);
    for room in [0, 100, whole.len() / 2, whole.len() - 1] {
        let host = ScriptedHost::default();
        let mut sink = Memory {
            room,
            ..Memory::default()
        };
        let full = block_on(case.merge(MergedKind::GgufQ8_0, &host).write(&mut sink));
        let Err(Interruption::Failed(failure)) = full else {
            panic!("{room}");
        };
        assert_eq!(failure.what, "The disk is full.");
    }
    assert_eq!(case.write(MergedKind::GgufQ8_0), whole, "nothing changed");
}

#[test]
fn progress_ends_with_all_bytes() {
    let case = untrained(block_on(golden::files("tiny")));
    for kind in MergedKind::ALL {
        let (host, mut sink) = (ScriptedHost::default(), Memory::default());
        block_on(case.merge(kind, &host).write(&mut sink)).unwrap();
        let events = host.events.borrow();
        let done = events.iter().filter_map(|(_, event)| match event {
            Event::Progress { done, total, .. } => Some((*done, total.unwrap())),
            _ => None,
        });
        let done: Vec<_> = done.collect();
        assert!(done.is_sorted_by_key(|(done, _)| *done));
        let total = Merge::num_bytes(&case.files, kind);
        assert_eq!(done.last(), Some(&(total, total)));
    }
}

#[test]
fn a_learned_prompt_is_refused() {
    let (device, path) = (Device::flex(), "adapters/prompt_tuning");
    let (_, _, state) = block_on(golden::check_adapter("odd", path, &device, EXACT));
    let case = Case::new(block_on(golden::files("odd")), state);
    let (host, mut sink) = (ScriptedHost::default(), Memory::default());
    let refused = block_on(case.merge(MergedKind::GgufF16, &host).write(&mut sink));
    let Err(Interruption::Failed(failure)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(failure.kind, FailureKind::WrongState);
    assert!(sink.bytes.is_empty());
}
