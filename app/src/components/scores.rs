use engine::protocol::{LabelScore, ScoreReport, Side};
use leptos::prelude::*;

use crate::state::State;
use crate::state::format::{count, counted, loss};
use crate::state::trial::Tried;
use crate::store::Store;

/// Base and tuned model over the rows that the run did not learn: asked for, not done by itself.
#[component]
pub fn Scores() -> impl IntoView {
    let store = Store::get();
    let sides = store.select(sides);
    let scores = store.select(|state| state.trials.scores.clone());
    let is_busy = store.select(State::is_busy);
    let is_scoring = store.select(|state| {
        let trial = state.trials.present;
        trial.is_some_and(|trial| matches!(trial.tried, Tried::Score(_)) && !trial.is_stopping)
    });
    let buttons = move || {
        let button = |side| {
            view! {
                <button type="button" class="button" aria-disabled=move || is_busy.get().to_string()
                    on:click=move |_| store.score(side)>
                    {format!("Score the {} rows", side_name(side))}
                </button>
            }
        };
        sides.get().into_iter().map(button).collect_view()
    };
    view! {
        <section class="card scores" aria-label="Scores" hidden=move || sides.with(Vec::is_empty)>
            <h3>"Rows that were not learnt"</h3>
            <div class="run-controls">
                {buttons}
                <button type="button" class="button" hidden=move || !is_scoring.get() on:click=move |_| store.stop_trial()>
                    "Stop scoring"
                </button>
            </div>
            {move || scores.get().into_iter().map(report).collect_view()}
        </section>
    }
}

/// The sides of the last run's split that have rows.
fn sides(state: &State) -> Vec<Side> {
    let Some(adapter) = &state.adapter else {
        return Vec::new();
    };
    let data = &adapter.spec.data;
    let all = [
        (Side::Validation, data.validation_split),
        (Side::Test, data.test_split),
    ];
    let kept = all.into_iter().filter(|(_, share)| *share > 0.0);
    kept.map(|(side, _)| side).collect()
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Train => "learnt",
        Side::Validation => "held-out",
        Side::Test => "test",
    }
}

fn report(report: ScoreReport) -> impl IntoView {
    let what = format!(
        "{} {}: mean loss {} before the run, {} after it, over {}.",
        count(report.num_rows as u64),
        if report.num_rows == 1 {
            format!("{} row", side_name(report.side))
        } else {
            format!("{} rows", side_name(report.side))
        },
        loss(report.base_loss),
        loss(report.tuned_loss),
        counted(report.scored_tokens, "token"),
    );
    view! {
        <p>{what}</p>
        {report.labels.map(|labels| view! { <p>{of_labels(&labels)}</p> })}
    }
}

fn of_labels(labels: &LabelScore) -> String {
    format!(
        "The right one of {} labels is the likeliest for {} of {} rows before the run, {} after it; the most frequent label alone would get {} right.",
        count(labels.num_labels as u64),
        count(labels.base_right as u64),
        count(labels.num_rows as u64),
        count(labels.tuned_right as u64),
        count(labels.most_frequent_right as u64),
    )
}
