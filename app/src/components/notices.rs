use leptos::prelude::*;

use super::icon::{Glyph, Icon};
use super::words::Words;
use crate::state::Step;
use crate::state::failure::Notice;
use crate::state::format::sentence;
use crate::store::Store;

/// Shows what went wrong in a step, where, and what to do about it.
#[component]
pub fn Notices(step: Step) -> impl IntoView {
    let store = Store::get();
    let notices = store.select(move |state| {
        state
            .notices
            .iter()
            .filter(|notice| notice.step == step)
            .cloned()
            .collect::<Vec<_>>()
    });
    view! {
        <div class="notices" role="alert">
            {move || notices.get().into_iter().map(|notice| card(store, notice)).collect_view()}
        </div>
    }
}

fn card(store: Store, notice: Notice) -> impl IntoView {
    let Notice { step, failure, .. } = notice;
    let label = format!("Dismiss the message in {}", step.title());
    view! {
        <div class="notice">
            <Icon glyph=Glyph::Alert />
            <div class="notice-body">
                <p class="notice-what"><Words text=sentence(&failure.what) /></p>
                {failure.place.map(|place| view! { <p class="notice-place">{place}</p> })}
                {failure.remedy.map(|remedy| view! { <p class="notice-remedy"><Words text=sentence(&remedy) /></p> })}
            </div>
            <button type="button" class="icon-button" aria-label=label on:click=move |_| store.dismiss(step)>
                <Icon glyph=Glyph::Close />
            </button>
        </div>
    }
}
