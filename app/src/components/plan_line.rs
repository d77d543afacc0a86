use engine::protocol::PlanSummary;
use leptos::prelude::*;

use crate::state::findings::of_run;
use crate::state::format::{bytes, count, counted};
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
    let steps = if plan.num_steps == 1 { "step" } else { "steps" };
    let figures = [
        (count(plan.num_steps), steps),
        (counted(plan.steps_per_epoch, "step"), "per epoch"),
        (count(plan.trainable_parameters), "trainable parameters"),
        (bytes(plan.estimated_memory_bytes), "of memory (estimate)"),
    ];
    let figures =
        figures.map(|(figure, what)| view! { <li><strong>{figure}</strong>" "{what}</li> });
    view! { <ul class="plan-figures" aria-label="Planned run">{figures.collect_view()}</ul> }
}
