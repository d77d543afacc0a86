//! Golden files, carried in the tests.

/// The bytes of each file among the fixtures that is named here.
macro_rules! files {
    ($($name:literal,)*) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/", $name)))),*]
    };
}

const FILES: &[(&str, &[u8])] = files![
    "model/tiny/config.json",
    "model/tiny/model.safetensors",
    "model/tiny/tokenizer.json",
    "model/tiny.forward.json",
    "model/tiny.forward.safetensors",
    "train/tiny.batches.json",
    "train/tiny.all.json",
    "train/tiny.all.safetensors",
    "train/tiny.qv.json",
    "train/tiny.qv.safetensors",
    "model/odd/config.json",
    "model/odd/model.safetensors",
    "model/odd/tokenizer.json",
    "model/odd.forward.json",
    "model/odd.forward.safetensors",
    "train/odd.batches.json",
    "train/odd.all.json",
    "train/odd.all.safetensors",
    "train/odd.qv.json",
    "train/odd.qv.safetensors",
    "model/qwen2/config.json",
    "model/qwen2/model.safetensors",
    "model/qwen2/tokenizer.json",
    "model/qwen2.forward.json",
    "model/qwen2.forward.safetensors",
    "train/qwen2.batches.json",
    "train/qwen2.all.json",
    "train/qwen2.all.safetensors",
    "train/qwen2.qv.json",
    "train/qwen2.qv.safetensors",
    "model/qwen3/config.json",
    "model/qwen3/model.safetensors",
    "model/qwen3/tokenizer.json",
    "model/qwen3.forward.json",
    "model/qwen3.forward.safetensors",
    "train/qwen3.batches.json",
    "train/qwen3.all.json",
    "train/qwen3.all.safetensors",
    "train/qwen3.qv.json",
    "train/qwen3.qv.safetensors",
];

/// The bytes of a file among the fixtures.
pub fn bytes(name: &str) -> Vec<u8> {
    let file = FILES.iter().find(|(known, _)| *known == name);
    file.unwrap_or_else(|| panic!("{name} is not carried"))
        .1
        .to_vec()
}
