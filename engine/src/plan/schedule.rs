//! The learning rate of every optimizer step, as in `transformers.get_scheduler`.
//!
//! With `w` warm-up steps of `n`, after `k` finished steps the rate is the set one times
//!
//! ```text
//! k < w      k / w
//! linear     (n - k) / (n - w)
//! cosine     (1 + cos(pi (k - w) / (n - w))) / 2
//! constant   1                                        (transformers' `constant_with_warmup`)
//! ```
//!
//! Golden rates of transformers are in the tests.

use std::f64::consts::PI;

use protocol::{LrSchedulerType, RunSpec};

/// A linear warm-up from 0, then the chosen decay over the rest of the run.
///
/// As in transformers, the first step of a run with a warm-up has rate 0, and the last step of a decaying schedule is
/// one step short of 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// How the rate falls after the warm-up.
    kind: LrSchedulerType,
    /// The rate at the end of the warm-up.
    learning_rate: f64,
    num_warmup_steps: u64,
    num_steps: u64,
}

impl Schedule {
    /// Makes the schedule of a run of `num_steps` optimizer steps.
    pub fn new(spec: &RunSpec, num_steps: u64) -> Self {
        Self {
            kind: spec.lr_scheduler_type,
            learning_rate: spec.learning_rate,
            num_warmup_steps: num_warmup_steps(spec.warmup_ratio, num_steps),
            num_steps,
        }
    }

    /// Returns the number of steps over which the rate rises; at most all of them, if the ratio is at most 1.
    pub fn num_warmup_steps(&self) -> u64 {
        self.num_warmup_steps
    }

    /// Returns the rate that optimizer step `step` uses, counted from 1. Beyond the end it is never negative.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        self.learning_rate * self.factor(step.saturating_sub(1))
    }

    /// Returns `lr_lambda` of transformers after `done` finished steps.
    fn factor(&self, done: u64) -> f64 {
        if done < self.num_warmup_steps {
            return done as f64 / self.num_warmup_steps as f64;
        }
        let falling_steps = self.num_steps.saturating_sub(self.num_warmup_steps).max(1) as f64;
        match self.kind {
            LrSchedulerType::Constant => 1.0,
            LrSchedulerType::Linear => self.num_steps.saturating_sub(done) as f64 / falling_steps,
            LrSchedulerType::Cosine => {
                let progress = (done - self.num_warmup_steps) as f64 / falling_steps;
                (0.5 * (1.0 + (PI * progress).cos())).max(0.0)
            }
        }
    }
}

/// Returns the warm-up's share of the steps, rounded up, as `TrainingArguments.get_warmup_steps` does.
pub fn num_warmup_steps(warmup_ratio: f64, num_steps: u64) -> u64 {
    (warmup_ratio * num_steps as f64).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates of `get_scheduler` (transformers 5.23) with lr 1e-3: steps, warm-up ratio, rate of each step.
    type Golden = (u64, f64, &'static [f64]);

    const COSINE: [Golden; 4] = [
        (
            10,
            0.05,
            &[
                0.0,
                0.001,
                0.0009698463103929542,
                0.000883022221559489,
                0.00075,
                0.0005868240888334653,
                0.00041317591116653486,
                0.0002500000000000001,
                0.00011697777844051105,
                3.0153689607045842e-05,
            ],
        ),
        (
            7,
            0.3,
            &[
                0.0,
                0.0003333333333333333,
                0.0006666666666666666,
                0.001,
                0.0008535533905932737,
                0.0005,
                0.00014644660940672628,
            ],
        ),
        (3, 1.0, &[0.0, 0.0003333333333333333, 0.0006666666666666666]),
        (
            5,
            0.0,
            &[
                0.001,
                0.0009045084971874737,
                0.0006545084971874737,
                0.00034549150281252633,
                9.549150281252633e-05,
            ],
        ),
    ];

    const LINEAR: [Golden; 4] = [
        (
            10,
            0.05,
            &[
                0.0,
                0.001,
                0.0008888888888888888,
                0.0007777777777777778,
                0.0006666666666666666,
                0.0005555555555555556,
                0.0004444444444444444,
                0.0003333333333333333,
                0.0002222222222222222,
                0.0001111111111111111,
            ],
        ),
        (
            7,
            0.3,
            &[
                0.0,
                0.0003333333333333333,
                0.0006666666666666666,
                0.001,
                0.00075,
                0.0005,
                0.00025,
            ],
        ),
        (5, 0.0, &[0.001, 0.0008, 0.0006, 0.0004, 0.0002]),
        (1, 0.1, &[0.0]),
    ];

    const CONSTANT: [Golden; 2] = [
        (
            7,
            0.3,
            &[
                0.0,
                0.0003333333333333333,
                0.0006666666666666666,
                0.001,
                0.001,
                0.001,
                0.001,
            ],
        ),
        (3, 0.0, &[0.001, 0.001, 0.001]),
    ];

    fn check(kind: LrSchedulerType, goldens: &[Golden]) {
        for (num_steps, warmup_ratio, rates) in goldens {
            let spec = RunSpec {
                lr_scheduler_type: kind,
                warmup_ratio: *warmup_ratio,
                ..RunSpec::default()
            };
            let schedule = Schedule::new(&spec, *num_steps);
            assert_eq!(rates.len() as u64, *num_steps);
            for (step, expected) in (1..).zip(*rates) {
                let actual = schedule.learning_rate_at(step);
                assert!(
                    (actual - expected).abs() < 1e-15,
                    "{kind:?}, {num_steps} steps, warm-up {warmup_ratio}: step {step} has {actual}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn rates_equal_transformers() {
        check(LrSchedulerType::Cosine, &COSINE);
        check(LrSchedulerType::Linear, &LINEAR);
        check(LrSchedulerType::Constant, &CONSTANT);
    }

    #[test]
    fn a_rate_beyond_the_run_is_never_negative() {
        for kind in [LrSchedulerType::Cosine, LrSchedulerType::Linear] {
            let spec = RunSpec {
                lr_scheduler_type: kind,
                ..RunSpec::default()
            };
            for step in 0..40 {
                assert!(Schedule::new(&spec, 9).learning_rate_at(step) >= 0.0);
            }
        }
    }
}
