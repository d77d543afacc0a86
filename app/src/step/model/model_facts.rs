use leptos::prelude::*;
use protocol::ModelSummary;

use crate::shared::facts::Facts;
use crate::state::format::{bytes, count, parameters, short_hash};
use crate::store::Store;

/// The loaded model in figures.
#[component]
pub fn ModelFacts() -> impl IntoView {
    let model = Store::get().select(|state| state.model.loaded.clone());
    move || model.get().map(card)
}

fn card(model: ModelSummary) -> impl IntoView {
    let template = if model.has_chat_template {
        "chat"
    } else {
        "none: rows are trained as plain text"
    };
    let facts = [
        ("Parameters", parameters(model.parameters)),
        (
            "Weights",
            format!("{}, {}", model.quantization, bytes(model.file_bytes)),
        ),
        (
            "Architecture",
            format!(
                "{}, {} layers, hidden size {}",
                model.architecture, model.num_hidden_layers, model.hidden_size
            ),
        ),
        (
            "Heads",
            format!(
                "{}, {} key/value",
                model.num_attention_heads, model.num_key_value_heads
            ),
        ),
        (
            "Vocabulary",
            format!("{} tokens", count(model.vocab_size as u64)),
        ),
        (
            "Context",
            format!("{} tokens", count(model.max_position_embeddings as u64)),
        ),
        ("Template", template.to_owned()),
        ("SHA-256", short_hash(&model.sha256)),
    ];
    view! {
        <div class="card facts-card">
            <h3>{model.name}</h3>
            <Facts facts=facts.to_vec() />
        </div>
    }
}
