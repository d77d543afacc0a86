use leptos::prelude::*;

/// A message, in which text between backticks is shown as code.
#[component]
pub fn Words(text: String) -> impl IntoView {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        // A backtick without a second one stands for itself.
        return text.into_any();
    }
    let parts = parts.into_iter().map(str::to_owned).enumerate();
    let parts = parts.map(|(index, part)| {
        if index % 2 == 0 {
            part.into_any()
        } else {
            view! { <code>{part}</code> }.into_any()
        }
    });
    parts.collect_view().into_any()
}
