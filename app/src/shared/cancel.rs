use leptos::prelude::*;

use crate::state::Step;
use crate::store::Store;

/// Ends what the step shows as under way.
#[component]
pub fn Cancel(step: Step, label: &'static str) -> impl IntoView {
    let store = Store::get();
    view! {
        <button type="button" class="button button-small" aria-label=label on:click=move |_| store.cancel(step)>
            "Cancel"
        </button>
    }
}
