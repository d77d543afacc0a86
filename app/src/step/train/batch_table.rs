use leptos::prelude::*;
use protocol::BatchToken;

use crate::state::format::{NONE, loss};

/// The losses of a row's tokens as a table, as an alternative to colors. Built only while it is open.
#[component]
pub fn BatchTable(number: String, tokens: Vec<BatchToken>) -> impl IntoView {
    let is_open = RwSignal::new(false);
    let tokens = StoredValue::new(tokens);
    let name = StoredValue::new(format!("Losses of row {number}"));
    let rows = move || {
        let rows = tokens.get_value().into_iter().map(|token| {
            let loss = token.loss.map_or(NONE.to_owned(), |it| loss(f64::from(it)));
            let text = token.token.text.replace('\n', "\u{21b5}");
            view! { <tr><td class="mono">{text}</td><td class="num">{loss}</td></tr> }
        });
        rows.collect_view()
    };
    let table = move || {
        view! {
            <div class="table-scroll batch-table" tabindex="0" role="region" aria-label=name.get_value()>
                <table>
                    <thead><tr><th scope="col">"Token"</th><th scope="col" class="num">"Loss"</th></tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        }
    };
    view! {
        <details class="disclosure" on:toggle=move |_| is_open.update(|is_open| *is_open = !*is_open)>
            <summary>{format!("Losses of row {number} as a table")}</summary>
            {move || is_open.get().then(table)}
        </details>
    }
}
