//! How much memory a step uses at a time: the pieces in which the head is processed, and how many blocks keep what
//! their backward needs.
//!
//! The same formulas plan a run (`plan/memory.rs`) and carry it out (`train/step.rs`), so that the plan is what
//! happens.

use protocol::{Precision, TargetModule};

/// The maximum number of logits held at a time (16 MiB in f32).
const MAX_LOGITS: usize = 4 << 20;
/// The maximum number of rows of the head processed at a time, however few positions are scored.
const MAX_CHUNK: usize = 8192;
/// The minimum, even where it makes more logits than [`MAX_LOGITS`].
const MIN_CHUNK: usize = 512;

/// The number of rows of the head in one chunk for `num_scored` hidden states, so that `[num_scored, chunk]` logits
/// stay within 16 MiB; from 512 to 8192, where the minimum goes before the bound.
///
/// | scored | rows | logits |
/// |---|---|---|
/// | 100 | 8192 | 3.1 MiB |
/// | 1024 | 4096 | 16 MiB |
/// | 8192 | 512 | 16 MiB |
pub fn chunk_rows(num_scored: usize) -> usize {
    (MAX_LOGITS / num_scored.max(1)).clamp(MIN_CHUNK, MAX_CHUNK)
}

/// The sizes that determine how much a block keeps of a forward for its backward. It is made from the block and the
/// adapter where there are any ([`Block::shape`](crate::layers::block::Block::shape)), and from settings in a plan.
#[derive(Debug, Clone, Copy)]
pub struct BlockShape {
    /// Input and output features, by module.
    pub features: [(u64, u64); TargetModule::ALL.len()],
    /// The rank of each module's pair on the device, by module: `None` without an adapter, 0 for one without a pair.
    pub ranks: [Option<u64>; TargetModule::ALL.len()],
    /// Modules whose output the adapter scales, which keep the output before the scale.
    pub scaled: [bool; TargetModule::ALL.len()],
    /// The number of query heads, `h`: attention keeps one log-sum-exp for each.
    pub query_heads: u64,
    /// Whether the adapters' inputs are dropped: then each module keeps its own input and mask.
    pub has_dropout: bool,
    /// The precision of the activations inside the block.
    pub precision: Precision,
}

impl BlockShape {
    /// How much the block keeps for `tokens` tokens beyond its input, in bytes; saturates at the maximum.
    ///
    /// Numbers per token, with a pair of rank `r` on all modules and no dropout:
    ///
    /// | what | numbers | precision |
    /// |---|---|---|
    /// | queries, keys, values | `(h + 2 kv) hd` | the block's |
    /// | attended values | `h hd` | the block's |
    /// | gate and up | `2 f` | the block's |
    /// | both norms' outputs, and the activation | `2 d + f` | the block's |
    /// | log-sum-exps, the second norm's input | `h + d` | f32 |
    /// | inputs of the pairs times `A` | `7 r` | f32 |
    pub fn kept_bytes(&self, tokens: u64) -> u64 {
        use TargetModule::{DownProj, GateProj, KProj, OProj, QProj, UpProj, VProj};
        let input = |module: TargetModule| self.features[module as usize].0;
        let output = |module: TargetModule| self.features[module as usize].1;
        let has = |modules: &[TargetModule]| {
            let mut modules = modules.iter();
            modules.any(|&module| self.ranks[module as usize].is_some())
        };
        // The norms and the activation, which several adapters share; attended values are kept anyway.
        let shared = [
            (&[QProj, KProj, VProj][..], QProj),
            (&[GateProj, UpProj], GateProj),
            (&[DownProj], DownProj),
        ];
        let shared = shared
            .into_iter()
            .filter(|(of, _)| !self.has_dropout && has(of));
        let inside = [QProj, KProj, VProj, GateProj, UpProj].map(output);
        let inside = inside.into_iter().chain([input(OProj)]);
        let inside = inside.chain(shared.map(|(_, module)| input(module)));
        let adapted = self.features.into_iter().zip(self.ranks);
        let adapted = adapted.filter_map(|((input, _), rank)| {
            // With dropout, each has its own input, and a mask.
            let own = if self.has_dropout { 2 } else { 0 };
            Some(rank?.saturating_add(input.saturating_mul(own)))
        });
        // The log-sum-exps of the attention, and the input of the second norm.
        let single = [self.query_heads, output(OProj)].into_iter().chain(adapted);
        let bytes = |numbers: u64, precision: Precision| {
            numbers.saturating_mul(precision.num_bytes() as u64)
        };
        let scaled = self.features.into_iter().zip(self.scaled);
        let scaled = scaled.filter_map(|((_, output), is_scaled)| is_scaled.then_some(output));
        let inside = inside.chain(scaled);
        let inside = bytes(inside.fold(0, u64::saturating_add), self.precision);
        let single = bytes(single.fold(0, u64::saturating_add), Precision::Single);
        inside.saturating_add(single).saturating_mul(tokens)
    }

    /// The number of tokens for which `layers` such blocks can keep all of it within `bytes`.
    pub fn num_tokens(&self, layers: usize, bytes: usize) -> usize {
        let kept = self.kept_bytes(1).saturating_mul(layers as u64);
        (bytes as u64 / kept.max(1)) as usize
    }

    /// How many of `layers` such blocks can keep all of it for `tokens` tokens within `bytes`; the others are
    /// recomputed.
    pub fn num_kept(&self, tokens: u64, layers: usize, bytes: usize) -> usize {
        (bytes as u64 / self.kept_bytes(tokens).max(1)).min(layers as u64) as usize
    }
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
