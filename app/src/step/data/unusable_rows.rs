use leptos::prelude::*;

use crate::state::suggestion::{RawTable, question, raw_table};
use crate::store::Store;

/// Rows that none of could be used: a guess at their columns to be confirmed, and how they look in the file.
#[component]
pub fn UnusableRows() -> impl IntoView {
    let store = Store::get();
    let guess = store.select(|state| {
        let dataset = state.readings.unusable.as_ref()?;
        let mapping = dataset.suggestion.clone()?;
        Some((question(&mapping)?, mapping))
    });
    let table = store.select(|state| {
        let dataset = state.readings.unusable.as_ref();
        dataset
            .map(raw_table)
            .filter(|table| !table.rows.is_empty())
    });
    let ask = move || {
        guess.get().map(|(question, mapping)| {
            let use_it = move |_| store.use_mapping(&mapping);
            view! {
                <div class="column-question">
                    <p>{question}</p>
                    <button type="button" class="button" on:click=use_it>"Yes, use these columns"</button>
                    <p class="quiet">"If not, choose the columns below."</p>
                </div>
            }
        })
    };
    move || {
        table.get().map(|table| {
            view! {
                <section class="card unusable-rows" aria-label="First rows as they are">
                    <h3>"The first rows, as they are in the file"</h3>
                    {ask}
                    {raw_rows(table)}
                </section>
            }
        })
    }
}

fn raw_rows(table: RawTable) -> impl IntoView {
    let names = table.names.into_iter();
    let names = names.map(|name| view! { <th scope="col">{name}</th> });
    let rows = table.rows.into_iter().map(|row| {
        let cells = row.into_iter();
        let cells = cells.map(|cell| view! { <td><span class="clamp">{cell}</span></td> });
        view! { <tr>{cells.collect_view()}</tr> }
    });
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label="Columns of the first rows">
            <table class="raw-rows">
                <thead><tr>{names.collect_view()}</tr></thead>
                <tbody>{rows.collect_view()}</tbody>
            </table>
        </div>
    }
}
