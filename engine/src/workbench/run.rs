//! A run: an adapter, with everything that is known of how it came to be. An adapter that came in or was blended is one
//! without a training.
//!
//! ```text
//! origin   training   scored on               zip for PEFT
//! Run      yes        the rows it held out    adapter, recipe, log, evaluation, rows
//! File     no         the loaded rows         the adapter alone
//! Blend    no         nothing                 the adapter alone
//! ```
//!
//! A run that was restored after its worker died has the origin `Run` but no training, and is scored on nothing.

use std::rc::Rc;

use formats::row_file::StoredRow;
use protocol::{
    AdapterCopy, AdapterId, AdapterOrigin, AdapterSummary, DatasetSummary, DeviceReport,
    ExportKind, ExportOffer, Failure, PreparedSummary, RecipeAdapter, RunSpec, ScoreReport, Side,
};

use super::model::LoadedModel;
use crate::{
    adapter::{AdapterLayout, DeviceAdapter, ModelShape, NotLowRank},
    data::{RowFile, TokenSequence, prepare::Prepared},
    device::DeviceProfile,
    export::{self, EvaluationReport, ExportInput, build_zip, merged},
    template::ChatTemplate,
    train::session::{TrainedAdapter, TrainingResult},
};

/// A run: an adapter and its history. It outlives the dataset that it came from.
pub struct Run {
    /// Given once and never again, also across workers.
    pub id: AdapterId,
    /// What the page shows, and what a recipe calls it.
    pub name: String,
    pub origin: AdapterOrigin,
    /// The model that it is for.
    pub model_sha256: String,
    /// The numbers on the host, always finite; shared with a run that continues it.
    pub adapter: Rc<TrainedAdapter>,
    /// How it was trained; `None` where that is not known here.
    pub training: Option<Training>,
    /// At most one per side.
    scores: Vec<ScoreReport>,
}

/// How an adapter was trained.
/// It is there as long as the worker that trained it.
pub struct Training {
    /// Every setting, as the plan took them.
    pub spec: RunSpec,
    /// What computed it, with the precision in which it did.
    pub device: DeviceProfile,
    /// The adapter that the run continued, if any.
    pub initial: Option<RecipeAdapter>,
    /// The log, the losses and the outcome.
    pub result: TrainingResult,
    /// The rows that it did not see; they outlive the dataset, and are shared by the runs on one split of it.
    pub rows: Rc<HeldOut>,
    /// ISO 8601, UTC; `None` where the host has no calendar.
    pub finished_at: Option<String>,
}

/// The rows of a dataset that were not trained on.
///
/// Token sequences and the file of rows are shared with the dataset by `Rc`, so a run keeps them alive when another
/// dataset is loaded, and can still be scored and exported.
pub struct HeldOut {
    pub dataset: DatasetSummary,
    /// What became of the rows of the dataset, as counts.
    pub prepared: PreparedSummary,
    /// Held out, ascending by number; empty once they were released.
    validation: Rc<[TokenSequence]>,
    /// Their numbers, which stay.
    validation_rows: Rc<[usize]>,
    /// Set aside until they are asked for, ascending by number.
    test: Rc<[TokenSequence]>,
    /// The texts of all rows, in the browser's file.
    rows: Rc<RowFile>,
}

impl HeldOut {
    /// The rows that `prepared`, an encoding of `dataset`, holds out. Nothing is copied but the summaries.
    pub fn new(dataset: &DatasetSummary, prepared: &Prepared, rows: &Rc<RowFile>) -> Self {
        Self {
            dataset: dataset.clone(),
            prepared: prepared.summary.clone(),
            validation: prepared.validation.clone(),
            validation_rows: prepared.validation.iter().map(|row| row.row).collect(),
            test: prepared.test.clone(),
            rows: rows.clone(),
        }
    }

    /// The rows of one side of the split; none of the rows that were trained on.
    pub fn of(&self, side: Side) -> &[TokenSequence] {
        match side {
            Side::Train => &[],
            Side::Validation => &self.validation,
            Side::Test => &self.test,
        }
    }

    /// The number of tokens of both sides.
    pub fn num_tokens(&self) -> usize {
        let sequences = self.validation.iter().chain(&*self.test);
        sequences.map(|sequence| sequence.ids.len()).sum()
    }

    /// What was said of the rows and their numbers, without their tokens.
    pub fn released(&self) -> Self {
        Self {
            dataset: self.dataset.clone(),
            prepared: self.prepared.clone(),
            validation: Rc::default(),
            validation_rows: self.validation_rows.clone(),
            test: Rc::default(),
            rows: self.rows.clone(),
        }
    }

    /// The sides that have rows.
    pub fn sides(&self) -> Vec<Side> {
        let sides = [Side::Validation, Side::Test].into_iter();
        sides.filter(|&side| !self.of(side).is_empty()).collect()
    }

    /// A row as written, and its index among the usable rows.
    ///
    /// # Errors
    /// If the browser no longer has it.
    pub async fn row(&self, row: usize) -> Result<Option<(usize, StoredRow)>, Failure> {
        Ok(self.rows.row(row).await?)
    }
}

impl Run {
    pub fn new(
        id: AdapterId,
        name: String,
        origin: AdapterOrigin,
        model_sha256: String,
        adapter: Rc<TrainedAdapter>,
    ) -> Self {
        Self {
            id,
            name,
            origin,
            model_sha256,
            adapter,
            training: None,
            scores: Vec::new(),
        }
    }

    /// Makes the adapter's tensors on the device of its model. The caller drops them after use.
    pub fn upload(&self, model: &LoadedModel) -> DeviceAdapter {
        let TrainedAdapter { form, parameters } = &*self.adapter;
        form.upload(parameters, &model.base)
    }

    /// The number of learned tokens that it adds before every prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.adapter.form.layout.spec.prompt_tokens()
    }

    /// Keeps a report, which replaces an earlier one of the same side.
    /// It becomes part of the run's zip.
    pub fn keep_score(&mut self, report: ScoreReport) {
        self.scores.retain(|known| known.side != report.side);
        self.scores.push(report);
    }

    /// What a recipe says of it.
    ///
    /// # Errors
    /// None that an adapter of a layout would meet.
    pub fn recipe(&self) -> Result<RecipeAdapter, Failure> {
        let TrainedAdapter { form, parameters } = &*self.adapter;
        Ok(RecipeAdapter {
            name: self.name.clone(),
            sha256: export::adapter_sha256(&form.tensors(parameters))?,
        })
    }

    /// What goes with its zip to a later worker.
    /// Log, scores and recipe are not part of it.
    pub fn copy(&self) -> AdapterCopy {
        AdapterCopy {
            id: self.id,
            name: self.name.clone(),
            origin: self.origin.clone(),
            model_sha256: self.model_sha256.clone(),
        }
    }

    /// What the page shows; `rows` are those that an adapter from elsewhere can be scored on.
    /// Refusals come with it, so that the page can say at a button why it cannot act.
    pub fn summary(&self, rows: Option<&HeldOut>) -> AdapterSummary {
        let layout = &self.adapter.form.layout;
        let spec = &layout.spec;
        let rows = self.held_out(rows);
        AdapterSummary {
            id: self.id,
            name: self.name.clone(),
            origin: self.origin.clone(),
            spec: spec.clone(),
            trainable_parameters: layout.num_parameters as u64,
            exports: offers(layout),
            scored_on: rows.map_or(Vec::new(), HeldOut::sides),
            merge_refusal: merged::refusal(spec).map(|reason| reason.to_string()),
            blend_refusal: NotLowRank::of(spec).map(|reason| reason.to_string()),
        }
    }

    /// The rows that it can be scored on: those that its training held out, or `rows` if it came in from elsewhere. A
    /// blend, or a run whose worker died, may have learned some of `rows`: that would make a score look too good.
    pub fn held_out<'a>(&'a self, rows: Option<&'a HeldOut>) -> Option<&'a HeldOut> {
        let own = self.training.as_ref().map(|training| &*training.rows);
        own.or(rows.filter(|_| self.came_in()))
    }

    /// Whether it was made elsewhere.
    pub fn came_in(&self) -> bool {
        self.origin == AdapterOrigin::File
    }

    /// A zip for PEFT with the adapter alone.
    ///
    /// The page keeps it as a copy: should this worker die, another restores the adapter from it.
    ///
    /// # Errors
    /// The export's refusals.
    pub fn adapter_zip(&self, model: &LoadedModel) -> Result<Vec<u8>, Failure> {
        let TrainedAdapter { form, parameters } = &*self.adapter;
        let shape = ModelShape::from(&model.summary);
        let base = export::base_model(&model.summary);
        let template = model.template.as_ref().map(ChatTemplate::source);
        Ok(export::peft_zip(form, parameters, &shape, base, template)?)
    }

    /// A zip in that form, of an adapter of `model`'s. For PEFT it has all that is known of the training, too.
    ///
    /// GGUF and MLX adapters have no run with them: their readers know no such files. Everything is made when it is
    /// asked for, so scores that came later are in the zip.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn zip(
        &self,
        kind: ExportKind,
        model: &LoadedModel,
        report: &DeviceReport,
    ) -> Result<Vec<u8>, Failure> {
        let TrainedAdapter { form, parameters } = &*self.adapter;
        let shape = ModelShape::from(&model.summary);
        let base = export::base_model(&model.summary);
        let template = model.template.as_ref().map(ChatTemplate::source);
        Ok(match (kind, &self.training) {
            (ExportKind::Peft, Some(training)) => {
                self.zip_of_training(training, model, report, template)?
            }
            (ExportKind::Peft, None) => self.adapter_zip(model)?,
            (ExportKind::Gguf, _) => {
                let name = model.summary.name.as_str();
                export::gguf_zip(form, parameters, &shape, name)?
            }
            (ExportKind::Mlx, _) => export::mlx_zip(form, parameters, &shape, base)?,
        })
    }

    /// See [`export::build_zip`].
    /// The tuned loss is that of the adapter that was kept, which need not be the last; the number of scored tokens is
    /// that of the base's evaluation, since all evaluations cover the same rows.
    ///
    /// # Errors
    /// Those of [`export::build_zip`].
    fn zip_of_training(
        &self,
        training: &Training,
        model: &LoadedModel,
        report: &DeviceReport,
        chat_template: Option<&str>,
    ) -> Result<Vec<u8>, Failure> {
        let TrainedAdapter { form, parameters } = &*self.adapter;
        let Training { spec, result, .. } = training;
        let summary = &result.summary;
        let scored = result
            .evaluations
            .iter()
            .next()
            .map_or(0, |metrics| metrics.scored_tokens);
        let evaluation = EvaluationReport {
            base_loss: summary.base_validation_loss,
            tuned_loss: summary.tuned_validation_loss,
            scored_tokens: scored,
            sequence_length: spec.data.max_seq_length,
        };
        let tensors = form.tensors(parameters);
        Ok(build_zip(&ExportInput {
            model: &model.summary,
            dataset: &training.rows.dataset,
            prepared: &training.rows.prepared,
            held_out: &training.rows.validation,
            held_out_rows: &training.rows.validation_rows,
            spec,
            initial: training.initial.as_ref(),
            summary,
            device: report,
            steps: &result.steps,
            evaluations: &result.evaluations,
            evaluation: &evaluation,
            scores: &self.scores,
            tensors: &tensors,
            chat_template,
            finished_at: training.finished_at.as_deref(),
        })?)
    }
}

/// The forms in which an adapter can be exported, the size of each, and why a form is not possible.
///
/// The size is that of the tensors in F32 and the same for all forms; padded ranks are not counted.
fn offers(layout: &AdapterLayout) -> Vec<ExportOffer> {
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
