//! Scores the base and the tuned model of a kept run on rows that it was not trained on.
//!
//! ```text
//! both      loss, perplexity, token accuracy and exact matches of the rows, under the base and under the adapter
//! labels    of a classification: which label each model finds likeliest, row by row -> accuracy and confusion
//! keep      the same as `both` on fixed general prompts: what the adapter made worse that it was not meant to
//! changes   the rows whose loss rose and fell the most
//! ```
//!
//! A label is scored, not generated: the likeliest is the one whose tokens have the highest joint probability. So an
//! answer that is no label at all cannot occur, and base and adapter are compared on the same choices.
//!
//! Everything is computed in the run's precision and in batches made by its settings, so that the losses are those of
//! its own evaluations. An adapter without a training takes the device's precision and the default settings.

use formats::{
    row::{Example, Row},
    row_file::StoredRow,
};
use protocol::{
    BothScores, DataSpec, Failure, FailureKind, KeepScore, LabelScore, ModelScore, Precision,
    RowChange, RowScore, RunId, RunSpec, RunState, ScoreReport, Side,
};

use super::{
    model::LoadedModel,
    run::{HeldOut, Run},
};
use crate::{
    adapter::DeviceAdapter,
    data::{TokenSequence, keep::KEEP_PROMPTS},
    device::DeviceProfile,
    host::{Gathering, Host},
    pacing::{Interruption, Pacing},
    train::score::{RowResult, likeliest, score_rows},
};

/// Each row is scored once per label, so many labels would take too long.
const MAX_LABELS: usize = 32;
/// The number of characters of the prompt shown for a listed row.
const PROMPT_CHARS: usize = 120;

/// What is scored, and with what.
pub struct Scored<'a> {
    /// The run whose adapter is compared with the base.
    pub run: &'a Run,
    /// Validation or test; nothing is ever scored on training rows.
    pub side: Side,
    /// The rows that an adapter without a training is scored on.
    pub loaded: Option<&'a HeldOut>,
    /// What computes it, unless the run was trained in another precision.
    pub device: DeviceProfile,
}

/// Scores the rows; `None` if `id` was stopped.
///
/// `id` names the scoring itself, so that the page can pause and stop it; it is not the id of the run whose adapter is
/// scored.
///
/// # Errors
/// [`FailureKind::WrongState`] if there are no such rows; [`FailureKind::NonFinite`] if a loss is not a number; the
/// device's failure.
pub async fn score(
    id: RunId,
    scored: Scored<'_>,
    model: &LoadedModel,
    host: &dyn Host,
) -> Result<Option<ScoreReport>, Failure> {
    let Scored {
        run,
        side,
        loaded,
        device,
    } = scored;
    let held_out = run.held_out(loaded);
    let Some(held_out) = held_out.filter(|held_out| !held_out.of(side).is_empty()) else {
        let what = "No such rows are held out.";
        return Err(Failure::new(FailureKind::WrongState, what)
            .remedy("Set a validation or a test split, and train again if it is about a run."));
    };
    let training = run.training.as_ref();
    let adapter = run.upload(model);
    let gathering = Gathering::new(host, id);
    let defaults = RunSpec::default();
    let scoring = Scoring {
        held_out,
        batches: training.map_or(&defaults, |training| &training.spec),
        precision: training
            .map_or(device, |training| training.device)
            .precision,
        model,
        adapter: &adapter,
        pacing: Pacing::new(&gathering),
    };
    scoring.pacing.enter(RunState::Evaluating);
    let report = scoring.report(side, held_out.of(side)).await;
    gathering.send();
    model.base.device.memory_cleanup();
    match report {
        Ok(report) => Ok(Some(report)),
        Err(Interruption::Stopped) => Ok(None),
        Err(Interruption::Failed(failure)) => Err(failure),
    }
}

/// A scoring under way, with what all of its parts need.
struct Scoring<'a> {
    /// Where the rows, their labels and their texts are.
    held_out: &'a HeldOut,
    /// How rows are batched.
    batches: &'a RunSpec,
    precision: Precision,
    model: &'a LoadedModel,
    adapter: &'a DeviceAdapter,
    pacing: Pacing<'a>,
}

impl Scoring<'_> {
    /// Computes the whole report.
    ///
    /// # Errors
    /// The user's stop, a loss that is not finite, the device's failure, or rows that the browser no longer has.
    async fn report(
        &self,
        side: Side,
        rows: &[TokenSequence],
    ) -> Result<ScoreReport, Interruption<Failure>> {
        let (total, mut rows) = self.both(rows).await?;
        let labels = self.labels(side).await?;
        let keep = self.keep().await?;
        let mut listed = [Vec::new(), Vec::new()];
        for (direction, listed) in [1.0, -1.0].into_iter().zip(&mut listed) {
            *listed = self.changes(&most_changed(&rows, direction)).await?;
        }
        let [worst, best] = listed;
        rows.truncate(ScoreReport::MAX_ROWS);
        Ok(ScoreReport {
            side,
            dataset_sha256: self.held_out.dataset.sha256.clone(),
            total,
            labels,
            keep,
            worst,
            best,
            rows,
        })
    }

    /// The scores of both models on `rows`, ascending by number, in total and for each row.
    /// Each model goes through all rows before the other one. Row losses are means per scored token.
    ///
    /// # Errors
    /// [`FailureKind::NonFinite`] if a total is not finite, and whatever ends the scoring.
    async fn both(
        &self,
        rows: &[TokenSequence],
    ) -> Result<(BothScores, Vec<RowScore>), Interruption<Failure>> {
        let (model, spec) = (&self.model.base, self.batches);
        let ends = self.model.tokenizer.end_of_turn_ids();
        let mut results = [Vec::new(), Vec::new()];
        for (adapter, results) in self.adapters().into_iter().zip(&mut results) {
            let (precision, pacing) = (self.precision, &self.pacing);
            let scoring = score_rows(model, adapter, rows, spec, ends, precision, pacing);
            *results = scoring.await.map_err(Interruption::widen)?;
        }
        let [base, tuned] = results;
        let both = BothScores {
            num_rows: base.len(),
            scored_tokens: num_scored(&base) as u64,
            base: model_score(&base),
            tuned: model_score(&tuned),
        };
        if !(both.base.loss + both.tuned.loss).is_finite() {
            let what = "The loss of these rows is infinite or not a number.";
            return Err(Interruption::Failed(
                Failure::new(FailureKind::NonFinite, what)
                    .remedy("Train again with a lower learning rate."),
            ));
        }
        // Batches are the same for both models, but may have the rows in another order.
        let mut scores = vec![RowScore::default(); rows.len()];
        for (base, tuned) in base.iter().zip(&tuned) {
            if let Ok(at) = rows.binary_search_by_key(&base.row, |sequence| sequence.row) {
                scores[at] = RowScore {
                    row: base.row,
                    scored_tokens: base.num_scored,
                    base_loss: base.nll_sum / base.num_scored as f64,
                    tuned_loss: tuned.nll_sum / tuned.num_scored as f64,
                    base_exact: base.is_exact,
                    tuned_exact: tuned.is_exact,
                };
            }
        }
        Ok((both, scores))
    }

    /// The adapters of the base and of the tuned model.
    fn adapters(&self) -> [Option<&DeviceAdapter>; 2] {
        [None, Some(self.adapter)]
    }

    /// Adds what the page shows of a row: its place among the usable rows and the beginning of its prompt, or of its
    /// text where it has no prompt. Rows that are gone are left out.
    async fn changes(&self, rows: &[RowScore]) -> Result<Vec<RowChange>, Interruption<Failure>> {
        let mut changes = Vec::new();
        for score in rows {
            let stored = self.held_out.row(score.row).await;
            let Some((place, stored)) = stored? else {
                continue;
            };
            let summary = stored.summary();
            let text = if summary.prompt.is_empty() {
                summary.completion
            } else {
                summary.prompt
            };
            changes.push(RowChange {
                score: *score,
                place,
                prompt: text.chars().take(PROMPT_CHARS).collect(),
            });
        }
        Ok(changes)
    }

    /// Scores the general prompts, rendered as a user turn and an assistant turn and scored on the answer, whatever the
    /// run was trained on. A prompt that the model's template rejects is left out.
    async fn keep(&self) -> Result<Option<KeepScore>, Interruption<Failure>> {
        let spec = DataSpec::default();
        let encoder = self.model.encoder();
        let prompts = KEEP_PROMPTS.iter().enumerate();
        let sequences = prompts.filter_map(|(row, (prompt, completion))| {
            let example = Example::Pair {
                prompt: (*prompt).to_owned(),
                completion: (*completion).to_owned(),
            };
            let encoded = encoder.encode(&Row { row, example }, &spec).ok()?;
            Some(encoded.0)
        });
        let sequences: Vec<TokenSequence> = sequences.collect();
        if sequences.is_empty() {
            return Ok(None);
        }
        let (total, rows) = self.both(&sequences).await?;
        let prompts = rows.into_iter().map(|score| RowChange {
            score,
            place: score.row,
            prompt: KEEP_PROMPTS[score.row].0.to_owned(),
        });
        let prompts = prompts.collect();
        Ok(Some(KeepScore { total, prompts }))
    }

    /// Tokens of a pass over the candidates of a row: those of an evaluation's largest batch, which the plan of a run has
    /// room for.
    fn max_tokens(&self) -> usize {
        let longest = self.held_out.prepared.longest_tokens;
        if self.batches.packing {
            self.batches.data.max_seq_length.max(longest)
        } else {
            self.batches.per_device_train_batch_size * longest
        }
    }

    /// Scores each row with every label of the dataset; `None` for fewer than two or more than `MAX_LABELS` labels, or
    /// if no row could be scored. Progress is in rows.
    async fn labels(&self, side: Side) -> Result<Option<LabelScore>, Interruption<Failure>> {
        let labels = &self.held_out.dataset.labels;
        let num_labels = labels.len();
        if !(2..=MAX_LABELS).contains(&num_labels) {
            return Ok(None);
        }
        let mut score = LabelScore {
            labels: labels.iter().map(|(label, _)| label.clone()).collect(),
            num_rows: 0,
            base_right: 0,
            tuned_right: 0,
            most_frequent_right: 0,
            base_confusion: vec![vec![0; num_labels]; num_labels],
            tuned_confusion: vec![vec![0; num_labels]; num_labels],
        };
        let rows = self.held_out.of(side);
        'rows: for (done, sequence) in rows.iter().enumerate() {
            self.pacing.progressed(done, rows.len());
            let stored = self.held_out.row(sequence.row).await;
            let Some((_, stored)) = stored? else {
                continue;
            };
            let Some((own, candidates)) = self.candidates(&stored) else {
                continue;
            };
            let mut taken = [0; 2];
            for (adapter, taken) in self.adapters().into_iter().zip(&mut taken) {
                let (model, precision) = (&self.model.base, self.precision);
                let (max_tokens, pacing) = (self.max_tokens(), &self.pacing);
                let scoring = likeliest(model, adapter, &candidates, max_tokens, precision, pacing);
                let label = scoring.await.map_err(Interruption::widen)?;
                let Some(label) = label else {
                    continue 'rows;
                };
                *taken = label;
            }
            let [base, tuned] = taken;
            score.num_rows += 1;
            score.base_right += usize::from(base == own);
            score.tuned_right += usize::from(tuned == own);
            score.base_confusion[own][base] += 1;
            score.tuned_confusion[own][tuned] += 1;
            // Labels are sorted by frequency.
            score.most_frequent_right += usize::from(own == 0);
        }
        Ok((score.num_rows > 0).then_some(score))
    }

    /// The row with every label in turn, and the index of its own label. A row that is cut has no room for them.
    ///
    /// ```text
    /// labels ["yes", "no"], row "Is it red? -> no"
    /// (1, [tokens of "Is it red? -> yes", tokens of "Is it red? -> no"])
    /// ```
    ///
    /// `None` if the row has no label, or if one of the texts cannot be encoded whole.
    fn candidates(&self, stored: &StoredRow) -> Option<(usize, Vec<TokenSequence>)> {
        let labels = &self.held_out.dataset.labels;
        let own = labels
            .iter()
            .position(|(label, _)| Some(label) == stored.facts.label.as_ref())?;
        let candidates = labels.iter().map(|(label, _)| {
            let mut row = stored.row.clone();
            if let Example::Pair { completion, .. } = &mut row.example {
                completion.clone_from(label);
            }
            let encoded = self
                .model
                .encoder()
                .encode(&row, &self.held_out.prepared.spec);
            encoded
                .ok()
                .filter(|(_, num_cut)| *num_cut == 0)
                .map(|(sequence, _)| sequence)
        });
        Some((own, candidates.collect::<Option<_>>()?))
    }
}

/// The rows whose loss rose the most, worst first; with a `direction` of -1 those whose loss fell the most. At most
/// [`ScoreReport::MAX_CHANGES`], each found by its own pass: a sort would add a kilobyte to every download.
fn most_changed(rows: &[RowScore], direction: f64) -> Vec<RowScore> {
    let mut listed: Vec<RowScore> = Vec::new();
    while listed.len() < ScoreReport::MAX_CHANGES {
        let mut most: Option<&RowScore> = None;
        for row in rows {
            let change = direction * row.rise();
            let is_more = most.is_none_or(|most| change > direction * most.rise());
            if change > 0.0 && is_more && !listed.contains(row) {
                most = Some(row);
            }
        }
        let Some(most) = most else {
            break;
        };
        listed.push(*most);
    }
    listed
}

/// The number of tokens that the losses cover.
fn num_scored(results: &[RowResult]) -> usize {
    results.iter().map(|result| result.num_scored).sum()
}

/// The score of a model on all rows together. Means are per scored token, so that long answers weigh more; without a
/// scored token they are NaN.
fn model_score(results: &[RowResult]) -> ModelScore {
    let scored = num_scored(results) as f64;
    let loss = results.iter().map(|result| result.nll_sum).sum::<f64>() / scored;
    let right: usize = results.iter().map(|result| result.num_right).sum();
    ModelScore {
        loss,
        // JSON has no infinity.
        perplexity: loss.exp().min(f64::MAX),
        token_accuracy: right as f64 / scored,
        exact_matches: results.iter().filter(|result| result.is_exact).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(row: usize, rise: f64) -> RowScore {
        RowScore {
            row,
            scored_tokens: 1,
            base_loss: 2.0,
            tuned_loss: 2.0 + rise,
            base_exact: false,
            tuned_exact: false,
        }
    }

    fn numbers(rows: &[RowScore], direction: f64) -> Vec<usize> {
        let listed = most_changed(rows, direction);
        listed.iter().map(|row| row.row).collect()
    }

    #[test]
    fn the_worst_rose_and_the_best_fell() {
        let rises = [0.5, -1.0, 0.0, 0.25, -0.5, 1.0, 0.75, 0.125, 1.5, 0.25];
        let rows = rises.iter().enumerate();
        let rows: Vec<RowScore> = rows.map(|(number, &rise)| row(number, rise)).collect();
        assert_eq!(numbers(&rows, 1.0), [8, 5, 6, 0, 3]);
        assert_eq!(numbers(&rows, -1.0), [1, 4]);
        // Rows that changed by the same amount are each listed.
        assert_eq!(numbers(&[row(4, 1.0), row(5, 1.0)], 1.0), [4, 5]);
        assert!(numbers(&[], 1.0).is_empty());
    }

    #[test]
    fn a_loss_beyond_measure_has_a_perplexity_that_json_can_hold() {
        let result = RowResult {
            row: 0,
            nll_sum: 2000.0,
            num_scored: 2,
            num_right: 1,
            is_exact: false,
        };
        let score = model_score(&[result]);
        assert_eq!((score.loss, score.token_accuracy), (1000.0, 0.5));
        assert_eq!(score.perplexity, f64::MAX);
    }
}
