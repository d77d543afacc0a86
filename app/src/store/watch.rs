//! What happens by itself when the state changes: encoding, planning, previewing, the tab's title.

use std::time::Duration;

use leptos::leptos_dom::helpers::TimeoutHandle;
use leptos::prelude::*;
use protocol::{DataSpec, RowShape, RunSpec};

use crate::browser::wake_lock::WakeLock;
use crate::browser::{notification, page};
use crate::state::State;
use crate::state::form::Form;
use crate::state::mapping::ReadForm;
use crate::state::reading::ReaderId;
use crate::state::status;
use crate::state::work::Work;

use super::Store;

/// Typing pauses this long before the engine is asked.
const TYPING_PAUSE: Duration = Duration::from_millis(400);
/// The notification of a run's end waits this long for everything about it.
const SUMMARY_PAUSE: Duration = Duration::from_millis(300);

impl Store {
    /// Sets the watchers up; they live as long as the page.
    pub fn watch(self) {
        self.watch_form();
        self.watch_mapping();
        self.watch_context();
        self.watch_data_spec();
        self.watch_run_spec();
        self.watch_preview();
        self.watch_start();
        self.watch_preamble();
        self.watch_prompts();
        self.watch_tab();
    }

    /// Fills the form of how rows are read with how they were.
    fn watch_mapping(self) {
        let present = self.select(|state| {
            let dataset = state.mapped_dataset()?;
            Some((dataset.names.clone(), ReadForm::of(dataset)))
        });
        Effect::new(move |_| {
            if let Some((_, form)) = present.get() {
                self.read_form.set(form);
            }
        });
    }

    /// Keeps the default sequence length within the model's context.
    fn watch_context(self) {
        let context = self.select(|state| {
            let model = state.model.loaded.as_ref()?;
            Some(model.max_position_embeddings)
        });
        Effect::new(move |_| {
            if let Some(context) = context.get() {
                self.form.update(|form| form.fit_length(context));
            }
        });
    }

    /// Tells the state which run the form describes, so that no older plan is shown.
    fn watch_form(self) {
        let wanted = Memo::new(move |_| self.form.with(Form::run_spec));
        Effect::new(move |_| {
            let wanted = wanted.get();
            self.state.update(|state| state.form_changed(wanted));
        });
    }

    /// Encodes the dataset again when it, the model or its settings change.
    fn watch_data_spec(self) {
        let wanted = Memo::new(move |_| {
            let spec = self.form.with(Form::data_spec).ok();
            let is_due = |state: &State| state.can_train() && !state.is_busy();
            let key = self
                .state
                .with(|state| is_due(state).then(|| loaded_key(state)).flatten());
            key.zip(spec)
        });
        let timer = StoredValue::new_local(None::<TimeoutHandle>);
        Effect::new(move |last: Option<Option<(Key, DataSpec)>>| {
            let wanted = wanted.get();
            cancel(timer);
            if let Some((key, spec)) = &wanted
                && !self.is_prepared(spec)
            {
                let is_new = !matches!(&last, Some(Some((last_key, _))) if last_key == key);
                let spec = spec.clone();
                if is_new {
                    self.begin_preparing(spec);
                } else {
                    after_typing(timer, move || self.begin_preparing(spec));
                }
            }
            wanted
        });
    }

    fn is_prepared(self, spec: &DataSpec) -> bool {
        self.state.with_untracked(|state| {
            state
                .prepared
                .as_ref()
                .is_some_and(|prepared| prepared.spec == *spec)
        })
    }

    fn begin_preparing(self, spec: DataSpec) {
        self.state.update(State::begin_encoding);
        self.prepare(spec);
    }

    /// Plans the run again when the encoded dataset or a setting changes.
    fn watch_run_spec(self) {
        let wanted = Memo::new(move |_| {
            let spec = self.form.with(Form::run_spec).ok()?;
            let is_due = self.state.with(|state| {
                let is_encoded = state
                    .prepared
                    .as_ref()
                    .is_some_and(|prepared| prepared.spec == spec.data);
                is_encoded && !state.is_busy()
            });
            is_due.then_some(spec)
        });
        let timer = StoredValue::new_local(None::<TimeoutHandle>);
        Effect::new(move |_| {
            cancel(timer);
            if let Some(spec) = wanted.get()
                && !self.is_planned(&spec)
            {
                after_typing(timer, move || self.plan(spec));
            }
        });
    }

    fn is_planned(self, spec: &RunSpec) -> bool {
        self.state.with_untracked(|state| state.has_plan_of(spec))
    }

    /// Shows the row last looked at, or the first one, as the model sees it now.
    fn watch_preview(self) {
        let prepared = self.select(|state| state.prepared.clone());
        Effect::new(move |_| {
            if prepared.with(Option::is_some) {
                let row = self.state.with_untracked(|state| {
                    let last = state.preview.as_ref().map(|preview| preview.row);
                    last.or_else(|| state.rows.get(0).map(|row| row.row))
                });
                if let Some(row) = row {
                    self.preview_row(row);
                }
            }
        });
    }

    /// Starts the run that was asked for while something was still loading.
    fn watch_start(self) {
        let is_due = self.select(|state| state.start_when_loaded && state.can_train());
        Effect::new(move |_| {
            if is_due.get() {
                self.start_training();
            }
        });
    }

    /// Begins a chat like the rows of the dataset.
    fn watch_preamble(self) {
        let preamble = self.select(|state| {
            let prepared = state.prepared.as_ref()?;
            let shapes = &state.data.loaded.as_ref()?.shapes;
            let is_text = shapes.first().map(|(shape, _)| *shape) == Some(RowShape::Text);
            Some((prepared.preamble.clone(), is_text))
        });
        Effect::new(move |_| {
            if let Some((preamble, is_text)) = preamble.get() {
                self.form.update(|form| form.suggest(preamble, is_text));
            }
        });
    }

    /// Updates the prompts as the models would read them now, while they are shown.
    fn watch_prompts(self) {
        let wanted = Memo::new(move |_| {
            let model = self.state.with(|state| {
                let is_free = !state.is_busy()
                    && !state.chat.is_active()
                    && !state.deaths.is_set_aside(Work::PreviewPrompts);
                let model = state.model.loaded.as_ref().filter(|_| is_free)?;
                Some(model.sha256.clone())
            });
            let model = model.filter(|_| self.shows_prompts.get())?;
            Some((model, self.next_conversations()?))
        });
        let timer = StoredValue::new_local(None::<TimeoutHandle>);
        Effect::new(move |_| {
            cancel(timer);
            if let Some((_, (conversations, as_text))) = wanted.get() {
                after_typing(timer, move || self.preview_prompts(conversations, as_text));
            }
        });
    }

    /// Title, wake lock, the notification of the end and the question before leaving.
    fn watch_tab(self) {
        let title = self.select(status::title);
        Effect::new(move |_| page::set_title(&title.get()));
        let is_busy = self.select(State::is_busy);
        let lock = WakeLock::default();
        Effect::new(move |_| lock.set(is_busy.get()));
        page::ask_before_closing(move || self.state.with_untracked(State::has_unsaved));
        let ended = self.select(|state| status::ended(state).map(|(run, _)| run));
        Effect::new(move |_| {
            if ended.get().is_some() && self.notifies.get_untracked() {
                // A failure arrives just before the summary of what was kept.
                set_timeout(move || self.notify_of_end(), SUMMARY_PAUSE);
            }
        });
    }

    fn notify_of_end(self) {
        if let Some((_, ended)) = self.state.with_untracked(status::ended) {
            notification::show(ended.title, &ended.body);
        }
    }
}

/// Tells one loaded pair of model and dataset from the next, also where the same files are read in another way.
type Key = (String, Option<ReaderId>);

fn loaded_key(state: &State) -> Option<Key> {
    let model = state.model.loaded.as_ref()?;
    state.data.loaded.as_ref()?;
    Some((model.sha256.clone(), state.readings.loaded))
}

fn cancel(timer: StoredValue<Option<TimeoutHandle>, LocalStorage>) {
    timer.update_value(|timer| {
        if let Some(timer) = timer.take() {
            timer.clear();
        }
    });
}

fn after_typing(
    timer: StoredValue<Option<TimeoutHandle>, LocalStorage>,
    task: impl FnOnce() + 'static,
) {
    if let Ok(handle) = set_timeout_with_handle(task, TYPING_PAUSE) {
        timer.set_value(Some(handle));
    }
}
