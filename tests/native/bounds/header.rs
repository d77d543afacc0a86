//! Headers of model files.

use std::{
    cell::Cell,
    fs::File,
    future::{Future, ready},
    io::Read,
    pin::Pin,
    rc::Rc,
};

use engine::{
    protocol::{Failure, FailureKind},
    template::of_model,
    weights::{
        checkpoint::{MAX_WEIGHTS_BYTES, NamedSource, open},
        error::ModelError,
        gguf::GgufHeader,
        source::{ByteSource, SourceError},
    },
};
use futures_executor::block_on;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{alone, bounded, fetched::bundled_model};

/// A file of which only the front is held; the rest reads as zeros. Counts the bytes read.
struct Sparse {
    front: Vec<u8>,
    num_bytes: u64,
    read_bytes: Rc<Cell<u64>>,
}

impl Sparse {
    fn new(front: Vec<u8>, num_bytes: u64) -> Self {
        Self {
            front,
            num_bytes,
            read_bytes: Rc::default(),
        }
    }
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
        self.read_bytes
            .set(self.read_bytes.get() + num_bytes as u64);
        let mut bytes = vec![0; num_bytes];
        let front = self.front.get(offset as usize..).unwrap_or_default();
        let held = front.len().min(num_bytes);
        bytes[..held].copy_from_slice(&front[..held]);
        Box::pin(ready(Ok(bytes)))
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn pair(bytes: &mut Vec<u8>, key: &str, number: u32, value: &[u8]) {
    text(bytes, key);
    bytes.extend(number.to_le_bytes());
    bytes.extend(value);
}

/// The header of a Llama with these sizes, all matrices of the type `kind`, a weight of which takes `bits`; and the
/// bytes of the whole file.
fn llama(architecture: &str, hidden: u64, layers: u64, kind: u32, bits: u64) -> (Vec<u8>, u64) {
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
) -> (Vec<u8>, u64) {
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
    (file, num_bytes)
}

/// Opens a file of which only the front is held. What came of it, and how many bytes were read.
fn opened(name: &str, front: Vec<u8>, num_bytes: u64) -> (Result<(), ModelError>, u64) {
    let front_bytes = front.len();
    bounded(name, front_bytes, || {
        let source = Sparse::new(front, num_bytes);
        let read_bytes = source.read_bytes.clone();
        let file = NamedSource {
            name: "model.gguf".to_owned(),
            source: Box::new(source),
        };
        let result = block_on(open(vec![file])).map(|_| ());
        (result, read_bytes.get())
    })
}

#[test]
fn models_that_cannot_be_held_are_refused_by_their_header() {
    let _alone = alone();
    // Llama 7B in 8 and 16 bits, 13B in 4 bits.
    for (hidden, layers, kind, bits) in [(4096, 32, 1, 16), (5120, 40, 0, 32)] {
        let (front, num_bytes) = llama("llama", hidden, layers, kind, bits);
        assert!(num_bytes > 7_000_000_000);
        let front_bytes = front.len() as u64;
        let name = format!("a model of {num_bytes} bytes");
        let (result, read_bytes) = opened(&name, front, num_bytes);
        let error = result.unwrap_err();
        assert!(
            matches!(error, ModelError::TooHeavy { limit, .. } if limit == MAX_WEIGHTS_BYTES),
            "{error:?}"
        );
        // The header, once, and a slice after it.
        assert!(
            read_bytes < front_bytes + (1 << 20),
            "{read_bytes} bytes were read"
        );
        let failure = Failure::from(error);
        assert_eq!(failure.kind, FailureKind::UnsupportedModel);
        println!("{} {}", failure.what, failure.remedy.unwrap());
    }
    // One that fits is opened.
    let (front, num_bytes) = llama("llama", 2048, 22, 1, 16);
    let (result, _) = opened("a model of 1B", front, num_bytes);
    assert_eq!(result, Ok(()));
}

#[test]
fn large_models_of_other_kinds_are_refused_by_their_header() {
    let _alone = alone();
    let gigabytes = 7_000_000_000;
    // Another architecture, and a type that is not read.
    for (architecture, kind) in [("mamba", 1), ("llama", 14)] {
        let (front, num_bytes) = llama(architecture, 4096, 32, kind, 16);
        let front_bytes = front.len() as u64;
        let (result, read_bytes) = opened(architecture, front, num_bytes.max(gigabytes));
        let failure = Failure::from(result.unwrap_err());
        assert_eq!(failure.kind, FailureKind::UnsupportedModel, "{failure:?}");
        assert!(
            read_bytes < front_bytes + (1 << 20),
            "{read_bytes} bytes were read"
        );
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
    let _alone = alone();
    // More and longer than those of any model, up to what is read.
    for (longest, num_merges) in [(16, 500_000), (17, 520_000), (17, 1 << 20), (19, 0)] {
        let words = all_texts(longest);
        let splits = words.iter().rev().flat_map(|word| {
            (1..word.len()).map(move |at| format!("{} {}", &word[..at], &word[at..]))
        });
        let merges: Vec<String> = splits.take(num_merges).collect();
        let (front, num_bytes) = llama_of("llama", [256, 1, 16], 1, &words, &merges);
        let name = format!("{} words, {} merges", words.len(), merges.len());
        drop((words, merges));
        let input_bytes = front.len();
        let result = bounded(&name, input_bytes, || {
            let file = NamedSource {
                name: "model.gguf".to_owned(),
                source: Box::new(Sparse::new(front, num_bytes)),
            };
            let model = block_on(open(vec![file])).map_err(Failure::from)?;
            of_model(&model).map(|(tokenizer, _)| tokenizer.encode("abab").map(|ids| ids.len()))
        });
        println!("{name}: {result:?}");
    }
}

/// Header and size of the bundled model.
fn bundled_front(test: &str) -> Option<(Vec<u8>, u64, usize)> {
    let mut file = File::open(bundled_model(test)?).unwrap();
    let num_bytes = file.metadata().unwrap().len();
    let mut front = vec![0; 2 << 20];
    file.read_exact(&mut front).unwrap();
    let header = block_on(GgufHeader::read(&Sparse::new(front.clone(), num_bytes))).unwrap();
    Some((front, num_bytes, header.data_offset as usize))
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
    let _alone = alone();
    let test = "the_bundled_header_with_cuts_and_flips_stays_in_bounds";
    let Some((front, num_bytes, header_bytes)) = bundled_front(test) else {
        return;
    };
    let mut rng = ChaCha8Rng::seed_from_u64(16);
    let mut refused = 0;
    let (cuts, flips) = (rounds(1_000), rounds(10_000));
    for _ in 0..cuts {
        let cut = rng.random_range(0..header_bytes);
        let (result, _) = opened("cut", front[..cut].to_vec(), cut as u64);
        assert!(!result.unwrap_err().to_string().is_empty());
    }
    for round in 0..flips {
        let mut damaged = front.clone();
        // The settings come first, the tensors last; between them lies the vocabulary.
        let place = match round % 3 {
            0 => rng.random_range(0..1_500),
            1 => rng.random_range(header_bytes - 18_000..header_bytes),
            _ => rng.random_range(0..header_bytes),
        };
        damaged[place] ^= 1 << rng.random_range(0..8);
        let (result, _) = opened("flip", damaged, num_bytes);
        refused += usize::from(result.is_err());
    }
    println!("{cuts} cuts, {flips} flips, {refused} of them refused");
    assert!(refused > flips / 10, "only {refused} were refused");
}
