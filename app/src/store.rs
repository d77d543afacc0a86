//! What a person can do. The store owns the signals that components read (the state, the form, what is shown), and turns each
//! wish into a change of them and commands to the engine, through its client.

mod watch;

use leptos::prelude::*;
use leptos::task::spawn_local;
use protocol::{
    AdapterId, Command, Conversation, DataSpec, DatasetSource, ExportKind, Failure, FailureKind,
    MAX_RECIPE_BYTES, Mapping, MergedKind, ModelSource, RowFilter, RunId, RunSpec, Side,
};
use web_sys::File;

use crate::browser::files::{
    Dropped, Found, MAX_FILES, Walked, found, names_of, renamed, sample, start_of,
};
use crate::browser::{notification, page};
use crate::client::EngineClient;
use crate::state::device::DeviceChoice;
use crate::state::failure::Notice;
use crate::state::files::{self, Intake};
use crate::state::form::{Field, Form};
use crate::state::format::count;
use crate::state::mapping::ReadForm;
use crate::state::recipe::{self, DroppedRecipe};
use crate::state::rows::BLOCK;
use crate::state::run::Asked;
use crate::state::sample::Sample;
use crate::state::trial::Tried;
use crate::state::{ExportState, State, Step};

const LEARNING_RATE: Field = Field::named("learning_rate");

/// Handles on everything shared; copies are cheap.
#[derive(Clone, Copy)]
pub struct Store {
    pub state: RwSignal<State>,
    pub form: RwSignal<Form>,
    /// How rows are to be read.
    pub read_form: RwSignal<ReadForm>,
    /// A place of the table to go to; taken back once it is in sight.
    pub jump: RwSignal<Option<usize>>,
    /// Whether the prompts are shown as the models read them.
    pub shows_prompts: RwSignal<bool>,
    /// Why *Start training* did nothing.
    pub start_problem: RwSignal<Option<String>>,
    /// Whether to notify the user of a run's end.
    pub notifies: RwSignal<bool>,
    client: StoredValue<EngineClient, LocalStorage>,
}

impl Store {
    pub fn new() -> Self {
        let state = RwSignal::new(State::default());
        Self {
            state,
            form: RwSignal::new(Form::default()),
            read_form: RwSignal::new(ReadForm::default()),
            jump: RwSignal::new(None),
            shows_prompts: RwSignal::new(false),
            start_problem: RwSignal::new(None),
            notifies: RwSignal::new(false),
            client: StoredValue::new_local(EngineClient::new(state)),
        }
    }

    /// The store of the page that the component belongs to.
    pub fn get() -> Self {
        expect_context::<Self>()
    }

    /// A part of the state that changes are told of only when it differs.
    pub fn select<T>(self, part: impl Fn(&State) -> T + Send + Sync + 'static) -> Memo<T>
    where
        T: PartialEq + Send + Sync + 'static,
    {
        Memo::new(move |_| self.state.with(&part))
    }

    fn send(self, command: Command) {
        self.client.with_value(|client| client.send(command));
    }

    /// Starts the engine on a device.
    pub fn start_device(self, choice: DeviceChoice) {
        self.client.with_value(|client| client.start(choice));
    }

    /// Watches over the engine.
    pub fn supervise(self) {
        self.client.with_value(EngineClient::supervise);
    }

    /// Ends what a step shows as under way.
    pub fn cancel(self, step: Step) {
        self.client.with_value(|client| client.cancel(step));
    }

    /// Starts the engine again where it is silent or down.
    pub fn restart_engine(self) {
        self.client.with_value(EngineClient::restart_by_hand);
    }

    /// Loads the model that comes with the page, unless it is there or on its way.
    pub fn load_bundled_model(self) {
        let source = bundled_model();
        let is_there = self
            .client
            .with_value(|client| client.is_last_model(&source));
        if is_there || self.is_blocked(Step::Model) {
            return;
        }
        self.state.update(|state| state.begin_model(BUNDLED_NAME));
        self.client
            .with_value(|client| client.load_model(source, Vec::new()));
    }

    fn load_model_files(self, files: Vec<File>) {
        if files.is_empty() || self.is_blocked(Step::Model) {
            return;
        }
        let names = names_of(&files);
        self.state
            .update(|state| state.begin_model(names.join(", ")));
        self.client
            .with_value(|client| client.load_model(ModelSource::Files { names }, files));
    }

    fn load_dataset_files(self, files: Vec<File>) {
        if !files.is_empty() {
            let names = names_of(&files);
            self.load_dataset(names.join(", "), DatasetSource::Files { names }, files);
        }
    }

    pub fn load_dataset_text(self, name: &str, text: String) {
        let source = DatasetSource::Text {
            name: name.to_owned(),
            text,
        };
        self.load_dataset(name.to_owned(), source, Vec::new());
    }

    /// Loads a sample with the settings that suit it.
    pub fn load_sample(self, sample: Sample) {
        if self.is_blocked(Step::Data) {
            return;
        }
        self.state.update(|state| state.recipe = None);
        self.form.update(|form| sample.set(form));
        self.load_dataset_text(sample.file_name, sample.rows.to_owned());
    }

    /// A dataset without a model calls for the bundled one, so that training can start at once.
    fn load_dataset(self, name: String, source: DatasetSource, files: Vec<File>) {
        if self.is_blocked(Step::Data) {
            return;
        }
        self.start_problem.set(None);
        let recipe = self.state.with_untracked(|state| {
            let recipe = &state.recipe.as_ref()?.recipe;
            // What it says of rows is about its own. Their hash is not known yet: files are taken for them by their names,
            // or if they were renamed by their size.
            let is_its = |file: &String| recipe.dataset.names.contains(file);
            let bytes: f64 = files.iter().map(|file| file.size()).sum();
            let is_of_it = is_its(&name)
                || files.iter().map(File::name).any(|file| is_its(&file))
                || !files.is_empty() && bytes == recipe.dataset.file_bytes as f64;
            is_of_it.then(|| recipe.settings.clone())
        });
        self.form.update(|form| form.begin_rows(recipe.as_ref()));
        self.jump.set(Some(0));
        self.client
            .with_value(|client| client.read(source, files, name));
        if self
            .state
            .with_untracked(|state| state.model.loaded.is_none() && state.model.loading.is_none())
        {
            self.load_bundled_model();
        }
    }

    /// Reads the same files with that mapping.
    pub fn use_mapping(self, mapping: &Mapping) {
        self.read_form.update(|form| form.take(mapping));
        self.read_again();
    }

    /// Reads the same files as the form says now.
    pub fn read_again(self) {
        if let Ok(spec) = self.read_form.with_untracked(ReadForm::spec)
            && !self.is_blocked(Step::Data)
        {
            self.client.with_value(|client| client.read_again(spec));
        }
    }

    /// Accepts what was dropped on the window or pasted, including folders: each file goes to the step it belongs to.
    pub fn take_dropped(self, dropped: Dropped) {
        spawn_local(async move {
            let Walked { files, is_cut } = dropped.walk().await;
            self.take(files, is_cut, None).await;
        });
    }

    /// Accepts files chosen in a step's input; files that clearly belong to another step go there.
    pub fn take_chosen(self, files: Vec<File>, step: Step) {
        if files.is_empty() {
            return;
        }
        spawn_local(async move {
            let mut files = found(files);
            let is_cut = files.len() > MAX_FILES;
            files.truncate(MAX_FILES);
            self.take(files, is_cut, Some(step)).await;
        });
    }

    async fn take(self, found: Vec<Found>, is_cut: bool, chosen_for: Option<Step>) {
        if found.is_empty() {
            return self.tell_intake(Some(Intake::of_nothing()));
        }
        let mut samples = Vec::with_capacity(found.len());
        for file in &found {
            samples.push(sample(file).await);
        }
        let mut sorted = files::sort(&samples, chosen_for);
        if is_cut {
            sorted.remarks.push(format!(
                "Only the first {} files were looked at.",
                count(MAX_FILES as u64)
            ));
        }
        if let Some(index) = sorted.recipe {
            let remark = self.take_recipe(&found[index]).await;
            sorted.remarks.extend(remark);
        }
        let intake = Intake::of(&samples, &sorted, chosen_for);
        let of = |indices: &[usize], name: fn(&str) -> &str| -> Vec<File> {
            let files = indices.iter().map(|&index| &found[index]);
            files
                .map(|found| renamed(&found.file, name(&found.path)))
                .collect()
        };
        self.load_model_files(of(&sorted.model, files::base_name));
        let dataset = sorted.dataset.iter().chain(&sorted.cards);
        let dataset: Vec<&Found> = dataset.map(|&index| &found[index]).collect();
        let paths: Vec<&str> = dataset.iter().map(|found| found.path.as_str()).collect();
        let names = files::dataset_names(&paths);
        let dataset = dataset.into_iter().zip(names);
        self.load_dataset_files(
            dataset
                .map(|(found, name)| renamed(&found.file, &name))
                .collect(),
        );
        self.load_adapters(
            sorted
                .adapters
                .iter()
                .map(|adapter| of(adapter, files::with_folder))
                .collect(),
            sorted
                .adapters
                .iter()
                .any(|adapter| files::is_for(&samples, adapter, BUNDLED_NAME)),
        );
        self.tell_intake(intake);
    }

    /// Fills the form from a recipe, or says why it cannot be read.
    async fn take_recipe(self, found: &Found) -> Option<String> {
        // One byte more shows that there is more.
        let json = start_of(&found.file, MAX_RECIPE_BYTES + 1).await;
        let file = found.path.clone();
        match recipe::parse(&json) {
            Ok(recipe) => {
                self.form.update(|form| form.take(&recipe.settings));
                let dropped = DroppedRecipe { file, recipe };
                self.state.update(|state| state.recipe = Some(dropped));
                None
            }
            Err(failure) => {
                let remedy = failure.remedy.unwrap_or_default();
                Some(format!("{file}: {} {remedy}", failure.what))
            }
        }
    }

    /// Takes pasted text as a dataset.
    pub fn take_text(self, text: String) {
        if let Some(intake) = Intake::of_address(&text) {
            return self.tell_intake(Some(intake));
        }
        let intake = Intake::of_text(&text);
        self.load_dataset_text("pasted text", text);
        self.tell_intake(Some(intake));
    }

    fn tell_intake(self, intake: Option<Intake>) {
        self.state.update(|state| state.intake = intake);
    }

    pub fn dismiss_intake(self) {
        self.state.update(|state| state.recipe = None);
        self.tell_intake(None);
    }

    /// An adapter for the bundled model loads that model if there is no other.
    fn load_adapters(self, adapters: Vec<Vec<File>>, is_for_bundled: bool) {
        if adapters.is_empty() || self.is_blocked(Step::Try) {
            return;
        }
        let names = adapters.iter().map(|files| {
            let first = files.first().map(File::name).unwrap_or_default();
            files::shown_adapter(&first).to_owned()
        });
        let names: Vec<String> = names.collect();
        let has_model = self
            .state
            .with_untracked(|state| state.model.loaded.is_some() || state.model.loading.is_some());
        if is_for_bundled && !has_model {
            self.load_bundled_model();
        }
        self.state
            .update(|state| state.begin_adapters(names.clone()));
        for (name, files) in names.into_iter().zip(adapters) {
            self.client
                .with_value(|client| client.load_adapter(name, files));
        }
    }

    /// Makes a new adapter of others, each times its weight.
    pub fn blend_adapters(self, parts: Vec<(AdapterId, f64)>) {
        self.send(Command::BlendAdapters { parts });
    }

    /// Makes it the tuned model's.
    pub fn use_adapter(self, adapter: AdapterId) {
        self.send(Command::UseAdapter { adapter });
    }

    pub fn forget_adapter(self, adapter: AdapterId) {
        self.state.update(|state| state.adapter_settled(adapter));
        self.send(Command::ForgetAdapter { adapter });
    }

    /// During a run or a trial neither model nor data is replaced; the notice says so.
    fn is_blocked(self, step: Step) -> bool {
        let is_busy = self.state.with_untracked(State::is_busy);
        if is_busy {
            let failure = Failure::new(FailureKind::WrongState, "A run is in progress.")
                .remedy("Stop it first; its best adapter is kept.");
            self.state.update(|state| {
                state.dismiss(step);
                state.notify(Notice::new(step, failure));
            });
        }
        is_busy
    }

    pub fn prepare(self, spec: DataSpec) {
        self.send(Command::PrepareDataset { spec });
    }

    pub fn plan(self, spec: RunSpec) {
        self.send(Command::Plan { spec });
    }

    /// Asks the reader for a row that the table's window lacks, and for those around it.
    pub fn list_rows(self, first: usize, count: usize) {
        let Some((reader, start, filter)) = self.state.with_untracked(|state| {
            let start = state.rows.wanted(first, count)?;
            Some((state.shown_reader()?, start, state.rows.filter))
        }) else {
            return;
        };
        self.state.update(|state| state.rows.ask(start));
        self.client
            .with_value(|client| client.list_rows(reader, start, BLOCK, filter));
    }

    /// Shows all rows in the table, or those of a finding.
    pub fn filter_rows(self, filter: RowFilter) {
        self.state.update(|state| state.filter_rows(filter));
        self.jump.set(Some(0));
    }

    pub fn preview_row(self, row: usize) {
        if let Ok(spec) = self.form.with_untracked(Form::data_spec) {
            self.send(Command::PreviewRow { row, spec });
        }
    }

    /// Starts a run now, or as soon as what it needs is loaded; says why where it cannot.
    pub fn start_training(self) {
        self.start_problem.set(None);
        if self.state.with_untracked(State::is_busy) {
            return;
        }
        let spec = match self.form.with_untracked(Form::run_spec) {
            Ok(spec) => spec,
            Err(field) => return self.refuse_field(field),
        };
        let (has_data, can_train) = self.state.with_untracked(|state| {
            (
                state.data.loaded.is_some() || state.data.loading.is_some(),
                state.can_train(),
            )
        });
        if !has_data {
            self.start_problem.set(Some(
                "There is no data yet: add a file in step 2, or load the sample.".to_owned(),
            ));
            return;
        }
        if !can_train {
            self.state.update(|state| state.start_when_loaded = true);
            if self.state.with_untracked(|state| {
                state.model.loaded.is_none() && state.model.loading.is_none()
            }) {
                self.load_bundled_model();
            }
            return;
        }
        let run = self.client.with_value(EngineClient::next_run);
        self.state
            .update(|state| state.begin_run(run, spec.clone()));
        self.send(Command::StartTraining { run, spec });
    }

    /// Takes one step on the first batch of the run, to look at; says why where it cannot.
    pub fn step_one_batch(self) {
        self.start_problem.set(None);
        if self.state.with_untracked(State::is_busy) {
            return;
        }
        match self.form.with_untracked(Form::run_spec) {
            Ok(_) if !self.state.with_untracked(State::can_train) => self.start_problem.set(Some(
                "The first batch needs a model and data: wait until both are loaded.".to_owned(),
            )),
            Ok(spec) => {
                let run = self.begin_trial(Tried::FirstBatch);
                self.send(Command::StepOneBatch { run, spec });
            }
            Err(field) => self.refuse_field(field),
        }
    }

    /// Scores base and tuned model over rows that the tuned model did not learn.
    pub fn score(self, side: Side) {
        let adapter = self.state.with_untracked(|state| {
            let active = state.adapters.active;
            active.filter(|_| !state.is_busy())
        });
        if let Some(adapter) = adapter {
            let run = self.begin_trial(Tried::Score(side));
            self.send(Command::Score { run, adapter, side });
        }
    }

    fn begin_trial(self, tried: Tried) -> RunId {
        let id = self.client.with_value(EngineClient::next_run);
        self.state.update(|state| state.begin_trial(id, tried));
        id
    }

    /// Stops the trial under way.
    pub fn stop_trial(self) {
        let stopped = self.state.try_update(State::stop_trial).flatten();
        if let Some(run) = stopped {
            self.send(Command::Stop { run });
        }
    }

    /// Sets the learning rate and moves the focus to *Start training*.
    pub fn set_learning_rate(self, rate: f64) {
        self.form
            .update(|form| form.set(LEARNING_RATE, rate.to_string()));
        self.start_problem.set(Some(format!(
            "The learning rate is {rate} now. Start training when you are ready."
        )));
        page::focus(START_ID);
    }

    /// Asks the browser for permission to notify of a run's end, or turns notifications off.
    pub fn ask_to_notify(self, is_wanted: bool) {
        if !is_wanted {
            return self.notifies.set(false);
        }
        spawn_local(async move {
            let is_allowed = notification::ask().await;
            self.notifies.set(is_allowed);
            if !is_allowed {
                self.start_problem.set(Some(
                    "This browser does not allow notifications from this page; the tab\u{2019}s title shows when the run ends."
                        .to_owned(),
                ));
            }
        });
    }

    fn refuse_field(self, field: Field) {
        let error = self.form.with_untracked(|form| form.error(field));
        self.start_problem.set(error);
        page::focus(&field_id(field));
    }

    /// Pauses, resumes or stops the run under way.
    pub fn ask_run(self, asked: Asked) {
        let Some(run) = self.state.with_untracked(|state| {
            state
                .run
                .as_ref()
                .filter(|run| run.is_active())
                .map(|run| run.id)
        }) else {
            return;
        };
        self.state.update(|state| {
            if let Some(run) = &mut state.run {
                run.asked = Some(asked);
            }
        });
        self.send(match asked {
            Asked::Pause => Command::Pause { run },
            Asked::Resume => Command::Resume { run },
            Asked::Stop => Command::Stop { run },
        });
    }

    /// Whether answers continue plain text, as models without a chat template always do.
    pub fn continues_text(self) -> bool {
        let has_template = self.state.with(|state| {
            let model = state.model.loaded.as_ref();
            model.is_none_or(|model| model.has_chat_template)
        });
        !has_template || self.form.with(|form| form.as_text)
    }

    /// The conversations that the models would continue, and whether as plain text; `None` while nothing was typed or
    /// asked.
    pub fn next_conversations(self) -> Option<(Vec<Conversation>, bool)> {
        let as_text = self.continues_text();
        self.form.with(|form| {
            let preamble = form.preamble(as_text);
            let conversations = self
                .state
                .with(|state| state.next_conversations(&form.prompt, &preamble));
            Some((conversations?, as_text))
        })
    }

    /// Sends the typed prompt to every model, or the last prompt again if nothing was typed.
    pub fn generate(self) {
        let Some((conversations, as_text)) = untrack(|| self.next_conversations()) else {
            return;
        };
        let spec = self
            .form
            .with_untracked(|form| form.generation_spec(conversations, as_text));
        let spec = match spec {
            Ok(spec) => spec,
            Err(field) => return page::focus(&field_id(field)),
        };
        let id = self.client.with_value(EngineClient::next_generation);
        let typed = self.form.with_untracked(|form| form.prompt.clone());
        self.state.update(|state| {
            state.dismiss(Step::Try);
            state.begin_turn(id, &typed);
        });
        self.form.update(|form| form.prompt.clear());
        self.send(Command::Generate { id, spec });
    }

    /// Generates the last answers again, whatever is being typed.
    pub fn regenerate(self) {
        let typed = self
            .form
            .try_update(|form| std::mem::take(&mut form.prompt));
        self.generate();
        if let Some(typed) = typed {
            self.form.update(|form| form.prompt = typed);
        }
    }

    /// Forgets the conversation.
    pub fn new_chat(self) {
        self.state.update(|state| {
            state.dismiss(Step::Try);
            state.chat.clear();
        });
    }

    /// Removes the last turn, to edit its prompt.
    pub fn edit_last(self) {
        let taken = self.state.try_update(|state| state.chat.take_back());
        if let Some(prompt) = taken.flatten() {
            self.form.update(|form| form.prompt = prompt);
            page::focus("prompt");
        }
    }

    fn preview_prompts(self, conversations: Vec<Conversation>, as_text: bool) {
        self.send(Command::PreviewPrompts {
            conversations,
            as_text,
        });
    }

    pub fn stop_generation(self) {
        if let Some(id) = self
            .state
            .with_untracked(|state| state.chat.turns.last().map(|turn| turn.id))
        {
            self.send(Command::StopGeneration { id });
        }
    }

    /// Asks for a zip; it is handed over when it comes.
    pub fn export(self, kind: ExportKind) {
        self.start_export(kind, None);
    }

    /// Asks for the whole model with the adapter merged into it.
    pub fn export_merged(self, kind: MergedKind) {
        self.start_export(ExportKind::Peft, Some(kind));
    }

    fn start_export(self, kind: ExportKind, merged: Option<MergedKind>) {
        let Some(adapter) = self.state.with_untracked(|state| state.adapters.active) else {
            return;
        };
        self.state.update(|state| {
            state.dismiss(Step::Export);
            state.export = ExportState::Packing;
        });
        self.client
            .with_value(|client| client.export(adapter, kind, merged));
    }

    pub fn cancel_merging(self) {
        self.client.with_value(EngineClient::cancel_merging);
    }

    pub fn dismiss(self, step: Step) {
        self.state.update(|state| state.dismiss(step));
    }
}

/// The `id` of a field's input.
pub fn field_id(field: Field) -> String {
    format!(
        "field-{}",
        field.label().to_ascii_lowercase().replace(' ', "-")
    )
}

/// The `id` of the button *Start training*.
pub const START_ID: &str = "start-training";

pub const BUNDLED_NAME: &str = "SmolLM2-135M-Instruct";

fn bundled_model() -> ModelSource {
    ModelSource::Url {
        url: "models/SmolLM2-135M-Instruct.Q4_1.gguf".to_owned(),
        name: BUNDLED_NAME.to_owned(),
        sha256: Some("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53".to_owned()),
    }
}
