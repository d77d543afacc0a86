//! The remaining time of a run: an estimate that falls steadily while the run goes on as it did.
//!
//! Batches differ in length, so a step's duration is taken as a part for the step itself and a part for each of its
//! tokens (with padding); a straight line through the recent steps gives both. The tokens of the remaining steps are
//! known ([`BatchSchedule::tokens_ahead`](crate::data::BatchSchedule::tokens_ahead)), and evaluations are added by
//! their mean duration. What is told follows the estimate slowly, and a small rise is not told at all, so that the page
//! does not flip between "59 s" and "1 min".
//!
//! ```text
//! estimate = per_step * steps + per_token * tokens + per_evaluation * evaluations
//! followed = (followed - passed) + share * (estimate - (followed - passed)),   share = min(passed / 3 s, 0.1)
//! told     = followed, unless that is a small rise over what was told last
//! ```

/// Half a minute of steps counts, ...
const MEMORY_MILLIS: f64 = 30_000.0;
/// ... but at least about so many steps.
const MEMORY_STEPS: f64 = 50.0;
/// From this step on, what is told follows slowly. The first ones are told as they are estimated.
const FIRST_STEPS: u64 = 10;
/// How long what is told takes to follow the estimate, ...
const FOLLOWING_MILLIS: f64 = 3_000.0;
/// ... and the largest share of the difference that it follows in one step.
const MAX_SHARE: f64 = 0.1;
/// A rise by less than this share, ...
const SMALL_RISE: f64 = 0.1;
/// ... or by less than this, is not told.
const SMALL_RISE_MILLIS: f64 = 1_000.0;
/// A single step that takes longer than expected by more than this factor counts as if it took this much: it was held
/// up by something else. If the steps stay that slow, the expectation follows within a few of them.
const MAX_FACTOR: f64 = 3.0;
/// The first steps say what to expect.
const EXPECTING_STEPS: u64 = 5;

/// The time that a run's parts took, and what was told last. Its memory does not grow with the run.
#[derive(Debug, Default)]
pub struct TimeLeft {
    /// The duration of a step in milliseconds over its tokens.
    steps: Line,
    /// Without the first one, which compiles and does not count.
    num_steps: u64,
    /// Evaluations in milliseconds, without the base's.
    evaluations: Mean,
    /// The base's evaluation, which stands in until there is another one.
    of_base: Option<f64>,
    /// The followed estimate, and the time at which it held, both in milliseconds.
    followed: Option<(f64, f64)>,
    /// What was told last, in milliseconds.
    told: Option<f64>,
}

/// What is still to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ahead {
    /// Optimizer steps.
    pub steps: u64,
    /// The tokens of these steps, with padding.
    pub tokens: f64,
    /// Evaluations, the last one included.
    pub evaluations: u64,
}

impl TimeLeft {
    /// Takes in that step `step`, counted from 1, took `millis` over `tokens` tokens, with padding. The first step does
    /// not count: it compiles the GPU's kernels.
    pub fn stepped(&mut self, step: u64, tokens: f64, millis: f64) {
        if step == 1 {
            return;
        }
        self.num_steps += 1;
        let expected = self.steps.at(tokens);
        let millis = match expected {
            Some(expected) if self.num_steps > EXPECTING_STEPS => millis.min(MAX_FACTOR * expected),
            _ => millis,
        };
        let keep = (-millis / MEMORY_MILLIS).exp();
        self.steps
            .add(tokens, millis, keep.max(1.0 - 1.0 / MEMORY_STEPS));
    }

    /// Takes in that the evaluation after a step took `millis`; step 0 is the base's.
    pub fn evaluated(&mut self, step: u64, millis: f64) {
        if step == 0 {
            self.of_base = Some(millis);
        } else {
            self.evaluations.add(millis);
        }
    }

    /// Returns the remaining seconds after a step, never negative; `None` until a step counts.
    ///
    /// `now_millis` is on the clock of the durations, which stands still in pauses.
    pub fn secs(&mut self, ahead: Ahead, now_millis: f64) -> Option<f64> {
        let (per_step, per_token) = self.steps.coefficients()?;
        let per_evaluation = self.evaluations.value().or(self.of_base).unwrap_or(0.0);
        let estimate = per_step * ahead.steps as f64
            + per_token * ahead.tokens
            + per_evaluation * ahead.evaluations as f64;
        let followed = match self.followed {
            Some((followed, then)) if self.num_steps > FIRST_STEPS => {
                let passed = now_millis - then;
                let expected = (followed - passed).max(0.0);
                let share = (passed / FOLLOWING_MILLIS).clamp(0.0, MAX_SHARE);
                expected + share * (estimate - expected)
            }
            _ => estimate,
        };
        self.followed = Some((followed, now_millis));
        let told = match self.told {
            Some(told) if followed > told && followed - told < small_rise(told) => told,
            _ => followed,
        };
        self.told = Some(told);
        Some(told / 1000.0)
    }
}

/// Returns how far the time may rise over `told` without being told, in milliseconds.
fn small_rise(told: f64) -> f64 {
    (SMALL_RISE * told).max(SMALL_RISE_MILLIS)
}

/// A running mean.
#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1.0;
    }

    fn value(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

/// The line of least squares through points whose weight fades, as five running sums.
///
/// With weights `w`, the slope is `(W Sxy - Sx Sy) / (W Sxx - Sx^2)` and the height at 0 is `(Sy - slope Sx) / W`.
#[derive(Debug, Default)]
struct Line {
    /// `W`, the sum of the weights.
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Line {
    /// Adds a point; the earlier ones keep this share of their weight.
    fn add(&mut self, x: f64, y: f64, keep: f64) {
        let sums = [
            (&mut self.weight, 1.0),
            (&mut self.x, x),
            (&mut self.y, y),
            (&mut self.xx, x * x),
            (&mut self.xy, x * y),
        ];
        for (sum, added) in sums {
            *sum = *sum * keep + added;
        }
    }

    /// Returns the height at 0 and the slope, neither below 0: no step and no token takes negative time. The line
    /// always goes through the center of the points. `None` without points.
    ///
    /// Where the least squares would give a negative height, the line goes through the origin; where they would give a
    /// negative slope, it is level. Points that hardly differ in `x` say nothing of the slope: then, too, it goes
    /// through the origin.
    fn coefficients(&self) -> Option<(f64, f64)> {
        if self.weight <= 0.0 {
            return None;
        }
        let proportional = (0.0, self.y / self.x.max(1.0));
        let spread = self.weight * self.xx - self.x * self.x;
        if spread <= 1e-4 * self.x * self.x {
            return Some(proportional);
        }
        let slope = (self.weight * self.xy - self.x * self.y) / spread;
        if slope <= 0.0 {
            return Some((self.y / self.weight, 0.0));
        }
        let height = (self.y - slope * self.x) / self.weight;
        Some(if height < 0.0 {
            proportional
        } else {
            (height, slope)
        })
    }

    /// Returns the height of the line at `x`; `None` without points.
    fn at(&self, x: f64) -> Option<f64> {
        let (height, slope) = self.coefficients()?;
        Some(height + slope * x)
    }
}

#[cfg(test)]
mod tests;
