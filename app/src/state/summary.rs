//! The dataset in one line.

use protocol::DatasetSummary;

use super::State;
use super::format::{compact, count, counted};

/// Rows of the shown dataset: how many there are, how many a run uses, and what becomes of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowCounts {
    pub total: usize,
    /// Rows that are trained on or held out.
    pub used: usize,
    /// Rows that cannot be read, or not by this model.
    pub unusable: usize,
    /// Rows left out by the user, or because nothing of them would be trained.
    pub left_out: usize,
}

impl RowCounts {
    fn of(dataset: &DatasetSummary, state: &State) -> Self {
        // A dataset that is on its way to the engine is not the one that was encoded.
        let prepared = state
            .prepared
            .as_ref()
            .filter(|_| !state.pending.contains(&super::Step::Data));
        let not_encoded = prepared.map_or(0, |prepared| prepared.num_not_encoded);
        let left_out = prepared.map_or(0, |prepared| {
            prepared.num_left_out + prepared.num_without_target
        });
        let unusable = dataset.num_problems + not_encoded;
        Self {
            total: dataset.num_rows,
            used: dataset.num_rows.saturating_sub(unusable + left_out),
            unusable,
            left_out,
        }
    }

    /// Such as `60 of 90 rows; 28 cannot be used; 2 left out`, or `90 rows` where all are used.
    fn in_words(self) -> String {
        if self.unusable + self.left_out == 0 {
            return counted(self.total as u64, "row");
        }
        let (used, total) = (count(self.used as u64), counted(self.total as u64, "row"));
        let mut parts = vec![format!("{used} of {total}")];
        if self.unusable > 0 {
            parts.push(format!("{} cannot be used", count(self.unusable as u64)));
        }
        if self.left_out > 0 {
            parts.push(format!("{} left out", count(self.left_out as u64)));
        }
        parts.join("; ")
    }
}

/// The rows of the shown dataset; `None` where there is none.
pub fn row_counts(state: &State) -> Option<RowCounts> {
    Some(RowCounts::of(state.shown_dataset()?, state))
}

/// What a run does without, as a sentence; `None` where it uses all rows.
pub fn lost_rows(state: &State) -> Option<String> {
    let counts = row_counts(state)?;
    (counts.used < counts.total).then(|| format!("Only {}.", counts.in_words()))
}

/// What is known of the shown dataset, such as `1,201 of 1,204 rows; 3 cannot be used, 12 duplicates, 871 k trained
/// tokens, 38 steps per epoch`; `None` where there is none.
pub fn summary(state: &State) -> Option<String> {
    let dataset = state.shown_dataset()?;
    let mut parts = vec![RowCounts::of(dataset, state).in_words()];
    if !dataset.refused_files.is_empty() {
        let files = counted(dataset.refused_files.len() as u64, "file");
        parts.push(format!("{files} cannot be read"));
    }
    if dataset.num_duplicates > 0 {
        parts.push(counted(dataset.num_duplicates as u64, "duplicate"));
    }
    // A dataset that is still being read, or is on its way to the engine, is not the one that was encoded.
    if state.pending.contains(&super::Step::Data) {
        if state.shown_reader().is_none() {
            parts.push("still reading".to_owned());
        }
        return Some(parts.join(", "));
    }
    if let Some(prepared) = &state.prepared {
        if prepared.num_truncated > 0 {
            let rows = counted(prepared.num_truncated as u64, "row");
            parts.push(format!("{rows} cut short"));
        }
        let noun = if prepared.scored_tokens == 1 {
            "token"
        } else {
            "tokens"
        };
        parts.push(format!(
            "{} trained {noun}",
            compact(prepared.scored_tokens)
        ));
        if let Some(plan) = state.present_plan() {
            parts.push(format!(
                "{} per epoch",
                counted(plan.steps_per_epoch, "step")
            ));
        }
    }
    Some(parts.join(", "))
}
