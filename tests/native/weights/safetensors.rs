//! Valid, invalid and random safetensors headers.

use engine::weights::{
    checkpoint::open,
    quantized::WeightKind,
    safetensors::{SafetensorsError, SafetensorsHeader},
};
use futures_executor::block_on;
use proptest::prelude::*;

use crate::{
    builder::{
        named, safetensors, safetensors_file, tiny_config, tiny_json, tiny_safetensors,
        tokenizer_json,
    },
    gguf::assert_same_weights,
};

fn read(file: &Vec<u8>) -> Result<SafetensorsHeader, SafetensorsError> {
    block_on(SafetensorsHeader::read(file))
}

#[test]
fn models_of_every_type_open_and_load() {
    for (kind, dtype) in [
        (WeightKind::F32, "F32"),
        (WeightKind::F16, "F16"),
        (WeightKind::Bf16, "BF16"),
    ] {
        for tied in [true, false] {
            let (bytes, tensors) = tiny_safetensors(kind, dtype, tied);
            let model = block_on(open(vec![
                named("b", tokenizer_json()),
                named("folder/tiny.safetensors", bytes),
                named("a", tiny_json(tied).to_string()),
            ]))
            .unwrap();
            assert_eq!(model.config, tiny_config(tied));
            assert_eq!(
                (model.name.as_str(), model.quantization.as_str()),
                ("tiny", dtype)
            );
            assert_same_weights(&model, &tensors, kind);
            let norm = tensors
                .iter()
                .find(|t| t.name == "model.norm.weight")
                .unwrap();
            let vector = block_on(model.vector("model.norm.weight", 64)).unwrap();
            let first = match kind {
                WeightKind::F32 => f32::from_le_bytes(norm.bytes[..4].try_into().unwrap()),
                WeightKind::F16 => half::f16::from_le_bytes([norm.bytes[0], norm.bytes[1]]).into(),
                _ => half::bf16::from_le_bytes([norm.bytes[0], norm.bytes[1]]).into(),
            };
            assert_eq!(vector[0], first);
        }
    }
}

#[test]
fn truncation_is_recognized_at_every_byte() {
    let whole = safetensors(&[("a", "F32", &[2], &[0; 8]), ("b", "BF16", &[1, 3], &[0; 6])]);
    assert_eq!(read(&whole).unwrap().tensors.len(), 2);
    for length in 0..whole.len() {
        let cut = whole[..length].to_vec();
        let error = read(&cut).unwrap_err();
        assert!(
            matches!(error, SafetensorsError::Truncated { .. }),
            "{length}: {error}"
        );
    }
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(
        read(&longer),
        Err(SafetensorsError::Trailing { num_bytes: 1 })
    );
}

#[test]
fn wrong_headers_have_their_own_errors() {
    let entry = |shape: &str, begin: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let error = |header: String| read(&safetensors_file(&header, &[0; 16])).unwrap_err();
    let [a, b] = ["a", "b"].map(str::to_owned);
    let two = |first: &str, second: &str| format!(r#"{{"a":{first},"b":{second}}}"#);
    assert_eq!(
        error(two(&entry("[3]", 0, 12), &entry("[2]", 8, 16))),
        SafetensorsError::Overlap { tensor: b.clone() }
    );
    assert_eq!(
        error(two(&entry("[1]", 0, 4), &entry("[2]", 8, 16))),
        SafetensorsError::Hole { tensor: b }
    );
    assert_eq!(
        error(format!(r#"{{"a":{}}}"#, entry("[1]", 8, 4))),
        SafetensorsError::Backwards { tensor: a.clone() }
    );
    for (shape, end) in [
        ("[3]", 16),
        ("[]", 16),
        ("[0]", 16),
        ("[4611686018427387905]", 4),
        ("[4294967296,4294967297]", 16),
        // Empty, but for a product that overflows on the way.
        ("[1099511627776,1099511627776,0]", 0),
    ] {
        let error = error(format!(r#"{{"a":{}}}"#, entry(shape, 0, end)));
        assert!(
            matches!(error, SafetensorsError::Size { .. }),
            "{shape}: {error}"
        );
        assert_eq!(error.tensor(), Some("a"));
    }
    let unknown = r#"{"a":{"dtype":"F33","shape":[4],"data_offsets":[0,16]}}"#;
    let type_name = "F33".to_owned();
    let expected = SafetensorsError::TensorType {
        tensor: a,
        type_name,
    };
    assert_eq!(error(unknown.to_owned()), expected);
    for damaged in [
        two(&entry("[2]", 0, 8), &entry("[2]", 8, 16)).replace("\"b\"", "\"a\""),
        "{".to_owned(),
        "[]".to_owned(),
        r#"{"a":{"dtype":"F32","shape":[4]}}"#.to_owned(),
        r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":1}}"#.to_owned(),
        r#"{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}"#.to_owned(),
        r#"{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,4],"data_offsets":[0,16]}}"#.to_owned(),
        r#"{"__metadata__":{"n":1}}"#.to_owned(),
    ] {
        let error = error(damaged.clone());
        assert!(
            matches!(error, SafetensorsError::Header(_)),
            "{damaged}: {error}"
        );
    }
    let length = 100_000_001u64;
    let huge = [&length.to_le_bytes()[..], b"{}"].concat();
    assert_eq!(read(&huge), Err(SafetensorsError::HeaderTooLarge(length)));
}

#[test]
fn files_of_the_reference_implementation_are_read_and_ours_by_it() {
    let data: Vec<u8> = (0..24).collect();
    let tensors = [
        (
            "w",
            safetensors::tensor::Dtype::F32,
            vec![2, 2],
            &data[..16],
        ),
        ("n", safetensors::tensor::Dtype::BF16, vec![4], &data[16..]),
    ];
    let views = tensors.map(|(name, dtype, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(dtype, shape, bytes).unwrap();
        (name, view)
    });
    let file = safetensors::serialize(views, None).unwrap();
    let header = read(&file).unwrap();
    for entry in &header.tensors {
        let expected = if entry.name == "w" {
            &data[..16]
        } else {
            &data[16..]
        };
        let (begin, end) = (
            entry.offset as usize,
            (entry.offset + entry.num_bytes) as usize,
        );
        assert_eq!(&file[begin..end], expected);
    }
    let (ours, tensors) = tiny_safetensors(WeightKind::F16, "F16", false);
    let theirs = safetensors::SafeTensors::deserialize(&ours).unwrap();
    assert_eq!(theirs.len(), tensors.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes in place of some of a sound file's: a typed error, or a header whose tensors lie in the file.
    #[test]
    fn damaged_files_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = safetensors(&[("a", "F32", &[2, 2], &[0; 16]), ("b", "F16", &[3], &[0; 6])]);
        for (place, byte) in edits {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        check_against_reference(&file)?;
    }

    /// Headers of random tensors, most of them wrong.
    #[test]
    fn random_headers_never_panic(
        tensors in prop::collection::vec(("[ab]{1,2}", 0u64..4, 0u64..4, 0u64..40, 0u64..40), 0..4),
        num_bytes in 0usize..64,
    ) {
        let entries: Vec<String> = tensors.iter().map(|(name, rows, cols, begin, end)| {
            format!(r#""{name}":{{"dtype":"F16","shape":[{rows},{cols}],"data_offsets":[{begin},{end}]}}"#)
        }).collect();
        let header = format!("{{{}}}", entries.join(","));
        check_against_reference(&safetensors_file(&header, &vec![0; num_bytes]))?;
    }

    /// Bytes of no format at all.
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_against_reference(&bytes)?;
    }
}

/// Whatever we accept, the format's own implementation accepts, too, with the same tensors.
fn check_against_reference(file: &Vec<u8>) -> Result<(), TestCaseError> {
    let Ok(header) = read(file) else {
        return Ok(());
    };
    let theirs = safetensors::SafeTensors::deserialize(file)
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(theirs.len(), header.tensors.len());
    for entry in &header.tensors {
        let view = theirs.tensor(&entry.name).unwrap();
        prop_assert_eq!(view.data().len() as u64, entry.num_bytes);
        prop_assert!(entry.offset + entry.num_bytes <= file.len() as u64);
    }
    Ok(())
}
