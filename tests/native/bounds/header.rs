//! Headers of model files.

use engine::{
    device::DeviceProfile,
    template::of_model,
    weights::{checkpoint::open, error::ModelError},
};
use futures_executor::block_on;
use protocol::{DeviceKind, Failure, FailureKind};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    bounded,
    gguf_header::{llama, llama_of},
    kind::Kind,
    sparse::{Sparse, any_bit, bundled},
};

/// A file of which only the header is held.
fn sparse((header, num_bytes): (Vec<u8>, u64)) -> Sparse {
    Sparse::new(header, num_bytes)
}

/// What a tab can hold of a model's weights.
const MAX_WEIGHTS_BYTES: u64 = 3 << 30;

/// Opens a model's only file as a tab does.
fn opened(kind: &mut Kind, input: &str, file: &Sparse) -> Result<(), ModelError> {
    bounded(kind, input, file.held_bytes(), || {
        let file = file.clone().named("model.gguf");
        let tab = DeviceProfile {
            max_weights_bytes: Some(MAX_WEIGHTS_BYTES),
            ..DeviceProfile::new(DeviceKind::Cpu)
        };
        block_on(open(vec![file]))?.check_size(tab)
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
        let file = sparse(llama("llama", hidden, layers, number, bits));
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
    let file = sparse(llama("llama", 2048, 22, 1, 16));
    assert_eq!(opened(&mut kind, "one of 1B", &file), Ok(()));
}

#[test]
fn large_models_of_other_kinds_are_refused_by_their_header() {
    let mut kind = Kind::new("headers of large models of other kinds");
    // Another architecture, and a type that is not read.
    for (architecture, number) in [("mamba", 1), ("llama", 14)] {
        let mut file = sparse(llama(architecture, 4096, 32, number, 16));
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
        let file = sparse(llama_of("llama", [256, 1, 16], 1, &words, &merges));
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
