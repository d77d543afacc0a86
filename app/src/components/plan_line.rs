use engine::protocol::PlanSummary;
use leptos::prelude::*;

use crate::state::findings::of_run;
use crate::state::format::{bytes, count};
use crate::store::Store;

/// What the run will be and cost, before it starts.
#[component]
pub fn PlanLine() -> impl IntoView {
    let store = Store::get();
    let plan = store.select(|state| state.plan.clone());
    let warnings = store.select(of_run);
    let is_stale = store.select(|state| state.plan.is_some() && state.present_plan().is_none());
    view! {
        <div class="plan" class:is-stale=is_stale aria-busy=move || is_stale.get().to_string()>
            {move || plan.get().map(figures)}
            <ul class="plan-warnings">
                {move || warnings.get().into_iter().map(|warning| view! { <li>{warning}</li> }).collect_view()}
            </ul>
        </div>
    }
}

fn figures(plan: PlanSummary) -> impl IntoView {
    let figures = [
        (count(plan.num_steps), "steps"),
        (count(plan.steps_per_epoch), "a pass through the data"),
        (count(plan.trainable_parameters), "parameters that learn"),
        (bytes(plan.estimated_memory_bytes), "of memory, estimated"),
    ];
    let figures =
        figures.map(|(figure, what)| view! { <li><strong>{figure}</strong>" "{what}</li> });
    view! { <ul class="plan-figures" aria-label="The run as planned">{figures.collect_view()}</ul> }
}
