use leptos::prelude::*;

use crate::browser::page;
use crate::shared::icon::{Glyph, Icon};
use crate::state::{ExportState, State, Step};
use crate::store::Store;

/// The way through the page, with what is done.
#[component]
pub fn StepNav() -> impl IntoView {
    let store = Store::get();
    let current = RwSignal::new(String::new());
    // The sections are in the document once this has run.
    Effect::new(move |_| {
        page::watch_sections(&Step::ALL.map(Step::anchor), move |id| current.set(id))
    });
    let items = Step::ALL.into_iter().enumerate().map(|(index, step)| {
        let is_done = store.select(move |state| is_done(state, step));
        view! {
            <li>
                <a href=format!("#{}", step.anchor()) class="step-link" class:is-done=move || is_done.get()
                    aria-current=move || (current.get() == step.anchor()).then_some("step")>
                    <span class="step-link-mark" aria-hidden="true">
                        {move || if is_done.get() {
                            view! { <Icon glyph=Glyph::Check /> }.into_any()
                        } else {
                            (index + 1).to_string().into_any()
                        }}
                    </span>
                    <span>{step.title()}</span>
                    {move || is_done.get().then(|| view! { <span class="sr-only">" (done)"</span> })}
                </a>
            </li>
        }
    });
    view! {
        <nav class="step-nav" aria-label="Steps">
            <ol>{items.collect_view()}</ol>
        </nav>
    }
}

fn is_done(state: &State, step: Step) -> bool {
    match step {
        Step::Model => state.model.loaded.is_some(),
        Step::Data => state.data.loaded.is_some(),
        Step::Train => !state.trained.is_empty(),
        Step::Try => !state.chat.turns.is_empty() && !state.chat.is_active(),
        Step::Export => matches!(state.export, ExportState::Ready { .. }),
    }
}
