use leptos::prelude::*;

use crate::shared::words::Words;
use crate::state::format::sentence;
use crate::state::mapping::ReadForm;
use crate::state::{State, Step};
use crate::store::Store;

/// Applies how rows are to be read, and says what came of it.
#[component]
pub fn ReadAgain() -> impl IntoView {
    let store = Store::get();
    let read = store.select(|state: &State| state.mapped_dataset().map(|data| data.spec.clone()));
    let failure = store.select(|state| {
        let notice = state
            .notices
            .iter()
            .find(|notice| notice.step == Step::Data && !notice.is_of_encoding);
        notice.map(|notice| notice.failure.clone())
    });
    let spec = Memo::new(move |_| store.read_form.with(ReadForm::spec));
    let is_due =
        move || spec.with(|spec| spec.as_ref().ok() != read.get().as_ref() && spec.is_ok());
    let note = move || match (spec.get(), failure.get()) {
        (Err(missing), _) => missing,
        (Ok(_), Some(failure)) => {
            let remedy = failure.remedy.as_deref().map(sentence);
            format!("{} {}", sentence(&failure.what), remedy.unwrap_or_default())
        }
        _ if is_due() => "Not applied yet: press Apply to read the files again.".to_owned(),
        _ => "Applied: the rows are read this way now.".to_owned(),
    };
    view! {
        <div class="mapping-apply">
            <button type="button" class="button" aria-disabled=move || (!is_due()).to_string() aria-describedby="read-again-note"
                on:click=move |_| if is_due() { store.read_again() }>
                "Apply"
            </button>
            <p id="read-again-note" class="run-note" aria-live="polite">{move || view! { <Words text=note() /> }}</p>
        </div>
    }
}
