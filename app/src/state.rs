//! Everything the page knows, and the one way it changes. The state owns what is shown, as plain data; [`State::apply`] and the
//! `begin_*` functions are pure, so that the page's behavior can be tested natively. No browser type appears below this module.

pub mod chat;
pub mod copies;
pub mod device;
pub mod failure;
pub mod files;
pub mod findings;
pub mod form;
pub mod format;
pub mod mapping;
mod merging;
pub mod reading;
pub mod recipe;
pub mod rows;
pub mod run;
pub mod sample;
pub mod scores;
pub mod slot;
pub mod splits;
pub mod status;
pub mod suggestion;
pub mod summary;
pub mod trial;
pub mod verdict;
pub mod window;
pub mod work;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use protocol::{
    AdapterCopy, AdapterId, AdapterList, AdapterOrigin, AdapterSummary, DatasetSummary, Event,
    Failure, FailureKind, ModelSummary, NotKept, Phase, PlanSummary, PreparedSummary, RowPreview,
    RunId, RunOutcome, RunSpec,
};

use chat::Chat;
use device::DeviceState;
use failure::Notice;
use files::{AdapterLoads, Intake};
use form::Field;
use reading::Readings;
use recipe::DroppedRecipe;
use rows::Rows;
use run::{Adapter, Run};
use slot::{Loading, Slot};
use trial::Trials;
use work::{Deaths, Work, Works};

/// The five steps of the page, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    Model,
    Data,
    Train,
    Try,
    Export,
}

impl Step {
    pub const ALL: [Self; 5] = [
        Self::Model,
        Self::Data,
        Self::Train,
        Self::Try,
        Self::Export,
    ];

    /// The step's heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Model => "Model",
            Self::Data => "Data",
            Self::Train => "Train",
            Self::Try => "Try",
            Self::Export => "Export",
        }
    }

    /// The `id` of the step's section, which links point at.
    pub fn anchor(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Data => "data",
            Self::Train => "train",
            Self::Try => "try",
            Self::Export => "export",
        }
    }
}

/// What the status shows while nothing is going on.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Resting {
    #[default]
    Plain,
    /// The last run ended, and nothing has been loaded since.
    RunEnded,
    /// A load or a run failed, and nothing has been tried since.
    Failed(String),
}

/// The zip on its way to the user.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ExportState {
    #[default]
    None,
    Packing,
    /// A merged model is being written; in bytes.
    Merging {
        done: u64,
        total: Option<u64>,
    },
    Ready {
        file_name: String,
        bytes: u64,
        /// The memory used by the worker of a merged model.
        memory_bytes: Option<u64>,
    },
}

/// The whole state of the page, except the texts in its form.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    pub device: DeviceState,
    pub model: Slot<ModelSummary>,
    /// The engine's dataset, and the one being read or handed over.
    pub data: Slot<DatasetSummary>,
    pub readings: Readings,
    /// The dataset with the current settings; `None` while it is being encoded.
    pub prepared: Option<PreparedSummary>,
    /// The number of rows done and in total, while the dataset is being encoded.
    pub encoding: Option<Loading>,
    pub rows: Rows,
    pub preview: Option<RowPreview>,
    pub plan: Option<PlanSummary>,
    pub run: Option<Run>,
    pub trials: Trials,
    /// The results of the runs that left an adapter for this model.
    pub trained: Vec<Adapter>,
    /// All adapters for the loaded model.
    pub adapters: AdapterList,
    pub chat: Chat,
    pub export: ExportState,
    pub notices: Vec<Notice>,
    pub warnings: Vec<String>,
    pub resting: Resting,
    /// *Start training* was pressed while something was still loading.
    pub start_when_loaded: bool,
    /// Why the bundled model has to be downloaded again at the next visit.
    pub not_kept: Option<NotKept>,
    /// Loads requested from the worker and not answered yet, in order.
    pub pending: VecDeque<Step>,
    /// Every command that the engine has not answered yet.
    pub works: Works,
    pub deaths: Deaths,
    /// Adapters requested from the worker that have not been answered yet.
    pub adapter_loads: AdapterLoads,
    /// What became of the latest files.
    pub intake: Option<Intake>,
    /// The recipe that filled the form, as long as that is told.
    pub recipe: Option<DroppedRecipe>,
    /// The run described by the form; `None` while a field is invalid.
    pub wanted: Option<RunSpec>,
    /// The invalid field.
    pub refused: Option<Field>,
    /// Adapters made here that have not been downloaded yet.
    pub unsaved: BTreeSet<AdapterId>,
}

/// Warnings kept for the page to show.
const MAX_WARNINGS: usize = 5;

impl State {
    /// Whether a run is in progress, including a paused one.
    pub fn is_training(&self) -> bool {
        self.run.as_ref().is_some_and(Run::is_active)
    }

    /// Whether a model and a dataset are loaded and nothing is loading.
    pub fn can_train(&self) -> bool {
        self.model.loaded.is_some()
            && self.data.loaded.is_some()
            && self.pending.is_empty()
            && self.device.is_ready()
    }

    /// The plan, if it matches the rows as encoded now and the settings in the form.
    pub fn present_plan(&self) -> Option<&PlanSummary> {
        let encoded = &self.prepared.as_ref()?.spec;
        let is_present = |plan: &&PlanSummary| {
            let wanted = self.wanted.as_ref();
            plan.spec.data == *encoded && wanted.is_none_or(|wanted| is_plan_of(&plan.spec, wanted))
        };
        let plan = self.plan.as_ref().filter(|_| self.refused.is_none());
        plan.filter(is_present)
    }

    /// Whether the plan is for that run.
    pub fn has_plan_of(&self, spec: &RunSpec) -> bool {
        let plan = self.plan.as_ref();
        plan.is_some_and(|plan| is_plan_of(&plan.spec, spec))
    }

    /// The form describes something else, so an older plan does not apply.
    pub fn form_changed(&mut self, wanted: Result<RunSpec, Field>) {
        self.refused = wanted.as_ref().err().copied();
        self.wanted = wanted.ok();
        if self.present_plan().is_none() {
            self.plan = None;
        }
    }

    /// Whether leaving the page would lose something: a run, or an adapter that was not downloaded.
    pub fn has_unsaved(&self) -> bool {
        self.is_busy() || self.is_merging() || !self.unsaved.is_empty()
    }

    /// The page received a copy of an adapter; an adapter from a file need not be downloaded.
    pub fn adapter_kept(&mut self, copy: &AdapterCopy) {
        if copy.origin != AdapterOrigin::File {
            self.unsaved.insert(copy.id);
        }
    }

    /// The adapter was downloaded, or is no longer wanted.
    pub fn adapter_settled(&mut self, id: AdapterId) {
        self.unsaved.remove(&id);
    }

    /// Adapters were requested, each identified by its name.
    pub fn begin_adapters(&mut self, names: Vec<String>) {
        self.dismiss(Step::Try);
        self.adapter_loads.add(names);
    }

    /// A model was requested.
    pub fn begin_model(&mut self, name: impl Into<String>) {
        self.model.begin(name);
        self.pending.push_back(Step::Model);
        self.resting = Resting::Plain;
        self.warnings.clear();
        self.deaths.forgive();
        self.dismiss(Step::Model);
    }

    /// A model is requested again from a new worker; what led to that stays on the page.
    pub fn begin_model_again(&mut self, name: impl Into<String>) {
        self.model.begin(name);
        self.pending.push_back(Step::Model);
    }

    /// A run was requested.
    pub fn begin_run(&mut self, id: RunId, spec: RunSpec) {
        self.run = Some(Run::new(id, spec));
        self.resting = Resting::Plain;
        self.start_when_loaded = false;
        self.warnings.clear();
        self.notices.clear();
        self.intake = None;
        self.recipe = None;
    }

    /// The worker was ended, and everything it held is gone. The client requests `pending` loads again.
    pub fn forget_worker(&mut self) {
        self.model = Slot::default();
        self.data.loaded = None;
        self.prepared = None;
        self.encoding = None;
        self.preview = None;
        self.plan = None;
        self.pending.retain(|&step| step == Step::Data);
        self.works = Works::default();
        self.adapter_loads.clear();
        self.forget_readings();
        self.trained.clear();
        self.adapters = AdapterList::default();
        self.trials = Trials::default();
        self.forget_export();
        if let Some(run) = &mut self.run {
            run.abandon();
        }
        self.chat.abandon();
    }

    /// The dataset is being encoded again. Earlier encoding failures no longer apply; read failures still do.
    pub fn begin_encoding(&mut self) {
        self.prepared = None;
        self.encoding = Some(Loading::new("counting tokens"));
        let is_of_data = |notice: &Notice| notice.step == Step::Data;
        if !self.notices.is_empty() && self.notices.iter().all(is_of_data) {
            self.resting = Resting::Plain;
        }
        self.notices.retain(|notice| !notice.is_of_encoding);
    }

    /// Applies a message from the worker. Messages of older runs and generations change nothing.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Ready { device, .. } => {
                self.device.ready(device);
                self.deaths.ready();
            }
            Event::DeviceRejected { kind, reason } => self.device.rejected(kind, reason),
            Event::Progress { phase, done, total } => self.progress(phase, done, total),
            Event::ModelLoaded { model } => self.model_loaded(model),
            Event::DatasetLoaded { dataset } => self.dataset_loaded(dataset),
            Event::DatasetPrepared { dataset } => {
                self.encoding = None;
                self.prepared = Some(dataset);
                self.forget_scores_of_others();
            }
            Event::RowPreview { preview } => self.preview = Some(preview),
            Event::Planned { plan } => {
                self.plan = Some(plan);
                self.notices.retain(|notice| !notice.is_of_settings());
            }
            Event::BatchStepped { run, batch } => self.batch_stepped(run, batch),
            Event::Scored {
                run,
                adapter,
                report,
            } => self.scored(run, adapter, report),
            Event::RunState { run, state } => self.with_run(run, |run| run.state_changed(state)),
            Event::Steps { run, steps } => self.with_run(run, |run| run.stepped(steps)),
            Event::Evaluations { run, evaluations } => {
                self.with_run(run, |run| run.evaluated(evaluations));
            }
            Event::RunEnded { run, summary } => self.run_ended(run, summary),
            Event::GenerationText { .. } | Event::GenerationDone { .. } => self.said(event),
            Event::PromptsPreviewed { prompts } => self.chat.prompts = Some(prompts),
            // The client keeps it.
            Event::AdapterKept { .. } => {}
            Event::Adapters { list } => self.adapters_changed(list),
            Event::ExportReady { adapter, file_name } => {
                if self.adapters.active == Some(adapter) {
                    self.export = ExportState::Ready {
                        file_name,
                        bytes: 0,
                        memory_bytes: None,
                    };
                }
            }
            Event::Warning { message } => {
                if !self.warnings.contains(&message) {
                    self.warnings.push(message);
                }
                let surplus = self.warnings.len().saturating_sub(MAX_WARNINGS);
                self.warnings.drain(..surplus);
            }
            Event::ModelNotKept { reason } => self.not_kept = Some(reason),
            // What it ends is settled by the answer that follows.
            Event::Failed { failure } if failure.kind == FailureKind::Cancelled => {
                self.start_when_loaded = false;
            }
            Event::Failed { failure } => self.failed(failure),
            Event::Answered { ticket } => self.answered(ticket),
        }
    }

    /// Removes the notices of a step from the page.
    pub fn dismiss(&mut self, step: Step) {
        let had_any = self.notices.iter().any(|notice| notice.step == step);
        self.notices.retain(|notice| notice.step != step);
        if had_any && matches!(self.resting, Resting::Failed(_)) && self.notices.is_empty() {
            self.resting = Resting::Plain;
        }
    }

    /// Shows a notice, which replaces an older one of its kind.
    pub fn notify(&mut self, notice: Notice) {
        let is_older = |other: &Notice| {
            other.step == notice.step && other.is_of_encoding == notice.is_of_encoding
        };
        self.notices.retain(|other| !is_older(other));
        self.notices.push(notice);
    }

    fn with_run(&mut self, id: RunId, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.run.as_mut().filter(|run| run.id == id) {
            change(run);
        }
    }

    fn progress(&mut self, phase: Phase, done: u64, total: Option<u64>) {
        let loading = match phase {
            Phase::DownloadingModel | Phase::LoadingModel => self.model.loading.as_mut(),
            Phase::ReadingData => self.data.loading.as_mut(),
            Phase::EncodingData => Some(self.encoding.get_or_insert_with(|| Loading::new("rows"))),
            Phase::Evaluating => {
                if let Some(run) = self.run.as_mut().filter(|run| run.is_active()) {
                    run.evaluating = Some((done, total));
                } else if let Some(trial) = &mut self.trials.present {
                    trial.rows = total.map(|total| (done, total));
                }
                None
            }
            // The merging worker has its own messages.
            Phase::Exporting => None,
        };
        if let Some(loading) = loading {
            loading.advance(phase, done, total);
        }
    }

    /// A new base discards what was learned on the old one.
    fn model_loaded(&mut self, model: ModelSummary) {
        let num_trained = self.trained.len();
        self.trained
            .retain(|adapter| adapter.model_sha256 == model.sha256);
        if num_trained == 0 || self.trained.len() < num_trained {
            self.forget_export();
        }
        self.trials.first_batch = None;
        self.chat_with(&model.sha256);
        self.model.loaded = Some(model);
        self.prepared = None;
        self.plan = None;
        self.model_answered();
    }

    /// Forgets the last export; a merged model that is being written does not depend on it.
    fn forget_export(&mut self) {
        if !self.is_merging() {
            self.export = ExportState::None;
        }
    }

    /// Another tuned model has different answers and a different zip.
    fn adapters_changed(&mut self, list: AdapterList) {
        if list.active != self.adapters.active {
            self.forget_export();
        }
        let is_new = |adapter: &AdapterSummary| {
            let mut known = self.adapters.adapters.iter();
            adapter.origin == AdapterOrigin::File && known.all(|known| known.id != adapter.id)
        };
        let is_loaded = list.adapters.iter().any(is_new);
        let is_here = |id: AdapterId| list.adapters.iter().any(|adapter| adapter.id == id);
        self.trials.scores.retain(|(id, _)| is_here(*id));
        self.adapters = list;
        // The message about another adapter of the same drop stays.
        if !is_loaded || self.adapter_loads.answered().is_none() {
            self.dismiss(Step::Try);
        }
    }

    /// The adapter of the tuned model.
    pub fn active_adapter(&self) -> Option<&AdapterSummary> {
        let active = self.adapters.active?;
        let mut all = self.adapters.adapters.iter();
        all.find(|adapter| adapter.id == active)
    }

    fn model_answered(&mut self) {
        if let Some(at) = self.pending.iter().position(|&step| step == Step::Model) {
            self.pending.remove(at);
        }
        if !self.pending.contains(&Step::Model) {
            self.model.loading = None;
        }
    }

    fn run_ended(&mut self, id: RunId, summary: protocol::RunSummary) {
        let Some(run) = self.run.as_mut().filter(|run| run.id == id) else {
            return;
        };
        if summary.has_adapter {
            let model_sha256 = self
                .model
                .loaded
                .as_ref()
                .map(|model| model.sha256.clone())
                .unwrap_or_default();
            self.trained.push(Adapter {
                run: id,
                model_sha256,
                spec: run.spec.clone(),
                summary: summary.clone(),
            });
        }
        let (has_adapter, has_failed) =
            (summary.has_adapter, summary.outcome == RunOutcome::Failed);
        run.ended(summary);
        if has_adapter {
            self.forget_export();
        }
        if !has_failed {
            self.resting = Resting::RunEnded;
        } else if !matches!(self.resting, Resting::Failed(_)) {
            self.resting = Resting::Failed("the run ended early".to_owned());
        }
    }

    fn failed(&mut self, failure: Failure) {
        if self.is_of_adapter_load(&failure) {
            return self.adapter_failed(failure);
        }
        let of_trial = self.trial_failed(failure.run);
        let step = of_trial.unwrap_or_else(|| failure::step_of(self, &failure));
        let is_of_run = step == Step::Train
            && failure.run.is_some()
            && failure.run == self.run.as_ref().map(|run| run.id);
        let is_of_load = match step {
            Step::Model => self.pending.contains(&step),
            Step::Data => !self.readings.handed.is_empty(),
            _ => false,
        };
        let ends_load = failure.run.is_none() && is_of_load;
        let ends_encoding = step == Step::Data && self.encoding.is_some();
        if ends_load {
            match step {
                Step::Model => self.model_answered(),
                _ => self.dataset_refused(),
            }
            self.start_when_loaded = false;
        }
        if ends_encoding {
            self.encoding = None;
        }
        if is_of_run && let Some(run) = &mut self.run {
            run.failed(failure.kind);
        }
        if ends_load || ends_encoding || is_of_run || of_trial.is_some() {
            self.resting = Resting::Failed(failure.what.clone());
        }
        match step {
            Step::Try => self.chat.abandon(),
            Step::Export => self.export = ExportState::None,
            _ => {}
        }
        let notice = Notice {
            is_of_encoding: ends_encoding && !ends_load,
            ..Notice::new(step, failure)
        };
        if notice.is_of_settings() {
            self.plan = None;
        }
        self.notify(notice);
    }

    fn is_of_adapter_load(&self, failure: &Failure) -> bool {
        let is_answer = self.works.present() == Some(Work::LoadAdapter)
            || failure.kind == FailureKind::Adapter
            || failure.kind == FailureKind::WrongState && self.pending.is_empty();
        failure.run.is_none() && is_answer && self.adapter_loads.is_under_way()
    }

    /// Each of several adapters has its own message, with its name.
    fn adapter_failed(&mut self, mut failure: Failure) {
        if let Some(name) = self.adapter_loads.answered()
            && !name.is_empty()
            && self.adapter_loads.are_several()
        {
            let place = failure.place.take();
            failure.place = Some(place.map_or(name.clone(), |place| format!("{name}: {place}")));
        }
        self.notices.push(Notice::new(Step::Try, failure));
    }
}

/// Whether a plan of `planned` is for the run in the form. A run that continues an adapter keeps that adapter's form.
fn is_plan_of(planned: &RunSpec, wanted: &RunSpec) -> bool {
    if wanted.initial_adapter.is_none() {
        return planned == wanted;
    }
    let mut alike = wanted.clone();
    alike.adapter = planned.adapter.clone();
    planned.adapter.lora_dropout == wanted.adapter.lora_dropout && *planned == alike
}
