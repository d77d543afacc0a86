//! Sends what a run reports in few messages: a small model takes thousands of steps per second, and the page redraws
//! itself for every message.

use std::cell::{Cell, RefCell};

use protocol::{Event, GenerationId, Phase, RunId, RunState};

use super::{Control, Host, LocalFuture};

/// What a run reports is held back for at most about this long.
const INTERVAL_MILLIS: f64 = 50.0;

/// A host that gathers the steps, evaluations, states and progress of a run: after [`INTERVAL_MILLIS`] without a
/// message the next one goes out at once, and what follows within the interval is sent together. Any other event, and a
/// pause, goes out at once, after everything that came before it.
pub struct Gathering<'h> {
    host: &'h dyn Host,
    run: RunId,
    held: RefCell<Vec<Event>>,
    sent_millis: Cell<f64>,
}

impl<'h> Gathering<'h> {
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
            held.into_iter().for_each(|event| self.host.emit(event));
        }
    }

    fn send_if_due(&self) {
        let is_due = || self.host.now_millis() - self.sent_millis.get() >= INTERVAL_MILLIS;
        if !self.held.borrow().is_empty() && is_due() {
            self.send();
        }
    }

    /// Adds the event to those held, or returns it if it cannot wait; a state and a progress replace an earlier one.
    fn hold(&self, event: Event) -> Option<Event> {
        let mut held = self.held.borrow_mut();
        match event {
            Event::Steps { run, steps } if run == self.run => {
                let earlier = held.iter_mut().find_map(|event| match event {
                    Event::Steps { steps, .. } => Some(steps),
                    _ => None,
                });
                match earlier {
                    Some(earlier) => earlier.extend(steps),
                    None => held.push(Event::Steps { run, steps }),
                }
            }
            Event::Evaluations { run, evaluations } if run == self.run => {
                let earlier = held.iter_mut().find_map(|event| match event {
                    Event::Evaluations { evaluations, .. } => Some(evaluations),
                    _ => None,
                });
                match earlier {
                    Some(earlier) => earlier.extend(evaluations),
                    None => held.push(Event::Evaluations { run, evaluations }),
                }
            }
            Event::RunState { run, state } if run == self.run && state != RunState::Paused => {
                held.retain(|event| !matches!(event, Event::RunState { .. }));
                held.push(event);
            }
            Event::Progress {
                phase: Phase::Evaluating,
                ..
            } => {
                held.retain(|event| !matches!(event, Event::Progress { .. }));
                held.push(event);
            }
            other => return Some(other),
        }
        None
    }
}

impl Host for Gathering<'_> {
    fn emit(&self, event: Event) {
        match self.hold(event) {
            None => self.send_if_due(),
            Some(event) => {
                self.send();
                self.host.emit(event);
            }
        }
    }

    fn emit_with_bytes(&self, event: Event, bytes: Vec<u8>) {
        self.send();
        self.host.emit_with_bytes(event, bytes);
    }

    fn now_millis(&self) -> f64 {
        self.host.now_millis()
    }

    fn now_iso8601(&self) -> Option<String> {
        self.host.now_iso8601()
    }

    fn yield_now(&self) -> LocalFuture<'_, ()> {
        self.send_if_due();
        self.host.yield_now()
    }

    fn sleep(&self, millis: u32) -> LocalFuture<'_, ()> {
        self.send_if_due();
        self.host.sleep(millis)
    }

    fn control(&self, run: RunId) -> Control {
        self.host.control(run)
    }

    fn is_stopped(&self, id: GenerationId) -> bool {
        self.host.is_stopped(id)
    }

    fn is_cancelled(&self) -> bool {
        self.host.is_cancelled()
    }

    fn memory_bytes(&self) -> Option<u64> {
        self.host.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use protocol::{EvaluationMetrics, StepMetrics};

    use super::*;

    const RUN: RunId = RunId(7);

    /// A host whose clock is set by hand.
    #[derive(Default)]
    struct Clock {
        millis: Cell<f64>,
        events: RefCell<Vec<Event>>,
    }

    impl Host for Clock {
        fn emit(&self, event: Event) {
            self.events.borrow_mut().push(event);
        }

        fn emit_with_bytes(&self, event: Event, _: Vec<u8>) {
            self.emit(event);
        }

        fn now_millis(&self) -> f64 {
            self.millis.get()
        }
    }

    fn step(step: u64) -> Event {
        let metrics = StepMetrics {
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
        };
        Event::Steps {
            run: RUN,
            steps: vec![metrics],
        }
    }

    fn evaluation(step: u64) -> Event {
        let metrics = EvaluationMetrics {
            step,
            loss: 1.0,
            scored_tokens: 1,
            is_best: true,
            elapsed_millis: 1.0,
        };
        Event::Evaluations {
            run: RUN,
            evaluations: vec![metrics],
        }
    }

    fn state(state: RunState) -> Event {
        Event::RunState { run: RUN, state }
    }

    fn progress(done: u64) -> Event {
        Event::Progress {
            phase: Phase::Evaluating,
            done,
            total: Some(9),
        }
    }

    /// What was sent, in short.
    fn told(clock: &Clock) -> Vec<String> {
        let events = clock.events.take();
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
        let clock = Clock::default();
        let host = Gathering::new(&clock, RUN);
        for number in 1..=200 {
            clock.millis.set(number as f64);
            host.emit(step(number));
        }
        host.send();
        let told = told(&clock);
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
        let clock = Clock::default();
        let host = Gathering::new(&clock, RUN);
        host.emit(step(1));
        host.emit(step(2));
        assert_eq!(told(&clock), ["steps [1]"]);
        clock.millis.set(49.0);
        drop(host.yield_now());
        assert!(told(&clock).is_empty());
        clock.millis.set(50.0);
        drop(host.yield_now());
        assert_eq!(told(&clock), ["steps [2]"]);
    }

    #[test]
    fn a_pause_and_other_events_are_told_at_once_and_in_order() {
        let clock = Clock::default();
        let host = Gathering::new(&clock, RUN);
        host.emit(step(1));
        host.emit(step(2));
        host.emit(state(RunState::Paused));
        assert_eq!(told(&clock), ["steps [1]", "steps [2]", "Paused"]);
        host.emit(step(3));
        let message = String::new();
        host.emit(Event::Warning { message });
        let told = told(&clock);
        assert_eq!(told[0], "steps [3]");
        assert!(told[1].starts_with("Warning"), "{told:?}");
    }

    #[test]
    fn an_evaluation_after_every_step_is_four_messages_an_interval() {
        let clock = Clock::default();
        let host = Gathering::new(&clock, RUN);
        host.emit(step(1));
        told(&clock);
        for number in 2..=40 {
            host.emit(state(RunState::Evaluating));
            host.emit(progress(4));
            host.emit(progress(9));
            host.emit(evaluation(number - 1));
            host.emit(state(RunState::Training));
            host.emit(step(number));
        }
        host.emit(state(RunState::Evaluating));
        host.emit(progress(5));
        host.send();
        let told = told(&clock);
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

    #[test]
    fn what_another_run_reports_is_passed_on() {
        let clock = Clock::default();
        let host = Gathering::new(&clock, RunId(8));
        host.emit(step(1));
        host.emit(step(2));
        assert_eq!(told(&clock), ["steps [1]", "steps [2]"]);
    }
}
