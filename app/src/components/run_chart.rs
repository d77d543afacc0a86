use leptos::prelude::*;

use crate::charts::line_chart::LineChart;
use crate::charts::metric::{Metric, describe, lines};
use crate::charts::picture::Line;
use crate::charts::series::Point;
use crate::store::Store;

/// The run as curves: loss, rate, gradient or speed over its steps.
#[component]
pub fn RunChart() -> impl IntoView {
    let store = Store::get();
    let metric = RwSignal::new(Metric::Loss);
    let is_smooth = RwSignal::new(true);
    let is_log = RwSignal::new(false);
    let cursor = RwSignal::new(None::<usize>);
    let drawn = Signal::derive(move || -> Vec<Line> {
        let (metric, is_smooth) = (metric.get(), is_smooth.get());
        store.state.with(|state| {
            state
                .run
                .as_ref()
                .map(|run| lines(run, metric, is_smooth))
                .unwrap_or_default()
        })
    });
    let steps = Signal::derive(move || -> Vec<Point> {
        store.state.with(|state| {
            let steps = state
                .run
                .as_ref()
                .map(|run| run.steps.as_slice())
                .unwrap_or_default();
            steps
                .iter()
                .map(|step| (step.step as f64, step.loss))
                .collect()
        })
    });
    let readout = Signal::derive(move || {
        store.state.with(|state| {
            let run = state.run.as_ref()?;
            describe(
                run,
                cursor.get().unwrap_or(run.steps.len().saturating_sub(1)),
            )
        })
    });
    let is_of_loss = move || metric.get() == Metric::Loss;
    view! {
        <div class="chart-panel">
            <div class="chart-bar">
                <div class="segments" role="radiogroup" aria-label="Curve">
                    {Metric::ALL.map(|shown| segment(metric, shown)).collect_view()}
                </div>
                <div class="chart-options">
                    <Toggle label="Smooth" on=is_smooth />
                    <Toggle label="Log axis" on=is_log />
                </div>
            </div>
            <LineChart lines=drawn is_log steps cursor
                readout=Signal::derive(move || readout.get().unwrap_or_else(|| "No step yet".to_owned())) />
            <div class="chart-foot">
                <p class="chart-legend" hidden=move || !is_of_loss()>
                    <span class="legend-item of-training">"training"</span>
                    <span class="legend-item of-validation">"validation"</span>
                    <span class="legend-item of-base">"base"</span>
                </p>
                <p class="chart-readout">{move || readout.get()}</p>
            </div>
        </div>
    }
}

fn segment(metric: RwSignal<Metric>, shown: Metric) -> impl IntoView {
    view! {
        <label class="segment">
            <input type="radio" name="metric" class="sr-only" prop:checked=move || metric.get() == shown
                on:change=move |_| metric.set(shown) />
            <span>{shown.label()}</span>
        </label>
    }
}

#[component]
fn Toggle(label: &'static str, on: RwSignal<bool>) -> impl IntoView {
    view! {
        <label class="toggle">
            <input type="checkbox" prop:checked=move || on.get() on:change=move |event| on.set(event_target_checked(&event)) />
            <span>{label}</span>
        </label>
    }
}
