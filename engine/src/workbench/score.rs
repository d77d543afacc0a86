//! A kept run's base and tuned model over rows that it did not learn from.

use super::{model::LoadedModel, run::KeptRun};
use crate::{
    adapter::DeviceAdapter,
    data::{Example, TokenSequence, stored::StoredRow},
    host::Host,
    protocol::{Failure, FailureKind, LabelScore, RunId, RunState, ScoreReport, Side},
    train::{
        pacing::{Interruption, Pacing},
        score::{likeliest, mean_loss},
    },
};

/// Each row is scored once for each label, so that many labels would take too long.
const MAX_LABELS: usize = 32;

/// Scores the rows of `side`; `None` where `id` was stopped.
///
/// # Errors
/// [`FailureKind::WrongState`] where there are no such rows or another model is loaded; the device's failure.
pub async fn score(
    id: RunId,
    side: Side,
    kept: &KeptRun,
    model: &LoadedModel,
    host: &dyn Host,
) -> Result<Option<ScoreReport>, Failure> {
    let rows = kept.rows_of(side);
    if rows.is_empty() {
        let what = "The run kept no such rows.";
        return Err(Failure::new(FailureKind::WrongState, what)
            .remedy("Set a validation or a test split and train again."));
    }
    let adapter = kept.adapter_for(model)?;
    let scoring = Scoring {
        kept,
        model,
        adapter: &adapter,
        pacing: Pacing::new(host, id),
        host,
    };
    scoring.pacing.enter(RunState::Evaluating);
    let report = scoring.report(side, rows).await;
    model.llama.device.memory_cleanup();
    match report {
        Ok(report) => Ok(Some(report)),
        Err(Interruption::Stopped) => Ok(None),
        Err(Interruption::Failed(failure)) => Err(failure),
    }
}

struct Scoring<'a> {
    kept: &'a KeptRun,
    model: &'a LoadedModel,
    adapter: &'a DeviceAdapter,
    pacing: Pacing<'a>,
    host: &'a dyn Host,
}

impl Scoring<'_> {
    async fn report(
        &self,
        side: Side,
        rows: &[TokenSequence],
    ) -> Result<ScoreReport, Interruption> {
        let (base_loss, scored_tokens) = self.loss(None, rows).await?;
        let (tuned_loss, _) = self.loss(Some(self.adapter), rows).await?;
        Ok(ScoreReport {
            side,
            num_rows: rows.len(),
            scored_tokens,
            base_loss,
            tuned_loss,
            labels: self.labels(rows).await?,
        })
    }

    async fn loss(
        &self,
        adapter: Option<&DeviceAdapter>,
        rows: &[TokenSequence],
    ) -> Result<(f64, u64), Interruption> {
        let (model, spec) = (&self.model.llama, self.kept.spec());
        mean_loss(model, adapter, rows, spec, &self.pacing, self.host).await
    }

    async fn labels(&self, rows: &[TokenSequence]) -> Result<Option<LabelScore>, Interruption> {
        let labels = &self.kept.dataset().labels;
        if !(2..=MAX_LABELS).contains(&labels.len()) {
            return Ok(None);
        }
        let mut score = LabelScore {
            num_labels: labels.len(),
            num_rows: 0,
            base_right: 0,
            tuned_right: 0,
            most_frequent_right: 0,
        };
        for sequence in rows {
            let stored = self.kept.row(sequence.row).await;
            let Some(stored) = stored.map_err(Interruption::Failed)? else {
                continue;
            };
            let Some((own, candidates)) = self.candidates(&stored) else {
                continue;
            };
            let llama = &self.model.llama;
            let base = likeliest(llama, None, &candidates, &self.pacing).await?;
            let adapter = Some(self.adapter);
            let tuned = likeliest(llama, adapter, &candidates, &self.pacing).await?;
            score.num_rows += 1;
            score.base_right += usize::from(base == Some(own));
            score.tuned_right += usize::from(tuned == Some(own));
            // Labels are sorted by how frequent they are.
            score.most_frequent_right += usize::from(own == 0);
        }
        Ok((score.num_rows > 0).then_some(score))
    }

    /// The row with every label in turn, and the index of its own. A row that is cut has no room for them.
    fn candidates(&self, stored: &StoredRow) -> Option<(usize, Vec<TokenSequence>)> {
        let labels = &self.kept.dataset().labels;
        let own = labels
            .iter()
            .position(|(label, _)| Some(label) == stored.facts.label.as_ref())?;
        let candidates = labels.iter().map(|(label, _)| {
            let mut row = stored.row.clone();
            if let Example::Pair { completion, .. } = &mut row.example {
                completion.clone_from(label);
            }
            let encoded = self.model.encoder().encode(&row, &self.kept.spec().data);
            encoded
                .ok()
                .filter(|(_, num_cut)| *num_cut == 0)
                .map(|(sequence, _)| sequence)
        });
        Some((own, candidates.collect::<Option<_>>()?))
    }
}
