use leptos::prelude::*;

use crate::shared::icon::{Glyph, Icon};
use crate::state::State;
use crate::state::files::{Intake, noun};
use crate::store::Store;

/// Shows what became of the latest files or text, visible in any step.
#[component]
pub fn IntakeNote() -> impl IntoView {
    let store = Store::get();
    let intake = store.select(State::shown_intake);
    view! {
        <div class="intake-place" role="status" aria-label="What was taken">
            {move || intake.get().map(|intake| card(store, intake))}
        </div>
    }
}

fn card(store: Store, intake: Intake) -> impl IntoView {
    let Intake {
        taken,
        passed_over,
        remarks,
    } = intake;
    let taken = taken.into_iter().map(|(step, names)| (noun(step), names));
    let passed_over = passed_over.map(|names| ("Skipped", names));
    let lines = taken.chain(passed_over).map(|(what, names)| {
        view! { <p><strong>{what}</strong>": "{names}</p> }
    });
    let remarks = remarks.into_iter().map(|remark| {
        view! { <p class="intake-remark"><Icon glyph=Glyph::Alert /><span>{remark}</span></p> }
    });
    view! {
        <div class="intake">
            <div class="intake-lines">{lines.collect_view()}{remarks.collect_view()}</div>
            <button type="button" class="icon-button" aria-label="Dismiss what was taken" on:click=move |_| store.dismiss_intake()>
                <Icon glyph=Glyph::Close />
            </button>
        </div>
    }
}
