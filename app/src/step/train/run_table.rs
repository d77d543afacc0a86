use leptos::prelude::*;
use protocol::StepSpan;

use super::pager::Pager;
use crate::charts::metric::{steps_of, validation_of};
use crate::state::State;
use crate::state::format::{NONE, count, loss, rate, small};
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
    let total = store.select(|state| {
        let run = state.run.as_ref();
        run.map_or(0, |run| run.steps.spans().len())
    });
    let per_row = store.select(|state| {
        let run = state.run.as_ref();
        run.map_or(1, |run| run.steps.steps_per_span())
    });
    let page = store.select(move |state| page(state, start.get()));
    let rows = move || {
        page.get()
            .into_iter()
            .map(|(step, validation)| row(step, validation))
            .collect_view()
    };
    let is_thinned = move || per_row.get() > 1;
    view! {
        <p class="note" hidden=move || !is_thinned()>
            {move || format!("A row is the mean of {} steps, so that a long run stays light.", count(per_row.get()))}
        </p>
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

/// The steps of a page, or the spans of steps, each with the held-out loss measured last in it.
fn page(state: &State, start: usize) -> Vec<(StepSpan, Option<f64>)> {
    let Some(run) = &state.run else {
        return Vec::new();
    };
    let spans = run.steps.spans().iter().skip(start).take(PAGE_LEN);
    spans
        .map(|span| (*span, validation_of(run, span)))
        .collect()
}

fn row(span: StepSpan, validation: Option<f64>) -> impl IntoView {
    let cells = [
        steps_of(&span),
        loss(span.loss),
        validation.map_or(NONE.to_owned(), loss),
        small(span.learning_rate),
        rate(span.grad_norm),
        rate(span.tokens_per_sec),
    ];
    view! { <tr>{cells.map(|cell| view! { <td class="num">{cell}</td> }).collect_view()}</tr> }
}
