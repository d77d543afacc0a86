//! What is loaded and what is done with it: carries out [`Command`]s one after the other.
//!
//! A command that fails changes nothing: the new model or dataset replaces the old one only once it is whole.

mod dataset;
mod model;
mod run;
mod score;

use std::rc::Rc;

use burn::tensor::Device;

use crate::{
    data::prepare::Prepared,
    host::Host,
    protocol::{
        Command, DataSpec, DatasetSummary, DeviceReport, Event, ExportKind, Failure, FailureKind,
        GenerationId, GenerationSpec, RunId, RunSpec, Variant,
    },
    weights::checkpoint::NamedSource,
};
use dataset::LoadedDataset;
use model::LoadedModel;
use run::KeptRun;

/// See the module.
pub struct Workbench<'h> {
    host: &'h dyn Host,
    device: Device,
    report: DeviceReport,
    model: Option<LoadedModel>,
    dataset: Option<LoadedDataset>,
    /// The last run that left an adapter.
    kept: Option<KeptRun>,
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
        }
    }

    /// Carries out a command and tells the host of it, of failure too. `files` came beside the command; those of a
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
            Command::Score { run, side } => {
                let (kept, model) = (self.kept_run()?, self.model()?);
                let report = score::score(run, side, kept, model, self.host)
                    .await
                    .map_err(|failure| failure.in_run(run))?;
                self.host.emit(Event::Scored { run, report });
                Ok(())
            }
            Command::Generate { id, spec } => self.generate(id, &spec).await,
            Command::Export { run, kind } => self
                .export(run, kind)
                .await
                .map_err(|failure| failure.in_run(run)),
            Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Stop { .. }
            | Command::StopGeneration { .. } => Ok(()),
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
        Ok(())
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
        let plan = run::plan(spec, self.model()?, &prepared, &self.report)?;
        self.host.emit(Event::Planned {
            plan: (&plan).into(),
        });
        Ok(())
    }

    async fn step_one_batch(&mut self, run: RunId, spec: &RunSpec) -> Result<(), Failure> {
        let prepared = self.prepare(&spec.data).await?;
        let model = self.model.as_mut().ok_or_else(no_model)?;
        let plan = run::plan(spec, model, &prepared, &self.report)?;
        let usual = std::mem::replace(&mut model.llama.precision, plan.precision);
        let stepped = run::step_one_batch(run, &plan, model, &prepared, self.host).await;
        model.llama.precision = usual;
        let batch = stepped?;
        self.host.emit(Event::BatchStepped { run, batch });
        Ok(())
    }

    async fn train(&mut self, run: RunId, spec: &RunSpec) -> Result<(), Failure> {
        let prepared = self.prepare(&spec.data).await?;
        let model = self.model.as_mut().ok_or_else(no_model)?;
        let dataset = self.dataset.as_ref().ok_or_else(no_dataset)?;
        let plan = run::plan(spec, model, &prepared, &self.report)?;
        // Of the answers after the run too.
        model.llama.precision = plan.precision;
        let result = run::train(run, &plan, model, &prepared, self.host).await;
        if let Some(failure) = result.failure.clone() {
            self.host.emit(Event::Failed { failure });
        }
        let mut summary = result.summary.clone();
        if summary.has_adapter {
            let kept = KeptRun::new(run, &plan, result, model, dataset, &prepared, self.host);
            summary.exports = kept.offers()?;
            self.kept = Some(kept);
        }
        self.host.emit(Event::RunEnded { run, summary });
        Ok(())
    }

    async fn generate(&mut self, id: GenerationId, spec: &GenerationSpec) -> Result<(), Failure> {
        let model = self.model()?;
        for &variant in &spec.variants {
            let adapter = match variant {
                Variant::Base => None,
                Variant::Tuned => Some(self.kept_run()?.adapter_for(model)?),
            };
            let summary = model
                .generate(id, variant, spec, adapter.as_ref(), self.host)
                .await?;
            self.host.emit(Event::GenerationDone {
                id,
                variant,
                summary,
            });
        }
        Ok(())
    }

    async fn export(&mut self, run: RunId, kind: ExportKind) -> Result<(), Failure> {
        let kept = self.kept_run()?;
        let bytes = kept.export(run, kind, &self.report)?;
        self.host.emit_with_bytes(
            Event::ExportReady {
                run,
                file_name: kept.file_name(kind),
            },
            bytes,
        );
        Ok(())
    }

    fn model(&self) -> Result<&LoadedModel, Failure> {
        self.model.as_ref().ok_or_else(no_model)
    }

    fn dataset(&self) -> Result<&LoadedDataset, Failure> {
        self.dataset.as_ref().ok_or_else(no_dataset)
    }

    fn kept_run(&self) -> Result<&KeptRun, Failure> {
        self.kept.as_ref().ok_or_else(|| {
            Failure::new(FailureKind::WrongState, "There is no trained adapter yet.")
                .remedy("Train first; a stopped run counts too.")
        })
    }
}

fn no_model() -> Failure {
    Failure::new(FailureKind::WrongState, "No model is loaded.")
        .remedy("Use the bundled model, or drop one.")
}

fn no_dataset() -> Failure {
    Failure::new(FailureKind::WrongState, "No dataset is loaded.")
        .remedy("Drop a file of examples, or load the sample.")
}
