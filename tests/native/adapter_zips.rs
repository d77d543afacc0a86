//! Zips of adapters: as Inlay, Windows, macOS and the command line write them, and as somebody may who means no good.

use burn::tensor::Device;
use engine::{
    import::{AdapterFiles, ImportError},
    model::Model,
};
use futures_executor::block_on;
use protocol::Failure;
use zip::{CompressionMethod, write::SimpleFileOptions};

use crate::{
    common::{
        file, golden,
        random::Random,
        workbench::named,
        zipped::{changed, deflated, packed, piped, shared},
    },
    import::{open, pair},
};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

fn files() -> (Vec<u8>, Vec<u8>) {
    let of = |name: &str| file::bytes(&format!("strangers/lora/{name}"));
    (of(CONFIG), of(WEIGHTS))
}

fn model() -> Model {
    block_on(golden::model("odd", &Device::flex()))
}

fn taken(zip: Vec<u8>, model: &Model) -> Result<AdapterFiles, ImportError> {
    open(vec![named("my adapter.zip", zip)], model)
}

#[test]
fn zips_of_every_desktop_hold_the_same_adapter() {
    let (config, weights) = files();
    let model = model();
    let mut expected = open(pair(config.clone(), weights.clone()), &model).unwrap();
    expected.name = "my adapter.zip".to_owned();
    let plain = [(CONFIG, config.as_slice()), (WEIGHTS, &weights)];
    let in_folder = [
        ("lora/.DS_Store", b"\0\0\0\x01Bud1".as_slice()),
        ("lora/adapter_config.json", &config),
        ("__MACOSX/lora/._adapter_config.json", b"\0\x05\x16\x07"),
        ("lora/adapter_model.safetensors", &weights),
        ("__MACOSX/lora/adapter_model.safetensors", b"\0\x05\x16\x07"),
        ("lora/README.md", b"# A model card"),
    ];
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let wide = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(true);
    let backslashes = [
        ("lora\\adapter_config.json", config.as_slice()),
        ("lora\\adapter_model.safetensors", &weights),
    ];
    for (what, zip) in [
        ("stored", packed(&plain, stored)),
        ("deflated", deflated(&plain)),
        ("a folder of macOS", deflated(&in_folder)),
        ("64-bit sizes", packed(&plain, wide)),
        ("sizes after the data", piped(&in_folder)),
        ("backslashes", deflated(&backslashes)),
        (
            "after a program",
            [b"PK\x03\x04 something".as_slice(), &deflated(&plain)].concat(),
        ),
    ] {
        let actual = taken(zip, &model).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(actual, expected, "{what}");
    }
}

#[test]
fn zips_that_mean_no_good_are_refused_with_the_reason() {
    let (config, weights) = files();
    let model = model();
    let plain = [(CONFIG, config.as_slice()), (WEIGHTS, &weights)];
    let zip = deflated(&plain);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let zeros = vec![0; 64 << 20];
    let outside = [
        ("../adapter_config.json", config.as_slice()),
        (WEIGHTS, &weights),
    ];
    let too_small = (weights.len() as u32 - 1).to_le_bytes();
    let mut flipped = deflated(&[(WEIGHTS, &weights)]);
    flipped[weights.len() / 2] ^= 0x10;
    for (what, zip) in [
        (
            "share the same bytes",
            shared(&packed(&[(WEIGHTS, &weights)], stored), 1000),
        ),
        ("has 1001 entries", shared(&zip, 1001)),
        (
            "expand to 67108864 bytes, more than the",
            deflated(&[(WEIGHTS, &zeros)]),
        ),
        (
            "bytes, more than the",
            changed(&zip, 24, &0xFFFF_FFFEu32.to_le_bytes()),
        ),
        ("is encrypted", changed(&zip, 8, &[1])),
        ("compressed with lzma", changed(&zip, 10, &[14])),
        (
            "\"../adapter_config.json\" points outside",
            deflated(&outside),
        ),
        // It says that it is smaller, or larger, than it is.
        (
            "in the archive is damaged",
            changed(&deflated(&[(WEIGHTS, &weights)]), 24, &too_small),
        ),
        (
            "in the archive is damaged",
            changed(
                &deflated(&[(WEIGHTS, &weights)]),
                24,
                &(weights.len() as u32 + 1).to_le_bytes(),
            ),
        ),
        (
            "\"adapter_model.safetensors\" is damaged",
            changed(&packed(&[(WEIGHTS, &weights)], stored), 16, &[1, 2, 3, 4]),
        ),
        ("damaged", flipped),
        ("directory is damaged", zip[..zip.len() - 30].to_vec()),
    ] {
        let Err(error) = taken(zip, &model) else {
            panic!("{what}: it was taken");
        };
        let failure = Failure::from(error);
        assert!(failure.what.contains(what), "{what}: {}", failure.what);
        assert!(failure.remedy.is_some());
    }
    // Changed anywhere: refused or read, never a panic.
    let mut random = Random::new();
    for _ in 0..2000 {
        let mut zip = zip.clone();
        match random.size(0..3) {
            0 => zip.truncate(random.size(0..zip.len())),
            1 => {
                let end = zip.len();
                zip[random.size(end - 200..end)] = random.size(0..256) as u8;
            }
            _ => {
                let at = random.size(0..zip.len());
                zip[at] = random.size(0..256) as u8;
            }
        }
        let _ = taken(zip, &model);
    }
}
