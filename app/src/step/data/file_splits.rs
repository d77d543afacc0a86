use leptos::prelude::*;
use protocol::Side;

use crate::state::format::counted;
use crate::state::splits::{FileSplit, about_shares, are_told_apart, file_splits, side_name};
use crate::store::Store;

/// Files shown; a dataset of more parts is split by their names.
const MAX_SHOWN: usize = 50;
const SIDES: [Side; 3] = [Side::Train, Side::Validation, Side::Test];

/// Which files are trained on, and which are kept for validation and for the test.
#[component]
pub fn FileSplits() -> impl IntoView {
    let store = Store::get();
    let files = Memo::new(move |_| {
        store.state.with(|state| {
            let dataset = state.shown_dataset();
            let files = dataset.map(|data| store.form.with(|form| file_splits(data, form)));
            files.unwrap_or_default()
        })
    });
    let is_told = Memo::new(move |_| files.with(|files| are_told_apart(files)));
    // The rows are drawn again for other files alone, so that a choice keeps its focus.
    let names = Memo::new(move |_| {
        files.with(|files| {
            let names = files.iter().map(|file| file.name.clone());
            names.collect::<Vec<_>>()
        })
    });
    let rows = move || {
        let shown = names.with(|names| names.len().min(MAX_SHOWN));
        (0..shown)
            .map(|index| view! { <FileRow files index /> })
            .collect_view()
    };
    let more = move || names.with(|names| names.len().saturating_sub(MAX_SHOWN));
    view! {
        <details class="disclosure file-splits" hidden=move || names.with(Vec::is_empty) open=move || is_told.get()>
            <summary>"Files and splits"</summary>
            <p class="quiet">{move || files.with(|files| about_shares(files))}</p>
            <div class="fields">{rows}</div>
            {move || (more() > 0).then(|| view! {
                <p class="quiet">{format!("and {} more, split by their names", counted(more() as u64, "file"))}</p>
            })}
        </details>
    }
}

/// A file, and what its rows are for.
#[component]
fn FileRow(files: Memo<Vec<FileSplit>>, index: usize) -> impl IntoView {
    let form = Store::get().form;
    let id = format!("file-split-{index}");
    let note = format!("{id}-note");
    let file = files.with_untracked(|files| files.get(index).cloned());
    let name = file.as_ref().map(|file| file.name.clone());
    let side = Memo::new(move |_| files.with(|files| files.get(index).map(|file| file.side)));
    let rows = file.map(|file| counted(file.num_rows as u64, "row"));
    let changed = move |event| {
        let label = event_target_value(&event);
        let side = SIDES.into_iter().find(|side| side_name(*side) == label);
        let file = files.with_untracked(|files| files.get(index).cloned());
        if let Some((side, file)) = side.zip(file) {
            form.update(|form| form.choose_side(&file.name, file.by_name, side));
        }
    };
    let options = SIDES.map(|known| {
        let label = side_name(known);
        view! { <option value=label prop:selected=move || side.get() == Some(known)>{label}</option> }
    });
    view! {
        <div class="field">
            <label for=id.clone()>{name.map(|name| format!("Split of {name}"))}</label>
            <select id=id aria-describedby=note.clone() on:change=changed>{options.collect_view()}</select>
            <p class="field-note" id=note>{rows}</p>
        </div>
    }
}
