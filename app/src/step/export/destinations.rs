use leptos::prelude::*;
use protocol::{AdapterSummary, ExportKind};

use crate::state::{State, Step};
use crate::store::Store;

/// The `id`s of the buttons that the sentences lead to.
pub const DOWNLOAD_ADAPTER: &str = "download-adapter";
pub const DOWNLOAD_GGUF: &str = "download-gguf";
pub const DOWNLOAD_MLX: &str = "download-mlx";
pub const DOWNLOAD_MERGED_GGUF: &str = "download-merged-gguf";

/// Says who each file is for, in a sentence.
#[component]
pub fn Destinations() -> impl IntoView {
    let adapter = Store::get().select(|state: &State| state.active_adapter().cloned());
    let items = move || {
        let adapter = adapter.get();
        let refusal = |kind| adapter.as_ref().and_then(|adapter| refusal(adapter, kind));
        let merged = adapter
            .as_ref()
            .and_then(|adapter| adapter.merge_refusal.clone());
        let files = [
            (
                "Ollama, LM Studio",
                ("Download merged GGUF", DOWNLOAD_MERGED_GGUF),
                "the whole model in one file, and for Ollama the Modelfile that goes with it.",
                merged,
            ),
            (
                "Python",
                ("Download adapter", DOWNLOAD_ADAPTER),
                "a zip that PEFT and transformers load, with everything needed to repeat the run.",
                refusal(ExportKind::Peft),
            ),
            (
                "Apple",
                ("Download MLX adapter", DOWNLOAD_MLX),
                "for mlx-lm on a Mac with Apple silicon, next to the base model.",
                refusal(ExportKind::Mlx),
            ),
            (
                "llama.cpp",
                ("Download GGUF adapter", DOWNLOAD_GGUF),
                "loaded next to the base model, as a LoRA.",
                refusal(ExportKind::Gguf),
            ),
        ];
        let file = |(place, (button, id), purpose, refusal): (_, _, _, Option<String>)| {
            let sentence = match refusal {
                None if adapter.is_some() => {
                    view! { <a href=format!("#{id}")>{button}</a>", "{purpose} }.into_any()
                }
                None => view! { <em>{button}</em>", "{purpose} }.into_any(),
                Some(why) => format!("not with this adapter: {why}.").into_any(),
            };
            view! { <li><strong>{place}</strong>": "{sentence}</li> }
        };
        files.map(file).collect_view()
    };
    let anchor = format!("#{}", Step::Try.anchor());
    view! {
        <div class="card">
            <h3>"Where will you use it?"</h3>
            <ul class="destinations" aria-label="Who each file is for">
                <li>
                    <strong>"Chat with it here"</strong>": "<a href=anchor>"Try"</a>
                    " has it already, as long as this page is open."
                </li>
                {items}
            </ul>
        </div>
    }
}

/// Why an adapter is not available in this form, if so.
fn refusal(adapter: &AdapterSummary, kind: ExportKind) -> Option<String> {
    let mut offers = adapter.exports.iter();
    offers.find(|offer| offer.kind == kind)?.refusal.clone()
}
