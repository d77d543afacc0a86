use proptest::prelude::*;

use super::*;

fn spec() -> GenerationSpec {
    GenerationSpec {
        conversations: Vec::new(),
        as_text: false,
        max_new_tokens: 1,
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        repetition_penalty: 1.0,
        seed: 7,
    }
}

/// The distribution after HF's processors, written as they are: over the whole vocabulary, with masks.
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
fn frequencies(spec: &GenerationSpec, logits: &[f32], history: &[u32], count: usize) -> Vec<f64> {
    let mut sampler = Sampler::new(spec);
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
    let mut sampler = Sampler::new(&spec);
    assert_eq!(sampler.sample(&mut [0.0, 3.0, 3.0, -1.0], &[]), Ok(1));
    let penalized = GenerationSpec {
        repetition_penalty: 2.0,
        ..spec
    };
    let mut sampler = Sampler::new(&penalized);
    assert_eq!(sampler.sample(&mut [0.0, 3.0, 2.9, -1.0], &[1, 1]), Ok(2));
    assert_eq!(sampler.sample(&mut [-1.0, -1.5], &[0]), Ok(1));
}

#[test]
fn the_stream_is_the_same_from_one_seed_and_another_from_another() {
    let logits: Vec<f32> = (0..100).map(|id| (id as f32 * 0.37).sin()).collect();
    let draw = |seed| {
        let mut sampler = Sampler::new(&GenerationSpec { seed, ..spec() });
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
        });
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = sampler.sample(&mut [0.0, 1.0, value], &[]).unwrap_err();
            assert!(matches!(error, SamplerError::NonFinite { id: 2, .. }));
        }
        assert_eq!(sampler.sample(&mut [], &[]), Err(SamplerError::NoLogits));
    }
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
        let token = Sampler::new(&spec).sample(&mut logits, &history).unwrap();
        prop_assert!((token as usize) < logits.len());
    }
}
