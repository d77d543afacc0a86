use leptos::prelude::*;
use protocol::AdapterSummary;

use crate::shared::choice::Choice;
use crate::store::Store;

/// Chooses whether the run begins with a new adapter or continues an existing one.
#[component]
pub fn StartFrom() -> impl IntoView {
    let store = Store::get();
    let form = store.form;
    let adapters = store.select(|state| state.adapters.adapters.clone());
    // An adapter that was removed, or is for another model, cannot be chosen.
    Effect::new(move |_| {
        let method = |id| {
            let found = |all: &Vec<AdapterSummary>| {
                let adapter = all.iter().find(|adapter| adapter.id == id);
                adapter.map(|adapter| adapter.spec.method)
            };
            adapters.with(found)
        };
        let (chosen, known) = form.with(|form| (form.settings.run.initial_adapter, form.continued));
        match chosen.map(method) {
            Some(None) => form.update(|form| form.settings.run.initial_adapter = None),
            Some(Some(method)) if method != known => form.update(|form| form.continued = method),
            _ => {}
        }
    });
    let options = move || {
        let present = adapters.get().into_iter();
        let present = present.map(|adapter| (Some(adapter.id), adapter.name));
        let new = (None, "A new adapter".to_owned());
        std::iter::once(new).chain(present).collect()
    };
    view! {
        <Show when=move || !adapters.with(Vec::is_empty)>
            <Choice label="Start from" options
                hint=|form| match form.settings.run.initial_adapter {
                    None => "A new adapter starts out changing nothing",
                    Some(_) => "Keeps its method, rank and modules; the result is a new adapter",
                }
                get=|form| form.settings.run.initial_adapter set=|form, adapter| form.settings.run.initial_adapter = adapter />
        </Show>
    }
}
