//! The dataset in one line.

use super::State;
use super::format::{compact, count, counted};

/// What is known of the shown dataset, such as `1,204 rows, 3 refused, 12 duplicates, 871 k trained tokens, 38 steps an
/// epoch`; `None` where there is none.
pub fn summary(state: &State) -> Option<String> {
    let dataset = state.shown_dataset()?;
    let mut parts = vec![counted(dataset.num_rows as u64, "row")];
    if dataset.num_problems > 0 {
        parts.push(format!("{} refused", count(dataset.num_problems as u64)));
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
        // By the user's word, or as nothing of them would be trained.
        let num_left_out = prepared.num_left_out + prepared.num_without_target;
        if num_left_out > 0 {
            parts.push(format!("{} left out", count(num_left_out as u64)));
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
