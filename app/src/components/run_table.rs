use engine::protocol::StepMetrics;
use leptos::prelude::*;

use super::pager::Pager;
use crate::state::State;
use crate::state::format::{NONE, loss, rate, small};
use crate::store::Store;

const PAGE_LEN: usize = 20;

/// The chart's numbers as a table. Built only while it is open.
#[component]
pub fn RunTable() -> impl IntoView {
    let store = Store::get();
    let is_open = RwSignal::new(false);
    view! {
        <details class="disclosure" on:toggle=move |_| is_open.update(|is_open| *is_open = !*is_open)>
            <summary>"The chart as a table"</summary>
            {move || is_open.get().then(|| view! { <OpenTable store /> })}
        </details>
    }
}

#[component]
fn OpenTable(store: Store) -> impl IntoView {
    let start = RwSignal::new(0_usize);
    let total = store.select(|state| state.run.as_ref().map_or(0, |run| run.steps.len()));
    let page = store.select(move |state| page(state, start.get()));
    let rows = move || {
        page.get()
            .into_iter()
            .map(|(step, validation)| row(step, validation))
            .collect_view()
    };
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label="Steps of the run">
            <table>
                <thead>
                    <tr>
                        {["Step", "Training", "Validation", "Rate", "Gradient", "Tokens/s"]
                            .map(|name| view! { <th scope="col" class="num">{name}</th> })
                            .collect_view()}
                    </tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
        <Pager noun="steps" start page_len=PAGE_LEN total on_start=move |at| start.set(at) />
    }
}

/// The steps of a page, each with the held-out loss measured after it.
fn page(state: &State, start: usize) -> Vec<(StepMetrics, Option<f64>)> {
    let Some(run) = &state.run else {
        return Vec::new();
    };
    let steps = run.steps.iter().skip(start).take(PAGE_LEN);
    let validation = |step: u64| {
        run.evaluations
            .iter()
            .find(|evaluation| evaluation.step == step)
    };
    steps
        .map(|step| {
            (
                *step,
                validation(step.step).map(|evaluation| evaluation.loss),
            )
        })
        .collect()
}

fn row(step: StepMetrics, validation: Option<f64>) -> impl IntoView {
    let cells = [
        step.step.to_string(),
        loss(step.loss),
        validation.map_or(NONE.to_owned(), loss),
        small(step.learning_rate),
        rate(step.grad_norm),
        rate(step.tokens_per_sec),
    ];
    view! { <tr>{cells.map(|cell| view! { <td class="num">{cell}</td> }).collect_view()}</tr> }
}
