//! How much a step holds at a time.

/// What blocks may keep of a forward beyond their inputs: SmolLM2-135M's of about 128 tokens.
pub const KEPT_BYTES: usize = 96 << 20;

/// Logits held at a time, at most (16 MiB in f32).
const MAX_LOGITS: usize = 4 << 20;
/// Rows of the head that are taken at a time, at most and at least.
const MAX_CHUNK: usize = 8192;
const MIN_CHUNK: usize = 512;

/// Rows of the head in one chunk for `num_scored` hidden states.
pub fn chunk_rows(num_scored: usize) -> usize {
    (MAX_LOGITS / num_scored.max(1)).clamp(MIN_CHUNK, MAX_CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_of_logits_stays_small() {
        for num_scored in [0, 1, 100, 1024, 4096] {
            let chunk = chunk_rows(num_scored);
            assert!((MIN_CHUNK..=MAX_CHUNK).contains(&chunk));
            assert!(
                chunk * num_scored <= MAX_LOGITS,
                "{num_scored} tokens by {chunk}"
            );
        }
    }
}
