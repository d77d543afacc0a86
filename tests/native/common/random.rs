//! Fresh random inputs in every run.

use std::{
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

use engine::data::TokenSequence;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws from `INLAY_TEST_SEED` or, without it, from the clock. The output of a failing test includes the seed.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new() -> Self {
        let given = std::env::var("INLAY_TEST_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_nanos() as u64
        });
        println!("INLAY_TEST_SEED={seed}");
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number of the range.
    pub fn size(&mut self, range: Range<usize>) -> usize {
        range.start + self.0.next_u32() as usize % range.len()
    }

    /// Uniform in `[-1, 1)`.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// Rows of 2 to 13 tokens of a vocabulary of 320, each with something to learn from.
    pub fn sequences(&mut self, num_rows: usize) -> Vec<TokenSequence> {
        self.sequences_of(num_rows, 2..14)
    }

    /// Like [`Self::sequences`], with 40 to 79 tokens.
    pub fn long_sequences(&mut self, num_rows: usize) -> Vec<TokenSequence> {
        self.sequences_of(num_rows, 40..80)
    }

    fn sequences_of(&mut self, num_rows: usize, tokens: Range<usize>) -> Vec<TokenSequence> {
        (0..num_rows)
            .map(|row| {
                let len = self.size(tokens.clone());
                let first_scored = self.size(1..len);
                TokenSequence {
                    row,
                    ids: (0..len).map(|_| self.size(3..320) as u32).collect(),
                    loss_mask: (0..len).map(|index| index >= first_scored).collect(),
                }
            })
            .collect()
    }
}
