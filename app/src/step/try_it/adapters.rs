use std::collections::BTreeMap;

use leptos::prelude::*;
use protocol::{AdapterId, AdapterOrigin, AdapterSummary};

use crate::shared::cancel::Cancel;
use crate::shared::file_input::FileInput;
use crate::shared::progress::Progress;
use crate::state::form::number;
use crate::state::format::count;
use crate::state::{State, Step};
use crate::store::Store;

/// What a weight is at first.
const FIRST_WEIGHT: &str = "0.5";

/// The adapters at hand: those of runs, those that were loaded, and blends of them. The chosen one is the tuned model.
#[component]
pub fn Adapters() -> impl IntoView {
    let store = Store::get();
    let list = store.select(|state| state.adapters.clone());
    let obstacle = store.select(obstacle);
    let is_loading = store.select(|state| state.adapter_loads.is_under_way());
    // By adapter, as typed; what is not there is as at first.
    let weights = RwSignal::new(BTreeMap::<AdapterId, String>::new());
    let can_blend = move || list.with(|list| list.adapters.len() > 1);
    let parts = Memo::new(move |_| {
        list.with(|list| weights.with(|weights| parts(&list.adapters, weights)))
    });
    let blend_note = move || match parts.get() {
        Ok(parts) if parts.len() > 1 => String::new(),
        Ok(_) => "Give at least two adapters a weight other than 0.".to_owned(),
        Err(what) => what,
    };
    let blend = move |_| {
        if let Ok(parts) = parts.get_untracked()
            && parts.len() > 1
            && obstacle.with_untracked(Option::is_none)
        {
            store.blend_adapters(parts);
        }
    };
    let is_refused = move || parts.with(|parts| !parts.as_ref().is_ok_and(|parts| parts.len() > 1));
    let active = Memo::new(move |_| list.with(|list| list.active));
    let item = move |adapter: AdapterSummary| item(store, adapter, active, weights, can_blend);
    view! {
        <section class="card adapters" aria-label="Adapters">
            <h3>"Adapters"</h3>
            <ul class="adapter-list">
                <For each=move || list.get().adapters key=|adapter| adapter.id children=item />
            </ul>
            <div class="run-controls" hidden=move || !can_blend()>
                <button type="button" class="button" aria-describedby="blend-note"
                    aria-disabled=move || (is_refused() || obstacle.with(Option::is_some)).to_string() on:click=blend>
                    "Blend adapters"
                </button>
                <p id="blend-note" class="run-note">{blend_note}</p>
            </div>
            <FileInput id="adapter-files" label="Adapter files" folder_label="Adapter folder"
                hint="A zip or folder from Inlay, PEFT or MLX, or a GGUF adapter"
                on_files=move |files| store.take_chosen(files, Step::Try) />
            <div class="load-progress" hidden=move || !is_loading.get()>
                <Progress label="Progress of the adapter" ratio=Signal::derive(|| None) />
                <Cancel step=Step::Try label="Cancel loading the adapter" />
            </div>
            <p class="run-note">{obstacle}</p>
        </section>
    }
}

fn item(
    store: Store,
    adapter: AdapterSummary,
    active: Memo<Option<AdapterId>>,
    weights: RwSignal<BTreeMap<AdapterId, String>>,
    can_blend: impl Fn() -> bool + Copy + Send + Sync + 'static,
) -> impl IntoView {
    let AdapterSummary {
        id,
        name,
        blend_refusal,
        ..
    } = adapter.clone();
    let facts = facts(&adapter);
    let weight_label = format!("Weight of {name}");
    let forget_label = format!("Remove {name}");
    let use_label = format!("Use {name}");
    let compare_label = format!("Compare {name}");
    let is_compared = store.select(move |state| state.chat.compared.contains(&id));
    let can_weigh = blend_refusal.is_none();
    let weight = move || weights.with(|weights| weights.get(&id).cloned());
    let weight = move || weight().unwrap_or_else(|| FIRST_WEIGHT.to_owned());
    view! {
        <li>
            <label class="adapter-choice">
                <input type="radio" name="adapter" aria-label=use_label prop:checked=move || active.get() == Some(id)
                    on:change=move |_| store.use_adapter(id) />
                <span>
                    <span class="adapter-name">{name}</span>
                    <span class="quiet">{facts}</span>
                </span>
            </label>
            <label class="adapter-compare" hidden=move || active.get() == Some(id)>
                <input type="checkbox" aria-label=compare_label prop:checked=move || is_compared.get()
                    on:change=move |_| store.state.update(|state| state.chat.toggle_compared(id)) />
                <span class="quiet" aria-hidden="true">"Compare"</span>
            </label>
            {can_weigh.then(|| view! {
                <label class="adapter-weight" hidden=move || !can_blend()>
                    <span class="quiet">"Weight"</span>
                    <input type="text" inputmode="decimal" aria-label=weight_label prop:value=weight
                        on:input=move |event| weights.update(|all| {
                            all.insert(id, event_target_value(&event));
                        }) />
                </label>
            })}
            {blend_refusal.map(|why| view! { <span class="adapter-refusal quiet" hidden=move || !can_blend()>{format!("can\u{2019}t be blended: {why}")}</span> })}
            <button type="button" class="button button-small" aria-label=forget_label on:click=move |_| store.forget_adapter(id)>
                "Remove"
            </button>
        </li>
    }
}

fn facts(adapter: &AdapterSummary) -> String {
    let spec = &adapter.spec;
    let origin = match &adapter.origin {
        AdapterOrigin::Run(_) => "trained here",
        AdapterOrigin::File => "from a file",
        AdapterOrigin::Blend(_) => "a blend",
    };
    let rank = if spec.method.facts().has_rank {
        format!(", rank {}", spec.r)
    } else {
        String::new()
    };
    format!(
        "{}{rank}, {} parameters, {origin}",
        spec.method.facts().name,
        count(adapter.trainable_parameters)
    )
}

/// Those with a weight other than 0, or what is no weight.
fn parts(
    adapters: &[AdapterSummary],
    weights: &BTreeMap<AdapterId, String>,
) -> Result<Vec<(AdapterId, f64)>, String> {
    let mut parts = Vec::new();
    for adapter in adapters
        .iter()
        .filter(|adapter| adapter.blend_refusal.is_none())
    {
        let text = weights
            .get(&adapter.id)
            .map_or(FIRST_WEIGHT, String::as_str)
            .trim();
        match number(text) {
            Some(weight) => parts.push((adapter.id, weight)),
            None => {
                return Err(format!(
                    "\u{201c}{text}\u{201d} is not a valid weight for {}.",
                    adapter.name
                ));
            }
        }
    }
    parts.retain(|(_, weight)| *weight != 0.0);
    Ok(parts)
}

/// Why nothing can be done with adapters now.
fn obstacle(state: &State) -> Option<&'static str> {
    if state.model.loaded.is_none() {
        Some("An adapter needs its model: load that first, in step 1.")
    } else if state.is_busy() {
        Some("The model is busy; you can change adapters when it is done.")
    } else {
        None
    }
}
