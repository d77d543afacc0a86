//! Verdicts over curves as runs have them.

use protocol::*;

use super::events::training;
use crate::state::State;
use crate::state::run::Run;
use crate::state::status;
use crate::state::verdict::{Judgement, Mood, Verdict, verdict};

/// A run that is over: its training losses by step, and held-out losses by step, the base's first.
struct Curve<'a> {
    rate: f64,
    method: Method,
    training: &'a [f64],
    held_out: &'a [(u64, f64)],
    failure: Option<FailureKind>,
}

fn curve<'a>(training: &'a [f64], held_out: &'a [(u64, f64)]) -> Curve<'a> {
    Curve {
        rate: 1e-3,
        method: Method::Lora,
        training,
        held_out,
        failure: None,
    }
}

impl Curve<'_> {
    fn run(&self) -> Run {
        let mut spec = RunSpec {
            learning_rate: self.rate,
            ..RunSpec::default()
        };
        spec.adapter.method = self.method;
        let mut run = Run::new(RunId(1), spec);
        for (step, &loss) in (1..).zip(self.training) {
            run.stepped(vec![StepMetrics {
                step,
                num_steps: self.training.len() as u64,
                epoch: 0.0,
                loss,
                learning_rate: self.rate,
                grad_norm: 1.0,
                num_tokens: 100,
                scored_tokens: 50,
                tokens_per_sec: 50.0,
                elapsed_millis: 1000.0,
                device_memory_bytes: None,
                remaining_secs: Some(3.0),
            }]);
        }
        for &(step, loss) in self.held_out {
            run.evaluated(vec![EvaluationMetrics {
                step,
                loss,
                scored_tokens: 5,
                is_best: false,
                elapsed_millis: 1.0,
            }]);
        }
        let after = self.held_out.iter().filter(|(step, _)| *step > 0);
        let best = after.min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some(failure) = self.failure {
            run.failed(failure);
        }
        run.ended(RunSummary {
            outcome: match self.failure {
                Some(_) => RunOutcome::Failed,
                None => RunOutcome::Finished,
            },
            steps: self.training.len() as u64,
            base_validation_loss: self.held_out.first().map(|(_, loss)| *loss),
            tuned_validation_loss: best.map(|(_, loss)| *loss),
            best_step: best.map_or(self.training.len() as u64, |(step, _)| *step),
            elapsed_secs: 60.0,
            trainable_parameters: 1000,
            has_adapter: !self.training.is_empty(),
        });
        run
    }

    fn verdict(&self) -> Verdict {
        verdict(&self.run()).unwrap()
    }

    fn judgement(&self) -> Judgement {
        self.verdict().judgement
    }
}

const FALLING: [f64; 12] = [3.0, 2.8, 2.5, 2.2, 2.0, 1.8, 1.7, 1.6, 1.5, 1.45, 1.4, 1.38];

#[test]
fn a_run_whose_held_out_loss_fell_learned() {
    let learned = curve(&FALLING, &[(0, 2.9), (6, 2.0), (12, 1.6)]).verdict();
    assert_eq!(learned.judgement, Judgement::Learned);
    assert_eq!(learned.mood(), Mood::Good);
    assert_eq!(learned.headline, "It learned.");
    assert!(learned.detail.contains("from 2.9000 to 1.6000, by 45%"));
    assert_eq!(learned.lower_rate, None);
    // The last score is a hair above the best one: still no trouble.
    let flat = curve(&FALLING, &[(0, 2.9), (6, 1.61), (9, 1.60), (12, 1.605)]);
    assert_eq!(flat.judgement(), Judgement::Learned);
    // Stopped by hand after a single score.
    let short = curve(&FALLING[..3], &[(0, 2.9), (3, 2.6)]);
    assert_eq!(short.judgement(), Judgement::Learned);
}

#[test]
fn a_run_that_changed_hardly_anything_learned_little() {
    let little = curve(&[2.9, 2.9, 2.88, 2.89], &[(0, 2.9), (4, 2.87)]).verdict();
    assert_eq!(
        (little.judgement, little.mood()),
        (Judgement::LearnedLittle, Mood::Fair)
    );
    assert!(little.detail.contains("More steps or more rows help."));
    let mut timid = curve(&[2.9, 2.9, 2.9, 2.9], &[(0, 2.9), (4, 2.9)]);
    timid.rate = 1e-6;
    assert!(timid.verdict().detail.contains("A higher learning rate"));
    timid.rate = 0.0;
    let idle = timid.verdict().detail;
    assert!(idle.contains("set Warm-up to 0"), "{idle}");
    let known = curve(&[0.05, 0.05, 0.05, 0.04], &[(0, 0.05), (4, 0.048)]);
    assert_eq!(known.judgement(), Judgement::LittleToLearn);
}

#[test]
fn rows_that_are_memorized_are_told_with_the_best_step() {
    let over = curve(
        &FALLING,
        &[(0, 2.9), (3, 2.1), (6, 1.9), (9, 2.2), (12, 2.6)],
    )
    .verdict();
    assert_eq!(
        (over.judgement, over.mood()),
        (Judgement::OverFitted, Mood::Fair)
    );
    assert_eq!(over.headline, "Overfit since step 6.");
    assert!(over.detail.contains("The adapter of step 6 is kept"));
    assert_eq!(over.lower_rate, None);
    // Worse than before the run at the end, but the best was good.
    let far = curve(&FALLING, &[(0, 2.9), (4, 2.0), (12, 3.5)]);
    assert_eq!(far.judgement(), Judgement::OverFitted);
    // Batches differ: a training loss that stands still is no rise.
    let still = [3.0, 2.0, 1.5, 1.52, 1.49, 1.53, 1.5, 1.55];
    let still = curve(&still, &[(0, 2.9), (4, 1.9), (8, 2.2)]).verdict();
    assert_eq!(still.judgement, Judgement::OverFitted);
    assert!(still.detail.contains("did not rise"), "{}", still.detail);
    let again = curve(&FALLING[..10], &[(0, 4.0), (2, 3.0), (10, 3.2)]);
    assert_eq!(again.verdict().headline, "Overfit since step 2.");
}

#[test]
fn a_run_that_gets_worse_in_both_losses_is_unsteady() {
    let training = [3.0, 2.5, 2.0, 1.8, 3.0, 4.5, 6.0, 7.0];
    let unsteady = curve(&training, &[(0, 2.9), (4, 1.9), (8, 7.5)]).verdict();
    assert_eq!(unsteady.judgement, Judgement::Unsteady);
    assert_eq!(
        unsteady.headline,
        "It learned until step 4, then got worse."
    );
    assert_eq!(unsteady.lower_rate, Some(1e-4));
}

#[test]
fn a_run_that_got_worse_is_bad_and_has_a_lower_rate_ready() {
    let training = [2.4, 9.0, 14.0, 12.0, 11.5, 11.0];
    let mut worse = curve(&training, &[(0, 2.4), (1, 9.1), (6, 11.2)]);
    worse.rate = 1.0;
    let told = worse.verdict();
    assert_eq!(
        (told.judgement, told.mood()),
        (Judgement::GotWorse, Mood::Bad)
    );
    assert!(told.detail.contains("rose from 2.4000 to 11.2000"));
    assert!(told.detail.contains("worse than the model without it"));
    assert_eq!(told.lower_rate, Some(1e-3), "a tenth of 1 is no better");
    worse.rate = 0.005;
    assert_eq!(worse.verdict().lower_rate, Some(5e-4));
    worse.method = Method::Ia3;
    worse.rate = 0.5;
    assert_eq!(worse.verdict().lower_rate, Some(1e-2));
    // Hardly better at best, and far worse at the end.
    let hardly = curve(&training, &[(0, 2.4), (1, 2.38), (6, 5.0)]).verdict();
    assert_eq!(hardly.judgement, Judgement::GotWorse);
    assert!(hardly.detail.contains("changes next to nothing"));
    // The rows were learned by heart from the first step on.
    let by_heart = curve(&FALLING, &[(0, 2.0), (3, 2.2), (12, 2.9)]).verdict();
    assert_eq!(by_heart.judgement, Judgement::GotWorse);
    assert!(by_heart.detail.contains("memorized"), "{}", by_heart.detail);
}

#[test]
fn without_held_out_rows_the_training_loss_decides_and_that_is_said() {
    let learned = curve(&FALLING, &[]).verdict();
    assert_eq!(learned.judgement, Judgement::Learned);
    assert!(learned.detail.contains("No rows were held out"));
    let worse = curve(&[2.0, 2.5, 3.0, 4.0, 5.0, 6.0], &[]).verdict();
    assert_eq!(worse.judgement, Judgement::GotWorse);
    assert_eq!(worse.lower_rate, Some(1e-4));
    let little = curve(&[2.0, 2.01, 1.99, 2.0, 2.02, 1.98], &[]);
    assert_eq!(little.judgement(), Judgement::LearnedLittle);
    let short = curve(&[2.0], &[]).verdict();
    assert_eq!(short.judgement, Judgement::TooShort);
    assert!(short.detail.contains("1 step:"), "{}", short.detail);
    let stopped = curve(&[], &[(0, 2.0)]).verdict();
    assert!(stopped.detail.contains("0 steps:"), "{}", stopped.detail);
}

#[test]
fn numbers_that_are_not_finite_are_a_divergence() {
    let mut run = curve(&[2.4, 80.0, 900.0], &[(0, 2.4), (1, 70.0)]);
    run.failure = Some(FailureKind::NonFinite);
    run.rate = 1.0;
    let told = run.verdict();
    assert_eq!(
        (told.judgement, told.mood()),
        (Judgement::Diverged, Mood::Bad)
    );
    assert!(told.detail.starts_with("After 3 steps"));
    assert!(told.detail.contains("worse than the model without it"));
    assert_eq!(told.lower_rate, Some(1e-3));
    let at_once = Curve {
        failure: Some(FailureKind::NonFinite),
        ..curve(&[], &[])
    };
    let at_once = at_once.verdict();
    assert_eq!(at_once.judgement, Judgement::NoNumbers);
    assert!(
        at_once
            .detail
            .contains("the learning rate is not the cause")
    );
    assert!(at_once.detail.contains("No adapter was kept."));
    assert_eq!(at_once.lower_rate, None);
    let other = Curve {
        failure: Some(FailureKind::OutOfMemory),
        ..curve(&FALLING, &[(0, 2.9), (6, 2.0)])
    };
    let told = other.verdict();
    assert_eq!(told.judgement, Judgement::EndedEarly);
    assert_eq!(told.lower_rate, None, "the rate is not to blame");
    assert!(told.detail.contains("held-out loss 2.0000, from 2.9000"));
}

#[test]
fn nothing_is_judged_or_counted_on_at_the_wrong_time() {
    let mut state = training();
    let run = state.run.as_mut().unwrap();
    *run = Run::new(RunId(1), RunSpec::default());
    assert_eq!(verdict(run), None);
    let over = curve(&FALLING, &[(0, 2.9), (12, 1.6)]).run();
    assert_eq!(over.remaining_secs(), None);
    assert_eq!(over.present_rate(), None);
    assert_eq!(over.tokens_per_sec(), Some(100.0), "of the whole run");
    let mut going = over.clone();
    going.state = Some(RunState::Training);
    assert_eq!(going.remaining_secs(), Some(3.0));
    assert_eq!(going.tokens_per_sec(), Some(50.0), "of the last step");
}

#[test]
fn the_title_and_the_notification_tell_of_the_end() {
    let mut state = training();
    assert_eq!(status::title(&state), "Inlay");
    let over = curve(&FALLING, &[(0, 2.9), (12, 1.6)]).run();
    let run = state.run.as_mut().unwrap();
    run.steps.clone_from(&over.steps);
    assert_eq!(status::title(&state), "12/12 · Inlay");
    assert_eq!(status::ended(&state), None);
    let summary = over.summary.clone().unwrap();
    let evaluations = over.evaluations.iter().collect();
    state.run.as_mut().unwrap().evaluated(evaluations);
    state.apply(Event::RunEnded {
        run: RunId(1),
        summary,
    });
    assert_eq!(status::title(&state), "Finished: It learned · Inlay");
    let (_, told) = status::ended(&state).unwrap();
    assert_eq!(told.title, "Training finished");
    assert!(
        told.body
            .starts_with("It learned. The loss on held-out rows")
    );
    let mut state = State::default();
    assert_eq!(status::ended(&state), None);
    state.device.is_outdated = true;
    assert_eq!(status::title(&state), "Failed · Inlay");
}

/// Whether the failure or the summary comes first, and whatever the run kept: the page claims an adapter only where
/// there is one, and blames the learning rate only for what it did.
#[test]
fn what_a_failed_run_kept_is_said_truly() {
    let mut num_claims = 0;
    for kind in [
        FailureKind::NonFinite,
        FailureKind::DeviceLost,
        FailureKind::OutOfMemory,
    ] {
        for (training, held_out) in [
            (&[][..], &[][..]),
            (&[2.4], &[(0, 2.4)]),
            (&[2.4, 2.3], &[]),
            (&[2.4, 2.3, 2.2], &[(0, 2.4), (3, 2.2)]),
        ] {
            for has_adapter in [false, true] {
                let run = curve(training, held_out).run();
                let mut summary = run.summary.clone().unwrap();
                summary.outcome = RunOutcome::Failed;
                summary.has_adapter = has_adapter;
                let failure = Failure::new(kind, "It failed.").in_run(RunId(1));
                let mut events = [
                    Event::Failed { failure },
                    Event::RunEnded {
                        run: RunId(1),
                        summary,
                    },
                ];
                for _ in 0..2 {
                    events.reverse();
                    let mut state = training_state(&run);
                    for event in &events {
                        state.apply(event.clone());
                        let judgement = verdict(state.run.as_ref().unwrap()).unwrap().judgement;
                        let is_bad = matches!(
                            judgement,
                            Judgement::Diverged | Judgement::NoNumbers | Judgement::EndedEarly
                        );
                        assert!(is_bad, "{judgement:?} of a run that failed");
                    }
                    let (_, told) = status::ended(&state).unwrap();
                    assert_eq!(told.title, "Training failed");
                    let denies = told.body.contains("No adapter was kept.");
                    let claims = told.body.contains("was kept:") || told.body.contains("was kept;");
                    assert_eq!(
                        (claims, denies),
                        (has_adapter, !has_adapter),
                        "{}",
                        told.body
                    );
                    assert_eq!(status::status(&state).text(), "Failed \u{2014} It failed.");
                    let blames = told.body.contains("is probably too high");
                    let is_rate = kind == FailureKind::NonFinite && !training.is_empty();
                    assert_eq!(blames, is_rate, "{}", told.body);
                    num_claims += usize::from(claims);
                }
            }
        }
    }
    assert_eq!(num_claims, 24);
}

/// The page while a run with these steps and evaluations goes on.
fn training_state(run: &Run) -> State {
    let mut state = training();
    let going = state.run.as_mut().unwrap();
    going.steps.clone_from(&run.steps);
    going.evaluations.clone_from(&run.evaluations);
    state
}
