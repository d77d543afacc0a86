//! The course of a run, thinned so that a run of any length takes a fixed amount of memory. The page's charts and the
//! exported log are made from the same thinned course.
//!
//! The rule for steps: the first [`MAX_SPANS`] steps are kept one by one. Whenever there would be more, neighbors are
//! merged in pairs, so that every [`StepSpan`] covers 2, 4, 8, ... steps. Token counts and durations of a span are sums;
//! the loss is the mean per scored token and the gradient norm the mean per step; the lowest and highest loss and the
//! highest gradient norm are kept, so that no peak is lost; the other numbers are those of the span's last step. Totals
//! over the whole run are counted as the steps come, so they stay exact.
//!
//! The rule for evaluations: the first [`MAX_STRETCHES`] after the base's are kept one by one. Whenever there would be
//! more, neighbors are merged in pairs, of which the evaluations with the lowest and the highest loss are kept. The
//! base's, the best and the latest evaluation are always kept.

use serde::{Deserialize, Serialize};

use super::{EvaluationMetrics, StepMetrics};

/// The number of spans kept of the steps of a run; even, since they are merged in pairs.
pub const MAX_SPANS: usize = 4096;
/// The number of stretches kept of the evaluations of a run, each of at most two evaluations; even.
pub const MAX_STRETCHES: usize = 1024;

/// Consecutive optimizer steps in one; see the module for how each number is made. Losses as in [`StepMetrics`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepSpan {
    pub first_step: u64,
    /// The last step.
    pub step: u64,
    /// The number of steps of the whole run.
    pub num_steps: u64,
    pub epoch: f64,
    pub loss: f64,
    pub loss_min: f64,
    pub loss_max: f64,
    pub learning_rate: f64,
    pub grad_norm: f64,
    pub grad_norm_max: f64,
    pub num_tokens: u64,
    pub scored_tokens: u64,
    pub tokens_per_sec: f64,
    pub elapsed_millis: f64,
    pub device_memory_bytes: Option<u64>,
    pub remaining_secs: Option<f64>,
}

impl From<StepMetrics> for StepSpan {
    fn from(step: StepMetrics) -> Self {
        Self {
            first_step: step.step,
            step: step.step,
            num_steps: step.num_steps,
            epoch: step.epoch,
            loss: step.loss,
            loss_min: step.loss,
            loss_max: step.loss,
            learning_rate: step.learning_rate,
            grad_norm: step.grad_norm,
            grad_norm_max: step.grad_norm,
            num_tokens: step.num_tokens,
            scored_tokens: step.scored_tokens,
            tokens_per_sec: step.tokens_per_sec,
            elapsed_millis: step.elapsed_millis,
            device_memory_bytes: step.device_memory_bytes,
            remaining_secs: step.remaining_secs,
        }
    }
}

impl StepSpan {
    /// The number of steps in it.
    pub fn count(&self) -> u64 {
        self.step + 1 - self.first_step
    }

    /// The step, if it covers only one.
    pub fn single(&self) -> Option<StepMetrics> {
        (self.first_step == self.step).then_some(StepMetrics {
            step: self.step,
            num_steps: self.num_steps,
            epoch: self.epoch,
            loss: self.loss,
            learning_rate: self.learning_rate,
            grad_norm: self.grad_norm,
            num_tokens: self.num_tokens,
            scored_tokens: self.scored_tokens,
            tokens_per_sec: self.tokens_per_sec,
            elapsed_millis: self.elapsed_millis,
            device_memory_bytes: self.device_memory_bytes,
            remaining_secs: self.remaining_secs,
        })
    }

    /// Both in one; `later` follows at once.
    fn with(&self, later: &Self) -> Self {
        let scored_tokens = self.scored_tokens + later.scored_tokens;
        let (steps, num_tokens) = (
            self.count() + later.count(),
            self.num_tokens + later.num_tokens,
        );
        let elapsed_millis = self.elapsed_millis + later.elapsed_millis;
        Self {
            first_step: self.first_step,
            loss: mean(
                (self.loss, self.scored_tokens as f64),
                (later.loss, later.scored_tokens as f64),
                scored_tokens as f64,
            ),
            loss_min: self.loss_min.min(later.loss_min),
            loss_max: self.loss_max.max(later.loss_max),
            grad_norm: mean(
                (self.grad_norm, self.count() as f64),
                (later.grad_norm, later.count() as f64),
                steps as f64,
            ),
            grad_norm_max: self.grad_norm_max.max(later.grad_norm_max),
            num_tokens,
            scored_tokens,
            tokens_per_sec: num_tokens as f64 / (elapsed_millis / 1000.0).max(1e-9),
            elapsed_millis,
            ..*later
        }
    }
}

/// The mean of two values with their weights, which add up to `weight`.
fn mean(one: (f64, f64), other: (f64, f64), weight: f64) -> f64 {
    (one.0 * one.1 + other.0 * other.1) / weight.max(1.0)
}

/// The steps of a run, thinned; see the module.
#[derive(Debug, Clone, PartialEq)]
pub struct StepHistory {
    spans: Vec<StepSpan>,
    steps_per_span: u64,
    latest: Option<StepMetrics>,
    num_steps: u64,
    num_tokens: u64,
    elapsed_millis: f64,
    first_millis: f64,
}

impl Default for StepHistory {
    fn default() -> Self {
        Self {
            spans: Vec::new(),
            steps_per_span: 1,
            latest: None,
            num_steps: 0,
            num_tokens: 0,
            elapsed_millis: 0.0,
            first_millis: 0.0,
        }
    }
}

impl StepHistory {
    /// Adds the next step. A step that is already known changes nothing.
    pub fn push(&mut self, step: StepMetrics) {
        if self.latest.is_some_and(|latest| latest.step >= step.step) {
            return;
        }
        if self.num_steps == 0 {
            self.first_millis = step.elapsed_millis;
        }
        self.latest = Some(step);
        self.num_steps += 1;
        self.num_tokens += step.num_tokens;
        self.elapsed_millis += step.elapsed_millis;
        let span = StepSpan::from(step);
        match self.spans.last_mut() {
            Some(last) if last.count() < self.steps_per_span => *last = last.with(&span),
            _ => {
                if self.spans.len() == MAX_SPANS {
                    halve(&mut self.spans, StepSpan::with);
                    self.steps_per_span *= 2;
                }
                self.spans.push(span);
            }
        }
    }

    /// Ascending, without gaps.
    pub fn spans(&self) -> &[StepSpan] {
        &self.spans
    }

    /// The number of steps that a span covers; the last one may cover fewer.
    pub fn steps_per_span(&self) -> u64 {
        self.steps_per_span
    }

    /// The last step.
    pub fn latest(&self) -> Option<&StepMetrics> {
        self.latest.as_ref()
    }

    /// The number of steps, whatever is kept of them.
    pub fn num_steps(&self) -> u64 {
        self.num_steps
    }

    /// The mean speed over all steps.
    pub fn tokens_per_sec(&self) -> Option<f64> {
        let secs = self.elapsed_millis / 1000.0;
        (secs > 0.0).then(|| self.num_tokens as f64 / secs)
    }

    /// The mean duration of a step. The first one may include compilation and counts only where there is no other.
    pub fn mean_millis(&self) -> Option<f64> {
        match self.num_steps {
            0 => None,
            1 => Some(self.first_millis),
            steps => Some((self.elapsed_millis - self.first_millis) / (steps - 1) as f64),
        }
    }

    /// Whether a step changed the adapter: a rate of 0, as at the start of a warm-up, does not.
    pub fn has_learned(&self) -> bool {
        self.spans.iter().any(|span| span.learning_rate > 0.0)
    }
}

impl FromIterator<StepMetrics> for StepHistory {
    fn from_iter<T: IntoIterator<Item = StepMetrics>>(steps: T) -> Self {
        let mut history = Self::default();
        steps.into_iter().for_each(|step| history.push(step));
        history
    }
}

/// Merges neighbors in pairs, in place.
fn halve<T: Copy>(kept: &mut Vec<T>, merged: impl Fn(&T, &T) -> T) {
    let half = kept.len() / 2;
    for index in 0..half {
        kept[index] = merged(&kept[2 * index], &kept[2 * index + 1]);
    }
    kept.truncate(half);
}

/// Consecutive evaluations, of which two are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    lowest: EvaluationMetrics,
    highest: EvaluationMetrics,
    len: u64,
}

impl Stretch {
    /// Both in one; of equal losses the earlier one stays.
    fn with(&self, later: &Self) -> Self {
        let is_lower = later.lowest.loss < self.lowest.loss;
        let is_higher = later.highest.loss > self.highest.loss;
        Self {
            lowest: if is_lower { later.lowest } else { self.lowest },
            highest: if is_higher {
                later.highest
            } else {
                self.highest
            },
            len: self.len + later.len,
        }
    }

    /// What is kept of it, ascending.
    fn kept(&self) -> impl Iterator<Item = EvaluationMetrics> + use<> {
        let (lowest, highest) = (self.lowest, self.highest);
        let (first, second) = if lowest.step <= highest.step {
            (lowest, highest)
        } else {
            (highest, lowest)
        };
        [first]
            .into_iter()
            .chain((second.step > first.step).then_some(second))
    }
}

/// The evaluations of a run, thinned; see the module.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationHistory {
    base: Option<EvaluationMetrics>,
    stretches: Vec<Stretch>,
    evaluations_per_stretch: u64,
    latest: Option<EvaluationMetrics>,
}

impl Default for EvaluationHistory {
    fn default() -> Self {
        Self {
            base: None,
            stretches: Vec::new(),
            evaluations_per_stretch: 1,
            latest: None,
        }
    }
}

impl EvaluationHistory {
    /// Adds the next evaluation. One of a step that is already known changes nothing.
    pub fn push(&mut self, evaluation: EvaluationMetrics) {
        let latest = self.latest.or(self.base);
        if latest.is_some_and(|latest| latest.step >= evaluation.step) {
            return;
        }
        if evaluation.step == 0 {
            self.base = Some(evaluation);
            return;
        }
        self.latest = Some(evaluation);
        let stretch = Stretch {
            lowest: evaluation,
            highest: evaluation,
            len: 1,
        };
        match self.stretches.last_mut() {
            Some(last) if last.len < self.evaluations_per_stretch => *last = last.with(&stretch),
            _ => {
                if self.stretches.len() == MAX_STRETCHES {
                    halve(&mut self.stretches, Stretch::with);
                    self.evaluations_per_stretch *= 2;
                }
                self.stretches.push(stretch);
            }
        }
    }

    /// All that are kept, ascending; step 0 is the base.
    pub fn iter(&self) -> impl Iterator<Item = EvaluationMetrics> {
        let kept = self.stretches.iter().flat_map(Stretch::kept);
        // The latest one may be neither the lowest nor the highest of its stretch.
        let last = self.stretches.last();
        let last = last.map(|last| last.lowest.step.max(last.highest.step));
        let latest = self.latest.filter(|latest| Some(latest.step) > last);
        self.base.into_iter().chain(kept).chain(latest)
    }

    /// Of how many evaluations two are kept; 1 if all are.
    pub fn evaluations_per_stretch(&self) -> u64 {
        self.evaluations_per_stretch
    }

    /// The evaluation of the base.
    pub fn base(&self) -> Option<&EvaluationMetrics> {
        self.base.as_ref()
    }

    /// The last one after a step.
    pub fn latest(&self) -> Option<&EvaluationMetrics> {
        self.latest.as_ref()
    }

    /// The first one with the lowest loss after a step.
    pub fn best(&self) -> Option<EvaluationMetrics> {
        let lowest = self.stretches.iter().map(|stretch| stretch.lowest);
        lowest.min_by(|one, other| one.loss.total_cmp(&other.loss))
    }

    /// The one after that step, if it is kept.
    pub fn after(&self, step: u64) -> Option<EvaluationMetrics> {
        self.iter().find(|evaluation| evaluation.step == step)
    }
}

impl FromIterator<EvaluationMetrics> for EvaluationHistory {
    fn from_iter<T: IntoIterator<Item = EvaluationMetrics>>(evaluations: T) -> Self {
        let mut history = Self::default();
        let evaluations = evaluations.into_iter();
        evaluations.for_each(|evaluation| history.push(evaluation));
        history
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step with numbers that differ from step to step.
    fn step(step: u64) -> StepMetrics {
        let wave = (step as f64 * 0.37).sin();
        StepMetrics {
            step,
            num_steps: 1_000_000,
            epoch: step as f64 / 100.0,
            loss: 2.0 + wave,
            learning_rate: 1e-3 / step as f64,
            grad_norm: 1.0 + 0.5 * wave,
            num_tokens: 10 + step % 7,
            scored_tokens: 5 + step % 3,
            tokens_per_sec: 100.0,
            elapsed_millis: 1.0 + (step % 4) as f64,
            device_memory_bytes: Some(step),
            remaining_secs: Some(1.0),
        }
    }

    fn evaluation(step: u64, loss: f64) -> EvaluationMetrics {
        EvaluationMetrics {
            step,
            loss,
            scored_tokens: 5,
            is_best: false,
            elapsed_millis: 1.0,
        }
    }

    #[test]
    fn up_to_the_limit_every_step_is_kept_as_it_is() {
        let history: StepHistory = (1..=MAX_SPANS as u64).map(step).collect();
        assert_eq!(history.steps_per_span(), 1);
        let kept: Vec<_> = history.spans().iter().map(StepSpan::single).collect();
        let expected: Vec<_> = (1..=MAX_SPANS as u64).map(step).map(Some).collect();
        assert_eq!(kept, expected);
    }

    /// Compares each span with the steps it covers, which are computed again here.
    #[test]
    fn a_long_run_keeps_spans_that_say_what_their_steps_were() {
        let num_steps = 250_000;
        let (lowest, highest) = (123_456, 200_001);
        let drawn = |number: u64| StepMetrics {
            loss: match number {
                _ if number == lowest => -7.0,
                _ if number == highest => 99.0,
                _ => step(number).loss,
            },
            ..step(number)
        };
        let history: StepHistory = (1..=num_steps).map(drawn).collect();
        assert_eq!(
            (history.num_steps(), history.steps_per_span()),
            (num_steps, 64)
        );
        assert!(history.spans().len() <= MAX_SPANS && history.spans().len() > MAX_SPANS / 2);
        assert_eq!(history.latest(), Some(&drawn(num_steps)));
        let mut next = 1;
        for span in history.spans() {
            assert_eq!(span.first_step, next);
            next = span.step + 1;
            let steps: Vec<StepMetrics> = (span.first_step..next).map(drawn).collect();
            let sum = |part: fn(&StepMetrics) -> f64| steps.iter().map(part).sum::<f64>();
            let scored = sum(|step| step.scored_tokens as f64);
            let loss = sum(|step| step.loss * step.scored_tokens as f64) / scored;
            let millis = sum(|step| step.elapsed_millis);
            assert!((span.loss - loss).abs() < 1e-9, "{span:?}");
            assert!((span.elapsed_millis - millis).abs() < 1e-6, "{span:?}");
            let norm = sum(|step| step.grad_norm) / steps.len() as f64;
            assert!((span.grad_norm - norm).abs() < 1e-9, "{span:?}");
            let tokens: u64 = steps.iter().map(|step| step.num_tokens).sum();
            assert_eq!(span.num_tokens, tokens);
            assert!((span.tokens_per_sec - tokens as f64 / millis * 1000.0).abs() < 1e-6);
            let losses = || steps.iter().map(|step| step.loss);
            assert_eq!(span.loss_min, losses().fold(f64::INFINITY, f64::min));
            assert_eq!(span.loss_max, losses().fold(f64::NEG_INFINITY, f64::max));
            assert_eq!(span.device_memory_bytes, Some(span.step));
        }
        assert_eq!(next, num_steps + 1);
        let low = history.spans().iter().find(|span| span.loss_min == -7.0);
        assert!(low.is_some_and(|span| (span.first_step..=span.step).contains(&lowest)));
        assert!(history.spans().iter().any(|span| span.loss_max == 99.0));

        let tokens: u64 = (1..=num_steps).map(|number| step(number).num_tokens).sum();
        let millis: f64 = (1..=num_steps)
            .map(|number| step(number).elapsed_millis)
            .sum();
        assert_eq!(
            history.tokens_per_sec(),
            Some(tokens as f64 / (millis / 1000.0))
        );
        let later = (millis - step(1).elapsed_millis) / (num_steps - 1) as f64;
        assert_eq!(history.mean_millis(), Some(later));
    }

    #[test]
    fn a_step_that_comes_twice_counts_once() {
        let mut history: StepHistory = (1..=5).map(step).collect();
        let before = history.clone();
        history.push(step(4));
        assert_eq!(history, before);
    }

    #[test]
    fn base_best_worst_and_latest_evaluation_are_kept_whatever_their_number() {
        let num_evaluations = 100_001;
        let (best, worst) = (77_777, 33_333);
        let loss = |step: u64| match step {
            0 => 3.0,
            _ if step == best => 0.5,
            _ if step == worst => 9.0,
            _ => 2.0 + (step as f64 * 0.37).sin() / 10.0,
        };
        let all = (0..=num_evaluations).map(|step| evaluation(step, loss(step)));
        let history: EvaluationHistory = all.collect();
        let kept: Vec<EvaluationMetrics> = history.iter().collect();
        assert!(kept.len() <= 2 * MAX_STRETCHES + 2, "{}", kept.len());
        assert!(kept.windows(2).all(|pair| pair[0].step < pair[1].step));
        for step in [0, best, worst, num_evaluations] {
            assert_eq!(history.after(step), Some(evaluation(step, loss(step))));
        }
        assert_eq!(history.base().map(|base| base.step), Some(0));
        assert_eq!(history.best().map(|best| best.step), Some(best));
        assert_eq!(
            history.latest().map(|latest| latest.step),
            Some(num_evaluations)
        );
        assert!(kept.iter().all(|kept| kept.loss == loss(kept.step)));
    }

    #[test]
    fn few_evaluations_are_all_kept_and_the_first_of_equals_is_the_best() {
        let losses = [3.0, 1.0, 2.0, 1.0];
        let history: EvaluationHistory = (0..).zip(losses).map(|(s, l)| evaluation(s, l)).collect();
        assert_eq!(history.evaluations_per_stretch(), 1);
        let kept: Vec<_> = history.iter().map(|kept| (kept.step, kept.loss)).collect();
        assert_eq!(kept, [(0, 3.0), (1, 1.0), (2, 2.0), (3, 1.0)]);
        assert_eq!(history.best().map(|best| best.step), Some(1));
    }
}
