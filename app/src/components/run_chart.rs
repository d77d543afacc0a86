use leptos::prelude::*;

use crate::charts::line_chart::LineChart;
use crate::charts::metric::{Metric, describe, lines};
use crate::charts::picture::Line;
use crate::charts::series::Point;
use crate::state::State;
use crate::state::run::Run;
use crate::store::Store;

/// The run as curves: loss, rate, gradient or speed over its steps.
#[component]
pub fn RunChart() -> impl IntoView {
    let store = Store::get();
    let metric = RwSignal::new(Metric::Loss);
    let is_smooth = RwSignal::new(true);
    let is_log = RwSignal::new(false);
    let cursor = RwSignal::new(None::<usize>);
    let frame = changes_by_frame(store);
    let drawn = Signal::derive(move || -> Vec<Line> {
        frame.track();
        let (metric, is_smooth) = (metric.get(), is_smooth.get());
        let run = |state: &State| state.run.as_ref().map(|run| lines(run, metric, is_smooth));
        store.state.with_untracked(run).unwrap_or_default()
    });
    let steps = Signal::derive(move || -> Vec<Point> {
        frame.track();
        store.state.with_untracked(|state| {
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
        frame.track();
        let index = |run: &Run| cursor.get().unwrap_or(run.steps.len().saturating_sub(1));
        store
            .state
            .with_untracked(|state| state.run.as_ref().and_then(|run| describe(run, index(run))))
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
                readout=Signal::derive(move || readout.get().unwrap_or_else(|| "No steps yet".to_owned())) />
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

/// Notified of changes of the state at most once per frame, and not at all while the tab is hidden.
fn changes_by_frame(store: Store) -> Trigger {
    let changed = Trigger::new();
    let is_due = StoredValue::new(false);
    Effect::new(move |_| {
        store.state.track();
        if !is_due.get_value() {
            is_due.set_value(true);
            request_animation_frame(move || {
                is_due.set_value(false);
                changed.notify();
            });
        }
    });
    changed
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
