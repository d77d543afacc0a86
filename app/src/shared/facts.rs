use leptos::prelude::*;

/// Names and values, in columns.
#[component]
pub fn Facts(facts: Vec<(&'static str, String)>) -> impl IntoView {
    let facts = facts
        .into_iter()
        .map(|(name, value)| view! { <div><dt>{name}</dt><dd>{value}</dd></div> });
    view! { <dl class="facts">{facts.collect_view()}</dl> }
}
