//! Headers of model files.

use engine::{
    protocol::{Failure, FailureKind},
    template::of_model,
    weights::{
        checkpoint::{MAX_WEIGHTS_BYTES, open},
        error::ModelError,
    },
};
use futures_executor::block_on;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    bounded,
    kind::Kind,
    sparse::{Sparse, any_bit, bundled},
};

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn pair(bytes: &mut Vec<u8>, key: &str, number: u32, value: &[u8]) {
    text(bytes, key);
    bytes.extend(number.to_le_bytes());
    bytes.extend(value);
}

/// The header of a Llama with these sizes, all matrices of the type `kind`, a weight of which takes `bits`; the
/// rest of the file is not held.
fn llama(architecture: &str, hidden: u64, layers: u64, kind: u32, bits: u64) -> Sparse {
    let words: Vec<String> = (0..32_000).map(|word| format!("w{word}")).collect();
    llama_of(architecture, [hidden, layers, bits], kind, &words, &[])
}

/// An array of texts, after the number of its type.
fn texts(list: &[String]) -> Vec<u8> {
    let mut bytes = 8u32.to_le_bytes().to_vec();
    bytes.extend((list.len() as u64).to_le_bytes());
    for word in list {
        text(&mut bytes, word);
    }
    bytes
}

/// As [`llama`], with these words and merges.
fn llama_of(
    architecture: &str,
    [hidden, layers, bits]: [u64; 3],
    kind: u32,
    words: &[String],
    merges: &[String],
) -> Sparse {
    let feed_forward = hidden * 8 / 3 / 256 * 256;
    let mut pairs = Vec::new();
    let mut value = Vec::new();
    text(&mut value, architecture);
    pair(&mut pairs, "general.architecture", 8, &value);
    for (key, number) in [
        ("embedding_length", hidden),
        ("feed_forward_length", feed_forward),
        ("block_count", layers),
        ("attention.head_count", hidden / 128),
        ("attention.head_count_kv", hidden / 128),
        ("context_length", 4096),
    ] {
        let number = (number as u32).to_le_bytes();
        pair(&mut pairs, &format!("{architecture}.{key}"), 4, &number);
    }
    let epsilon = format!("{architecture}.attention.layer_norm_rms_epsilon");
    pair(&mut pairs, &epsilon, 6, &1e-5_f32.to_le_bytes());
    let mut value = Vec::new();
    text(&mut value, "gpt2");
    pair(&mut pairs, "tokenizer.ggml.model", 8, &value);
    pair(&mut pairs, "tokenizer.ggml.tokens", 9, &texts(words));
    pair(&mut pairs, "tokenizer.ggml.merges", 9, &texts(merges));

    let mut tensors = vec![(
        "token_embd.weight".to_owned(),
        vec![hidden, words.len() as u64],
    )];
    for layer in 0..layers {
        for (name, shape) in [
            ("attn_norm", vec![hidden]),
            ("attn_q", vec![hidden, hidden]),
            ("attn_k", vec![hidden, hidden]),
            ("attn_v", vec![hidden, hidden]),
            ("attn_output", vec![hidden, hidden]),
            ("ffn_norm", vec![hidden]),
            ("ffn_gate", vec![hidden, feed_forward]),
            ("ffn_up", vec![hidden, feed_forward]),
            ("ffn_down", vec![feed_forward, hidden]),
        ] {
            tensors.push((format!("blk.{layer}.{name}.weight"), shape));
        }
    }
    tensors.push(("output_norm.weight".to_owned(), vec![hidden]));
    let mut entries = Vec::new();
    let mut offset = 0u64;
    for (name, shape) in &tensors {
        text(&mut entries, name);
        entries.extend((shape.len() as u32).to_le_bytes());
        for size in shape {
            entries.extend(size.to_le_bytes());
        }
        let (kind, bits) = match shape.len() {
            1 => (0, 32),
            _ => (kind, bits),
        };
        entries.extend(kind.to_le_bytes());
        entries.extend(offset.to_le_bytes());
        let num_bytes = shape.iter().product::<u64>() * bits / 8;
        offset += num_bytes.next_multiple_of(32);
    }
    let mut file = b"GGUF".to_vec();
    file.extend(3u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(11u64.to_le_bytes());
    file.extend(pairs);
    file.extend(entries);
    file.resize(file.len().next_multiple_of(32), 0);
    let num_bytes = file.len() as u64 + offset;
    Sparse::new(file, num_bytes)
}

/// Opens a model's only file.
fn opened(kind: &mut Kind, input: &str, file: &Sparse) -> Result<(), ModelError> {
    bounded(kind, input, file.held_bytes(), || {
        let file = file.clone().named("model.gguf");
        block_on(open(vec![file])).map(|_| ())
    })
}

/// Fails if more was read than the header, once, and a slice after it.
fn assert_only_header_was_read(file: &Sparse) {
    let (read, held) = (file.read_bytes(), file.held_bytes() as u64);
    assert!(read < held + (1 << 20), "{read} bytes were read");
}

#[test]
fn models_that_cannot_be_held_are_refused_by_their_header() {
    let mut kind = Kind::new("headers of large models");
    // Llama 7B in 16 bits, 13B in 32 bits.
    for (hidden, layers, number, bits) in [(4096, 32, 1, 16), (5120, 40, 0, 32)] {
        let file = llama("llama", hidden, layers, number, bits);
        assert!(file.num_bytes > 7_000_000_000);
        let input = format!("of {} bytes", file.num_bytes);
        let error = opened(&mut kind, &input, &file).unwrap_err();
        assert!(
            matches!(error, ModelError::TooHeavy { limit, .. } if limit == MAX_WEIGHTS_BYTES),
            "{error:?}"
        );
        assert_only_header_was_read(&file);
        let failure = Failure::from(error);
        assert_eq!(failure.kind, FailureKind::UnsupportedModel);
        println!("{} {}", failure.what, failure.remedy.unwrap());
    }
    // One that fits is opened.
    let file = llama("llama", 2048, 22, 1, 16);
    assert_eq!(opened(&mut kind, "one of 1B", &file), Ok(()));
}

#[test]
fn large_models_of_other_kinds_are_refused_by_their_header() {
    let mut kind = Kind::new("headers of large models of other kinds");
    // Another architecture, and a type that is not read.
    for (architecture, number) in [("mamba", 1), ("llama", 14)] {
        let mut file = llama(architecture, 4096, 32, number, 16);
        file.num_bytes = file.num_bytes.max(7_000_000_000);
        let error = opened(&mut kind, architecture, &file).unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(failure.kind, FailureKind::UnsupportedModel, "{failure:?}");
        assert_only_header_was_read(&file);
    }
}

/// Every text of the two letters with up to this length.
fn all_texts(longest: u32) -> Vec<String> {
    let of_length = |length: u32| {
        (0..1u32 << length).map(move |bits| {
            let letter = |place| ['a', 'b'][(bits >> place) as usize & 1];
            (0..length).map(letter).collect()
        })
    };
    (1..=longest).flat_map(of_length).collect()
}

#[test]
fn vocabularies_with_many_merges_stay_in_bounds() {
    let mut kind = Kind::new("vocabularies with many merges");
    // More and longer than those of any model, up to what is read.
    for (longest, num_merges) in [(16, 500_000), (17, 520_000), (17, 1 << 20), (19, 0)] {
        let words = all_texts(longest);
        let splits = words.iter().rev().flat_map(|word| {
            (1..word.len()).map(move |at| format!("{} {}", &word[..at], &word[at..]))
        });
        let merges: Vec<String> = splits.take(num_merges).collect();
        let file = llama_of("llama", [256, 1, 16], 1, &words, &merges);
        let input = format!("{} words, {} merges", words.len(), merges.len());
        drop((words, merges));
        let result = bounded(&mut kind, &input, file.held_bytes(), || {
            let file = file.named("model.gguf");
            let model = block_on(open(vec![file])).map_err(Failure::from)?;
            of_model(&model).map(|(tokenizer, _)| tokenizer.encode("abab").map(|ids| ids.len()))
        });
        println!("{input}: {result:?}");
    }
}

/// As many as the drills take, or a fortieth.
fn rounds(rounds: usize) -> usize {
    match std::env::var_os("INLAY_DRILLS") {
        Some(_) => rounds,
        None => rounds / 40,
    }
}

#[test]
fn the_bundled_header_with_cuts_and_flips_stays_in_bounds() {
    let test = "the_bundled_header_with_cuts_and_flips_stays_in_bounds";
    let Some((whole, header_bytes)) = bundled(test) else {
        return;
    };
    let mut rng = ChaCha8Rng::seed_from_u64(16);
    let (num_cuts, num_flips) = (rounds(1_000), rounds(10_000));
    let mut cuts = Kind::new("cuts of the bundled header");
    for _ in 0..num_cuts {
        let mut cut = whole.clone();
        cut.num_bytes = rng.random_range(0..header_bytes);
        let input = format!("after {} bytes", cut.num_bytes);
        let error = opened(&mut cuts, &input, &cut).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    let mut flips = Kind::new("flipped bits of the bundled header");
    let mut num_refused = 0;
    for round in 0..num_flips {
        let mut damaged = whole.clone();
        let (place, mask) = any_bit(round, header_bytes, &mut rng);
        damaged.flipped = Some((place, mask));
        let input = format!("byte {place} ^ {mask:#04x}");
        num_refused += usize::from(opened(&mut flips, &input, &damaged).is_err());
    }
    println!(
        "{num_refused} of {num_flips} flipped bits were refused, {} were opened",
        num_flips - num_refused
    );
    assert!(
        num_refused > num_flips / 10,
        "only {num_refused} were refused"
    );
}
