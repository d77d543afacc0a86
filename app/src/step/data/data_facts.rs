use leptos::prelude::*;
use protocol::{DatasetSummary, PreparedSummary, RowShape};

use crate::shared::facts::Facts;
use crate::state::format::{bytes, count, counted, short_hash};
use crate::store::Store;

/// The dataset in figures: as read, and as the model will see it.
#[component]
pub fn DataFacts() -> impl IntoView {
    let store = Store::get();
    let dataset = store.select(|state| state.data.loaded.clone());
    let prepared = store.select(|state| state.prepared.clone());
    move || {
        let dataset = dataset.get()?;
        let facts = read_facts(&dataset)
            .into_iter()
            .chain(prepared.get().iter().flat_map(token_facts))
            .collect();
        Some(view! {
            <div class="card facts-card">
                <h3>{dataset.names.join(", ")}</h3>
                <Facts facts />
            </div>
        })
    }
}

fn read_facts(dataset: &DatasetSummary) -> Vec<(&'static str, String)> {
    let usable = match (dataset.num_usable_rows, dataset.num_rows) {
        (usable, all) if usable == all => count(all as u64),
        (usable, all) => format!("{} of {}", count(usable as u64), count(all as u64)),
    };
    let shapes: Vec<&str> = dataset
        .shapes
        .iter()
        .map(|(shape, _)| shape_name(*shape))
        .collect();
    vec![
        ("Rows", usable),
        ("Format", shapes.join(", ")),
        ("Size", bytes(dataset.file_bytes)),
        ("SHA-256", short_hash(&dataset.sha256)),
    ]
}

fn token_facts(prepared: &PreparedSummary) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Split", split(prepared)),
        (
            "Tokens",
            format!(
                "{}, {} trained",
                count(prepared.training_tokens),
                count(prepared.scored_tokens)
            ),
        ),
        (
            "Row length",
            format!(
                "{} median, {} longest",
                count(prepared.median_tokens as u64),
                count(prepared.longest_tokens as u64)
            ),
        ),
    ];
    if prepared.num_left_out > 0 {
        facts.push(("Left out", counted(prepared.num_left_out as u64, "row")));
    }
    facts
}

fn split(prepared: &PreparedSummary) -> String {
    let mut parts = vec![
        format!("{} for training", count(prepared.num_training_rows as u64)),
        format!("{} held out", count(prepared.num_validation_rows as u64)),
    ];
    if prepared.num_test_rows > 0 {
        let rows = count(prepared.num_test_rows as u64);
        parts.push(format!("{rows} for testing"));
    }
    parts.join(", ")
}

/// A shape, named by its fields.
pub fn shape_name(shape: RowShape) -> &'static str {
    match shape {
        RowShape::Messages => "messages",
        RowShape::PromptCompletion => "prompt and completion",
        RowShape::Text => "text",
        RowShape::Classification => "text and label",
        RowShape::Preference => "preferences",
    }
}
