//! Describes the scores in words.

use protocol::{BothScores, KeepScore, LabelScore, ScoreReport, Side};

use super::format::{count, counted, loss};

/// How much the mean loss on general prompts may rise or fall and still count as unchanged: perplexity changes by a
/// twentieth.
const SLIGHT_RISE: f64 = 0.05;
/// From this rise on, much was forgotten: perplexity is up by a third. Both bounds are a matter of judgment.
const LARGE_RISE: f64 = 0.3;

pub fn side_name(side: Side) -> &'static str {
    match side {
        Side::Train => "training",
        Side::Validation => "held-out",
        Side::Test => "test",
    }
}

/// A sentence about what was scored.
pub fn headline(report: &ScoreReport) -> String {
    let total = &report.total;
    let row = if total.num_rows == 1 { "row" } else { "rows" };
    format!(
        "{} {} {row}: mean loss {} without the adapter and {} with it, over {}.",
        count(total.num_rows as u64),
        side_name(report.side),
        loss(total.base.loss),
        loss(total.tuned.loss),
        counted(total.scored_tokens, "token"),
    )
}

/// The metrics of the base and the tuned model: name, before, after.
pub fn measures(total: &BothScores) -> [[String; 3]; 4] {
    let both = [&total.base, &total.tuned];
    let [base, tuned] = both.map(|score| {
        let exact = score.exact_matches as u64;
        [
            loss(score.loss),
            perplexity(score.perplexity),
            percent(score.token_accuracy),
            format!("{} of {}", count(exact), count(total.num_rows as u64)),
        ]
    });
    let names = ["Loss", "Perplexity", "Token accuracy", "Exact match"];
    let mut cells = base.into_iter().zip(tuned);
    names.map(|name| {
        let (base, tuned) = cells.next().unwrap_or_default();
        [name.to_owned(), base, tuned]
    })
}

/// Three digits, or the power of ten if it is too large to be useful.
fn perplexity(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        100.0..1e6 => count(value.round() as u64),
        _ => format!("{value:.0e}"),
    }
}

/// A share, to a tenth of a percent.
fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

pub fn of_labels(labels: &LabelScore) -> String {
    format!(
        "Of {} labels, the likeliest is right for {} of {} rows without the adapter and {} with it; always choosing the most frequent label gets {} right.",
        count(labels.labels.len() as u64),
        count(labels.base_right as u64),
        count(labels.num_rows as u64),
        count(labels.tuned_right as u64),
        count(labels.most_frequent_right as u64),
    )
}

/// The loss on general prompts before and after, and what that means.
pub fn of_keep(keep: &KeepScore) -> String {
    let (base, tuned) = (keep.total.base.loss, keep.total.tuned.loss);
    let meaning = match tuned - base {
        rise if rise >= LARGE_RISE => {
            "The model forgot much of what it knew: a lower learning rate, fewer epochs, a smaller rank or some general rows \
             in the data would help."
        }
        rise if rise >= SLIGHT_RISE => {
            "The model forgot a little of what it knew; try a few questions of your own before you rely on it."
        }
        rise if rise > -SLIGHT_RISE => "Practically nothing was forgotten.",
        _ => "Nothing was forgotten; the model even got better at these prompts.",
    };
    format!("General prompts: {base:.2} before, {tuned:.2} after. {meaning}")
}
