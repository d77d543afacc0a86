use leptos::prelude::*;

use crate::state::format::count;

/// Moves through a long list, page by page.
#[component]
pub fn Pager(
    /// What is counted, such as `rows`.
    noun: &'static str,
    /// First item shown, counted from 0.
    #[prop(into)]
    start: Signal<usize>,
    page_len: usize,
    #[prop(into)] total: Signal<usize>,
    #[prop(into)] on_start: Callback<usize>,
) -> impl IntoView {
    let is_first = move || start.get() == 0;
    let is_last = move || start.get() + page_len >= total.get();
    let range = move || {
        let last = (start.get() + page_len).min(total.get());
        format!(
            "{} to {} of {}",
            count(start.get() as u64 + 1),
            count(last as u64),
            count(total.get() as u64)
        )
    };
    let back = move |_| {
        if !is_first() {
            on_start.run(start.get().saturating_sub(page_len));
        }
    };
    let forth = move |_| {
        if !is_last() {
            on_start.run(start.get() + page_len);
        }
    };
    view! {
        <div class="pager" hidden=move || total.get() <= page_len>
            <button type="button" class="button button-small" aria-disabled=move || is_first().to_string() on:click=back>
                {format!("Previous {noun}")}
            </button>
            <span>{range}</span>
            <button type="button" class="button button-small" aria-disabled=move || is_last().to_string() on:click=forth>
                {format!("Next {noun}")}
            </button>
        </div>
    }
}
