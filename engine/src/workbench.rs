//! What is loaded and what is done with it: carries out [`Command`]s one after the other.
//!
//! ```text
//! LoadModel -> LoadedModel      LoadDataset -> LoadedDataset -> Prepared
//! StartTraining -> RunPlan -> session -> Run      LoadAdapter | BlendAdapters -> Run
//! Run + LoadedModel -> Generate | Score | Export
//! ```
//!
//! A command that fails changes nothing: the new model or dataset replaces the old one only once it is whole. To cancel
//! a command, the host drops its future, which must therefore assign nothing before it is complete.

mod answers;
mod dataset;
mod model;
mod run;
mod runs;
mod score;
mod speed;
mod training;

use std::rc::Rc;

use burn::tensor::Device;
use protocol::{
    AdapterId, AdapterOrigin, AdapterSpec, Command, DataSpec, DatasetSummary, DeviceReport, Event,
    ExportKind, Failure, FailureKind, PlanSummary, Precision, RunId, RunSpec, Side,
};

use crate::{
    data::prepare::Prepared, device::DeviceProfile, export, host::Host,
    train::session::TrainedAdapter, weights::checkpoint::NamedSource,
};
use dataset::LoadedDataset;
use model::LoadedModel;
use run::{Run, Training};
use runs::Runs;
use score::Scored;
use speed::KnownSpeed;

/// Everything that a worker holds between two commands: the model, the dataset and the runs.
pub struct Workbench<'h> {
    host: &'h dyn Host,
    device: Device,
    /// What runs and answers may use of the device.
    profile: DeviceProfile,
    /// What exports say of the device.
    report: DeviceReport,
    /// The precision of answers that no run decides: that of the last run, at first the device's own.
    precision: Precision,
    model: Option<LoadedModel>,
    dataset: Option<LoadedDataset>,
    /// The runs of every model that was loaded; those of another model wait until it is loaded again.
    runs: Runs,
    speed: KnownSpeed,
}

impl<'h> Workbench<'h> {
    /// An empty workbench on a device that passed its self-test.
    pub fn new(
        host: &'h dyn Host,
        device: Device,
        profile: DeviceProfile,
        report: DeviceReport,
    ) -> Self {
        Self {
            host,
            device,
            profile,
            report,
            precision: profile.precision,
            model: None,
            dataset: None,
            runs: Runs::default(),
            speed: KnownSpeed::default(),
        }
    }

    /// Carries out a command and tells the host of it, of failure too. `files` came with the command; those of a
    /// URL were fetched by the caller. Pause, resume and stop do not come here: the host obeys them at once.
    pub async fn handle(&mut self, command: Command, files: Vec<NamedSource>) {
        if let Err(failure) = self.try_handle(command, files).await {
            self.host.emit(Event::Failed { failure });
        }
    }

    /// Carries out a command; what it has to say of its success are events.
    ///
    /// # Errors
    /// Whatever keeps the command from being carried out.
    async fn try_handle(
        &mut self,
        command: Command,
        files: Vec<NamedSource>,
    ) -> Result<(), Failure> {
        match command {
            Command::LoadModel { .. } => self.load_model(files).await,
            Command::LoadDataset { dataset } => self.load_dataset(dataset, files).await,
            Command::PrepareDataset { spec } => {
                let dataset = self.prepare(&spec).await?.summary.clone();
                self.tell_runs_of_others()?;
                self.host.emit(Event::DatasetPrepared { dataset });
                Ok(())
            }
            Command::PreviewRow { row, spec } => {
                let preview = self.dataset()?.preview(row, &spec, self.model()?).await?;
                self.host.emit(Event::RowPreview { preview });
                Ok(())
            }
            Command::Plan { spec } => self.plan(&spec).await,
            Command::StartTraining { run, spec } => self
                .train(run, &spec)
                .await
                .map_err(|failure| failure.in_run(run)),
            Command::StepOneBatch { run, spec } => self
                .step_one_batch(run, &spec)
                .await
                .map_err(|failure| failure.in_run(run)),
            Command::Score { run, adapter, side } => self
                .score(run, adapter, side)
                .await
                .map_err(|failure| failure.in_run(run)),
            Command::Generate { id, spec } => self.generate(id, &spec).await,
            Command::PreviewPrompts {
                conversations,
                as_text,
            } => {
                let prompts = self.preview_prompts(&conversations, as_text);
                self.host.emit(Event::PromptsPreviewed { prompts });
                Ok(())
            }
            Command::LoadAdapter {} => {
                let model = self.model.as_ref().ok_or_else(no_model)?;
                for message in self.runs.load(files, model).await? {
                    self.host.emit(Event::Warning { message });
                }
                self.tell_new_run()
            }
            Command::RestoreAdapters {
                copies,
                active,
                highest,
            } => {
                let model = self.model.as_ref().ok_or_else(no_model)?;
                let restored = self.runs.restore(copies, files, highest, model).await;
                if let Some(active) = active {
                    // It may be one of those that could not be restored.
                    let _ = self.runs.make_active(active, &model.summary);
                }
                self.tell_runs()?;
                restored
            }
            Command::BlendAdapters { parts } => {
                let model = self.model.as_ref().ok_or_else(no_model)?;
                self.runs.blend(parts, model)?;
                self.tell_new_run()
            }
            Command::UseAdapter { adapter } => {
                let model = self.model.as_ref().ok_or_else(no_model)?;
                self.runs.make_active(adapter, &model.summary)?;
                self.tell_runs()
            }
            Command::ForgetAdapter { adapter } => {
                let model = self.model.as_ref().ok_or_else(no_model)?;
                self.runs.forget(adapter, &model.summary)?;
                self.tell_runs()
            }
            Command::Export { adapter, kind } => self.export(adapter, kind),
            Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Stop { .. }
            | Command::StopGeneration { .. }
            | Command::Cancel { .. } => Ok(()),
        }
    }

    async fn load_model(&mut self, files: Vec<NamedSource>) -> Result<(), Failure> {
        let model = LoadedModel::load(files, &self.device, self.profile, self.host).await?;
        self.precision = self.profile.precision;
        self.host.emit(Event::ModelLoaded {
            model: model.summary.clone(),
        });
        self.model = Some(model);
        if let Some(dataset) = &mut self.dataset {
            dataset.forget_prepared();
        }
        self.tell_runs()
    }

    /// Gives out a copy of the adapter that was kept last: this worker may die.
    fn tell_new_run(&mut self) -> Result<(), Failure> {
        let model = self.model.as_ref().ok_or_else(no_model)?;
        if let Some(kept) = self.runs.newest() {
            match kept.adapter_zip(model) {
                Ok(zip) => {
                    let copy = kept.copy();
                    self.host.emit_with_bytes(Event::AdapterKept { copy }, zip);
                }
                Err(failure) => {
                    let message = format!("{} could not be copied: {}", kept.name, failure.what);
                    self.host.emit(Event::Warning { message });
                }
            }
        }
        self.tell_runs()
    }

    /// Tells of the adapters if some came in: these are scored on the loaded rows, which have changed.
    fn tell_runs_of_others(&mut self) -> Result<(), Failure> {
        match self.model.is_some() && self.runs.has_others() {
            true => self.tell_runs(),
            false => Ok(()),
        }
    }

    fn tell_runs(&mut self) -> Result<(), Failure> {
        let model = &self.model.as_ref().ok_or_else(no_model)?.summary;
        self.runs.settle(model);
        let rows = self.dataset.as_ref().and_then(LoadedDataset::held_out);
        let list = self.runs.summary(model, rows.map(|rows| &**rows));
        self.host.emit(Event::Adapters { list });
        Ok(())
    }

    /// The run's settings, and the adapter that it continues, if any. Its method and shape then replace those of the
    /// settings; only the dropout remains a choice.
    fn initial(&self, spec: &RunSpec) -> Result<(RunSpec, Option<Rc<TrainedAdapter>>), Failure> {
        let mut spec = spec.clone();
        let Some(id) = spec.initial_adapter else {
            return Ok((spec, None));
        };
        let adapter = &self.runs.get(id, &self.model()?.summary)?.adapter;
        spec.adapter = AdapterSpec {
            lora_dropout: spec.adapter.lora_dropout,
            ..adapter.form.layout.spec.clone()
        };
        Ok((spec, Some(adapter.clone())))
    }

    async fn load_dataset(
        &mut self,
        summary: DatasetSummary,
        files: Vec<NamedSource>,
    ) -> Result<(), Failure> {
        let dataset = LoadedDataset::open(summary, files).await?;
        let summary = dataset.summary().clone();
        self.dataset = Some(dataset);
        self.tell_runs_of_others()?;
        self.host.emit(Event::DatasetLoaded { dataset: summary });
        Ok(())
    }

    async fn prepare(&mut self, spec: &DataSpec) -> Result<Rc<Prepared>, Failure> {
        let model = self.model.as_ref().ok_or_else(no_model)?;
        let dataset = self.dataset.as_mut().ok_or_else(no_dataset)?;
        dataset.prepare(spec, model, self.host).await
    }

    /// Tells of the plan twice where the speed is unknown: without a duration at once, and with one after the
    /// measurement.
    async fn plan(&mut self, spec: &RunSpec) -> Result<(), Failure> {
        let prepared = self.prepare(&spec.data).await?;
        let (spec, _) = self.initial(spec)?;
        let plan = training::plan(&spec, self.model()?, &prepared, self.profile)?;
        let mut summary = PlanSummary::from(&plan);
        let model = self.model.as_ref().ok_or_else(no_model)?;
        let mut speed = self.speed.of(model);
        if speed.is_none() {
            // Report what is already known before measuring the device.
            let plan = summary.clone();
            self.host.emit(Event::Planned { plan });
            speed = self.speed.measure(model, self.profile, self.host).await;
        }
        if let Some(speed) = speed {
            let estimate = speed::estimate(&plan, model, &prepared, speed);
            summary.estimated_secs = Some(estimate.total_secs());
            self.host.emit(Event::Planned { plan: summary });
        }
        Ok(())
    }

    async fn step_one_batch(&mut self, run: RunId, spec: &RunSpec) -> Result<(), Failure> {
        let prepared = self.prepare(&spec.data).await?;
        let (spec, initial) = self.initial(spec)?;
        let model = self.model()?;
        let plan = training::plan(&spec, model, &prepared, self.profile)?;
        let initial = initial.as_deref();
        let batch =
            training::step_one_batch(run, &plan, model, initial, &prepared, self.host).await?;
        self.host.emit(Event::BatchStepped { run, batch });
        Ok(())
    }

    /// Trains, keeps the adapter as a run, and hands out its copy before the run counts as ended.
    async fn train(&mut self, run: RunId, spec: &RunSpec) -> Result<(), Failure> {
        let prepared = self.prepare(&spec.data).await?;
        let (spec, initial) = self.initial(spec)?;
        let model = self.model.as_ref().ok_or_else(no_model)?;
        let dataset = self.dataset.as_ref().ok_or_else(no_dataset)?;
        let plan = training::plan(&spec, model, &prepared, self.profile)?;
        self.precision = plan.device.precision;
        let initial = initial.as_deref();
        let result = training::train(run, &plan, model, initial, &prepared, self.host).await;
        self.speed.learn(&plan, model, &prepared, &result.steps);
        let summary = result.summary.clone();
        let failure = result.failure.clone();
        let failure = failure.map(|error| Failure::from(error).in_run(run));
        if let Some(adapter) = result.adapter.clone() {
            let begun = plan.spec.initial_adapter;
            let begun = begun.and_then(|id| self.runs.get(id, &model.summary).ok());
            let training = Training {
                initial: begun.map(Run::recipe).transpose()?,
                spec: plan.spec,
                device: plan.device,
                result,
                rows: dataset.held_out().ok_or_else(no_dataset)?.clone(),
                finished_at: self.host.now_iso8601(),
            };
            let name = format!(
                "Run {}: {}",
                run.0,
                training.spec.adapter.method.facts().name
            );
            let origin = AdapterOrigin::Run(run);
            let kept = self.runs.keep(name, origin, adapter, &model.summary);
            kept.training = Some(training);
            self.runs.release_rows();
            self.tell_new_run()?;
        }
        self.host.emit(Event::RunEnded { run, summary });
        // After everything else: if the device is lost, the page ends this worker as soon as it hears of it.
        if let Some(failure) = failure {
            self.host.emit(Event::Failed { failure });
        }
        Ok(())
    }

    /// Scores a run's adapter. Its zip has the report from now on, with every row; the page gets it without the rows.
    async fn score(&mut self, run: RunId, id: AdapterId, side: Side) -> Result<(), Failure> {
        let model = self.model.as_ref().ok_or_else(no_model)?;
        let loaded = self.dataset.as_ref().and_then(LoadedDataset::held_out);
        let scored = Scored {
            run: self.runs.get(id, &model.summary)?,
            side,
            loaded: loaded.map(|rows| &**rows),
            device: self.profile,
        };
        let mut report = score::score(run, scored, model, self.host).await?;
        if let Some(report) = &mut report {
            let kept = self.runs.get_mut(id, &model.summary)?;
            kept.keep_score(report.clone());
            report.rows.clear();
        }
        self.host.emit(Event::Scored {
            run,
            adapter: id,
            report,
        });
        Ok(())
    }

    /// Sends a run's adapter in that form, for PEFT with all that tells of the run.
    fn export(&self, id: AdapterId, kind: ExportKind) -> Result<(), Failure> {
        let model = self.model()?;
        let run = self.runs.get(id, &model.summary)?;
        let bytes = run.zip(kind, model, &self.report)?;
        let event = Event::ExportReady {
            adapter: id,
            file_name: export::file_name(&model.summary, kind),
        };
        self.host.emit_with_bytes(event, bytes);
        Ok(())
    }

    fn model(&self) -> Result<&LoadedModel, Failure> {
        self.model.as_ref().ok_or_else(no_model)
    }

    fn dataset(&self) -> Result<&LoadedDataset, Failure> {
        self.dataset.as_ref().ok_or_else(no_dataset)
    }
}

fn no_model() -> Failure {
    Failure::new(FailureKind::WrongState, "No model is loaded.")
        .remedy("Use the bundled model, or drop a model file.")
}

fn no_dataset() -> Failure {
    Failure::new(FailureKind::WrongState, "No dataset is loaded.")
        .remedy("Drop a file of examples, or load the sample.")
}
