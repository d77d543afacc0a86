use leptos::prelude::*;

use crate::store::Store;

/// Whether the run begins with a new adapter, or goes on with one that is there.
#[component]
pub fn StartFrom() -> impl IntoView {
    let store = Store::get();
    let form = store.form;
    let adapters = store.select(|state| state.adapters.adapters.clone());
    let chosen = Memo::new(move |_| form.with(|form| form.initial_adapter));
    // One that is gone, or for another model, is no choice.
    Effect::new(move |_| {
        let is_there = |id| adapters.with(|all| all.iter().any(|adapter| adapter.id == id));
        if chosen.get().is_some_and(|id| !is_there(id)) {
            form.update(|form| form.initial_adapter = None);
        }
    });
    let changed = move |event| {
        let index = event_target_value(&event).parse::<usize>().ok();
        let id = index.and_then(|index| {
            adapters.with_untracked(|all| all.get(index).map(|adapter| adapter.id))
        });
        form.update(|form| form.initial_adapter = id);
    };
    let options = move || {
        let options = adapters.get().into_iter().enumerate();
        let options = options.map(|(index, adapter)| {
            let is_chosen = move || chosen.get() == Some(adapter.id);
            view! { <option value=index.to_string() selected=is_chosen>{adapter.name}</option> }
        });
        options.collect_view()
    };
    let note = move || match chosen.get() {
        None => "A new adapter changes nothing at first",
        Some(_) => "Its method, rank and modules stay; a new one is kept beside it",
    };
    view! {
        <div class="field" hidden=move || adapters.with(Vec::is_empty)>
            <label for="start-from">"Start from"</label>
            <select id="start-from" aria-describedby="start-from-note" on:change=changed>
                <option value="" selected=move || chosen.get().is_none()>"A new adapter"</option>
                {options}
            </select>
            <p class="field-note" id="start-from-note">{note}</p>
        </div>
    }
}
