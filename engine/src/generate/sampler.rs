//! From logits to the next token: repetition penalty, temperature, top-k and top-p in HF's order, one seeded stream.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::protocol::GenerationSpec;

/// Chooses tokens as `transformers` does for the same settings; its random stream is its own (ChaCha8).
#[derive(Debug, Clone)]
pub struct Sampler {
    temperature: f64,
    top_k: usize,
    top_p: f64,
    repetition_penalty: f32,
    rng: ChaCha8Rng,
    /// Scratch, kept between tokens.
    candidates: Vec<Candidate>,
}

/// A token that may be drawn.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    logit: f32,
    /// Relative to the likeliest token, which has 1.
    weight: f64,
}

/// Settings that cannot be sampled with, or logits that a sound model does not give.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplerError {
    #[error("{name} is {value}; it must be {allowed}")]
    Setting {
        name: &'static str,
        value: f64,
        allowed: &'static str,
    },
    #[error("the model gave no logits")]
    NoLogits,
    #[error("the model's logit of token {id} is {value}")]
    NonFinite { id: usize, value: f32 },
}

impl Sampler {
    /// A sampler at the start of the stream that `spec.seed` names.
    ///
    /// # Errors
    /// [`SamplerError::Setting`] for the first setting outside its range.
    pub fn new(spec: &GenerationSpec) -> Result<Self, SamplerError> {
        let check = |name, value: f64, is_allowed: bool, allowed| {
            if is_allowed && value.is_finite() {
                Ok(value)
            } else {
                Err(SamplerError::Setting {
                    name,
                    value,
                    allowed,
                })
            }
        };
        let (temperature, top_p) = (spec.temperature, spec.top_p);
        let penalty = spec.repetition_penalty;
        let in_unit = top_p > 0.0 && top_p <= 1.0;
        Ok(Self {
            temperature: check("temperature", temperature, temperature >= 0.0, "0 or more")?,
            top_k: spec.top_k,
            top_p: check("top_p", top_p, in_unit, "above 0 and at most 1")?,
            repetition_penalty: check(
                "repetition_penalty",
                penalty,
                (1e-3..=1e3).contains(&penalty),
                "from 0.001 to 1000",
            )? as f32,
            rng: ChaCha8Rng::seed_from_u64(spec.seed),
            candidates: Vec::new(),
        })
    }

    /// The next token after `history` (prompt and answer so far). `logits` `[v]` are changed by the penalty.
    ///
    /// # Errors
    /// [`SamplerError::NonFinite`] for the first logit that is NaN or infinite.
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

    /// Moves the logit of every token seen away from being chosen, once a token however often it was seen.
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
                *logit = penalized.clamp(f32::MIN, f32::MAX);
            }
        }
    }

    /// Fills the candidates, likeliest first, equal ones by id. As in HF, tokens equal to the k-th all stay.
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

    /// Softmax at the temperature, without its denominator.
    fn weigh(&mut self) -> Result<(), SamplerError> {
        let first = self.candidates.first().ok_or(SamplerError::NoLogits)?;
        let highest = f64::from(first.logit);
        for candidate in &mut self.candidates {
            // The difference comes before the division, so that a tiny temperature cannot overflow.
            candidate.weight = ((f64::from(candidate.logit) - highest) / self.temperature).exp();
        }
        Ok(())
    }

    /// Keeps the likeliest candidates until their share reaches `top_p`, the one that reaches it included.
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

    /// One candidate, each as likely as its weight.
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
        // Only rounding gets here.
        self.candidates.last().map(|candidate| candidate.id)
    }

    fn total_weight(&self) -> f64 {
        self.candidates
            .iter()
            .map(|candidate| candidate.weight)
            .sum()
    }
}

/// The index of the highest logit, the first of equal ones.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec() -> GenerationSpec {
        GenerationSpec {
            prompt: String::new(),
            max_new_tokens: 1,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            seed: 7,
            variants: Vec::new(),
        }
    }

    /// The distribution that HF's processors leave, written as they are written: over the whole vocabulary, masking.
    fn reference(spec: &GenerationSpec, logits: &[f32], history: &[u32]) -> Vec<f64> {
        let mut scores: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        for (id, score) in scores.iter_mut().enumerate() {
            if history.contains(&(id as u32)) {
                let penalty = f64::from(spec.repetition_penalty as f32);
                *score = if *score < 0.0 {
                    *score * penalty
                } else {
                    *score / penalty
                };
            }
            *score /= spec.temperature;
        }
        if spec.top_k > 0 {
            let mut sorted = scores.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let threshold = sorted[spec.top_k.min(sorted.len()) - 1];
            for score in &mut scores {
                if *score < threshold {
                    *score = f64::NEG_INFINITY;
                }
            }
        }
        let mut probabilities = softmax(&scores);
        if spec.top_p < 1.0 {
            let mut ascending: Vec<usize> = (0..scores.len()).collect();
            ascending.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
            let (mut sum, full) = (0.0, probabilities.clone());
            for &id in &ascending[..ascending.len() - 1] {
                sum += full[id];
                if sum <= 1.0 - spec.top_p {
                    scores[id] = f64::NEG_INFINITY;
                }
            }
            probabilities = softmax(&scores);
        }
        probabilities
    }

    fn softmax(scores: &[f64]) -> Vec<f64> {
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        scores
            .iter()
            .map(|score| (score - highest).exp() / sum)
            .collect()
    }

    /// Share of each token in `count` draws.
    fn frequencies(
        spec: &GenerationSpec,
        logits: &[f32],
        history: &[u32],
        count: usize,
    ) -> Vec<f64> {
        let mut sampler = Sampler::new(spec).unwrap();
        let mut hits = vec![0usize; logits.len()];
        for _ in 0..count {
            hits[sampler.sample(&mut logits.to_vec(), history).unwrap() as usize] += 1;
        }
        hits.into_iter()
            .map(|hits| hits as f64 / count as f64)
            .collect()
    }

    #[test]
    fn draws_follow_the_distribution_of_every_combination() {
        const COUNT: usize = 40_000;
        let logits = [2.0, -1.0, 0.5, 0.25, 1.5, -3.0, 0.0, 1.0, -0.5, 0.75];
        let history = [4, 1, 4, 4, 999];
        for temperature in [0.5, 1.0, 1.7] {
            for top_k in [0, 1, 4, 50] {
                for top_p in [0.3, 0.8, 1.0] {
                    for repetition_penalty in [1.0, 1.4] {
                        let spec = GenerationSpec {
                            temperature,
                            top_k,
                            top_p,
                            repetition_penalty,
                            ..spec()
                        };
                        let expected = reference(&spec, &logits, &history);
                        let actual = frequencies(&spec, &logits, &history, COUNT);
                        for (id, (p, frequency)) in expected.iter().zip(&actual).enumerate() {
                            // Five standard deviations of a binomial share; exactly none where p is 0.
                            let allowed = 5.0 * (p * (1.0 - p) / COUNT as f64).sqrt();
                            assert!(
                                (p - frequency).abs() <= allowed + 1e-12,
                                "{spec:?}: token {id} came {frequency}, expected {p}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn tokens_equal_to_the_kth_all_stay() {
        let spec = GenerationSpec { top_k: 2, ..spec() };
        let shares = frequencies(&spec, &[1.0, 0.0, 1.0, 1.0], &[], 3000);
        assert_eq!(shares[1], 0.0);
        assert!(shares[0] > 0.25 && shares[2] > 0.25 && shares[3] > 0.25);
    }

    #[test]
    fn zero_temperature_takes_the_first_of_the_likeliest() {
        let spec = GenerationSpec {
            temperature: 0.0,
            ..spec()
        };
        let mut sampler = Sampler::new(&spec).unwrap();
        assert_eq!(sampler.sample(&mut [0.0, 3.0, 3.0, -1.0], &[]), Ok(1));
        let penalized = GenerationSpec {
            repetition_penalty: 2.0,
            ..spec
        };
        let mut sampler = Sampler::new(&penalized).unwrap();
        assert_eq!(sampler.sample(&mut [0.0, 3.0, 2.9, -1.0], &[1, 1]), Ok(2));
        assert_eq!(sampler.sample(&mut [-1.0, -1.5], &[0]), Ok(1));
    }

    #[test]
    fn the_stream_is_the_same_from_one_seed_and_another_from_another() {
        let logits: Vec<f32> = (0..100).map(|id| (id as f32 * 0.37).sin()).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(&GenerationSpec { seed, ..spec() }).unwrap();
            (0..50)
                .map(|_| sampler.sample(&mut logits.clone(), &[]).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn non_finite_logits_are_refused_by_token() {
        for temperature in [0.0, 1.0] {
            let mut sampler = Sampler::new(&GenerationSpec {
                temperature,
                ..spec()
            })
            .unwrap();
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let error = sampler.sample(&mut [0.0, 1.0, value], &[]).unwrap_err();
                assert!(matches!(error, SamplerError::NonFinite { id: 2, .. }));
            }
            assert_eq!(sampler.sample(&mut [], &[]), Err(SamplerError::NoLogits));
        }
    }

    #[test]
    fn settings_outside_their_range_are_refused_by_name() {
        let refused = |change: fn(&mut GenerationSpec)| {
            let mut spec = spec();
            change(&mut spec);
            match Sampler::new(&spec) {
                Err(SamplerError::Setting { name, .. }) => name,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(|spec| spec.temperature = -0.1), "temperature");
        assert_eq!(refused(|spec| spec.temperature = f64::NAN), "temperature");
        assert_eq!(
            refused(|spec| spec.temperature = f64::INFINITY),
            "temperature"
        );
        assert_eq!(refused(|spec| spec.top_p = 0.0), "top_p");
        assert_eq!(refused(|spec| spec.top_p = 1.01), "top_p");
        assert_eq!(
            refused(|spec| spec.repetition_penalty = 0.0),
            "repetition_penalty"
        );
    }

    proptest! {
        #[test]
        fn any_finite_logits_give_a_token_that_exists(
            mut logits in prop::collection::vec(-3e38f32..3e38, 1..40),
            history in prop::collection::vec(0u32..60, 0..20),
            temperature in prop_oneof![Just(0.0), Just(f64::MIN_POSITIVE), 0.01..1e9],
            top_k in 0usize..50,
            top_p in prop_oneof![Just(f64::MIN_POSITIVE), 0.01..=1.0],
            repetition_penalty in 0.01..100.0,
            seed: u64,
        ) {
            let spec = GenerationSpec { temperature, top_k, top_p, repetition_penalty, seed, ..spec() };
            let token = Sampler::new(&spec).unwrap().sample(&mut logits, &history).unwrap();
            prop_assert!((token as usize) < logits.len());
        }
    }
}
