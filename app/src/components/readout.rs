use leptos::prelude::*;

/// A number under its name. The output holds the number alone.
#[component]
pub fn Readout(
    label: &'static str,
    #[prop(into)] value: Signal<String>,
    /// What the number is in, or where it comes from.
    #[prop(optional, into)]
    unit: Signal<String>,
    /// Colour of the line that shows the same in the chart.
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
