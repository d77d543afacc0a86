//! GGUF files cut anywhere and with flipped bits: a typed error or a valid header, but never a panic.
//!
//! `INLAY_FUZZ_FACTOR` multiplies the rounds on the bundled model: 4 makes 1,000 cuts and 10,000 flipped bits.

use engine::weights::{checkpoint::open, gguf::GgufHeader, quantized::WeightKind};
use futures_executor::block_on;
use rand::RngExt;

use crate::{
    builder::{KINDS, fresh_rng, named, tiny_gguf},
    sparse::{Sparse, any_bit, bundled},
};

/// Reads the header and, if it is valid, checks that its tensors are inside the file. Returns whether it was valid.
fn survives(source: &Sparse) -> bool {
    let Ok(header) = block_on(GgufHeader::read(source)) else {
        return false;
    };
    for tensor in &header.tensors {
        assert!(tensor.offset >= header.data_offset);
        assert!(tensor.offset + tensor.num_bytes <= source.num_bytes);
    }
    true
}

/// `rounds` times the factor that the environment asks for.
fn rounds(rounds: usize) -> usize {
    let factor = std::env::var("INLAY_FUZZ_FACTOR").ok();
    rounds * factor.map_or(1, |factor| factor.parse().unwrap())
}

#[test]
fn the_bundled_model_cut_anywhere_is_an_error() {
    let Some((whole, header_bytes)) = bundled("the_bundled_model_cut_anywhere_is_an_error") else {
        return;
    };
    assert!(survives(&whole));
    let mut rng = fresh_rng();
    for round in 0..rounds(250) {
        // Half of the cuts within the header, which is a fiftieth of the file.
        let limit = if round % 2 == 0 {
            header_bytes
        } else {
            whole.num_bytes
        };
        let mut cut = whole.clone();
        cut.num_bytes = rng.random_range(0..limit);
        assert!(!survives(&cut), "cut at {}", cut.num_bytes);
    }
}

#[test]
fn the_bundled_model_with_flipped_bits_is_an_error_or_sound() {
    let test = "the_bundled_model_with_flipped_bits_is_an_error_or_sound";
    let Some((whole, header_bytes)) = bundled(test) else {
        return;
    };
    let mut rng = fresh_rng();
    let (mut refused, rounds) = (0, rounds(2_500));
    for round in 0..rounds {
        let mut damaged = whole.clone();
        damaged.flipped = Some(any_bit(round, header_bytes, &mut rng));
        refused += usize::from(!survives(&damaged));
        if round % 50 == 0
            && let Err(error) = block_on(open(vec![damaged.named("damaged")]))
        {
            assert!(!error.to_string().is_empty());
        }
    }
    assert!(
        refused > rounds / 10,
        "only {refused} of {rounds} were refused"
    );
}

#[test]
fn small_models_with_random_bytes_never_panic() {
    let mut rng = fresh_rng();
    for (kind, number, _) in KINDS {
        let whole = tiny_gguf(kind, number, true).0.bytes();
        let header = block_on(GgufHeader::read(&whole)).unwrap();
        for _ in 0..500 {
            let mut damaged = whole.clone();
            for _ in 0..rng.random_range(1..4) {
                let place = rng.random_range(0..header.data_offset as usize);
                damaged[place] = rng.random();
            }
            if rng.random_range(0..4) == 0 {
                damaged.truncate(rng.random_range(0..whole.len()));
            }
            if let Ok(model) = block_on(open(vec![named("damaged", damaged)])) {
                let _ = block_on(model.matrix("model.layers.1.self_attn.k_proj.weight", [32, 64]));
            }
        }
    }
}

#[test]
fn small_models_cut_at_every_byte_are_errors() {
    let whole = tiny_gguf(WeightKind::Q4_0, 2, false).0.bytes();
    let header = block_on(GgufHeader::read(&whole)).unwrap();
    let last = header
        .tensors
        .iter()
        .map(|t| t.offset + t.num_bytes)
        .max()
        .unwrap();
    for length in 0..last as usize {
        assert!(
            block_on(GgufHeader::read(&whole[..length].to_vec())).is_err(),
            "{length}"
        );
    }
}
