//! Tells the page of long work in few messages: a small model takes thousands of steps per second, and the page redraws
//! itself for every message.
//!
//! ```text
//! ms        0      7      19     50                    63  ...
//! run       step1  step2  step3  step4                 step5
//! message   [1]    -      -      [2, 3, 4]             -
//! ```
//!
//! Each kind is sent at most once per interval, except around a pause: all steps, all evaluations, the latest state and
//! the latest progress. Nothing starts a timer: what is due goes out whenever the run reports something or yields.

use std::cell::{Cell, RefCell};

use protocol::{EvaluationMetrics, Event, Phase, RunId, RunState, StepMetrics};

use super::Host;
use crate::surroundings::{Cancel, Clock, Control, LocalFuture, Observer};

/// What a run reports is held back for at most about this long: twenty messages a second look continuous.
const INTERVAL_MILLIS: f64 = 50.0;

/// The surroundings of a run in a worker: what the run tells becomes events under its id, and the page's requests reach
/// it.
///
/// After an interval of 50 ms without a message the next one goes out at once, and what follows within the interval is
/// sent together. A pause goes out at once, after everything that came before it. The owner calls [`Self::send`] at the
/// end.
pub struct Gathering<'h> {
    host: &'h dyn Host,
    run: RunId,
    held: RefCell<Held>,
    /// When something was sent last, by the host's clock; minus infinity before the first message.
    sent_millis: Cell<f64>,
}

/// What is not sent yet.
#[derive(Default)]
struct Held {
    steps: Vec<StepMetrics>,
    evaluations: Vec<EvaluationMetrics>,
    /// Only the latest is of interest.
    state: Option<RunState>,
    /// The rows that are scored, and how many there are; only the latest is of interest.
    progress: Option<(u64, u64)>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.steps.is_empty()
            && self.evaluations.is_empty()
            && self.state.is_none()
            && self.progress.is_none()
    }

    /// Turns what is held into events in the order in which the page reads them: what was done, and then what is being
    /// done.
    ///
    /// A progress comes last, since the page ends the progress of an evaluation when it hears of its result.
    fn into_events(self, run: RunId) -> impl Iterator<Item = Event> {
        let Self {
            steps,
            evaluations,
            state,
            progress,
        } = self;
        let steps = (!steps.is_empty()).then_some(Event::Steps { run, steps });
        let evaluated = !evaluations.is_empty();
        let evaluations = evaluated.then_some(Event::Evaluations { run, evaluations });
        let state = state.map(|state| Event::RunState { run, state });
        let progress = progress.map(|(done, total)| Event::Progress {
            phase: Phase::Evaluating,
            done,
            total: Some(total),
        });
        [steps, evaluations, state, progress].into_iter().flatten()
    }
}

impl<'h> Gathering<'h> {
    /// Makes the surroundings of the run `run`; its first report will go out at once.
    pub fn new(host: &'h dyn Host, run: RunId) -> Self {
        Self {
            host,
            run,
            held: RefCell::default(),
            sent_millis: Cell::new(f64::NEG_INFINITY),
        }
    }

    /// Sends what is held; also called at the end, since nothing is held after that.
    pub fn send(&self) {
        let held = self.held.take();
        if !held.is_empty() {
            self.sent_millis.set(self.host.now_millis());
            let events = held.into_events(self.run);
            events.for_each(|event| self.host.emit(event));
        }
    }

    /// Sends what is held if the interval is over.
    fn send_if_due(&self) {
        let is_due = || self.host.now_millis() - self.sent_millis.get() >= INTERVAL_MILLIS;
        if !self.held.borrow().is_empty() && is_due() {
            self.send();
        }
    }
}

impl Observer for Gathering<'_> {
    fn entered(&self, state: RunState) {
        // The state that is held would be overwritten: the page has to hear of it before the pause.
        if state == RunState::Paused {
            self.send();
        }
        let mut held = self.held.borrow_mut();
        held.state = Some(state);
        held.progress = None;
        // `send` borrows the same cell.
        drop(held);
        match state {
            RunState::Paused => self.send(),
            _ => self.send_if_due(),
        }
    }

    fn stepped(&self, step: StepMetrics) {
        self.held.borrow_mut().steps.push(step);
        self.send_if_due();
    }

    fn evaluated(&self, evaluation: EvaluationMetrics) {
        let mut held = self.held.borrow_mut();
        held.evaluations.push(evaluation);
        held.progress = None;
        drop(held);
        self.send_if_due();
    }

    fn progressed(&self, done: u64, total: u64) {
        self.held.borrow_mut().progress = Some((done, total));
        self.send_if_due();
    }

    fn memory_bytes(&self) -> Option<u64> {
        self.host.memory_bytes()
    }
}

impl Cancel for Gathering<'_> {
    fn control(&self) -> Control {
        self.host.control_of(self.run)
    }
}

impl Clock for Gathering<'_> {
    fn now_millis(&self) -> f64 {
        self.host.now_millis()
    }

    fn yield_now(&self) -> LocalFuture<'_, ()> {
        self.send_if_due();
        self.host.yield_now()
    }

    fn sleep(&self, millis: u32) -> LocalFuture<'_, ()> {
        self.send_if_due();
        self.host.sleep(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId(7);

    /// A host whose clock is set by hand.
    #[derive(Default)]
    struct Worker {
        millis: Cell<f64>,
        events: RefCell<Vec<Event>>,
    }

    impl Clock for Worker {
        fn now_millis(&self) -> f64 {
            self.millis.get()
        }
    }

    impl Host for Worker {
        fn emit(&self, event: Event) {
            self.events.borrow_mut().push(event);
        }

        fn emit_with_bytes(&self, event: Event, _: Vec<u8>) {
            self.emit(event);
        }
    }

    fn step(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            num_steps: 9,
            epoch: 0.0,
            loss: 1.0,
            learning_rate: 1e-3,
            grad_norm: 1.0,
            num_tokens: 1,
            scored_tokens: 1,
            tokens_per_sec: 1.0,
            elapsed_millis: 1.0,
            device_memory_bytes: None,
            remaining_secs: None,
        }
    }

    fn evaluation(step: u64) -> EvaluationMetrics {
        EvaluationMetrics {
            step,
            loss: 1.0,
            scored_tokens: 1,
            is_best: true,
            elapsed_millis: 1.0,
        }
    }

    /// What was sent, in short.
    fn told(worker: &Worker) -> Vec<String> {
        let events = worker.events.take();
        let tell = |event| match event {
            Event::Steps { steps, .. } => {
                let steps: Vec<u64> = steps.iter().map(|step| step.step).collect();
                format!("steps {steps:?}")
            }
            Event::Evaluations { evaluations, .. } => {
                let steps: Vec<u64> = evaluations.iter().map(|scored| scored.step).collect();
                format!("evaluations {steps:?}")
            }
            Event::RunState { state, .. } => format!("{state:?}"),
            Event::Progress { done, .. } => format!("progress {done}"),
            other => format!("{other:?}"),
        };
        events.into_iter().map(tell).collect()
    }

    #[test]
    fn fast_steps_come_together_and_the_first_at_once() {
        let worker = Worker::default();
        let run = Gathering::new(&worker, RUN);
        for number in 1..=200 {
            worker.millis.set(number as f64);
            run.stepped(step(number));
        }
        run.send();
        let told = told(&worker);
        assert_eq!(told[0], "steps [1]");
        assert_eq!(told.len(), 5, "{told:?}");
        let all: Vec<u64> = told
            .iter()
            .flat_map(|told| serde_json::from_str::<Vec<u64>>(&told["steps ".len()..]).unwrap())
            .collect();
        assert_eq!(all, (1..=200).collect::<Vec<_>>());
    }

    #[test]
    fn a_step_does_not_wait_for_the_next_one() {
        let worker = Worker::default();
        let run = Gathering::new(&worker, RUN);
        run.stepped(step(1));
        run.stepped(step(2));
        assert_eq!(told(&worker), ["steps [1]"]);
        worker.millis.set(49.0);
        drop(run.yield_now());
        assert!(told(&worker).is_empty());
        worker.millis.set(50.0);
        drop(run.yield_now());
        assert_eq!(told(&worker), ["steps [2]"]);
    }

    #[test]
    fn a_pause_is_told_at_once_after_what_came_before() {
        let worker = Worker::default();
        let run = Gathering::new(&worker, RUN);
        run.stepped(step(1));
        run.stepped(step(2));
        run.entered(RunState::Paused);
        assert_eq!(told(&worker), ["steps [1]", "steps [2]", "Paused"]);
    }

    #[test]
    fn a_progress_ends_with_the_evaluation() {
        let worker = Worker::default();
        let run = Gathering::new(&worker, RUN);
        run.stepped(step(1));
        told(&worker);
        run.entered(RunState::Evaluating);
        run.progressed(9, 9);
        run.evaluated(evaluation(1));
        run.entered(RunState::Training);
        run.send();
        assert_eq!(told(&worker), ["evaluations [1]", "Training"]);
    }

    #[test]
    fn an_evaluation_after_every_step_is_four_messages_an_interval() {
        let worker = Worker::default();
        let run = Gathering::new(&worker, RUN);
        run.stepped(step(1));
        told(&worker);
        for number in 2..=40 {
            run.entered(RunState::Evaluating);
            run.progressed(4, 9);
            run.progressed(9, 9);
            run.evaluated(evaluation(number - 1));
            run.entered(RunState::Training);
            run.stepped(step(number));
        }
        run.entered(RunState::Evaluating);
        run.progressed(5, 9);
        run.send();
        let told = told(&worker);
        let steps: Vec<u64> = (2..=40).collect();
        let evaluations: Vec<u64> = (1..=39).collect();
        let mut expected = vec![
            format!("evaluations {evaluations:?}"),
            format!("steps {steps:?}"),
            "Evaluating".to_owned(),
            "progress 5".to_owned(),
        ];
        let mut sorted = told.clone();
        sorted.sort();
        expected.sort();
        assert_eq!(sorted, expected);
        // The page shows the progress of the evaluation under way, which an earlier one must not end.
        assert_eq!(told.last().map(String::as_str), Some("progress 5"));
    }
}
