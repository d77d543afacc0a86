use leptos::prelude::*;
use protocol::PlanSummary;

use crate::shared::icon::{Glyph, Icon};
use crate::state::State;
use crate::state::findings::of_run;
use crate::state::format::{about, bytes, count, counted, plural};
use crate::store::Store;

/// The plan and cost of the run, before it starts. An older plan is never shown.
#[component]
pub fn PlanLine() -> impl IntoView {
    let store = Store::get();
    let plan = store.select(|state| state.present_plan().cloned());
    let warnings = store.select(of_run);
    let is_due = store.select(is_due);
    view! {
        <div class="plan" aria-busy=move || is_due.get().to_string()>
            {move || plan.get().map(figures)}
            <p class="quiet" hidden=move || !is_due.get()>"Planning the run\u{2026}"</p>
            <ul class="plan-warnings" aria-label="Warnings about the run">
                {move || warnings.get().into_iter().map(warning).collect_view()}
            </ul>
        </div>
    }
}

/// Whether a plan is being made.
fn is_due(state: &State) -> bool {
    let has_all = state.can_train() && state.wanted.is_some() && !state.is_busy();
    let is_refused = state.notices.iter().any(|notice| notice.is_of_settings());
    has_all && state.present_plan().is_none() && !is_refused
}

fn warning(warning: String) -> impl IntoView {
    view! { <li><Icon glyph=Glyph::Alert /><span>{warning}</span></li> }
}

fn figures(plan: PlanSummary) -> impl IntoView {
    let steps = plural(plan.num_steps, "step");
    let parameters = plural(plan.trainable_parameters, "trainable parameter");
    let time = plan
        .estimated_secs
        .map(|secs| (about(secs), "to train (estimate)".to_owned()));
    let figures = [
        (count(plan.num_steps), steps),
        (
            counted(plan.steps_per_epoch, "step"),
            "per epoch".to_owned(),
        ),
        (count(plan.trainable_parameters), parameters),
        (
            bytes(plan.estimated_memory_bytes),
            "of memory (estimate)".to_owned(),
        ),
    ];
    let figures = figures
        .into_iter()
        .chain(time)
        .map(|(figure, what)| view! { <li><strong>{figure}</strong>" "{what}</li> });
    view! { <ul class="plan-figures" aria-label="Planned run">{figures.collect_view()}</ul> }
}
