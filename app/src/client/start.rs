//! Chooses the worker, starts it and restarts it.

use leptos::prelude::{Update, WithUntracked};
use leptos::task::spawn_local;
use protocol::{DeviceKind, DeviceProblem, ModelSource};

use crate::browser::gpu::find_adapter;
use crate::browser::threads;
use crate::state::device::{Build, CpuBuild, DeviceChoice, WhySingle, choose_cpu};
use crate::state::reading::Held;
use crate::state::work::Next;
use crate::state::{Resting, State, device};

use super::port::Port;
use super::{Command, EngineClient, Event, Parcel};

impl EngineClient {
    /// Starts the engine on the chosen device and loads what was loaded before.
    pub fn start(&self, choice: DeviceChoice) {
        self.end_worker();
        self.state.update(|state| {
            state.device.choice = choice;
            state.resting = Resting::Plain;
        });
        self.replay();
        let start = self.inner.borrow().starts;
        let client = self.clone();
        spawn_local(async move {
            // Why the engine does not use the GPU.
            let problem = match choice {
                DeviceChoice::WebGpu => None,
                DeviceChoice::Cpu => Some(DeviceProblem::ChosenByUser),
                DeviceChoice::Automatic => match find_adapter().await {
                    Ok(facts) => device::judge(&facts),
                    Err(problem) => Some(problem),
                },
            };
            if client.inner.borrow().starts == start {
                let build = problem.as_ref().map_or(Build::Gpu, |_| best_cpu());
                client.open(build, problem);
            }
        });
    }

    /// Ends the worker; commands that it did not receive are dropped, except for adapters' files, which the next one gets.
    pub(super) fn end_worker(&self) {
        let old = {
            let mut inner = self.inner.borrow_mut();
            inner.starts += 1;
            inner.is_ready = false;
            inner.queue.retain(|parcel| parcel.adapter.is_some());
            inner.adapters.worker_ended();
            inner.port.take()
        };
        if let Some(old) = old {
            old.end();
            // Its own callback may be running now.
            spawn_local(async move { drop(old) });
        }
        self.state.update(|state| {
            state.forget_worker();
            state.device.report = None;
        });
    }

    /// Starts the same build again.
    pub(super) fn restart(&self) {
        let (build, problem) = self.state.with_untracked(|state| {
            (
                state.device.starting.clone().unwrap_or_else(best_cpu),
                state.device.problem.clone(),
            )
        });
        self.end_worker();
        self.replay();
        self.open(build, problem);
    }

    /// A build with threads did not start: the one without takes over.
    pub(super) fn without_threads(&self, reason: String) {
        let problem = self
            .state
            .with_untracked(|state| state.device.problem.clone());
        self.end_worker();
        self.replay();
        let build = CpuBuild::Single(WhySingle::Failed(reason));
        self.open(Build::Cpu(build), problem);
    }

    /// The GPU worker rejected its device: the CPU worker takes over its commands, like the worker without threads does
    /// for those with threads. Nothing takes over from the worker without threads.
    pub(super) fn rejected(&self, kind: DeviceKind, reason: DeviceProblem) {
        if self.is_starting_threads() {
            return self.without_threads(reason.to_string());
        }
        self.state.update(|state| {
            state.apply(Event::DeviceRejected {
                kind,
                reason: reason.clone(),
            })
        });
        if kind == DeviceKind::WebGpu {
            self.end_worker();
            self.replay();
            self.open(best_cpu(), Some(reason));
        } else {
            self.refused(&reason.to_string());
        }
    }

    pub(super) fn is_starting_threads(&self) -> bool {
        self.state
            .with_untracked(|state| state.device.is_starting_threads())
    }

    fn open(&self, build: Build, problem: Option<DeviceProblem>) {
        self.state
            .update(|state| state.device.start(build.clone(), problem));
        // The callbacks run from the browser's event loop, never within a borrow of `inner`.
        let (on_event, on_crash) = (self.clone(), self.clone());
        let port = Port::open(
            build.script(),
            move |event, message| on_event.received(event, &message),
            move |message| on_crash.crashed(&message),
        );
        match port {
            Ok(port) => self.inner.borrow_mut().port = Some(port),
            Err(error) => self.refused(&format!("{error:?}")),
        }
    }

    /// Trying again would not help.
    fn refused(&self, reason: &str) {
        self.state
            .update(|state| state.tell_death(reason, None, Next::GiveUp));
        self.give_up();
    }

    /// Queues for the next worker the last dataset and model, and adapters' files that no worker has had.
    fn replay(&self) {
        let parcels: Vec<Parcel> = {
            let mut inner = self.inner.borrow_mut();
            inner.dataset.asked = inner.dataset.latest().cloned();
            inner.model.asked = inner.model.latest().cloned();
            let sources = [inner.dataset.asked.clone(), inner.model.asked.clone()];
            let adapters = std::mem::take(&mut inner.queue);
            sources.into_iter().flatten().chain(adapters).collect()
        };
        for parcel in parcels {
            self.state.update(|state| begin_again(state, &parcel));
            self.send_parcel(parcel);
        }
    }
}

fn best_cpu() -> Build {
    Build::Cpu(choose_cpu(threads::facts()))
}

fn begin_again(state: &mut State, parcel: &Parcel) {
    if let Some(name) = &parcel.adapter {
        state.adapter_loads.add(vec![name.clone()]);
    }
    match (&parcel.command, parcel.reader) {
        (Command::LoadDataset { dataset }, Some(reader)) => state.hand_over(Held {
            reader,
            dataset: dataset.clone(),
        }),
        (Command::LoadModel { source }, _) => state.begin_model_again(match source {
            ModelSource::Url { name, .. } => name.clone(),
            ModelSource::Files { names } => names.join(", "),
        }),
        _ => {}
    }
}
