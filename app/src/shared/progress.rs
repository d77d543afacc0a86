use leptos::prelude::*;

/// A progress bar; it moves back and forth while the share is unknown.
#[component]
pub fn Progress(label: &'static str, #[prop(into)] ratio: Signal<Option<f64>>) -> impl IntoView {
    view! {
        <progress class="progress" max="1" aria-label=label
            prop:value=move || ratio.get().unwrap_or_default()
            value=move || ratio.get().map(|ratio| ratio.to_string())
        ></progress>
    }
}
