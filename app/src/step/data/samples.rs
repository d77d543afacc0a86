use leptos::prelude::*;

use crate::state::sample::{SAMPLES, Sample};
use crate::store::Store;

/// The datasets included with the page; each is loaded with matching settings.
#[component]
pub fn Samples() -> impl IntoView {
    let items = SAMPLES.into_iter().map(item).collect_view();
    view! {
        <div class="card choice">
            <h3>"A sample"</h3>
            <p class="sample-lead">
                "Small datasets with matching settings: the model changes within two minutes, even on a CPU."
            </p>
            <ul class="samples">{items}</ul>
        </div>
    }
}

fn item(sample: Sample) -> impl IntoView {
    let store = Store::get();
    let note = format!("about-{}", sample.file_name.trim_end_matches(".jsonl"));
    view! {
        <li>
            <p id=note.clone()><strong>{sample.title}</strong>" "{sample.about}</p>
            <button type="button" class="button" aria-describedby=note on:click=move |_| store.load_sample(sample)>
                {sample.button}
            </button>
        </li>
    }
}
