//! What the engine was asked and has not answered yet, and what becomes of an engine that died of it.

use std::collections::{BTreeMap, VecDeque};

use protocol::{Command, Ticket};

use super::failure::{Death, Notice};
use super::{ExportState, Resting, State, Step};

/// The kinds of commands that wait their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    LoadModel,
    LoadDataset,
    Prepare,
    PreviewRow,
    Plan,
    Train,
    /// The first batch, or scores.
    Trial,
    Generate,
    PreviewPrompts,
    LoadAdapter,
    RestoreAdapters,
    /// To blend, choose or forget.
    ArrangeAdapters,
    Export,
}

impl Work {
    /// The work of a command; `None` for one that takes effect at once.
    pub fn of(command: &Command) -> Option<Self> {
        Some(match command {
            Command::LoadModel { .. } => Self::LoadModel,
            Command::LoadDataset { .. } => Self::LoadDataset,
            Command::PrepareDataset { .. } => Self::Prepare,
            Command::PreviewRow { .. } => Self::PreviewRow,
            Command::Plan { .. } => Self::Plan,
            Command::StartTraining { .. } => Self::Train,
            Command::StepOneBatch { .. } | Command::Score { .. } => Self::Trial,
            Command::Generate { .. } => Self::Generate,
            Command::PreviewPrompts { .. } => Self::PreviewPrompts,
            Command::LoadAdapter {} => Self::LoadAdapter,
            Command::RestoreAdapters { .. } => Self::RestoreAdapters,
            Command::BlendAdapters { .. }
            | Command::UseAdapter { .. }
            | Command::ForgetAdapter { .. } => Self::ArrangeAdapters,
            Command::Export { .. } => Self::Export,
            Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Stop { .. }
            | Command::StopGeneration { .. }
            | Command::Cancel { .. } => return None,
        })
    }

    /// The input to set aside if the engine keeps dying of this work, which the page asks for by itself; `None` for what
    /// only the user asks for.
    pub fn input(self) -> Option<Input> {
        match self {
            Self::LoadModel => Some(Input::Model),
            Self::LoadDataset | Self::Prepare | Self::PreviewRow | Self::Plan => {
                Some(Input::Dataset)
            }
            Self::RestoreAdapters => Some(Input::Adapters),
            Self::PreviewPrompts => Some(Input::Prompts),
            Self::Train
            | Self::Trial
            | Self::Generate
            | Self::LoadAdapter
            | Self::ArrangeAdapters
            | Self::Export => None,
        }
    }

    /// What the engine does, after "while".
    pub fn doing(self) -> &'static str {
        match self {
            Self::LoadModel => "loading the model",
            Self::LoadDataset => "taking the dataset",
            Self::Prepare => "counting the dataset’s tokens",
            Self::PreviewRow => "showing a row of the dataset",
            Self::Plan => "planning a run on the dataset",
            Self::Train => "training",
            Self::Trial => "trying the model on rows",
            Self::Generate => "answering",
            Self::PreviewPrompts => "showing the prompts",
            Self::LoadAdapter => "loading the adapter",
            Self::RestoreAdapters => "taking back the adapters",
            Self::ArrangeAdapters => "arranging the adapters",
            Self::Export => "packing the adapter",
        }
    }

    /// Whether it may encode the dataset.
    fn encodes(self) -> bool {
        matches!(
            self,
            Self::Prepare | Self::Plan | Self::Train | Self::Trial | Self::PreviewRow
        )
    }
}

/// What the engine is given again when it is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Model,
    Dataset,
    Adapters,
    Prompts,
}

impl Input {
    /// What is chosen in a step.
    pub fn of(step: Step) -> Option<Self> {
        match step {
            Step::Model => Some(Self::Model),
            Step::Data => Some(Self::Dataset),
            // What runs there has a stop of its own.
            Step::Train | Step::Try | Step::Export => None,
        }
    }
}

/// The commands that were sent and not answered, in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Works {
    queue: VecDeque<(Ticket, Work)>,
    last: u64,
}

impl Works {
    /// A command is sent; gives its ticket if it waits its turn.
    pub fn ask(&mut self, command: &Command) -> Option<Ticket> {
        let work = Work::of(command)?;
        self.last += 1;
        let ticket = Ticket(self.last);
        self.queue.push_back((ticket, work));
        Some(ticket)
    }

    /// What the engine is at.
    pub fn present(&self) -> Option<Work> {
        self.queue.front().map(|&(_, work)| work)
    }

    fn tickets(&self, is_meant: impl Fn(Work) -> bool) -> Vec<Ticket> {
        let queue = self.queue.iter();
        let meant = queue.filter(|&&(_, work)| is_meant(work));
        meant.map(|&(ticket, _)| ticket).collect()
    }

    pub fn contains(&self, ticket: Ticket) -> bool {
        self.queue.iter().any(|&(other, _)| other == ticket)
    }

    fn answer(&mut self, ticket: Ticket) -> Option<Work> {
        let at = self.queue.iter().position(|&(other, _)| other == ticket)?;
        self.queue.remove(at).map(|(_, work)| work)
    }

    fn count(&self, is_meant: impl Fn(Work) -> bool) -> usize {
        let queue = self.queue.iter();
        queue.filter(|&&(_, work)| is_meant(work)).count()
    }

    fn has(&self, work: Work) -> bool {
        self.count(|other| other == work) > 0
    }
}

/// How often an engine is started again with the same input, or without ever being ready, before that ends.
pub const MAX_RESTARTS: u32 = 3;
/// So many idle engines may die within [`IDLE_MILLIS`].
const MAX_IDLE_DEATHS: usize = 6;
const IDLE_MILLIS: f64 = 60_000.0;

/// What becomes of an engine that died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It is started again, with everything that it had.
    Restart,
    /// It is started again without this input, which it died of every time.
    SetAside(Input),
    /// It is not started again by itself.
    GiveUp,
}

/// The deaths of engines since something last went well.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Deaths {
    /// By what the engine was at; counted only where it is given the same again by itself.
    at_work: BTreeMap<Work, u32>,
    before_ready: u32,
    /// When idle engines died, in milliseconds.
    idle: VecDeque<f64>,
}

impl Deaths {
    /// An engine died, at this work or idle.
    pub fn died(&mut self, work: Option<Work>, was_ready: bool, now_millis: f64) -> Next {
        if !was_ready {
            self.before_ready += 1;
            return if self.before_ready > MAX_RESTARTS {
                Next::GiveUp
            } else {
                Next::Restart
            };
        }
        let Some(work) = work else {
            self.idle.push_back(now_millis);
            while self
                .idle
                .front()
                .is_some_and(|&then| now_millis - then > IDLE_MILLIS)
            {
                self.idle.pop_front();
            }
            return if self.idle.len() > MAX_IDLE_DEATHS {
                Next::GiveUp
            } else {
                Next::Restart
            };
        };
        let Some(input) = work.input() else {
            return Next::Restart;
        };
        let count = self.at_work.entry(work).or_default();
        *count += 1;
        if *count > MAX_RESTARTS {
            Next::SetAside(input)
        } else {
            Next::Restart
        }
    }

    /// How often engines died of this work.
    pub fn at(&self, work: Work) -> u32 {
        self.at_work.get(&work).copied().unwrap_or_default()
    }

    /// Whether the page no longer asks for this by itself.
    pub fn is_set_aside(&self, work: Work) -> bool {
        self.at(work) > MAX_RESTARTS
    }

    /// An engine is ready.
    pub fn ready(&mut self) {
        self.before_ready = 0;
    }

    /// An engine survived this.
    fn survived(&mut self, work: Work) {
        self.at_work.remove(&work);
    }

    /// The user brings other inputs, or wants to try again: nothing is held against them.
    pub fn forgive(&mut self) {
        *self = Self::default();
    }
}

impl State {
    /// A command is sent to the engine, or will be once it listens.
    pub fn ask(&mut self, command: &Command) -> Option<Ticket> {
        self.works.ask(command)
    }

    /// The engine is done with a command, whatever else it said of it: nothing waits for it any longer.
    pub fn answered(&mut self, ticket: Ticket) {
        if let Some(work) = self.works.answer(ticket) {
            self.deaths.survived(work);
        }
        let num_models = self.works.count(|work| work == Work::LoadModel);
        while self.num_pending(Step::Model) > num_models {
            self.model_answered();
        }
        let num_datasets = self.works.count(|work| work == Work::LoadDataset);
        while self.readings.handed.len() > num_datasets {
            self.dataset_refused();
        }
        if self.works.count(Work::encodes) == 0 {
            self.encoding = None;
        }
        if !self.works.has(Work::Trial) {
            self.trials.present = None;
        }
        if !self.works.has(Work::Generate) {
            self.chat.abandon();
        }
        if !self.works.has(Work::Export) && self.export == ExportState::Packing {
            self.export = ExportState::None;
        }
        if !self.works.has(Work::LoadAdapter) {
            self.adapter_loads.clear();
        }
        let is_over = !self.works.has(Work::Train);
        if let Some(run) = self.run.as_mut().filter(|run| is_over && run.is_active()) {
            run.abandon();
            self.resting = Resting::Failed("the run ended early".to_owned());
        }
    }

    /// The commands that are cancelled to end what this step shows as under way.
    pub fn cancellable(&self, step: Step) -> Vec<Ticket> {
        self.works.tickets(|work| match step {
            // Here an adapter's file is loaded, which is not given again.
            Step::Try => work == Work::LoadAdapter,
            _ => Input::of(step).is_some_and(|input| work.input() == Some(input)),
        })
    }

    fn num_pending(&self, step: Step) -> usize {
        self.pending.iter().filter(|&&other| other == step).count()
    }
}

impl State {
    /// What the user knows an input as.
    pub fn name_of(&self, input: Input) -> String {
        let named = match input {
            Input::Model => {
                let loading = self.model.loading.as_ref().map(|loading| &loading.name);
                loading
                    .or(self.model.loaded.as_ref().map(|model| &model.name))
                    .cloned()
            }
            Input::Dataset => self.shown_dataset().map(|dataset| dataset.names.join(", ")),
            Input::Adapters => Some("your adapters".to_owned()),
            Input::Prompts => Some("the view of the prompts".to_owned()),
        };
        named
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| match input {
                Input::Model => "the model".to_owned(),
                _ => "the dataset".to_owned(),
            })
    }

    /// Tells the user of a death and of what follows from it.
    pub fn tell_death(&mut self, said: &str, work: Option<Work>, next: Next) {
        let step = match work {
            _ if self.is_busy() => Step::Train,
            Some(
                Work::Generate | Work::LoadAdapter | Work::RestoreAdapters | Work::PreviewPrompts,
            ) => Step::Try,
            Some(work) if work.input() == Some(Input::Dataset) => Step::Data,
            _ => Step::Model,
        };
        let doing = work.map_or(String::new(), |work| format!(" while {}", work.doing()));
        let restarted = match next {
            Next::Restart => "The engine has been restarted with your model, data and adapters.".to_owned(),
            Next::SetAside(input) => {
                let times = MAX_RESTARTS + 1;
                let fate = match input {
                    Input::Adapters => "They were saved to your downloads instead.",
                    _ => "The engine has been restarted without it.",
                };
                format!("It has stopped {times} times{doing}, so {} was set aside. {fate}", self.name_of(input))
            }
            Next::GiveUp => "It has stopped several times in a row. Start it again with the button at the top, or choose the other device.".to_owned(),
        };
        let memory_remedy = format!(
            "{restarted} A shorter sequence length, a smaller batch or a smaller model needs less memory."
        );
        let device = self.device.report.as_ref();
        let device = device.map_or(String::new(), |report| {
            format!("{}, {} threads", report.name, report.threads)
        });
        let death = Death {
            who: "the engine",
            said,
            doing: &doing,
            device: &device,
            memory_remedy: &memory_remedy,
            remedy: &restarted,
        };
        let mut failure = death.failure();
        // A plan of the next engine does not refute what happened to this one.
        failure.run = self.run.as_ref().map(|run| run.id);
        self.resting = Resting::Failed(failure.what.clone());
        self.notify(Notice::new(step, failure));
    }
}
