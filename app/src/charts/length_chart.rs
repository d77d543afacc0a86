//! Draws [`Bars`] as SVG.

use leptos::html::Div;
use leptos::prelude::*;
use protocol::Histogram;

use super::histogram::{Bars, bars};
use super::picture::Size;
use crate::browser::page::watch_width;

const HEIGHT: f64 = 200.0;

/// A chart of rows by length, with the cut.
#[component]
pub fn LengthChart(
    #[prop(into)] histogram: Signal<Histogram>,
    /// The number of tokens that rows are cut to.
    #[prop(into)]
    cut: Signal<usize>,
    /// What the picture shows, in words.
    #[prop(into)]
    label: Signal<String>,
) -> impl IntoView {
    let frame = NodeRef::<Div>::new();
    let width = RwSignal::new(640.0);
    Effect::new(move |_| {
        if let Some(frame) = frame.get() {
            watch_width(&frame, move |measured| width.set(measured.max(120.0)));
        }
    });
    let drawn = Memo::new(move |_| {
        let size = Size {
            width: width.get(),
            height: HEIGHT,
        };
        histogram.with(|histogram| bars(histogram, cut.get(), size))
    });
    view! {
        <div class="chart" node_ref=frame>
            <svg width=move || width.get() height=HEIGHT role="img" aria-label=move || label.get()>
                {move || drawn.with(|drawn| drawn.as_ref().map(|drawn| picture(drawn, cut.get())))}
            </svg>
        </div>
    }
}

fn picture(drawn: &Bars, cut: usize) -> impl IntoView + use<> {
    let (left, right) = drawn.x.range;
    let (bottom, top) = drawn.y.range;
    let rules = drawn.y_ticks.iter().cloned().map(|(y, text)| {
        view! {
            <line class="chart-rule" x1=left x2=right y1=y y2=y />
            <text class="chart-tick" x=left - 8.0 y=y + 4.0 text-anchor="end">{text}</text>
        }
    });
    let marks = drawn.x_ticks.iter().cloned().map(|(x, text)| {
        view! { <text class="chart-tick" x=x y=bottom + 20.0 text-anchor="middle">{text}</text> }
    });
    let bars = drawn.bars.iter().map(|bar| {
        let class = if bar.is_cut {
            "chart-bar-of is-cut"
        } else {
            "chart-bar-of"
        };
        view! { <rect class=class x=bar.x y=bar.y width=bar.width height=bar.height /> }
    });
    let cut = drawn.cut_x.map(|x| {
        // The label goes where there is room for it.
        let (anchor, at) = if x > (left + right) / 2.0 { ("end", x - 6.0) } else { ("start", x + 6.0) };
        view! {
            <line class="chart-cut" x1=x x2=x y1=top - 14.0 y2=bottom />
            <text class="chart-tick chart-cut-text" x=at y=top - 6.0 text-anchor=anchor>{format!("cut at {cut}")}</text>
        }
    });
    (
        rules.collect_view(),
        marks.collect_view(),
        bars.collect_view(),
        cut,
    )
}
