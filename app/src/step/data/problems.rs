use leptos::prelude::*;
use protocol::RowProblem;

use crate::shared::words::Words;
use crate::state::State;
use crate::state::format::{count, counted, sentence};
use crate::store::Store;

/// The `id` of the list of rows that cannot be used.
pub const PROBLEMS: &str = "rows-that-cannot-be-used";

/// Files that could not be read, while others could.
#[component]
pub fn RefusedFiles() -> impl IntoView {
    let refused = Store::get().select(|state| {
        let dataset = state.shown_dataset();
        dataset
            .map(|data| data.refused_files.clone())
            .unwrap_or_default()
    });
    let items = move || {
        let items = refused.get().into_iter().map(|file| {
            view! {
                <li>
                    <p class="notice-what">{sentence(&file.what)}</p>
                    <p class="notice-remedy"><Words text=file.remedy /></p>
                </li>
            }
        });
        items.collect_view()
    };
    view! {
        <div class="notice alarm" hidden=move || refused.with(Vec::is_empty)>
            <div class="notice-body">
                <ul class="refused-files" aria-label="Files that cannot be read">{items}</ul>
            </div>
        </div>
    }
}

/// Rows that cannot be used: where, why and what to do.
#[component]
pub fn Problems() -> impl IntoView {
    let problems = Store::get().select(problems);
    move || {
        let (known, unusable, untrained) = problems.get();
        let num_problems = unusable + untrained;
        let title = match (unusable as u64, untrained as u64) {
            (0, 0) => return None,
            (unusable, 0) => format!("{} cannot be used", counted(unusable, "row")),
            (0, untrained) => format!("{} with nothing to train on", counted(untrained, "row")),
            (unusable, untrained) => format!(
                "{} cannot be used; {} with nothing to train on",
                counted(unusable, "row"),
                count(untrained)
            ),
        };
        let shown = known.len();
        Some(view! {
            <details class="disclosure problems" id=PROBLEMS open=shown <= 5>
                <summary>{title}</summary>
                <ul tabindex="0" aria-label="Rows that cannot be used">{known.into_iter().map(item).collect_view()}</ul>
                {(shown < num_problems).then(|| view! {
                    <p class="quiet">{format!("The first {shown} are shown.")}</p>
                })}
            </details>
        })
    }
}

/// The known problems, the number of rows that cannot be used, and of those with no tokens to train on.
fn problems(state: &State) -> (Vec<RowProblem>, usize, usize) {
    let dataset = state.shown_dataset();
    let mut known = dataset
        .map(|data| data.problems.clone())
        .unwrap_or_default();
    let mut unusable = dataset.map_or(0, |data| data.num_problems);
    let mut untrained = 0;
    if let Some(prepared) = &state.prepared {
        known.extend(prepared.problems.iter().cloned());
        unusable += prepared.num_not_encoded;
        untrained = prepared.num_without_target;
    }
    (known, unusable, untrained)
}

/// Where a row stands: its file with line and column, or its number. That a line begins in its first column goes without
/// saying.
pub fn place(problem: &RowProblem) -> String {
    let mut place = vec![problem.file.clone()];
    let line = problem.line.map(|line| ("line", line));
    let column = problem.column.filter(|&column| column > 1);
    let column = column.map(|column| ("column", column));
    let numbers = line.into_iter().chain(column);
    place.extend(numbers.map(|(what, number)| format!("{what} {}", count(number as u64))));
    if problem.line.is_none() {
        place.push(format!("row {}", count(problem.row as u64 + 1)));
    }
    place.retain(|part| !part.is_empty());
    place.join(", ")
}

fn item(problem: RowProblem) -> impl IntoView {
    view! {
        <li>
            <span class="problem-place mono">{place(&problem)}</span>
            <span class="problem-what"><Words text=sentence(&problem.what) /></span>
            <span class="problem-remedy"><Words text=problem.remedy.to_string() /></span>
        </li>
    }
}
