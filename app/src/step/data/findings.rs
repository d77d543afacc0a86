use leptos::prelude::*;
use protocol::{ControlTokens, Finding, FindingKind, RowFilter};

use super::problems::place;
use crate::shared::show_row::ShowRow;
use crate::shared::words::Words;
use crate::state::State;
use crate::state::findings::{alarm, of_control_tokens, of_files, of_tokens, words};
use crate::state::format::{count, counted, sentence};
use crate::store::Store;

/// Rows of a finding named at most; the table shows the others.
const MAX_NAMED: usize = 3;

/// What must not be overlooked.
#[component]
pub fn Alarm() -> impl IntoView {
    let store = Store::get();
    let alarm = store.select(|state| state.shown_dataset().and_then(alarm));
    move || {
        alarm.get().map(|what| {
            view! {
                <div class="notice alarm">
                    <div class="notice-body">
                        <p class="notice-what">{what}</p>
                        <p class="notice-remedy">
                            "A model memorizes such rows, and its held-out loss means nothing. Leave the duplicates out below."
                        </p>
                    </div>
                </div>
            }
        })
    }
}

/// What was found about usable rows, and what turned out when they became tokens.
#[component]
pub fn Findings() -> impl IntoView {
    let store = Store::get();
    let found = store.select(|state| {
        let dataset = state.shown_dataset();
        dataset
            .map(|dataset| dataset.findings.clone())
            .unwrap_or_default()
    });
    let told =
        store.select(|state: &State| state.prepared.as_ref().map(of_tokens).unwrap_or_default());
    let noted = store.select(|state| state.shown_dataset().map(of_files).unwrap_or_default());
    let control = store.select(|state: &State| state.prepared.as_ref().and_then(of_control_tokens));
    let is_empty = move || {
        control.with(Option::is_none)
            && found.with(Vec::is_empty)
            && told.with(Vec::is_empty)
            && noted.with(Vec::is_empty)
    };
    view! {
        <section class="findings" aria-label="Findings" hidden=is_empty>
            <h3>"Worth a look"</h3>
            <ul>
                {move || control.get().map(control_tokens)}
                {move || found.get().into_iter().map(|finding| item(store, finding)).collect_view()}
                {move || noted.get().into_iter().map(|note| view! {
                    <li class="finding"><p>{note}</p></li>
                }).collect_view()}
                {move || told.get().into_iter().map(|(what, advice)| view! {
                    <li class="finding">
                        <p class="finding-what">{what}</p>
                        <p>{advice}</p>
                    </li>
                }).collect_view()}
            </ul>
        </section>
    }
}

/// Control tokens in texts, and a way to have them read otherwise.
fn control_tokens((what, meaning): (String, &'static str)) -> impl IntoView {
    let store = Store::get();
    let form = store.form;
    let is_text =
        move || form.with(|form| form.settings.run.data.control_tokens == ControlTokens::AsText);
    let rows = store.state.with_untracked(|state| {
        let prepared = state.prepared.as_ref();
        prepared
            .map(|data| data.control_tokens.rows.clone())
            .unwrap_or_default()
    });
    let rows = rows.into_iter().take(MAX_NAMED).map(|problem| {
        view! {
            <li>
                <button type="button" class="link" on:click=move |_| store.preview_row(problem.row)>
                    {format!("Row {} as tokens", count(problem.row as u64 + 1))}
                </button>
                <span class="quiet"><Words text=format!("{}: {}", place(&problem), problem.what) /></span>
            </li>
        }
    });
    let switch = move |_| {
        form.update(|form| {
            form.settings.run.data.control_tokens = match form.settings.run.data.control_tokens {
                ControlTokens::AsTokens => ControlTokens::AsText,
                ControlTokens::AsText => ControlTokens::AsTokens,
            };
        });
    };
    view! {
        <li class="finding">
            <div class="finding-head">
                <p class="finding-what"><Words text=what /></p>
                <button type="button" class="button button-small" on:click=switch>
                    {move || if is_text() { "Treat as control tokens" } else { "Treat as plain text" }}
                </button>
            </div>
            <p>{meaning}</p>
            <ul class="finding-rows">{rows.collect_view()}</ul>
        </li>
    }
}

fn item(store: Store, finding: Finding) -> impl IntoView {
    let (kind, words) = (finding.kind, words(finding.kind));
    let more = finding.num_rows.saturating_sub(MAX_NAMED);
    let is_of_rows = kind != FindingKind::UnbalancedLabels;
    let title = words.title(finding.num_rows);
    let about = finding
        .rows
        .first()
        .filter(|_| !is_of_rows)
        .map(|problem| sentence(&problem.what));
    let rows = finding.rows.into_iter().take(MAX_NAMED).enumerate();
    let rows = rows.map(|(index, problem)| {
        view! {
            <li>
                <ShowRow row=problem.row place=index filter=RowFilter::Finding(kind) />
                <span class="quiet"><Words text=format!("{}: {}", place(&problem), problem.what) /></span>
            </li>
        }
    });
    view! {
        <li class="finding">
            <div class="finding-head">
                <p class="finding-what">{title}</p>
                {finding.can_leave_out.then(|| view! { <LeaveOut kind /> })}
            </div>
            <p>{about}" "{words.meaning}" "{words.advice}</p>
            {is_of_rows.then(|| view! { <ul class="finding-rows">{rows.collect_view()}</ul> })}
            {(is_of_rows && more > 0).then(|| view! {
                <button type="button" class="link" on:click=move |_| store.filter_rows(RowFilter::Finding(kind))>
                    {format!("Show all {} in the table", counted(finding.num_rows as u64, "row"))}
                </button>
            })}
        </li>
    }
}

/// Leaves the rows of a finding out of the run, or puts them back.
#[component]
fn LeaveOut(kind: FindingKind) -> impl IntoView {
    let form = Store::get().form;
    let is_out = move || form.with(|form| form.settings.run.data.leave_out.contains(&kind));
    let what = words(kind).what;
    view! {
        <button type="button" class="button button-small" on:click=move |_| form.update(|form| form.toggle_left_out(kind))>
            {move || format!("{} {what}", if is_out() { "Put back" } else { "Leave out" })}
        </button>
    }
}
