//! GGUF files cut anywhere and with flipped bits: a typed error or a valid header, but never a panic.
//!
//! `INLAY_FUZZ_FACTOR` multiplies the rounds on the bundled model: 4 makes 1,000 cuts and 10,000 flipped bits.

use std::{
    fs::File,
    future::{Future, ready},
    io::Read,
    pin::Pin,
    rc::Rc,
};

use engine::weights::{
    checkpoint::{NamedSource, open},
    gguf::GgufHeader,
    packed::PackedKind,
    source::{ByteSource, SourceError},
};
use futures_executor::block_on;
use rand::RngExt;

use crate::{
    builder::{KINDS, fresh_rng, named, tiny_gguf},
    fetched::bundled_model,
};

/// The front of a large file; the rest reads as zeros.
#[derive(Clone)]
struct Sparse {
    front: Rc<Vec<u8>>,
    /// A bit that differs: byte, mask.
    flipped: Option<(u64, u8)>,
    num_bytes: u64,
}

impl ByteSource for Sparse {
    fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    fn read<'a>(
        &'a self,
        offset: u64,
        num_bytes: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, SourceError>> + 'a>> {
        let end = offset + num_bytes as u64;
        assert!(end <= self.num_bytes, "a read beyond the end");
        let mut bytes = vec![0; num_bytes];
        let front = self.front.get(offset as usize..).unwrap_or_default();
        let held = front.len().min(num_bytes);
        bytes[..held].copy_from_slice(&front[..held]);
        if let Some((place, mask)) = self
            .flipped
            .filter(|(place, _)| (offset..end).contains(place))
        {
            bytes[(place - offset) as usize] ^= mask;
        }
        Box::pin(ready(Ok(bytes)))
    }
}

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

fn open_sparse(source: Sparse) {
    let source = Box::new(source);
    let name = "damaged".to_owned();
    if let Err(error) = block_on(open(vec![NamedSource { name, source }])) {
        assert!(!error.to_string().is_empty());
    }
}

/// `rounds` times the factor that the environment asks for.
fn rounds(rounds: usize) -> usize {
    let factor = std::env::var("INLAY_FUZZ_FACTOR").ok();
    rounds * factor.map_or(1, |factor| factor.parse().unwrap())
}

/// Header and size of the bundled model.
fn bundled_front(test: &str) -> Option<(Sparse, u64)> {
    let mut file = File::open(bundled_model(test)?).unwrap();
    let num_bytes = file.metadata().unwrap().len();
    let mut front = vec![0; 2 << 20];
    file.read_exact(&mut front).unwrap();
    let whole = Sparse {
        front: Rc::new(front),
        flipped: None,
        num_bytes,
    };
    let header = block_on(GgufHeader::read(&whole)).unwrap();
    Some((whole, header.data_offset))
}

#[test]
fn the_bundled_model_cut_anywhere_is_an_error() {
    let Some((whole, header_bytes)) = bundled_front("the_bundled_model_cut_anywhere_is_an_error")
    else {
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
        let num_bytes = rng.random_range(0..limit);
        assert!(
            !survives(&Sparse {
                num_bytes,
                ..whole.clone()
            }),
            "cut at {num_bytes}"
        );
    }
}

#[test]
fn the_bundled_model_with_flipped_bits_is_an_error_or_sound() {
    let test = "the_bundled_model_with_flipped_bits_is_an_error_or_sound";
    let Some((whole, header_bytes)) = bundled_front(test) else {
        return;
    };
    // The settings come first, the tensors last; between them lies the vocabulary.
    let (settings, tensors) = (0..1_500, header_bytes - 18_000..header_bytes);
    let mut rng = fresh_rng();
    let (mut refused, rounds) = (0, rounds(2_500));
    for round in 0..rounds {
        let place = match round % 3 {
            0 => rng.random_range(settings.clone()),
            1 => rng.random_range(tensors.clone()),
            _ => rng.random_range(0..header_bytes),
        };
        let damaged = Sparse {
            flipped: Some((place, 1 << rng.random_range(0..8))),
            ..whole.clone()
        };
        refused += usize::from(!survives(&damaged));
        if round % 50 == 0 {
            open_sparse(damaged);
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
    let whole = tiny_gguf(PackedKind::Q4_0, 2, false).0.bytes();
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
