use leptos::prelude::*;
use protocol::{
    AdapterOrigin, BothScores, KeepScore, LabelScore, RowChange, RowFilter, ScoreReport, Side,
};

use crate::shared::show_row::ShowRow;
use crate::state::State;
use crate::state::format::{count, loss};
use crate::state::scores::{headline, measures, of_keep, of_labels, side_name};
use crate::state::trial::Tried;
use crate::store::Store;

/// The scores of the base and the tuned model on the rows that were not trained on; computed only on request.
#[component]
pub fn Scores() -> impl IntoView {
    let store = Store::get();
    let sides = store.select(sides);
    let scores = store.select(State::scores);
    let is_released = store.select(is_released);
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
        <section class="card scores" aria-label="Scores" hidden=move || sides.with(Vec::is_empty) && scores.with(Vec::is_empty)>
            <h3>"Held-out rows"</h3>
            <p hidden=move || !is_released.get()>
                "The tab let go of this run's held-out rows to make room for those of later runs, so they cannot be scored again."
            </p>
            <div class="run-controls">
                {buttons}
                <button type="button" class="button" hidden=move || !is_scoring.get() on:click=move |_| store.stop_trial()>
                    "Stop scoring"
                </button>
            </div>
            {move || scores.get().into_iter().map(|report| view! { <Report report /> }).collect_view()}
        </section>
    }
}

/// The sides of a split that have rows to score the tuned model on.
fn sides(state: &State) -> Vec<Side> {
    let adapter = state.active_adapter();
    adapter.map_or(Vec::new(), |adapter| adapter.scored_on.clone())
}

/// Whether the chosen adapter is a run's that was scored on rows which the tab no longer has.
fn is_released(state: &State) -> bool {
    let adapter = state.active_adapter();
    let run = adapter.filter(|adapter| matches!(adapter.origin, AdapterOrigin::Run(_)));
    run.is_some_and(|run| run.scored_on.is_empty()) && !state.scores().is_empty()
}

#[component]
fn Report(report: ScoreReport) -> impl IntoView {
    let rows = format!("{} rows", side_name(report.side));
    let what = headline(&report);
    // The table may show another dataset by now.
    let sha256 = report.dataset_sha256;
    let is_shown = Store::get().select(move |state| {
        let shown = state.shown_dataset();
        shown.is_some_and(|dataset| dataset.sha256 == sha256) && state.shown_reader().is_some()
    });
    let labels = report.labels.map(|labels| {
        view! {
            <p>{of_labels(&labels)}</p>
            {confusion(&labels, &labels.base_confusion, format!("Labels of the {rows}: base"))}
            {confusion(&labels, &labels.tuned_confusion, format!("Labels of the {rows}: tuned"))}
        }
    });
    let worst = format!("Least improved {rows}");
    let best = format!("Most improved {rows}");
    view! {
        <p>{what}</p>
        {both_models(&report.total, format!("Metrics of the {rows}"))}
        {labels}
        {changes(report.worst, worst, is_shown)}
        {changes(report.best, best, is_shown)}
        {report.keep.map(|keep| general_prompts(keep, &rows))}
    }
}

/// A table that scrolls sideways if it is too wide; `name` is its caption and accessible name.
fn framed(name: String, head: impl IntoView, body: impl IntoView) -> impl IntoView {
    let label = name.clone();
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label=label>
            <table>
                <caption>{name}</caption>
                <thead><tr>{head}</tr></thead>
                <tbody>{body}</tbody>
            </table>
        </div>
    }
}

fn heads(names: &'static [&'static str]) -> impl IntoView {
    let head = |name: &&'static str| view! { <th scope="col" class="num">{*name}</th> };
    names.iter().map(head).collect_view()
}

fn both_models(total: &BothScores, name: String) -> impl IntoView + use<> {
    let head = view! { <th scope="col">"Metric"</th>{heads(&["Base", "Tuned"])} };
    let body = measures(total).map(|[measure, base, tuned]| {
        view! { <tr><th scope="row">{measure}</th><td class="num">{base}</td><td class="num">{tuned}</td></tr> }
    });
    framed(name, head, body.collect_view())
}

/// How many rows of each label the model predicted as which label.
fn confusion(labels: &LabelScore, counts: &[Vec<usize>], name: String) -> impl IntoView + use<> {
    let taken = labels.labels.iter().map(|label| {
        let taken = format!("predicted {label}");
        view! { <th scope="col" class="num">{taken}</th> }
    });
    let head = view! { <th scope="col">"Label"</th>{taken.collect_view()} };
    let rows = labels.labels.iter().zip(counts).map(|(label, counts)| {
        let cells = counts
            .iter()
            .map(|&rows| view! { <td class="num">{count(rows as u64)}</td> });
        view! { <tr><th scope="row">{label.clone()}</th>{cells.collect_view()}</tr> }
    });
    framed(name, head, rows.collect_view())
}

fn changes(changes: Vec<RowChange>, name: String, is_shown: Memo<bool>) -> Option<impl IntoView> {
    let rows = changes.into_iter().map(
        |RowChange {
             score,
             place,
             prompt,
         }| {
            let row = score.row;
            let link = move || match is_shown.get() {
                true => view! { <ShowRow row place filter=RowFilter::All /> }.into_any(),
                false => format!("Row {}", count(row as u64 + 1)).into_any(),
            };
            view! {
                <tr>
                    <th scope="row">{link}</th>
                    <td>{prompt}</td>
                    <td class="num">{loss(score.base_loss)}</td>
                    <td class="num">{loss(score.tuned_loss)}</td>
                </tr>
            }
        },
    );
    let rows: Vec<_> = rows.collect();
    let head = view! { <th scope="col">"Row"</th><th scope="col">"Prompt"</th>{heads(&["Base loss", "Tuned loss"])} };
    (!rows.is_empty()).then(|| framed(name, head, rows))
}

fn general_prompts(keep: KeepScore, rows: &str) -> impl IntoView + use<> {
    let what = of_keep(&keep);
    let prompts = keep
        .prompts
        .into_iter()
        .map(|RowChange { score, prompt, .. }| {
            view! {
                <tr>
                    <th scope="row">{prompt}</th>
                    <td class="num">{loss(score.base_loss)}</td>
                    <td class="num">{loss(score.tuned_loss)}</td>
                </tr>
            }
        });
    let head = view! { <th scope="col">"Prompt"</th>{heads(&["Base loss", "Tuned loss"])} };
    let name = format!("General prompts scored with the {rows}");
    let table = framed(name.clone(), head, prompts.collect_view());
    view! {
        <p>{what}</p>
        <details class="disclosure">
            <summary>{name}</summary>
            {table}
        </details>
    }
}
