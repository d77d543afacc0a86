use leptos::prelude::*;
use protocol::{RowPreview, Side, TokenPreview};

use super::table_row::Tags;
use crate::state::format::count;
use crate::store::Store;

/// Tokens shown at most; a longer row is told by its number of tokens.
const MAX_SHOWN: usize = 1500;

/// A row rendered and cut into tokens as it is trained; what the model learns to say is marked and underlined.
#[component]
pub fn TokenView() -> impl IntoView {
    let preview = Store::get().select(|state| state.preview.clone());
    move || preview.get().map(card)
}

fn card(preview: RowPreview) -> impl IntoView {
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
    about.push(
        match preview.side {
            Some(Side::Train) => "in the training data",
            Some(Side::Validation) => "held out for validation",
            Some(Side::Test) => "held out for testing",
            None => "left out",
        }
        .to_owned(),
    );
    let found = preview.findings;
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
                <span class="token is-trained">"trained"</span>
                <span class="token">"context only"</span>
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

/// A token, with its id as a hint; line breaks are both shown and applied.
pub fn token(token: TokenPreview) -> impl IntoView {
    let breaks = token.text.matches('\n').count();
    let text = token.text.replace('\n', "\u{21b5}");
    view! {
        <span class="token" class:is-trained=token.is_trained class:is-special=token.is_special
            title=format!("id {}", token.id)>{text}</span>
        {(0..breaks).map(|_| view! { <br /> }).collect_view()}
    }
}
