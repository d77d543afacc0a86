use leptos::prelude::*;
use protocol::PreparedSummary;

use crate::charts::histogram::bins;
use crate::charts::length_chart::LengthChart;
use crate::state::format::{count, counted};
use crate::store::Store;

/// The number of bins of the table.
const MAX_BINS: usize = 20;

/// Shows how long rows are, and how many are cut.
#[component]
pub fn Lengths() -> impl IntoView {
    let store = Store::get();
    let prepared = store.select(|state| state.prepared.clone());
    let histogram = Memo::new(move |_| {
        prepared.with(|prepared| prepared.as_ref().map(|prepared| prepared.lengths.clone()))
    });
    let has_rows = move || {
        histogram.with(|known| {
            known
                .as_ref()
                .is_some_and(|known| known.counts.iter().any(|&rows| rows > 0))
        })
    };
    let cut = Memo::new(move |_| {
        prepared.with(|prepared| {
            prepared
                .as_ref()
                .map_or(0, |prepared| prepared.spec.max_seq_length)
        })
    });
    let words = Memo::new(move |_| {
        prepared
            .with(|prepared| prepared.as_ref().map(in_words))
            .unwrap_or_default()
    });
    let table = move || {
        let bins = histogram.with(|known| known.as_ref().map(|known| bins(known, MAX_BINS)));
        let rows = bins.unwrap_or_default().into_iter().map(|bin| {
            view! {
                <tr>
                    <td class="num">{count(bin.from as u64)}</td>
                    <td class="num">{if bin.is_open { "and more".to_owned() } else { count(bin.to as u64 - 1) }}</td>
                    <td class="num">{count(bin.num_rows as u64)}</td>
                </tr>
            }
        });
        rows.collect_view()
    };
    view! {
        <div class="card lengths" hidden=move || !has_rows()>
            <h3>"Row lengths"</h3>
            <LengthChart histogram=Signal::derive(move || histogram.get().unwrap_or_default()) cut label=words />
            <p class="quiet">{move || words.get()}</p>
            <details class="disclosure">
                <summary>"Row lengths as a table"</summary>
                <div class="table-scroll" tabindex="0" role="region" aria-label="Row lengths">
                    <table>
                        <thead>
                            <tr>
                                {["From tokens", "To tokens", "Rows"]
                                    .map(|name| view! { <th scope="col" class="num">{name}</th> })
                                    .collect_view()}
                            </tr>
                        </thead>
                        <tbody>{table}</tbody>
                    </table>
                </div>
            </details>
        </div>
    }
}

/// The picture in a sentence.
fn in_words(prepared: &PreparedSummary) -> String {
    let cut = match prepared.num_truncated {
        0 => format!(
            "No row is longer than the limit of {} tokens.",
            count(prepared.spec.max_seq_length as u64)
        ),
        1 => format!(
            "1 row is longer than {} tokens and is cut.",
            count(prepared.spec.max_seq_length as u64)
        ),
        more => format!(
            "{} are longer than {} tokens and are cut.",
            counted(more as u64, "row"),
            count(prepared.spec.max_seq_length as u64)
        ),
    };
    // Both figures are of rows after truncation.
    if prepared.num_truncated > 0 {
        return cut;
    }
    format!(
        "Half of the rows have {} tokens or fewer; the longest has {}. {cut}",
        count(prepared.median_tokens as u64),
        count(prepared.longest_tokens as u64),
    )
}
