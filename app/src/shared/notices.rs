use leptos::prelude::*;
use leptos::task::spawn_local;

use super::icon::{Glyph, Icon};
use super::words::Words;
use crate::browser::page;
use crate::state::Step;
use crate::state::failure::{Notice, report};
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
    let report = report(&failure);
    view! {
        <div class="notice">
            <Icon glyph=Glyph::Alert />
            <div class="notice-body">
                <p class="notice-what"><Words text=sentence(&failure.what) /></p>
                {failure.place.map(|place| view! { <p class="notice-place">{place}</p> })}
                {report.map(|report| view! { <CopyReport report=report /> })}
                {failure.remedy.map(|remedy| view! { <p class="notice-remedy"><Words text=sentence(&remedy) /></p> })}
            </div>
            <button type="button" class="icon-button" aria-label=label on:click=move |_| store.dismiss(step)>
                <Icon glyph=Glyph::Close />
            </button>
        </div>
    }
}

/// A button that copies what a person who reports an internal error needs to say.
#[component]
fn CopyReport(report: String) -> impl IntoView {
    let note = RwSignal::new("");
    let copy = move |_| {
        let report = report.clone();
        spawn_local(async move {
            let is_copied = page::copy(report).await;
            note.set(if is_copied {
                "Copied"
            } else {
                "Select the text and copy it yourself"
            });
        });
    };
    view! {
        <p>
            <button type="button" class="button button-small" on:click=copy>"Copy the report"</button>
            " "
            <span class="quiet" aria-live="polite">{move || note.get()}</span>
        </p>
    }
}
