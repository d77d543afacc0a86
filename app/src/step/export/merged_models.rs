use leptos::prelude::*;
use protocol::MergedKind;

use super::destinations::DOWNLOAD_MERGED_GGUF;
use crate::shared::choice::Choice;
use crate::shared::progress::Progress;
use crate::state::form::Form;
use crate::state::format::bytes;
use crate::state::{ExportState, State};
use crate::store::Store;

/// The whole model with the adapter merged into it: its forms, and how far the one is that is being written.
#[component]
pub fn MergedModels() -> impl IntoView {
    let store = Store::get();
    let form = store.form;
    let refusal = store.select(|state| {
        state
            .active_adapter()
            .and_then(|it| it.merge_refusal.clone())
    });
    let export = store.select(|state| state.export.clone());
    let is_exporting = store.select(State::is_exporting);
    let is_merging = store.select(State::is_merging);
    let is_idle = move || !is_exporting.get() && refusal.with(Option::is_none);
    let size = move |kind: MergedKind| {
        let model = store.state.with(|state| state.model.loaded.clone());
        model.map_or_else(String::new, |model| bytes(kind.about_num_bytes(&model)))
    };
    let note = move |kind: MergedKind, purpose: &str| match refusal.get() {
        Some(why) => format!("{why}."),
        None => format!("{purpose}; about {}", size(kind)),
    };
    let gguf_type = move || form.with(|form| form.gguf_type);
    let ratio = Signal::derive(move || match export.get() {
        ExportState::Merging {
            done,
            total: Some(total),
        } => Some(done as f64 / total.max(1) as f64),
        _ => None,
    });
    let download = move |kind: MergedKind| {
        if untrack(is_idle) {
            store.export_merged(kind);
        }
    };
    let types = || {
        let types = MergedKind::ALL
            .into_iter()
            .filter(|kind| *kind != MergedKind::Safetensors);
        types
            .map(|kind| (kind, kind.type_name().to_owned()))
            .collect()
    };
    view! {
        <div class="card">
            <h3>"Merged models"</h3>
            <p class="quiet">"The base model with the adapter merged in, for programs that can\u{2019}t load adapters."</p>
            <ul class="formats">
                <li>
                    <button type="button" class="button" aria-describedby="merged-note"
                        aria-disabled=move || (!is_idle()).to_string()
                        on:click=move |_| download(MergedKind::Safetensors)>
                        "Download merged model"
                    </button>
                    <span id="merged-note">{move || note(MergedKind::Safetensors, "For transformers, in 32 bits")}</span>
                </li>
                <li>
                    <Choice label="GGUF type" options=types hint=about_type
                        get=|form| form.gguf_type set=|form, kind| form.gguf_type = kind />
                    <button type="button" id=DOWNLOAD_MERGED_GGUF class="button" aria-describedby="merged-gguf-note"
                        aria-disabled=move || (!is_idle()).to_string()
                        on:click=move |_| download(untrack(gguf_type))>
                        "Download merged GGUF"
                    </button>
                    <span id="merged-gguf-note">
                        {move || note(gguf_type(), "For llama.cpp, and with its Modelfile for Ollama")}
                    </span>
                </li>
            </ul>
            <Show when=move || is_merging.get()>
                <div class="merging">
                    <Progress label="Progress of the export" ratio />
                    <button type="button" class="button" on:click=move |_| store.cancel_merging()>"Cancel the export"</button>
                </div>
            </Show>
        </div>
    }
}

fn about_type(form: &Form) -> &'static str {
    match form.gguf_type {
        MergedKind::Safetensors | MergedKind::GgufF16 => {
            "16 bits per weight: practically nothing is lost"
        }
        MergedKind::GgufQ8_0 => "8 bits per weight: half the size of F16, almost nothing is lost",
        MergedKind::GgufQ4_0 => "4 bits per weight: smallest, and slightly worse",
    }
}
