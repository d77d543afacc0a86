use std::time::Duration;

use leptos::prelude::*;

use crate::charts::line_chart::LineChart;
use crate::charts::metric::{Metric, describe, lines, middle};
use crate::charts::picture::Line;
use crate::charts::series::nearest;
use crate::state::State;
use crate::state::run::Run;
use crate::store::Store;

/// The chart is drawn again at most this often: nobody sees more, and the engine needs the processor.
const INTERVAL: Duration = Duration::from_millis(100);

/// The run as curves: loss, rate, gradient or speed over its steps.
#[component]
pub fn RunChart() -> impl IntoView {
    let store = Store::get();
    let metric = RwSignal::new(Metric::Loss);
    let is_smooth = RwSignal::new(true);
    let is_log = RwSignal::new(false);
    let cursor = RwSignal::new(None::<f64>);
    let frame = changes_by_frame(store);
    let drawn = Signal::derive(move || -> Vec<Line> {
        frame.track();
        let (metric, is_smooth) = (metric.get(), is_smooth.get());
        let run = |state: &State| state.run.as_ref().map(|run| lines(run, metric, is_smooth));
        store.state.with_untracked(run).unwrap_or_default()
    });
    let steps = Memo::new(move |_| -> Vec<f64> {
        frame.track();
        let places = |run: &Run| run.steps.spans().iter().map(middle).collect();
        store
            .state
            .with_untracked(|state| state.run.as_ref().map(places).unwrap_or_default())
    });
    let readout = Memo::new(move |_| {
        frame.track();
        let selected = cursor.get();
        let index = steps.with(|steps| match selected {
            Some(place) => nearest(steps, place),
            None => steps.len().checked_sub(1),
        });
        store
            .state
            .with_untracked(|state| describe(state.run.as_ref()?, index?))
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

/// Notified of changes of the state within a frame, then not again for [`INTERVAL`], and not at all while the tab is
/// hidden.
fn changes_by_frame(store: Store) -> Trigger {
    let drawing = Drawing {
        changed: Trigger::new(),
        is_due: StoredValue::new(false),
        is_resting: StoredValue::new(false),
    };
    Effect::new(move |_| {
        store.state.track();
        if !drawing.is_due.get_value() {
            drawing.is_due.set_value(true);
            if !drawing.is_resting.get_value() {
                drawing.draw();
            }
        }
    });
    drawing.changed
}

/// When the chart is drawn again.
#[derive(Clone, Copy)]
struct Drawing {
    changed: Trigger,
    is_due: StoredValue<bool>,
    is_resting: StoredValue<bool>,
}

impl Drawing {
    fn draw(self) {
        request_animation_frame(move || {
            self.is_due.set_value(false);
            self.is_resting.set_value(true);
            self.changed.notify();
            set_timeout(move || self.rested(), INTERVAL);
        });
    }

    fn rested(self) {
        self.is_resting.set_value(false);
        if self.is_due.get_value() {
            self.draw();
        }
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
