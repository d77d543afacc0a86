use engine::protocol::{FindingKind, RowPreview, TokenPreview};
use leptos::prelude::*;

use super::table_row::Tags;
use crate::state::State;
use crate::state::format::count;
use crate::store::Store;

/// Tokens shown at most; a longer row is told by its number of tokens.
const MAX_SHOWN: usize = 1500;

/// A row rendered and cut into tokens as it is trained; what the model learns to say is marked and underlined.
#[component]
pub fn TokenView() -> impl IntoView {
    let store = Store::get();
    let preview = store.select(|state| state.preview.clone());
    let found = store.select(|state| {
        let row = state.preview.as_ref().map(|preview| preview.row);
        row.map(|row| found(state, row)).unwrap_or_default()
    });
    move || preview.get().map(|preview| card(preview, found.get()))
}

/// What was found about a row, as far as it is known here.
fn found(state: &State, row: usize) -> Vec<FindingKind> {
    if let Some(known) = state.rows.numbered(row) {
        return known.findings.clone();
    }
    let findings = state.data.loaded.iter().flat_map(|data| &data.findings);
    findings
        .filter(|finding| finding.rows.iter().any(|known| known.row == row))
        .map(|finding| finding.kind)
        .collect()
}

fn card(preview: RowPreview, found: Vec<FindingKind>) -> impl IntoView {
    let num_tokens = preview.tokens.len();
    let num_trained = preview
        .tokens
        .iter()
        .filter(|token| token.is_trained)
        .count();
    let mut about = vec![
        format!("{} tokens", count(num_tokens as u64)),
        format!("{} trained", count(num_trained as u64)),
    ];
    if preview.num_truncated > 0 {
        about.push(format!("{} cut off", count(preview.num_truncated as u64)));
    }
    if preview.is_held_out {
        about.push("held out for validation".to_owned());
    }
    let surplus = num_tokens.saturating_sub(MAX_SHOWN);
    let tokens = preview
        .tokens
        .into_iter()
        .take(MAX_SHOWN)
        .map(token)
        .collect_view();
    view! {
        <div class="card token-card">
            <div class="token-head">
                <h3>{format!("Row {} as the model sees it", count(preview.row as u64 + 1))}</h3>
                <p class="quiet">{about.join(" · ")}</p>
            </div>
            <p class="token-legend">
                <span class="token is-trained">"learnt"</span>
                <span class="token">"read only"</span>
                <span class="token is-special">"special token"</span>
            </p>
            {(!found.is_empty()).then(|| view! {
                <p class="token-found">"Found: "<Tags most=found.len() findings=found /></p>
            })}
            <div class="tokens" tabindex="0" role="region" aria-label="Tokens of the row">{tokens}</div>
            {(surplus > 0).then(|| view! { <p class="quiet">{format!("and {} more", count(surplus as u64))}</p> })}
        </div>
    }
}

fn token(token: TokenPreview) -> impl IntoView {
    let breaks = token.text.matches('\n').count();
    let text = token.text.replace('\n', "\u{21b5}");
    view! {
        <span class="token" class:is-trained=token.is_trained class:is-special=token.is_special
            title=format!("id {}", token.id)>{text}</span>
        {(0..breaks).map(|_| view! { <br /> }).collect_view()}
    }
}
