use leptos::prelude::*;

/// A number under its name. The output contains only the number.
#[component]
pub fn Readout(
    label: &'static str,
    #[prop(into)] value: Signal<String>,
    /// The unit of the number, or where it comes from.
    #[prop(optional, into)]
    unit: Signal<String>,
    /// The color of the line that shows the same in the chart.
    #[prop(optional)]
    class: &'static str,
) -> impl IntoView {
    view! {
        <div class=format!("readout {class}")>
            <span class="readout-label" aria-hidden="true">{label}</span>
            <output class="readout-value" aria-label=label aria-live="off">{move || value.get()}</output>
            <span class="readout-unit">{move || unit.get()}</span>
        </div>
    }
}
