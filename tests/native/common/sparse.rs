//! Model files of any size, of which only the front is held.

use std::{
    fs::File,
    future::{Future, ready},
    io::Read,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use engine::weights::{
    checkpoint::NamedSource,
    gguf::GgufHeader,
    source::{ByteSource, SourceError},
};
use futures_executor::block_on;
use rand::RngExt;

use super::fetched::bundled_model;

/// How much of the bundled model is held: more than its header.
const HELD_BYTES: usize = 2 << 20;

/// A file whose rest reads as zeros. Clones share the front and the count of the bytes read.
#[derive(Clone)]
pub struct Sparse {
    front: Arc<Vec<u8>>,
    /// May be less than the front, which is then cut.
    pub num_bytes: u64,
    /// A bit that differs: byte, mask.
    pub flipped: Option<(u64, u8)>,
    read_bytes: Arc<AtomicU64>,
}

impl Sparse {
    pub fn new(front: Vec<u8>, num_bytes: u64) -> Self {
        Self {
            front: Arc::new(front),
            num_bytes,
            flipped: None,
            read_bytes: Arc::default(),
        }
    }

    /// The bytes held of the file.
    pub fn held_bytes(&self) -> usize {
        self.front.len().min(self.num_bytes as usize)
    }

    /// The bytes read so far, through this one and its clones.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Relaxed)
    }

    pub fn named(self, name: &str) -> NamedSource {
        NamedSource {
            name: name.to_owned(),
            source: Box::new(self),
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
        self.read_bytes.fetch_add(num_bytes as u64, Relaxed);
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

/// The bundled model and the size of its header; `None` if `test` is skipped.
pub fn bundled(test: &str) -> Option<(Sparse, u64)> {
    let mut file = File::open(bundled_model(test)?).unwrap();
    let num_bytes = file.metadata().unwrap().len();
    let mut front = vec![0; HELD_BYTES];
    file.read_exact(&mut front).unwrap();
    let whole = Sparse::new(front, num_bytes);
    let header = block_on(GgufHeader::read(&whole)).unwrap();
    Some((whole, header.data_offset))
}

/// A bit of the header to flip. The settings come first, the tensors last; between them lies the vocabulary. Each part is
/// drawn as often.
pub fn any_bit(round: usize, header_bytes: u64, rng: &mut impl RngExt) -> (u64, u8) {
    let place = match round % 3 {
        0 => rng.random_range(0..1_500),
        1 => rng.random_range(header_bytes - 18_000..header_bytes),
        _ => rng.random_range(0..header_bytes),
    };
    (place, 1 << rng.random_range(0..8))
}
