//! The quantities of a run that can be drawn.

use crate::state::format::{loss, rate, small};
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

    fn points(self, run: &Run) -> Vec<Point> {
        let value = |step: &engine::protocol::StepMetrics| match self {
            Self::Loss => step.loss,
            Self::LearningRate => step.learning_rate,
            Self::GradientNorm => step.grad_norm,
            Self::Speed => step.tokens_per_sec,
        };
        run.steps
            .iter()
            .map(|step| (step.step as f64, value(step)))
            .collect()
    }
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
        let points = smooth(&raw, SMOOTHING);
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

/// The step at an index in words.
pub fn describe(run: &Run, index: usize) -> Option<String> {
    let step = run.steps.get(index)?;
    let mut parts = vec![
        format!("Step {}", step.step),
        format!("training {}", loss(step.loss)),
    ];
    if let Some(evaluation) = run
        .evaluations
        .iter()
        .find(|evaluation| evaluation.step == step.step)
    {
        parts.push(format!("validation {}", loss(evaluation.loss)));
    }
    parts.push(format!("rate {}", small(step.learning_rate)));
    parts.push(format!("gradient {}", rate(step.grad_norm)));
    parts.push(format!("{} tokens/s", rate(step.tokens_per_sec)));
    Some(parts.join(" · "))
}

#[cfg(test)]
mod tests {
    use engine::protocol::{EvaluationMetrics, RunId, RunSpec, StepMetrics};

    use super::*;

    fn run(num_steps: u64) -> Run {
        let mut run = Run::new(RunId(1), RunSpec::default());
        for step in 1..=num_steps {
            run.step(StepMetrics {
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
            });
        }
        let metrics = EvaluationMetrics {
            step: 0,
            loss: 3.5,
            scored_tokens: 1,
            is_best: true,
            elapsed_millis: 1.0,
        };
        run.evaluated(metrics);
        run.evaluated(EvaluationMetrics {
            step: 2,
            loss: 2.5,
            ..metrics
        });
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
}
