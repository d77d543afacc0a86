//! Plans and trains a run, and keeps its result.

use std::rc::Rc;

use formats::row_file::StoredRow;
use protocol::{
    BatchPreview, BatchRow, BatchToken, DatasetSummary, DeviceKind, DeviceReport, ExportKind,
    ExportOffer, Failure, FailureKind, ModelSummary, RecipeAdapter, RunId, RunSpec, ScoreReport,
    Side,
};

use super::{dataset::LoadedDataset, model::LoadedModel};
use crate::{
    adapter::{AdapterLayout, DeviceAdapter},
    data::{RowFile, TokenSequence, prepare::Prepared},
    export::{self, EvaluationReport, ExportError, ExportInput, build_zip},
    host::{Gathering, Host},
    pacing::Interruption,
    plan::{DeviceBudget, RunPlan},
    train::{
        one_batch::{self, OneBatch},
        session::{self, TrainedAdapter, TrainingInput, TrainingResult},
    },
};

/// The maximum size of a 32-bit wasm memory.
const MAX_WASM_BYTES: u64 = 4 << 30;

/// Checks a run; see [`RunPlan::new`].
///
/// # Errors
/// All impossible settings at once.
pub fn plan(
    spec: &RunSpec,
    model: &LoadedModel,
    prepared: &Prepared,
    report: &DeviceReport,
) -> Result<RunPlan, Failure> {
    let budget = DeviceBudget {
        kind: report.kind,
        precision: report.precision,
        resident_bytes: model.llama.num_bytes(),
        threads: report.threads,
        // A GPU does not report how much memory it has; wasm memory ends at 4 GiB.
        limit_bytes: (report.kind == DeviceKind::Cpu).then_some(MAX_WASM_BYTES),
    };
    Ok(RunPlan::new(
        spec,
        &model.summary,
        &prepared.summary,
        budget,
    )?)
}

/// Trains; see [`session::train`].
pub async fn train(
    run: RunId,
    plan: &RunPlan,
    model: &LoadedModel,
    initial: Option<&TrainedAdapter>,
    prepared: &Prepared,
    host: &dyn Host,
) -> TrainingResult {
    let input = TrainingInput {
        run,
        plan,
        model: &model.llama,
        initial,
        train: &prepared.train,
        validation: &prepared.validation,
    };
    let gathering = Gathering::new(host, run);
    let result = session::train(input, &gathering).await;
    gathering.send();
    // Releases the memory of activations; the weights stay.
    model.llama.device.memory_cleanup();
    result
}

/// Takes the first step of a run; see [`one_batch::step`]. `None` if it was stopped.
///
/// # Errors
/// A device's failure, or a loss or gradient that is not finite.
pub async fn step_one_batch(
    run: RunId,
    plan: &RunPlan,
    model: &LoadedModel,
    initial: Option<&TrainedAdapter>,
    prepared: &Prepared,
    host: &dyn Host,
) -> Result<Option<BatchPreview>, Failure> {
    let stepped = one_batch::step(run, plan, &model.llama, initial, &prepared.train, host).await;
    model.llama.device.memory_cleanup();
    match stepped {
        Ok(stepped) => Ok(Some(BatchPreview {
            rows: preview_rows(&stepped, model),
            loss_before: stepped.loss_before(),
            loss_after: stepped.loss_after,
            grad_norm: stepped.grad_norm,
            learning_rate: plan.spec.learning_rate,
            scored_tokens: stepped.num_scored() as u64,
        })),
        Err(Interruption::Stopped) => Ok(None),
        Err(Interruption::Failed(failure)) => Err(failure),
    }
}

fn preview_rows(stepped: &OneBatch, model: &LoadedModel) -> Vec<BatchRow> {
    let encoder = model.encoder();
    let mut rows = Vec::new();
    for (batch, losses) in stepped.micro_batches.iter().zip(&stepped.losses) {
        let mut losses = losses.iter().copied();
        let places = batch.starts().into_iter().zip(&batch.lengths);
        for (&row, (start, &length)) in batch.rows.iter().zip(places) {
            let tokens = (start..start + length)
                .map(|at| BatchToken {
                    token: encoder.token_preview(batch.ids[at], batch.loss_mask[at]),
                    loss: batch.loss_mask[at].then(|| losses.next()).flatten(),
                })
                .collect();
            rows.push(BatchRow { row, tokens });
        }
    }
    rows
}

/// The best adapter of a run, with everything its export contains. It outlives the model and the dataset it came from.
pub struct KeptRun {
    run: RunId,
    spec: RunSpec,
    initial: Option<RecipeAdapter>,
    result: TrainingResult,
    model: ModelSummary,
    chat_template: Option<String>,
    dataset: DatasetSummary,
    prepared: Rc<Prepared>,
    rows: Rc<RowFile>,
    finished_at: Option<String>,
    /// The scores since then, at most one per side.
    scores: Vec<ScoreReport>,
}

impl KeptRun {
    /// The result of a run that produced an adapter.
    pub fn new(
        run: RunId,
        plan: &RunPlan,
        result: TrainingResult,
        model: &LoadedModel,
        dataset: &LoadedDataset,
        prepared: &Rc<Prepared>,
        host: &dyn Host,
    ) -> Self {
        Self {
            run,
            spec: plan.spec.clone(),
            initial: None,
            result,
            model: model.summary.clone(),
            chat_template: model
                .template
                .as_ref()
                .map(|template| template.source().to_owned()),
            dataset: dataset.summary().clone(),
            prepared: prepared.clone(),
            rows: dataset.rows().clone(),
            finished_at: host.now_iso8601(),
            scores: Vec::new(),
        }
    }

    /// The adapter on the device, for the model it was trained on.
    ///
    /// # Errors
    /// [`FailureKind::WrongState`] for any other model.
    pub fn adapter_for(&self, model: &LoadedModel) -> Result<DeviceAdapter, Failure> {
        if model.summary.sha256 != self.model.sha256 {
            return Err(Failure::new(
                FailureKind::WrongState,
                format!(
                    "The adapter was trained on {}, but {} is loaded.",
                    self.model.name, model.summary.name
                ),
            )
            .remedy("Load that model again, or train on this one."));
        }
        let TrainedAdapter { form, parameters } = self.adapter()?;
        Ok(form.upload(parameters, &model.llama))
    }

    /// Adds the adapter that the run continued.
    pub fn gone_on_with(self, initial: Option<RecipeAdapter>) -> Self {
        Self { initial, ..self }
    }

    pub fn run(&self) -> RunId {
        self.run
    }

    fn adapter(&self) -> Result<&TrainedAdapter, Failure> {
        let adapter = self.result.adapter.as_deref();
        adapter.ok_or_else(|| Failure::from(ExportError::EmptyAdapter))
    }

    pub fn spec(&self) -> &RunSpec {
        &self.spec
    }

    pub fn dataset(&self) -> &DatasetSummary {
        &self.dataset
    }

    /// The rows of one side of the run's split.
    pub fn rows_of(&self, side: Side) -> &[TokenSequence] {
        match side {
            Side::Train => &self.prepared.train,
            Side::Validation => &self.prepared.validation,
            Side::Test => &self.prepared.test,
        }
    }

    /// Keeps a report, which replaces an earlier one of the same side.
    pub fn keep_score(&mut self, report: ScoreReport) {
        self.scores.retain(|known| known.side != report.side);
        self.scores.push(report);
    }

    /// A row of the run's dataset as written, and its index among the usable rows.
    ///
    /// # Errors
    /// If the browser no longer has it.
    pub async fn row(&self, row: usize) -> Result<Option<(usize, StoredRow)>, Failure> {
        Ok(self.rows.row(row).await?)
    }

    /// The zip for PEFT with everything about the run; see [`export::build_zip`].
    ///
    /// # Errors
    /// The export's refusals.
    pub fn zip(&self, report: &DeviceReport) -> Result<Vec<u8>, Failure> {
        let TrainedAdapter { form, parameters } = self.adapter()?;
        let summary = &self.result.summary;
        let scored = self
            .result
            .evaluations
            .iter()
            .next()
            .map_or(0, |metrics| metrics.scored_tokens);
        let evaluation = EvaluationReport {
            base_loss: summary.base_validation_loss,
            tuned_loss: summary.tuned_validation_loss,
            scored_tokens: scored,
            sequence_length: self.spec.data.max_seq_length,
        };
        let tensors = form.tensors(parameters);
        Ok(build_zip(&ExportInput {
            model: &self.model,
            dataset: &self.dataset,
            prepared: &self.prepared.summary,
            held_out: &self.prepared.validation,
            spec: &self.spec,
            initial: self.initial.as_ref(),
            summary,
            device: report,
            steps: &self.result.steps,
            evaluations: &self.result.evaluations,
            evaluation: &evaluation,
            scores: &self.scores,
            tensors: &tensors,
            chat_template: self.chat_template.as_deref(),
            finished_at: self.finished_at.as_deref(),
        })?)
    }
}

/// The forms in which an adapter can be exported, the size of each, and why a form is not possible.
pub fn offers(layout: &AdapterLayout) -> Vec<ExportOffer> {
    let tensors = layout.tensors().into_iter();
    let sizes = tensors.map(|(_, shape)| 4 * shape.iter().product::<usize>() as u64);
    let num_bytes = sizes.sum();
    let offer = |kind| ExportOffer {
        kind,
        num_bytes,
        refusal: export::refusal(kind, &layout.spec).map(|error| error.to_string()),
    };
    ExportKind::ALL.map(offer).into()
}
