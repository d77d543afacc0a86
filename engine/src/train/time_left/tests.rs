use protocol::RunSpec;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::*;
use crate::data::{Batch, BatchSchedule, TokenSequence};

/// What the parts of a run take on some device, in milliseconds.
#[derive(Clone, Copy)]
struct Machine {
    per_step: f64,
    per_token: f64,
    /// Of attention: for the tokens of a batch times those of its longest row.
    per_pair: f64,
    /// By how much a step's duration differs from another one with the same batch, as a share.
    noise: f64,
    compilation: f64,
    /// A step is held up this often, ...
    hiccup_every: u64,
    /// ... and then takes so many times as long.
    hiccup: f64,
    evaluation: f64,
}

const SLOW: Machine = Machine {
    per_step: 40.0,
    per_token: 4.0,
    per_pair: 0.002,
    noise: 0.2,
    compilation: 5_000.0,
    hiccup_every: 97,
    hiccup: 8.0,
    evaluation: 9_000.0,
};

/// A small model, whose steps take about as long however long the batch is.
const FAST: Machine = Machine {
    per_step: 0.3,
    per_token: 0.0005,
    per_pair: 0.0,
    noise: 0.5,
    compilation: 20.0,
    hiccup_every: 397,
    hiccup: 30.0,
    evaluation: 4.0,
};

struct Chance(ChaCha8Rng);

impl Chance {
    /// Uniform in `[0, 1)`.
    fn share(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / 2f64.powi(32)
    }
}

/// Rows from 8 to 500 tokens, of which most are short.
fn rows(chance: &mut Chance, num_rows: usize) -> Vec<TokenSequence> {
    let row = |row| {
        let len = 8 + (492.0 * chance.share().powi(3)) as usize;
        TokenSequence {
            row,
            ids: vec![1; len],
            loss_mask: vec![true; len],
        }
    };
    (0..num_rows).map(row).collect()
}

/// The largest errors of a run's estimates after its tenth step.
struct Errors {
    /// By which share two successive estimates differ, beyond the time that passed between them.
    jump: f64,
    /// By which share the estimate is off, while a fifth of the run is left.
    off: f64,
    /// How often a later estimate was higher.
    rises: usize,
}

/// Goes through a run on that machine, whose clock is computed, and compares what is told with what then comes.
fn errors(machine: Machine, spec: &RunSpec, num_steps: u64, chance: &mut Chance) -> Errors {
    let rows = rows(chance, 240);
    let mut batches = BatchSchedule::new(&rows, spec);
    let eval_steps = num_steps.div_ceil(10);
    let (mut now, mut time_left) = (0.0, TimeLeft::default());
    now += machine.evaluation;
    time_left.evaluated(0, machine.evaluation);
    // When each estimate was made, and what it was.
    let mut told = Vec::new();
    for step in 1..=num_steps {
        let batch = batches.next_step();
        let tokens: usize = batch.iter().map(Batch::num_padded).sum();
        let pairs: usize = batch.iter().map(|batch| batch.num_padded() * batch.t).sum();
        let mut millis =
            machine.per_step + machine.per_token * tokens as f64 + machine.per_pair * pairs as f64;
        millis *= 1.0 + machine.noise * (2.0 * chance.share() - 1.0);
        if step == 1 {
            millis += machine.compilation;
        }
        if step % machine.hiccup_every == 0 {
            millis *= machine.hiccup;
        }
        now += millis;
        time_left.stepped(step, tokens as f64, millis);
        let ahead = Ahead {
            steps: num_steps - step,
            tokens: batches.tokens_ahead(num_steps - step),
            evaluations: num_steps.div_ceil(eval_steps) - (step - 1) / eval_steps,
        };
        let secs = time_left.secs(ahead, now);
        assert_eq!(
            secs.is_none(),
            step == 1,
            "only the first step says nothing"
        );
        if step > 10 {
            told.push((now, 1000.0 * secs.unwrap()));
        }
        if step % eval_steps == 0 || step == num_steps {
            now += machine.evaluation;
            time_left.evaluated(step, machine.evaluation);
        }
    }
    let first_left = now - told[0].0;
    let mut errors = Errors {
        jump: 0.0,
        off: 0.0,
        rises: 0,
    };
    for &(then, left) in &told {
        if now - then > 0.2 * first_left {
            errors.off = errors.off.max((left - (now - then)).abs() / (now - then));
        }
    }
    for pair in told.windows(2) {
        let [(before, earlier), (then, later)] = [pair[0], pair[1]];
        let expected = (earlier - (then - before)).max(0.0);
        if now - then > 0.05 * first_left {
            errors.jump = errors.jump.max((later - expected).abs() / earlier);
        }
        errors.rises += usize::from(later > earlier);
    }
    errors
}

fn specs() -> Vec<(&'static str, RunSpec)> {
    let spec = |packing, group_by_length| {
        let mut spec = RunSpec {
            packing,
            group_by_length,
            ..RunSpec::default()
        };
        spec.data.max_seq_length = 512;
        spec
    };
    vec![
        ("shuffled", spec(false, false)),
        ("grouped by length", spec(false, true)),
        ("packed", spec(true, false)),
    ]
}

#[test]
fn what_is_told_falls_steadily_and_is_about_right() {
    let seed = std::env::var("INLAY_TEST_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in seed..seed + 10 {
        println!("INLAY_TEST_SEED={seed}");
        let mut chance = Chance(ChaCha8Rng::seed_from_u64(seed));
        for (machine, name, num_steps) in [(SLOW, "slow", 150), (FAST, "fast", 20_000)] {
            for (order, spec) in specs() {
                let Errors { jump, off, rises } = errors(machine, &spec, num_steps, &mut chance);
                println!(
                    "{name}, {order}: jumps by {:.1}%, off by {:.0}%, {rises} rises",
                    100.0 * jump,
                    100.0 * off
                );
                assert!(jump < 0.1, "{name}, {order}: a jump by {jump}");
                assert!(off < 0.35, "{name}, {order}: off by {off}");
                assert!(rises <= 3, "{name}, {order}: {rises} rises");
            }
        }
    }
}

#[test]
fn the_last_step_leaves_the_last_evaluation() {
    let mut time_left = TimeLeft::default();
    for step in 1..=20 {
        time_left.stepped(step, 100.0, 50.0);
        let ahead = Ahead {
            steps: 20 - step,
            tokens: 100.0 * (20 - step) as f64,
            evaluations: 1,
        };
        time_left.evaluated(0, 700.0);
        let secs = time_left.secs(ahead, 50.0 * step as f64);
        if let Some(secs) = secs {
            let expected = 0.05 * (20 - step) as f64 + 0.7;
            assert!((secs - expected).abs() < 1e-6, "{secs} for {expected}");
        }
    }
}

#[test]
fn a_lasting_change_is_followed() {
    let mut time_left = TimeLeft::default();
    let mut now = 0.0;
    let mut secs = None;
    for step in 1..=300 {
        // From step 100 on, something else takes most of the machine.
        let millis = if step < 100 { 500.0 } else { 5_000.0 };
        now += millis;
        time_left.stepped(step, 100.0, millis);
        let steps = 1000 - step;
        let ahead = Ahead {
            steps,
            tokens: 100.0 * steps as f64,
            evaluations: 0,
        };
        secs = time_left.secs(ahead, now);
    }
    let expected = 5.0 * 700.0;
    assert!(
        secs.is_some_and(|secs| (secs - expected).abs() < 0.15 * expected),
        "{secs:?}"
    );
}
