//! The run's numbers: `log.jsonl`, `evaluation.json` and `held_out.jsonl`.
//!
//! A log has a line of JSON for each step and evaluation:
//!
//! ```text
//! {"type":"evaluation","step":0,"loss":2.91,"scored_tokens":512,...}
//! {"type":"step","step":1,"num_steps":45,"loss":2.87,"grad_norm":1.2,...}
//! ```
//!
//! A long run's log is thinned ([`protocol::StepHistory`] has the rule); its first line then says so, and each line of
//! steps covers several. Losses are the mean negative log-likelihood per scored token, natural logarithm, everywhere.

use protocol::{EvaluationHistory, EvaluationMetrics, StepHistory, StepMetrics, StepSpan, TrainOn};
use serde::{Deserialize, Serialize};

use super::{ExportError, ExportInput, pretty_json};
use crate::data::TokenSequence;

/// Loss over the held-out rows: mean negative log-likelihood per scored token, natural logarithm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvaluationReport {
    /// The loss of the model without the adapter; `None` if no rows were held out.
    pub base_loss: Option<f64>,
    /// The loss of the model with the exported adapter; `None` if no rows were held out.
    pub tuned_loss: Option<f64>,
    /// The number of tokens that both losses cover.
    pub scored_tokens: u64,
    /// Rows were cut to this many tokens.
    pub sequence_length: usize,
}

impl EvaluationReport {
    /// Refuses losses that are not finite.
    ///
    /// # Errors
    /// [`ExportError::NonFinite`] with the name of the loss.
    pub(super) fn check(&self) -> Result<(), ExportError> {
        for (name, loss) in [
            ("base_loss", self.base_loss),
            ("tuned_loss", self.tuned_loss),
        ] {
            if let Some(value) = loss.filter(|loss| !loss.is_finite()) {
                let name = name.to_owned();
                return Err(ExportError::NonFinite { name, value });
            }
        }
        Ok(())
    }
}

/// One line of `log.jsonl`; its key `type` says which: `thinned`, `step`, `steps` or `evaluation`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogEntry {
    /// The first line of a log that does not have a line for each step or evaluation.
    Thinned {
        /// The number of steps of the whole run.
        steps: u64,
        /// How many steps a line of type `steps` covers at most.
        steps_per_line: u64,
        /// How many evaluations in a row are told by two lines: the lowest and the highest of them.
        evaluations_per_pair: u64,
        /// How to read such a log, in words.
        rule: String,
    },
    /// A step, in a log that is not thinned.
    Step(StepMetrics),
    /// Several steps, in a thinned log.
    Steps(StepSpan),
    /// The held-out rows were scored, under the base if the step is 0.
    Evaluation(EvaluationMetrics),
}

/// What a reader of a thinned log has to know.
const RULE: &str = "a line of type steps covers the steps from first_step to step: loss is their mean per scored token, \
    grad_norm their mean; loss_min, loss_max and grad_norm_max are the lowest and highest of a single step; num_tokens, \
    scored_tokens and elapsed_millis are sums, tokens_per_sec is their quotient, and the rest is as of the last step. Of \
    evaluations_per_pair evaluations in a row, those with the lowest and the highest loss have lines, and always the base's, \
    the best and the last";

/// The text of `log.jsonl`: each evaluation comes after the step it followed, or after the span that contains that
/// step.
///
/// # Errors
/// None: numbers that are not finite become null.
pub(super) fn lines(
    steps: &StepHistory,
    evaluations: &EvaluationHistory,
) -> Result<String, ExportError> {
    let mut text = String::new();
    let mut put = |entry: LogEntry| -> Result<(), ExportError> {
        text.push_str(&serde_json::to_string(&entry)?);
        text.push('\n');
        Ok(())
    };
    if steps.steps_per_span() > 1 || evaluations.evaluations_per_stretch() > 1 {
        put(LogEntry::Thinned {
            steps: steps.num_steps(),
            steps_per_line: steps.steps_per_span(),
            evaluations_per_pair: evaluations.evaluations_per_stretch(),
            rule: RULE.to_owned(),
        })?;
    }
    let mut left = evaluations.iter().peekable();
    for &span in steps.spans() {
        while let Some(evaluation) = left.next_if(|evaluation| evaluation.step < span.first_step) {
            put(LogEntry::Evaluation(evaluation))?;
        }
        // A thinned log may end with a span of one step: it has the form of the others.
        put(match span.single() {
            Some(step) if steps.steps_per_span() == 1 => LogEntry::Step(step),
            _ => LogEntry::Steps(span),
        })?;
    }
    left.try_for_each(|evaluation| put(LogEntry::Evaluation(evaluation)))?;
    Ok(text)
}

/// A held-out row in the form that transformers' trainers take.
///
/// ```text
/// {"row":17,"input_ids":[1,9690,198,504],"labels":[-100,-100,198,504]}
/// ```
#[derive(Serialize)]
struct HeldOutRow<'a> {
    /// The row's number in the dataset, from 0.
    row: usize,
    /// The tokens as they were scored, after cutting.
    input_ids: &'a [u32],
    /// The ids, and -100 where a token is not scored: PyTorch's `ignore_index`. They are not shifted.
    labels: Vec<i64>,
}

/// The text of `held_out.jsonl`, a line for each row; the README's script measures the loss on them again.
pub(super) fn held_out_lines(rows: &[TokenSequence]) -> Result<String, ExportError> {
    let mut text = String::new();
    for sequence in rows {
        let tokens = sequence.ids.iter().zip(&sequence.loss_mask);
        let labels = tokens.map(|(&id, &is_scored)| if is_scored { i64::from(id) } else { -100 });
        text += &serde_json::to_string(&HeldOutRow {
            row: sequence.row,
            input_ids: &sequence.ids,
            labels: labels.collect(),
        })?;
        text.push('\n');
    }
    Ok(text)
}

/// `evaluation.json`. Scripts rely on the first five keys; the others say how the losses were computed. After them
/// comes `scores`: a [`protocol::ScoreReport`] of each side that was scored after the run.
#[derive(Serialize)]
struct Evaluation<'a> {
    base_loss: Option<f64>,
    tuned_loss: Option<f64>,
    scored_tokens: u64,
    /// The numbers of the rows, from 0, in the order of `held_out.jsonl`.
    held_out_rows: &'a [usize],
    sequence_length: usize,
    unit: &'static str,
    loss_on: &'static str,
    rendering: &'static str,
    truncation: &'static str,
    validation_split: f64,
    split_seed: u64,
    /// The step whose adapter was exported.
    best_step: u64,
}

/// What the losses cover, in words; the README says it, too.
pub(super) fn loss_on(train_on: TrainOn) -> &'static str {
    match train_on {
        TrainOn::AssistantTurns => {
            "messages: everything the template writes for an assistant turn after its header; prompt and completion: the \
             completion, through the end of its turn; text: every token but the first, including the end-of-text token"
        }
        TrainOn::LastTurn => {
            "messages: everything the template writes for the last assistant turn after its header; prompt and completion: \
             the completion, through the end of its turn; text: every token but the first, including the end-of-text token"
        }
        TrainOn::Everything => "every token but the first",
    }
}

/// How long rows are cut, in words.
pub(super) const TRUNCATION: &str = "the first sequence_length tokens of a row are kept";

/// How rows become text, in words, for a model with a chat template or without one.
pub(super) fn rendering(has_template: bool) -> &'static str {
    if has_template {
        "messages: the chat template; prompt and completion: a user turn and an assistant turn through the chat \
         template; text: unchanged (after the tokenizer's BOS, if it adds one), then EOS"
    } else {
        "the model has no chat template: prompt, completion and EOS with nothing in between; text unchanged, then EOS; \
         before them the tokenizer's BOS, if it adds one"
    }
}

/// The text of `evaluation.json`.
///
/// # Errors
/// [`ExportError::Json`], which plain data never meets.
pub(super) fn evaluation_json(input: &ExportInput<'_>) -> Result<String, ExportError> {
    let report = input.evaluation;
    let text = pretty_json(&Evaluation {
        base_loss: report.base_loss,
        tuned_loss: report.tuned_loss,
        scored_tokens: report.scored_tokens,
        held_out_rows: input.held_out_rows,
        sequence_length: report.sequence_length,
        unit: "mean negative log-likelihood per scored token, natural logarithm",
        loss_on: loss_on(input.spec.data.train_on),
        rendering: rendering(input.chat_template.is_some()),
        truncation: TRUNCATION,
        validation_split: input.spec.data.validation_split,
        split_seed: input.spec.data.seed,
        best_step: input.summary.best_step,
    })?;
    // On one line, since there can be thousands of rows, and with the code that writes them for the page.
    Ok(format!(
        "{},\n  \"scores\": {}\n}}\n",
        text.trim_end_matches("\n}\n"),
        serde_json::to_string(input.scores)?
    ))
}
