//! Watches over the engine: hears of its death and of its silence, starts another one, and cancels what is not wanted.

use std::time::Duration;

use leptos::prelude::{Update, WithUntracked, set_interval, set_timeout};
use protocol::{Command, Failure, FailureKind, Ticket};

use super::{EngineClient, Source};
use crate::browser::download;
use crate::state::failure::Notice;
use crate::state::work::{Input, Next};
use crate::state::{Resting, State, Step};

const TICK: Duration = Duration::from_secs(1);
/// A silence of this length, in milliseconds, is shown: something is amiss, or one step takes very long.
const TOLD_MILLIS: f64 = 3000.0;
/// An idle engine that is silent for so long has died.
const DEAD_MILLIS: f64 = 15_000.0;
/// An engine that does not cancel within this time is ended.
const CANCEL_PATIENCE: Duration = Duration::from_secs(3);

impl EngineClient {
    /// Watches over the engine as long as the page lives.
    pub fn supervise(&self) {
        let client = self.clone();
        set_interval(move || client.tick(), TICK);
    }

    fn tick(&self) {
        let silent_millis = {
            let inner = self.inner.borrow();
            inner.port.as_ref().map(|port| port.tick())
        };
        let silent_millis = silent_millis.unwrap_or_default();
        let silent_secs = (silent_millis >= TOLD_MILLIS).then_some((silent_millis / 1000.0) as u64);
        let (was, is_idle) = self.state.with_untracked(|state| {
            let is_idle = state.device.is_ready() && state.works.present().is_none();
            (state.device.silent_secs, is_idle)
        });
        if is_idle && silent_millis >= DEAD_MILLIS {
            return self.crashed("it stopped answering");
        }
        if was != silent_secs {
            self.state
                .update(|state| state.device.silent_secs = silent_secs);
        }
    }

    /// The worker died: says so, and starts another one with the same model and data, except what it keeps dying of.
    pub(super) fn crashed(&self, said: &str) {
        if self.is_starting_threads() {
            return self.without_threads(match said {
                "" => "the multi-threaded engine could not be loaded".to_owned(),
                said => said.to_owned(),
            });
        }
        let was_ready = self.inner.borrow().is_ready;
        let next = self.state.try_update(|state| {
            let work = state.works.present().filter(|_| was_ready);
            let next = state.deaths.died(work, was_ready, js_sys::Date::now());
            state.tell_death(said, work, next);
            next
        });
        match next {
            Some(Next::Restart) | None => self.restart(),
            Some(Next::SetAside(input)) => {
                self.set_aside(input);
                self.restart();
            }
            Some(Next::GiveUp) => self.give_up(),
        }
    }

    /// No engine is started until the user asks for one.
    pub(super) fn give_up(&self) {
        self.end_worker();
        self.state.update(|state| state.device.is_down = true);
        self.end_old_readers();
    }

    /// Starts the engine again because the user wants it.
    pub fn restart_by_hand(&self) {
        self.state.update(|state| {
            state.deaths.forgive();
            state.resting = Resting::Plain;
        });
        self.restart();
    }

    /// The next engine is not given this.
    fn set_aside(&self, input: Input) {
        match input {
            Input::Model => self.inner.borrow_mut().model.forget_latest(),
            Input::Dataset => self.inner.borrow_mut().dataset.forget_latest(),
            Input::Adapters => {
                // They are somebody's work: what the engine does not take, the user gets.
                let copies = self.inner.borrow_mut().adapters.give_out();
                for (name, zip) in copies {
                    download(&format!("{name}.zip"), &zip);
                }
            }
            // Not asked for again: `Deaths::is_set_aside`.
            Input::Prompts => {}
        }
    }

    /// Ends what a step shows as under way; what was there before stays.
    pub fn cancel(&self, step: Step) {
        if step == Step::Data {
            self.state.update(State::cancel_reading);
            self.end_old_readers();
        }
        let tickets = self.state.with_untracked(|state| state.cancellable(step));
        let (is_ready, start) = {
            let inner = self.inner.borrow();
            (inner.is_ready, inner.starts)
        };
        if !is_ready {
            return self.take_back(&tickets);
        }
        for &ticket in &tickets {
            self.send(Command::Cancel { ticket });
        }
        let client = self.clone();
        set_timeout(
            move || {
                let is_same = client.inner.borrow().starts == start;
                let is_left = client.state.with_untracked(|state| {
                    tickets.iter().any(|&ticket| state.works.contains(ticket))
                });
                if is_same && is_left {
                    client.end_uncancelled(step);
                }
            },
            CANCEL_PATIENCE,
        );
    }

    /// Commands that the worker does not have yet.
    fn take_back(&self, tickets: &[Ticket]) {
        let is_meant =
            |ticket: Option<Ticket>| ticket.is_some_and(|ticket| tickets.contains(&ticket));
        let mut inner = self.inner.borrow_mut();
        inner.queue.retain(|parcel| !is_meant(parcel.ticket));
        drop(inner);
        self.state.update(|state| {
            state.start_when_loaded = false;
            for &ticket in tickets {
                state.answered(ticket);
            }
        });
        self.settle_sources(false, false);
    }

    /// The engine does not come to an end: another one takes its place, without what was cancelled.
    fn end_uncancelled(&self, step: Step) {
        let input = Input::of(step);
        let name = input.map_or_else(
            || "the adapter".to_owned(),
            |input| self.state.with_untracked(|state| state.name_of(input)),
        );
        if let Some(input) = input {
            self.set_aside(input);
        }
        self.restart();
        let what = format!("the engine was stuck on {name}, which was set aside");
        let failure = Failure::new(FailureKind::Cancelled, what)
            .remedy("The engine has been restarted with everything else.");
        self.state
            .update(|state| state.notify(Notice::new(step, failure)));
    }
}

impl Source {
    /// Drops the request that is under way, and the last good one where it is the same.
    fn forget_latest(&mut self) {
        let asked = self.asked.take();
        let is_good = match (&asked, &self.good) {
            (Some(asked), Some(good)) => asked.is_same(good),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if is_good {
            self.good = None;
        }
    }
}
