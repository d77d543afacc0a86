//! What is loaded and what is done with it: carries out [`Command`]s one after the other.
//!
//! A command that fails changes nothing: the new model or dataset replaces the old one only once it is whole.

mod adapters;
mod dataset;
mod model;
mod run;
mod score;
mod speed;

use std::rc::Rc;

use burn::tensor::Device;
use protocol::{
    AdapterId, AdapterOrigin, AdapterSpec, Command, Conversation, DataSpec, DatasetSummary,
    DeviceReport, Event, ExportKind, Failure, FailureKind, GenerationId, GenerationSpec,
    PlanSummary, PromptPreview, RunId, RunSpec, Side, Speaker,
};

use crate::{
    data::prepare::Prepared, export, host::Host, train::session::TrainedAdapter,
    weights::checkpoint::NamedSource,
};
use adapters::{Adapters, KeptAdapter, no_adapter};
use dataset::LoadedDataset;
use model::LoadedModel;
use run::KeptRun;
use speed::KnownSpeed;

/// See the module.
pub struct Workbench<'h> {
    host: &'h dyn Host,
    device: Device,
    report: DeviceReport,
    model: Option<LoadedModel>,
    dataset: Option<LoadedDataset>,
    /// The last run that left an adapter.
    kept: Option<KeptRun>,
    adapters: Adapters,
    speed: KnownSpeed,
}

impl<'h> Workbench<'h> {
    /// An empty workbench on a device that passed its self-test.
    pub fn new(host: &'h dyn Host, device: Device, report: DeviceReport) -> Self {
        Self {
            host,
            device,
            report,
            model: None,
            dataset: None,
            kept: None,
            adapters: Adapters::default(),
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
            Command::Score { run, side } => self
                .score(run, side)
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
                for message in self.adapters.load(files, model).await? {
                    self.host.emit(Event::Warning { message });
                }
                self.tell_new_adapter()
            }
            Command::RestoreAdapters {
                copies,
                active,
                highest,
            } => {
                let model = self.model.as_ref().ok_or_else(no_model)?;
                let restored = self.adapters.restore(copies, files, highest, model).await;
                if let Some(active) = active {
                    // It may be one of those that could not be restored.
                    let _ = self.adapters.make_active(active, &model.summary);
                }
                self.tell_adapters()?;
                restored
            }
            Command::BlendAdapters { parts } => {
                let model = self.model.as_ref().ok_or_else(no_model)?;
                self.adapters.blend(parts, model)?;
                self.tell_new_adapter()
            }
            Command::UseAdapter { adapter } => {
                let model = self.model.as_ref().ok_or_else(no_model)?;
                self.adapters.make_active(adapter, &model.summary)?;
                self.tell_adapters()
            }
            Command::ForgetAdapter { adapter } => {
                let model = self.model.as_ref().ok_or_else(no_model)?;
                self.adapters.forget(adapter, &model.summary)?;
                self.tell_adapters()
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
        let mut model = LoadedModel::load(files, &self.device, self.host).await?;
        model.llama.precision = self.report.precision;
        self.host.emit(Event::ModelLoaded {
            model: model.summary.clone(),
        });
        self.model = Some(model);
        if let Some(dataset) = &mut self.dataset {
            dataset.forget_prepared();
        }
        self.tell_adapters()
    }

    /// Gives out a copy of the adapter that was kept last: this worker may die.
    fn tell_new_adapter(&mut self) -> Result<(), Failure> {
        let model = self.model.as_ref().ok_or_else(no_model)?;
        if let Some(kept) = self.adapters.newest() {
            match kept.zip(ExportKind::Peft, model) {
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
        self.tell_adapters()
    }

    fn tell_adapters(&mut self) -> Result<(), Failure> {
        let model = &self.model.as_ref().ok_or_else(no_model)?.summary;
        self.adapters.settle(model);
        let list = self.adapters.summary(model);
        self.host.emit(Event::Adapters { list });
        Ok(())
    }

    /// The run's settings, and the adapter that it goes on with.
    fn initial(&self, spec: &RunSpec) -> Result<(RunSpec, Option<Rc<TrainedAdapter>>), Failure> {
        let mut spec = spec.clone();
        let Some(id) = spec.initial_adapter else {
            return Ok((spec, None));
        };
        let adapter = &self.adapters.get(id, &self.model()?.summary)?.adapter;
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
        self.host.emit(Event::DatasetLoaded {
            dataset: dataset.summary().clone(),
        });
        self.dataset = Some(dataset);
        Ok(())
    }

    async fn prepare(&mut self, spec: &DataSpec) -> Result<Rc<Prepared>, Failure> {
        let model = self.model.as_ref().ok_or_else(no_model)?;
        let dataset = self.dataset.as_mut().ok_or_else(no_dataset)?;
        dataset.prepare(spec, model, self.host).await
    }

    async fn plan(&mut self, spec: &RunSpec) -> Result<(), Failure> {
        let prepared = self.prepare(&spec.data).await?;
        let (spec, _) = self.initial(spec)?;
        let plan = run::plan(&spec, self.model()?, &prepared, &self.report)?;
        let mut summary = PlanSummary::from(&plan);
        let model = self.model.as_ref().ok_or_else(no_model)?;
        let mut speed = self.speed.of(model);
        if speed.is_none() {
            // Report what is already known before measuring the device.
            let plan = summary.clone();
            self.host.emit(Event::Planned { plan });
            speed = self.speed.measure(model, self.host).await;
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
        let model = self.model.as_mut().ok_or_else(no_model)?;
        let plan = run::plan(&spec, model, &prepared, &self.report)?;
        let usual = std::mem::replace(&mut model.llama.precision, plan.precision);
        let stepped =
            run::step_one_batch(run, &plan, model, initial.as_deref(), &prepared, self.host).await;
        model.llama.precision = usual;
        let batch = stepped?;
        self.host.emit(Event::BatchStepped { run, batch });
        Ok(())
    }

    async fn train(&mut self, run: RunId, spec: &RunSpec) -> Result<(), Failure> {
        let prepared = self.prepare(&spec.data).await?;
        let (spec, initial) = self.initial(spec)?;
        let model = self.model.as_mut().ok_or_else(no_model)?;
        let dataset = self.dataset.as_ref().ok_or_else(no_dataset)?;
        let plan = run::plan(&spec, model, &prepared, &self.report)?;
        // Of the answers after the run too.
        model.llama.precision = plan.precision;
        let result = run::train(run, &plan, model, initial.as_deref(), &prepared, self.host).await;
        self.speed.learn(&plan, model, &prepared, &result.steps);
        let (summary, failure) = (result.summary.clone(), result.failure.clone());
        if let Some(adapter) = result.adapter.clone() {
            let begun = plan.spec.initial_adapter;
            let begun = begun.and_then(|id| self.adapters.get(id, &model.summary).ok());
            let recipe_adapter = begun.map(KeptAdapter::recipe).transpose()?;
            let name = format!("Run {}: {}", run.0, plan.spec.adapter.method.facts().name);
            let origin = AdapterOrigin::Run(run);
            self.adapters.keep(name, origin, adapter, &model.summary);
            let kept = KeptRun::new(run, &plan, result, model, dataset, &prepared, self.host);
            let kept = kept.gone_on_with(recipe_adapter);
            self.kept = Some(kept);
            self.tell_new_adapter()?;
        }
        self.host.emit(Event::RunEnded { run, summary });
        // After everything else: if the device is lost, the page ends this worker as soon as it hears of it.
        if let Some(failure) = failure {
            self.host.emit(Event::Failed { failure });
        }
        Ok(())
    }

    /// The zip has the report from now on, with every row.
    async fn score(&mut self, run: RunId, side: Side) -> Result<(), Failure> {
        let kept = self.kept.as_mut().ok_or_else(no_adapter)?;
        let model = self.model.as_ref().ok_or_else(no_model)?;
        let mut report = score::score(run, side, kept, model, self.host).await?;
        if let Some(report) = &mut report {
            kept.keep_score(report.clone());
            report.rows.clear();
        }
        self.host.emit(Event::Scored { run, report });
        Ok(())
    }

    async fn generate(&mut self, id: GenerationId, spec: &GenerationSpec) -> Result<(), Failure> {
        let model = self.model()?;
        for conversation in &spec.conversations {
            let speaker = conversation.speaker;
            let adapter = self.adapter_of(speaker)?.map(|kept| kept.upload(model));
            let summary = model
                .generate(id, conversation, spec, adapter.as_ref(), self.host)
                .await?;
            self.host.emit(Event::GenerationDone {
                id,
                speaker,
                summary,
            });
        }
        Ok(())
    }

    fn preview_prompts(
        &self,
        conversations: &[Conversation],
        as_text: bool,
    ) -> Result<Vec<PromptPreview>, Failure> {
        let model = self.model()?;
        let preview = |conversation: &Conversation| {
            let kept = self.adapter_of(conversation.speaker)?;
            let virtual_tokens = kept.map_or(0, KeptAdapter::prompt_tokens);
            model.preview(conversation, as_text, virtual_tokens)
        };
        conversations.iter().map(preview).collect()
    }

    /// The speaker's adapter; `None` for the base.
    fn adapter_of(&self, speaker: Speaker) -> Result<Option<&KeptAdapter>, Failure> {
        match speaker {
            Speaker::Base => Ok(None),
            Speaker::Adapter(id) => self.adapters.get(id, &self.model()?.summary).map(Some),
        }
    }

    /// A run's adapter leaves with all that tells of the run, as long as that is the last one.
    fn export(&self, id: AdapterId, kind: ExportKind) -> Result<(), Failure> {
        let model = self.model()?;
        let adapter = self.adapters.get(id, &model.summary)?;
        let run = self.kept.as_ref();
        let run = run.filter(|run| adapter.origin == AdapterOrigin::Run(run.run()));
        let bytes = match (kind, run) {
            (ExportKind::Peft, Some(run)) => run.zip(&self.report)?,
            _ => adapter.zip(kind, model)?,
        };
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
