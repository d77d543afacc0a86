//! Valid and invalid GGUF headers.

use engine::weights::{
    checkpoint::{ModelFiles, TokenizerSource, open},
    gguf::{GgufError, GgufHeader, GgufProblem, Place, Value},
    pack::pack_row,
    quantized::WeightKind,
};
use futures_executor::block_on;

use crate::builder::{Gguf, KINDS, Tensor, named, tiny_config, tiny_gguf, value};

fn read(gguf: &Gguf) -> Result<GgufHeader, GgufError> {
    block_on(GgufHeader::read(&gguf.bytes()))
}

/// Reads every matrix of `model` and compares it with `tensors`, which are in HF's layout.
pub fn assert_same_weights(model: &ModelFiles, tensors: &[Tensor], kind: WeightKind) {
    for tensor in tensors {
        let sizes: Vec<usize> = tensor.shape.iter().map(|&size| size as usize).collect();
        let [rows, cols] = sizes[..] else {
            let vector = block_on(model.vector(&tensor.name, sizes[0])).unwrap();
            assert_eq!(vector.len(), sizes[0]);
            continue;
        };
        let matrix = block_on(model.matrix(&tensor.name, [rows, cols])).unwrap();
        assert_eq!((matrix.kind, matrix.rows, matrix.cols), (kind, rows, cols));
        let row_bytes = kind.stored_row_bytes(cols).unwrap();
        let (words, scales) = (kind.words_per_row(cols), kind.scales_per_row(cols));
        assert_eq!(matrix.words.len(), rows * words);
        assert_eq!(matrix.scales.len(), rows * scales);
        for (row, stored) in tensor.bytes.chunks_exact(row_bytes).enumerate() {
            let (mut expected, mut expected_scales) = (vec![0; words], vec![0; scales]);
            pack_row(kind, stored, &mut expected, &mut expected_scales).unwrap();
            let place = format!("{} row {row}", tensor.name);
            assert_eq!(matrix.words[row * words..][..words], expected, "{place}");
            assert_eq!(
                matrix.scales[row * scales..][..scales],
                expected_scales,
                "{place}"
            );
        }
    }
}

#[test]
fn models_of_every_type_open_and_load() {
    for (kind, number, name) in KINDS {
        for (tied, version) in [(true, 3), (false, 2)] {
            let (mut gguf, tensors) = tiny_gguf(kind, number, tied);
            gguf.version = version;
            let bytes = gguf.bytes();
            let file_bytes = bytes.len() as u64;
            let model = block_on(open(vec![named("tiny.bin", bytes)])).unwrap();
            assert_eq!(model.config, tiny_config(tied));
            assert_eq!(model.name, "Tiny");
            assert_eq!(model.quantization, name);
            assert_eq!(model.file_bytes, file_bytes);
            let all: u64 = tensors
                .iter()
                .map(|t| t.shape.iter().product::<u64>())
                .sum();
            assert_eq!(model.parameters, all);
            assert_eq!(model.chat_template.as_deref(), Some("{{ messages }}"));
            let TokenizerSource::Gguf(vocabulary) = &model.tokenizer else {
                panic!("the vocabulary is in the GGUF file");
            };
            assert_eq!(vocabulary.tokens[5..], ["ab", "Ġ", "é"]);
            assert_eq!(vocabulary.merges, ["a b"]);
            assert_same_weights(&model, &tensors, kind);
            assert_eq!(
                block_on(model.matrix("lm_head.weight", [8, 64])).is_ok(),
                !tied
            );
        }
    }
}

#[test]
fn alignment_is_respected() {
    let (mut gguf, tensors) = tiny_gguf(WeightKind::Q5_1, 7, false);
    gguf.alignment = 256;
    gguf.set("general.alignment", value::u32(256));
    let model = block_on(open(vec![named("tiny", gguf.bytes())])).unwrap();
    assert_same_weights(&model, &tensors, WeightKind::Q5_1);
    for alignment in [0, 3, 48] {
        gguf.set("general.alignment", value::u32(alignment));
        let error = read(&gguf).unwrap_err();
        assert_eq!(error.problem, GgufProblem::Alignment(alignment.into()));
        assert_eq!(error.place, Place::Key("general.alignment".to_owned()));
    }
    // Offsets of multiples of 256 are not all multiples of 1024.
    gguf.set("general.alignment", value::u32(1024));
    let problem = read(&gguf).unwrap_err().problem;
    assert!(matches!(
        problem,
        GgufProblem::Misaligned { .. } | GgufProblem::Truncated { .. }
    ));
}

#[test]
fn metadata_of_every_type_is_read() {
    let mut gguf = Gguf::new();
    let typed = |number: u32, bytes: &[u8]| [&number.to_le_bytes(), bytes].concat();
    let cases = [
        (typed(0, &[200]), Value::Unsigned(200)),
        (typed(1, &[0x80]), Value::Signed(-128)),
        (typed(1, &[5]), Value::Unsigned(5)),
        (typed(2, &[1, 2]), Value::Unsigned(513)),
        (typed(3, &[0xFF, 0xFF]), Value::Signed(-1)),
        (typed(4, &[0, 0, 0, 1]), Value::Unsigned(1 << 24)),
        (typed(5, &(-7i32).to_le_bytes()), Value::Signed(-7)),
        (typed(6, &0.5f32.to_le_bytes()), Value::Float(0.5)),
        (typed(7, &[1]), Value::Bool(true)),
        (
            typed(10, &u64::MAX.to_le_bytes()),
            Value::Unsigned(u64::MAX),
        ),
        (typed(11, &i64::MIN.to_le_bytes()), Value::Signed(i64::MIN)),
        (typed(12, &1e300f64.to_le_bytes()), Value::Float(1e300)),
        (value::text("naïve"), Value::Text("naïve".to_owned())),
        (value::i32s(&[1, -2, 3]), Value::Integers(vec![1, -2, 3])),
        (value::array(6, 2, &[0; 8]), Value::OtherArray(2)),
    ];
    for (index, (bytes, _)) in cases.iter().enumerate() {
        gguf.set(&format!("key.{index}"), bytes.clone());
    }
    gguf.set("list", value::strings(&["", "a", "", "bc"]));
    let header = read(&gguf).unwrap();
    for (index, (_, expected)) in cases.iter().enumerate() {
        assert_eq!(header.metadata.get(&format!("key.{index}")), Some(expected));
    }
    let list = header.metadata.strings("list").unwrap().unwrap();
    assert_eq!(list.iter().collect::<Vec<_>>(), ["", "a", "", "bc"]);
    let error = header.metadata.text("list").unwrap_err();
    assert_eq!(error.place, Place::Key("list".to_owned()));
    assert!(matches!(error.problem, GgufProblem::WrongType { .. }));
}

#[test]
fn long_headers_are_read_across_slices() {
    // Arrays and strings that lie across the boundaries of the slices read at once.
    let mut gguf = Gguf::new();
    let words: Vec<String> = (0..90_000).map(|i| format!("token {i}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let numbers: Vec<i32> = (0..200_000).map(|i| i * 7 - 3).collect();
    let long = "x".repeat(700_001);
    gguf.set("words", value::strings(&words))
        .set("numbers", value::i32s(&numbers))
        .set("long", value::text(&long));
    let metadata = read(&gguf).unwrap().metadata;
    assert!(metadata.strings("words").unwrap().unwrap().iter().eq(words));
    assert_eq!(
        metadata.integers("numbers").unwrap(),
        Some(numbers.as_slice())
    );
    assert_eq!(metadata.text("long").unwrap(), Some(long.as_str()));
}

#[test]
fn wrong_prefixes_have_their_own_errors() {
    let (mut gguf, _) = tiny_gguf(WeightKind::F16, 1, true);
    let problem = |bytes: Vec<u8>| block_on(GgufHeader::read(&bytes)).unwrap_err().problem;
    for version in [0, 1, 4, 1000] {
        gguf.version = version;
        assert_eq!(problem(gguf.bytes()), GgufProblem::Version(version));
    }
    gguf.version = 3u32.swap_bytes();
    assert_eq!(problem(gguf.bytes()), GgufProblem::BigEndian);
    assert_eq!(problem(b"GGML1234".to_vec()), GgufProblem::Magic);
    assert!(matches!(
        problem(b"GGUF\x03\0".to_vec()),
        GgufProblem::Truncated { .. }
    ));
}

#[test]
fn hostile_counts_are_refused_before_they_cost_memory() {
    let too_many = |bytes: &[u8], place: usize, count: u64| {
        let mut bytes = bytes.to_vec();
        bytes[place..place + 8].copy_from_slice(&count.to_le_bytes());
        let problem = block_on(GgufHeader::read(&bytes)).unwrap_err().problem;
        assert!(
            matches!(
                problem,
                GgufProblem::Count { .. } | GgufProblem::BeyondEnd { .. }
            ),
            "{problem}"
        );
    };
    let bytes = tiny_gguf(WeightKind::F16, 1, true).0.bytes();
    for count in [65_537, 1 << 40, u64::MAX] {
        too_many(&bytes, 8, count);
        too_many(&bytes, 16, count);
    }
    let mut gguf = Gguf::new();
    for number in [0, 4, 6, 8, 12] {
        for count in [1_000, 1 << 33, u64::MAX / 8 + 2, u64::MAX] {
            gguf.set("array", value::array(number, count, &[0; 16]));
            let problem = read(&gguf).unwrap_err().problem;
            assert!(
                matches!(problem, GgufProblem::BeyondEnd { .. }),
                "{problem}"
            );
        }
    }
    let mut text = value::text("short");
    text[4..12].copy_from_slice(&(1u64 << 50).to_le_bytes());
    let problem = read(Gguf::new().set("text", text)).unwrap_err().problem;
    assert!(matches!(problem, GgufProblem::Count { .. }), "{problem}");
}

#[test]
fn damaged_values_are_refused() {
    let problem = |value: Vec<u8>| read(Gguf::new().set("key", value)).unwrap_err().problem;
    assert_eq!(problem(value::bool(2)), GgufProblem::Flag(2));
    assert_eq!(problem(vec![13, 0, 0, 0]), GgufProblem::ValueType(13));
    let nested = value::array(9, 1, &value::i32s(&[1]));
    assert_eq!(problem(nested), GgufProblem::NestedArray);
    assert_eq!(
        problem(value::array(99, 0, &[])),
        GgufProblem::ValueType(99)
    );
    let mut text = value::text("ab");
    text[12] = 0xFF;
    assert_eq!(problem(text), GgufProblem::Utf8);
    let mut twice = Gguf::new();
    twice.pairs = vec![
        ("key".to_owned(), value::u32(1)),
        ("key".to_owned(), value::u32(2)),
    ];
    let error = read(&twice).unwrap_err();
    assert_eq!(error.problem, GgufProblem::Duplicate);
    assert_eq!(error.place, Place::Key("key".to_owned()));
}

#[test]
fn impossible_tensors_are_refused_by_name() {
    let tensor = |shape: &[u64], number| Tensor {
        name: "x".to_owned(),
        shape: shape.to_vec(),
        number,
        bytes: vec![0; 4096],
    };
    let error = |tensors: &[Tensor]| {
        let mut gguf = Gguf::new();
        gguf.tensors = tensors.to_vec();
        read(&gguf).unwrap_err()
    };
    for (shape, number) in [
        (&[][..], 0),
        (&[0], 0),
        (&[4, 0], 0),
        (&[33], 2),
        (&[32, 16], 8),
        (&[1 << 32, 1 << 32], 0),
        (&[1 << 62, 32], 8),
    ] {
        let error = error(&[tensor(shape, number)]);
        assert!(
            matches!(error.problem, GgufProblem::Shape { .. }),
            "{shape:?}: {error}"
        );
        assert_eq!(error.place, Place::Tensor("x".to_owned()));
    }
    let problem = |tensors: &[Tensor]| error(tensors).problem;
    assert_eq!(problem(&[tensor(&[4], 77)]), GgufProblem::TensorType(77));
    assert!(matches!(
        problem(&[tensor(&[1025], 0)]),
        GgufProblem::Truncated { missing: 4, .. }
    ));
    assert!(matches!(
        problem(&[tensor(&[1 << 61], 1)]),
        GgufProblem::Truncated { .. }
    ));
    assert!(matches!(
        problem(&[tensor(&[1, 1, 1, 1, 1], 0)]),
        GgufProblem::Count { .. }
    ));
    let twice = [tensor(&[4], 0), tensor(&[4], 0)];
    assert_eq!(problem(&twice), GgufProblem::Duplicate);
    let mut second = tensor(&[8], 0);
    second.name = "y".to_owned();
    // The first claims one number more than it has.
    let error = error(&[tensor(&[1025], 0), second]);
    assert_eq!(error.problem, GgufProblem::Overlap);
    assert_eq!(error.place, Place::Tensor("y".to_owned()));
}
