//! The quantities of a run that can be drawn.

use protocol::StepSpan;

use crate::state::format::{count, loss, rate, small};
use crate::state::run::Run;

use super::picture::{Line, Stroke};
use super::series::{Point, smooth};

/// The share of the past that smoothing keeps.
const SMOOTHING: f64 = 0.9;
/// With fewer steps there is nothing to smooth.
const MIN_SMOOTHED: usize = 8;

/// What the chart shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    #[default]
    Loss,
    LearningRate,
    GradientNorm,
    Speed,
}

impl Metric {
    pub const ALL: [Self; 4] = [
        Self::Loss,
        Self::LearningRate,
        Self::GradientNorm,
        Self::Speed,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Loss => "Loss",
            Self::LearningRate => "Rate",
            Self::GradientNorm => "Gradient",
            Self::Speed => "Speed",
        }
    }

    /// The mean of each span.
    fn means(self, run: &Run) -> Vec<Point> {
        let value = |span: &StepSpan| match self {
            Self::Loss => span.loss,
            Self::LearningRate => span.learning_rate,
            Self::GradientNorm => span.grad_norm,
            Self::Speed => span.tokens_per_sec,
        };
        let spans = run.steps.spans().iter();
        spans.map(|span| (middle(span), value(span))).collect()
    }

    /// Each step; of a span of several the lowest and the highest, where both are known.
    fn points(self, run: &Run) -> Vec<Point> {
        let ends = |span: &StepSpan| match self {
            Self::Loss => Some((span.loss_min, span.loss_max)),
            Self::GradientNorm => Some((span.grad_norm, span.grad_norm_max)),
            Self::LearningRate | Self::Speed => None,
        };
        if run.steps.steps_per_span() == 1 {
            return self.means(run);
        }
        let points = self.means(run).into_iter().zip(run.steps.spans());
        let points = points.flat_map(|(mean, span)| match ends(span) {
            Some((low, high)) => vec![(mean.0, low), (mean.0, high)],
            None => vec![mean],
        });
        points.collect()
    }
}

/// Where a span is drawn.
pub fn middle(span: &StepSpan) -> f64 {
    (span.first_step + span.step) as f64 / 2.0
}

/// The lines of a run's chart, back to front.
pub fn lines(run: &Run, metric: Metric, is_smooth: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let raw = metric.points(run);
    let is_smooth = is_smooth && raw.len() >= MIN_SMOOTHED && metric != Metric::LearningRate;
    if metric == Metric::Loss
        && let Some(base) = run.base_validation_loss()
    {
        lines.push(Line {
            class: "of-base",
            stroke: Stroke::Level,
            points: vec![(0.0, base)],
        });
    }
    if is_smooth {
        let points = smooth(&metric.means(run), SMOOTHING);
        lines.push(Line {
            class: "of-training",
            stroke: Stroke::Faint,
            points: raw,
        });
        lines.push(Line {
            class: "of-training",
            stroke: Stroke::Solid,
            points,
        });
    } else {
        lines.push(Line {
            class: "of-training",
            stroke: Stroke::Solid,
            points: raw,
        });
    }
    if metric == Metric::Loss {
        let points = run
            .evaluations
            .iter()
            .map(|evaluation| (evaluation.step as f64, evaluation.loss))
            .collect();
        lines.push(Line {
            class: "of-validation",
            stroke: Stroke::Dotted,
            points,
        });
    }
    lines
}

/// The steps of a span, such as `65 to 128`.
pub fn steps_of(span: &StepSpan) -> String {
    match span.single() {
        Some(step) => step.step.to_string(),
        None => format!("{} to {}", count(span.first_step), count(span.step)),
    }
}

/// The last held-out loss measured within a span.
pub fn validation_of(run: &Run, span: &StepSpan) -> Option<f64> {
    let steps = span.first_step..=span.step;
    let within = run.evaluations.iter();
    let within = within.filter(|evaluation| steps.contains(&evaluation.step));
    within.last().map(|evaluation| evaluation.loss)
}

/// The step, or the span of steps, at an index in words.
pub fn describe(run: &Run, index: usize) -> Option<String> {
    let step = run.steps.spans().get(index)?;
    let mut parts = match step.single() {
        Some(_) => vec![
            format!("Step {}", step.step),
            format!("training {}", loss(step.loss)),
        ],
        None => vec![
            format!("Steps {}", steps_of(step)),
            format!(
                "training {} ({} to {})",
                loss(step.loss),
                loss(step.loss_min),
                loss(step.loss_max)
            ),
        ],
    };
    if let Some(validation) = validation_of(run, step) {
        parts.push(format!("validation {}", loss(validation)));
    }
    parts.push(format!("rate {}", small(step.learning_rate)));
    parts.push(format!("gradient {}", rate(step.grad_norm)));
    parts.push(format!("{} tokens/s", rate(step.tokens_per_sec)));
    Some(parts.join(" · "))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use protocol::{EvaluationMetrics, RunId, RunSpec, StepMetrics};

    use super::*;
    use crate::charts::picture::{Size, picture};

    const SIZE: Size = Size {
        width: 900.0,
        height: 280.0,
    };

    fn run(num_steps: u64) -> Run {
        let mut run = Run::new(RunId(1), RunSpec::default());
        for step in 1..=num_steps {
            let step = StepMetrics {
                step,
                num_steps,
                epoch: 0.0,
                loss: 3.0 / step as f64,
                learning_rate: 1e-3,
                grad_norm: 0.5,
                num_tokens: 1,
                scored_tokens: 1,
                tokens_per_sec: 123.4,
                elapsed_millis: 1.0,
                device_memory_bytes: None,
                remaining_secs: None,
            };
            run.stepped(vec![step]);
        }
        let metrics = EvaluationMetrics {
            step: 0,
            loss: 3.5,
            scored_tokens: 1,
            is_best: true,
            elapsed_millis: 1.0,
        };
        let later = EvaluationMetrics {
            step: 2,
            loss: 2.5,
            ..metrics
        };
        run.evaluated(vec![metrics, later]);
        run
    }

    #[test]
    fn loss_shows_base_training_and_validation() {
        let drawn = lines(&run(20), Metric::Loss, true);
        let strokes: Vec<_> = drawn.iter().map(|line| (line.class, line.stroke)).collect();
        let expected = [
            ("of-base", Stroke::Level),
            ("of-training", Stroke::Faint),
            ("of-training", Stroke::Solid),
            ("of-validation", Stroke::Dotted),
        ];
        assert_eq!(strokes, expected);
        assert_eq!(drawn[3].points, [(0.0, 3.5), (2.0, 2.5)]);
    }

    #[test]
    fn few_steps_are_not_smoothed() {
        assert_eq!(lines(&run(3), Metric::GradientNorm, true).len(), 1);
    }

    #[test]
    fn a_step_is_described_with_its_evaluation() {
        let run = run(3);
        let expected = "Step 2 · training 1.5000 · validation 2.5000 · rate 1.0e-3 · gradient 0.50 · 123 tokens/s";
        assert_eq!(describe(&run, 1).as_deref(), Some(expected));
        assert_eq!(describe(&run, 3), None);
    }

    /// What is drawn of 250,000 steps is no more than of 4,096, and no peak is lost.
    #[test]
    fn a_long_run_is_drawn_with_its_peaks_from_few_points() {
        let mut run = Run::new(RunId(1), RunSpec::default());
        let (low, high) = (100_001, 200_002);
        let step = |step: u64| StepMetrics {
            step,
            num_steps: 250_000,
            epoch: 0.0,
            loss: match step {
                _ if step == low => 0.25,
                _ if step == high => 77.0,
                _ => 3.0,
            },
            learning_rate: 1e-3,
            grad_norm: if step == high { 55.0 } else { 0.5 },
            num_tokens: 1,
            scored_tokens: 1,
            tokens_per_sec: 123.4,
            elapsed_millis: 1.0,
            device_memory_bytes: None,
            remaining_secs: None,
        };
        let mut secs = Vec::new();
        for first in (1..250_000).step_by(1_000) {
            run.stepped((first..first + 1_000).map(step).collect());
            let start = Instant::now();
            let drawn = lines(&run, Metric::Loss, true);
            assert!(picture(&drawn, SIZE, false).is_some());
            secs.push(start.elapsed().as_secs_f64());
        }
        // A frame late in the run takes as long as one early in it, when 4,000 steps are kept one by one.
        let (early, late) = (secs[3], secs[secs.len() / 2..].iter().copied());
        let late = late.fold(f64::INFINITY, f64::min);
        println!("a frame: {early:.5} s after 4,000 steps, {late:.5} s later");
        assert!(late < 4.0 * early, "{late} s, from {early} s");
        for metric in Metric::ALL {
            for line in lines(&run, metric, true) {
                assert!(line.points.len() <= 2 * 4096, "{}", line.points.len());
                assert!(line.points.is_sorted_by(|a, b| a.0 <= b.0), "x ascends");
            }
        }
        let raw = &lines(&run, Metric::Loss, true)[0].points;
        let near = |step: u64, value: f64| {
            let is_near = |point: &&Point| (point.0 - step as f64).abs() < 64.0;
            raw.iter().filter(is_near).any(|point| point.1 == value)
        };
        assert!(near(low, 0.25) && near(high, 77.0));
        let gradient = &lines(&run, Metric::GradientNorm, true)[0].points;
        assert!(gradient.iter().any(|point| point.1 == 55.0));
        let told = describe(&run, 1).unwrap();
        let expected = "Steps 65 to 128 · training 3.0000 (3.0000 to 3.0000) · rate";
        assert!(told.starts_with(expected), "{told}");
    }
}
