//! A run: an adapter, with everything that is known of how it came to be. An adapter that came in or was blended is one
//! without a training.

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

/// See the module. It outlives the dataset that it came from.
pub struct Run {
    pub id: AdapterId,
    pub name: String,
    pub origin: AdapterOrigin,
    /// The model that it is for.
    pub model_sha256: String,
    pub adapter: Rc<TrainedAdapter>,
    pub training: Option<Training>,
    /// At most one per side.
    scores: Vec<ScoreReport>,
}

/// How an adapter was trained.
pub struct Training {
    pub spec: RunSpec,
    /// What computed it, with the precision in which it did.
    pub device: DeviceProfile,
    /// The adapter that the run continued, if any.
    pub initial: Option<RecipeAdapter>,
    pub result: TrainingResult,
    /// Shared by the runs on one split of a dataset.
    pub rows: Rc<HeldOut>,
    pub finished_at: Option<String>,
}

/// The rows of a dataset that were not trained on.
pub struct HeldOut {
    pub dataset: DatasetSummary,
    /// Of all rows of the dataset.
    pub prepared: PreparedSummary,
    validation: Rc<[TokenSequence]>,
    test: Rc<[TokenSequence]>,
    rows: Rc<RowFile>,
}

impl HeldOut {
    pub fn new(dataset: &DatasetSummary, prepared: &Prepared, rows: &Rc<RowFile>) -> Self {
        Self {
            dataset: dataset.clone(),
            prepared: prepared.summary.clone(),
            validation: prepared.validation.clone(),
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

    /// What was said of the rows, without them.
    pub fn released(&self) -> Self {
        Self {
            dataset: self.dataset.clone(),
            prepared: self.prepared.clone(),
            validation: Rc::default(),
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

    /// On the device of its model.
    pub fn upload(&self, model: &LoadedModel) -> DeviceAdapter {
        let TrainedAdapter { form, parameters } = &*self.adapter;
        form.upload(parameters, &model.base)
    }

    /// The number of learned tokens that it adds before every prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.adapter.form.layout.spec.prompt_tokens()
    }

    /// Keeps a report, which replaces an earlier one of the same side.
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
    pub fn copy(&self) -> AdapterCopy {
        AdapterCopy {
            id: self.id,
            name: self.name.clone(),
            origin: self.origin.clone(),
            model_sha256: self.model_sha256.clone(),
        }
    }

    /// What the page shows; `rows` are those that an adapter from elsewhere can be scored on.
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
