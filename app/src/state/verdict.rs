//! What a run's numbers mean, in plain words, and what to do about it.

use protocol::{FailureKind, RunOutcome, StepSpan};

use super::format::{counted, loss};
use super::run::Run;

/// A loss that fell by less than this share hardly changed.
const LITTLE: f64 = 0.03;
/// A loss that rose by more than this share is worse.
const WORSE: f64 = 0.01;
/// A loss that rose by more than this share from its lowest is past its best.
const PAST_BEST: f64 = 0.03;
/// A training loss that rose by no more than this share did not rise: batches differ.
const STEADY: f64 = 0.05;
/// The loss in nats below which there is hardly anything left to learn.
const KNOWN: f64 = 0.1;
/// The number of steps needed to judge by the training loss alone.
const MIN_STEPS: usize = 4;

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Learned,
    LearnedLittle,
    /// The model already knew the rows.
    LittleToLearn,
    /// The training rows improved and the held-out ones got worse, from the best step on.
    OverFitted,
    /// Both got worse from the best step on.
    Unsteady,
    GotWorse,
    /// The loss or a gradient was no longer finite.
    Diverged,
    /// They were not finite before the adapter had changed.
    NoNumbers,
    TooShort,
    /// Something else ended it, such as a lack of memory.
    EndedEarly,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Good,
    Fair,
    Bad,
}

/// A verdict in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub judgement: Judgement,
    pub headline: String,
    pub detail: String,
    /// The learning rate to try next, if a lower one is the remedy.
    pub lower_rate: Option<f64>,
}

impl Verdict {
    pub fn mood(&self) -> Mood {
        match self.judgement {
            Judgement::Learned => Mood::Good,
            Judgement::LearnedLittle
            | Judgement::LittleToLearn
            | Judgement::OverFitted
            | Judgement::Unsteady
            | Judgement::TooShort => Mood::Fair,
            Judgement::GotWorse
            | Judgement::Diverged
            | Judgement::NoNumbers
            | Judgement::EndedEarly => Mood::Bad,
        }
    }
}

/// The verdict on a run that is over; `None` while it is in progress.
pub fn verdict(run: &Run) -> Option<Verdict> {
    if run.is_active() {
        return None;
    }
    let outcome = run.summary.as_ref().map(|summary| &summary.outcome);
    let judged = match run.failure {
        Some(FailureKind::NonFinite) if run.steps.has_learned() => diverged(run),
        Some(FailureKind::NonFinite) => no_numbers(run),
        Some(_) => ended_early(run),
        None if matches!(outcome, None | Some(RunOutcome::Failed)) => ended_early(run),
        None => match HeldOut::of(run) {
            Some(held_out) => by_held_out(run, &held_out),
            None => by_training(run),
        },
    };
    let (judgement, headline, detail) = judged;
    let is_too_high = matches!(
        judgement,
        Judgement::Unsteady | Judgement::GotWorse | Judgement::Diverged
    );
    Some(Verdict {
        judgement,
        headline,
        detail,
        lower_rate: is_too_high.then(|| lower_rate(run)),
    })
}

type Judged = (Judgement, String, String);

/// The losses of the held-out rows that decide.
struct HeldOut {
    base: f64,
    best: f64,
    best_step: u64,
    last: f64,
    last_step: u64,
}

impl HeldOut {
    /// `None` if nothing was held out, or nothing was scored after a step.
    fn of(run: &Run) -> Option<Self> {
        let base = run.base_validation_loss()?;
        let best = run.evaluations.best()?;
        let last = run.evaluations.latest()?;
        Some(Self {
            base,
            best: best.loss,
            best_step: best.step,
            last: last.loss,
            last_step: last.step,
        })
    }

    /// The largest relative decrease of the loss.
    fn gain(&self) -> f64 {
        share(self.base, self.best)
    }

    fn is_past_best(&self) -> bool {
        let is_later = self.last_step > self.best_step;
        is_later && self.last > self.best * (1.0 + PAST_BEST) && self.last - self.best > 0.02
    }
}

/// The relative decrease of a loss; below 0 if it rose.
fn share(before: f64, after: f64) -> f64 {
    (before - after) / before.max(f64::MIN_POSITIVE)
}

fn by_held_out(run: &Run, held_out: &HeldOut) -> Judged {
    let HeldOut {
        base,
        best,
        best_step,
        last,
        ..
    } = *held_out;
    let trend = training_change(run, best_step).unwrap_or_default();
    if held_out.gain() < -WORSE || (held_out.gain() < LITTLE && last > base * (1.0 + LITTLE)) {
        let at_best = if best < base {
            format!(
                "At best, after step {best_step}, the loss on held-out rows was {}, hardly below the {} before the run; it ended at {}.",
                loss(best),
                loss(base),
                loss(last)
            )
        } else if best < last {
            format!(
                "The loss on held-out rows rose from {} to {}; even the best step left it at {}.",
                loss(base),
                loss(last),
                loss(best)
            )
        } else {
            format!(
                "The loss on held-out rows rose from {} to {}.",
                loss(base),
                loss(last)
            )
        };
        let kept = if best < base {
            "The adapter that was kept changes next to nothing."
        } else {
            "The adapter that was kept is worse than the model without it."
        };
        let why = if trend > LITTLE && run_rate(run) <= usual_rate(run) {
            "The training loss fell, so the rows were memorized rather than learned from: more rows, fewer steps or a lower learning rate help."
        } else {
            "The learning rate is probably too high."
        };
        let detail = format!("{at_best} {kept} {why}");
        return (Judgement::GotWorse, "It got worse.".to_owned(), detail);
    }
    if held_out.is_past_best() {
        let fell = format!(
            "The loss on held-out rows was lowest after step {best_step}: {}, from {} before the run. By the end it was {}",
            loss(best),
            loss(base),
            loss(last)
        );
        let kept = format!("The adapter of step {best_step} is kept, so nothing is lost.");
        return if trend > -STEADY {
            let while_what = if trend > 0.0 {
                "went on falling"
            } else {
                "did not rise"
            };
            let detail = format!(
                "{fell}, while the training loss {while_what}. {kept} Next time fewer steps or epochs are enough."
            );
            let headline = format!("Overfit since step {best_step}.");
            (Judgement::OverFitted, headline, detail)
        } else {
            let detail = format!(
                "{fell}, and the training loss rose as well: the learning rate is probably too high. {kept}"
            );
            let headline = format!("It learned until step {best_step}, then got worse.");
            (Judgement::Unsteady, headline, detail)
        };
    }
    if base < KNOWN && held_out.gain() < 0.5 {
        let detail = format!(
            "The loss on held-out rows was {} before the run already, and is {} now: the model knew these rows.",
            loss(base),
            loss(best)
        );
        return (
            Judgement::LittleToLearn,
            "There was little to learn.".to_owned(),
            detail,
        );
    }
    if held_out.gain() < LITTLE {
        let detail = format!(
            "The loss on held-out rows went from {} to {}. {}",
            loss(base),
            loss(best),
            more(run)
        );
        return (
            Judgement::LearnedLittle,
            "It learned little.".to_owned(),
            detail,
        );
    }
    let detail = format!(
        "The loss on held-out rows, which the model did not see, fell from {} to {}, by {:.0}%.",
        loss(base),
        loss(best),
        100.0 * held_out.gain()
    );
    (Judgement::Learned, "It learned.".to_owned(), detail)
}

/// The verdict by the losses of the steps, each measured before the step.
fn by_training(run: &Run) -> Judged {
    let is_held_out = run.base_validation_loss().is_some();
    let losses: Vec<f64> = run.steps.spans().iter().map(|span| span.loss).collect();
    if losses.len() < MIN_STEPS || is_held_out {
        let detail = format!(
            "The run took {}: too few to say what it learned. Train longer.",
            counted(run.steps.num_steps(), "step")
        );
        return (Judgement::TooShort, "Too short to tell.".to_owned(), detail);
    }
    let few = (losses.len() / 5).clamp(1, 10);
    let (first, last) = (mean(&losses[..few]), mean(&losses[losses.len() - few..]));
    let change = share(first, last);
    let caution = "No rows were held out, so this is judged by the training loss alone, which cannot tell learning from memorizing.";
    let (judgement, headline, what) = if change < -WORSE.max(LITTLE) {
        let what = format!(
            "The training loss rose from {} to {}: the learning rate is probably too high.",
            loss(first),
            loss(last)
        );
        (Judgement::GotWorse, "It got worse.", what)
    } else if change < LITTLE {
        let what = format!(
            "The training loss went from {} to {}. {}",
            loss(first),
            loss(last),
            more(run)
        );
        (Judgement::LearnedLittle, "It learned little.", what)
    } else {
        let what = format!(
            "The training loss fell from {} to {}, by {:.0}%.",
            loss(first),
            loss(last),
            100.0 * change
        );
        (Judgement::Learned, "It learned its rows.", what)
    };
    (judgement, headline.to_owned(), format!("{what} {caution}"))
}

fn diverged(run: &Run) -> Judged {
    let rate = run_rate(run);
    let detail = format!(
        "After {} the loss or a gradient was no longer finite: the learning rate, {rate}, is probably too high. {}",
        counted(run.steps.num_steps(), "step"),
        kept(run)
    );
    (Judgement::Diverged, "The run diverged.".to_owned(), detail)
}

fn no_numbers(run: &Run) -> Judged {
    let detail = format!(
        "Its loss or a gradient was infinite or not a number before the adapter had learned anything, so the learning rate is not the cause; the message in this step says what helps. {}",
        kept(run)
    );
    let headline = "The model itself gave no usable numbers.".to_owned();
    (Judgement::NoNumbers, headline, detail)
}

fn ended_early(run: &Run) -> Judged {
    let steps = counted(run.steps.num_steps(), "step");
    let detail = format!(
        "After {steps}; the message in this step says why. {}",
        kept(run)
    );
    (
        Judgement::EndedEarly,
        "The run ended early.".to_owned(),
        detail,
    )
}

/// What a failed run leaves.
fn kept(run: &Run) -> String {
    let Some(summary) = run.summary.as_ref().filter(|summary| summary.has_adapter) else {
        return "No adapter was kept.".to_owned();
    };
    let step = summary.best_step;
    match (summary.base_validation_loss, summary.tuned_validation_loss) {
        (Some(base), Some(tuned)) if tuned > base => format!(
            "The adapter of step {step} was kept, but it is worse than the model without it: held-out loss {} instead of {}.",
            loss(tuned),
            loss(base)
        ),
        (Some(base), Some(tuned)) => format!(
            "The adapter of step {step} was kept: held-out loss {}, from {} before the run.",
            loss(tuned),
            loss(base)
        ),
        _ => format!("The adapter of step {step} was kept; how good it is was not measured."),
    }
}

/// What helps if little was learned.
fn more(run: &Run) -> &'static str {
    if !run.steps.has_learned() {
        "Every step had a learning rate of 0: the run ended within the warm-up. Train more steps, or set Warm-up to 0."
    } else if run_rate(run) < usual_rate(run) {
        "A higher learning rate, more steps or more rows help."
    } else {
        "More steps or more rows help."
    }
}

/// By which share the mean training loss fell from around the best step to the end; below 0 where it rose.
fn training_change(run: &Run, best_step: u64) -> Option<f64> {
    let spans = run.steps.spans();
    let (before, after): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span.step <= best_step);
    let losses = |spans: &[&StepSpan]| -> Vec<f64> { spans.iter().map(|span| span.loss).collect() };
    let few = (spans.len() / 5).clamp(1, 10);
    let (before, after) = (losses(&before), losses(&after));
    let before = &before[before.len().saturating_sub(few)..];
    let after = &after[after.len().saturating_sub(few)..];
    (!before.is_empty() && !after.is_empty()).then(|| share(mean(before), mean(after)))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn run_rate(run: &Run) -> f64 {
    run.spec.learning_rate
}

fn usual_rate(run: &Run) -> f64 {
    run.spec.adapter.method.facts().learning_rate
}

/// A tenth, or the usual rate if even a tenth is far above it, with two digits, as people write it.
fn lower_rate(run: &Run) -> f64 {
    let (rate, usual) = (run_rate(run), usual_rate(run));
    let lower = if rate > 10.0 * usual {
        usual
    } else {
        rate / 10.0
    };
    format!("{lower:.1e}").parse().unwrap_or(lower)
}
