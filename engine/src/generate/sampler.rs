//! Chooses the next token from logits: repetition penalty, temperature, top-k and top-p in HF's order, with one seeded
//! stream.
//!
//! | setting | transformers | here |
//! |---|---|---|
//! | `repetition_penalty` | `RepetitionPenaltyLogitsProcessor` (Keskar et al., arXiv 1909.05858) | `penalize` |
//! | `temperature` | `TemperatureLogitsWarper` | `weigh` |
//! | `top_k` | `TopKLogitsWarper` | `collect_top_k` |
//! | `top_p` | `TopPLogitsWarper` (Holtzman et al., arXiv 1904.09751) | `cut_top_p` |
//!
//! Top-k does not depend on the temperature, so it comes first and the softmax only meets what it leaves. The
//! candidates are sorted, so the draw depends on the seed and the logits alone.

use protocol::GenerationSpec;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// Chooses tokens as `transformers` does for the same settings; its random stream is its own (ChaCha8).
#[derive(Debug, Clone)]
pub struct Sampler {
    /// 0 takes the likeliest token.
    temperature: f64,
    /// 0 is off.
    top_k: usize,
    /// 1 is off.
    top_p: f64,
    /// 1 is off.
    repetition_penalty: f32,
    /// One draw for each token, none at a temperature of 0.
    rng: ChaCha8Rng,
    /// Scratch space, kept between tokens: likeliest first once it is filled.
    candidates: Vec<Candidate>,
}

/// A token that may be drawn.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    /// After the penalty, before the temperature.
    logit: f32,
    /// Relative to the likeliest token, whose weight is 1.
    weight: f64,
}

/// Logits that a working model does not produce.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplerError {
    /// There is no token to choose from.
    #[error("the model gave no logits")]
    NoLogits,
    /// A logit that is NaN or infinite: the weights or the device are at fault.
    #[error("the model's logit of token {id} is {value}")]
    NonFinite { id: usize, value: f32 },
}

impl Sampler {
    /// Makes a sampler at the start of the stream that `spec.seed` names; the settings must have been checked.
    pub fn new(spec: &GenerationSpec) -> Self {
        Self {
            temperature: spec.temperature,
            top_k: spec.top_k,
            top_p: spec.top_p,
            repetition_penalty: spec.repetition_penalty as f32,
            rng: ChaCha8Rng::seed_from_u64(spec.seed),
            candidates: Vec::new(),
        }
    }

    /// Chooses the next token after `history` (prompt and answer so far).
    ///
    /// # Shapes
    /// - `logits`: `[v]`, changed in place by the penalty
    ///
    /// # Errors
    /// [`SamplerError::NonFinite`] for the first logit that is NaN or infinite; [`SamplerError::NoLogits`] if there are
    /// none.
    pub fn sample(&mut self, logits: &mut [f32], history: &[u32]) -> Result<u32, SamplerError> {
        if let Some(id) = logits.iter().position(|logit| !logit.is_finite()) {
            let value = logits[id];
            return Err(SamplerError::NonFinite { id, value });
        }
        self.penalize(logits, history);
        if self.temperature == 0.0 {
            return argmax(logits).ok_or(SamplerError::NoLogits);
        }
        self.collect_top_k(logits);
        self.weigh()?;
        self.cut_top_p();
        self.draw().ok_or(SamplerError::NoLogits)
    }

    /// Lowers the chance of every token seen so far, once per token however often it was seen: positive logits are
    /// divided by the penalty, negative ones multiplied.
    fn penalize(&self, logits: &mut [f32], history: &[u32]) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let mut seen = history.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            // Ids beyond the head's rows cannot be chosen anyway.
            if let Some(logit) = logits.get_mut(id as usize) {
                let penalized = if *logit < 0.0 {
                    *logit * self.repetition_penalty
                } else {
                    *logit / self.repetition_penalty
                };
                // A tiny penalty would make a logit infinite.
                *logit = penalized.clamp(f32::MIN, f32::MAX);
            }
        }
    }

    /// Fills the candidates, likeliest first, equal ones by id. As in HF, all tokens equal to the k-th stay.
    fn collect_top_k(&mut self, logits: &[f32]) {
        self.candidates.clear();
        self.candidates
            .extend((0..).zip(logits).map(|(id, &logit)| Candidate {
                id,
                logit,
                weight: 0.0,
            }));
        if (1..self.candidates.len()).contains(&self.top_k) {
            let (_, kth, _) = self
                .candidates
                .select_nth_unstable_by(self.top_k - 1, |a, b| b.logit.total_cmp(&a.logit));
            let threshold = kth.logit;
            self.candidates
                .retain(|candidate| candidate.logit >= threshold);
        }
        self.candidates
            .sort_unstable_by(|a, b| b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id)));
    }

    /// Computes the softmax at the temperature, without its denominator: the likeliest candidate has weight 1.
    ///
    /// # Errors
    /// [`SamplerError::NoLogits`] if there are no candidates.
    fn weigh(&mut self) -> Result<(), SamplerError> {
        let first = self.candidates.first().ok_or(SamplerError::NoLogits)?;
        let highest = f64::from(first.logit);
        for candidate in &mut self.candidates {
            // The difference comes before the division, so that a tiny temperature cannot overflow.
            candidate.weight = ((f64::from(candidate.logit) - highest) / self.temperature).exp();
        }
        Ok(())
    }

    /// Keeps the likeliest candidates until their share reaches `top_p`, including the one that reaches it.
    fn cut_top_p(&mut self) {
        if self.top_p >= 1.0 {
            return;
        }
        let enough = self.top_p * self.total_weight();
        let mut reached = 0.0;
        let kept = self.candidates.iter().position(|candidate| {
            reached += candidate.weight;
            reached >= enough
        });
        if let Some(last) = kept {
            self.candidates.truncate(last + 1);
        }
    }

    /// Draws a candidate, each with a probability proportional to its weight; `None` if there are none.
    fn draw(&mut self) -> Option<u32> {
        // The 53 high bits as a fraction in [0, 1): every value is a multiple of 2^-53.
        let fraction = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = fraction * self.total_weight();
        for candidate in &self.candidates {
            left -= candidate.weight;
            if left < 0.0 {
                return Some(candidate.id);
            }
        }
        // Only rounding errors lead here.
        self.candidates.last().map(|candidate| candidate.id)
    }

    /// Returns the sum of the candidates' weights, the softmax's denominator.
    fn total_weight(&self) -> f64 {
        self.candidates
            .iter()
            .map(|candidate| candidate.weight)
            .sum()
    }
}

/// Returns the index of the highest logit; the first one among equals. `None` without logits.
fn argmax(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (id, &logit) in (0..).zip(logits) {
        if best.is_none_or(|(_, highest)| logit > highest) {
            best = Some((id, logit));
        }
    }
    best.map(|(id, _)| id)
}

#[cfg(test)]
mod tests;
