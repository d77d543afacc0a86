//! Draws a [`Picture`] as SVG, and lets the pointer and the keyboard move along it.

use leptos::ev::{KeyboardEvent, PointerEvent};
use leptos::html::Div;
use leptos::prelude::*;

use super::picture::{Line, Picture, Size, Stroke, picture};
use super::series::nearest;
use crate::browser::page::watch_width;

const HEIGHT: f64 = 280.0;

/// A chart of lines over steps. `cursor` is where the selected step is drawn, and `readout` describes it.
#[component]
pub fn LineChart(
    #[prop(into)] lines: Signal<Vec<Line>>,
    #[prop(into)] is_log: Signal<bool>,
    /// Where the steps that the cursor moves over are drawn, ascending.
    #[prop(into)]
    steps: Signal<Vec<f64>>,
    cursor: RwSignal<Option<f64>>,
    #[prop(into)] readout: Signal<String>,
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
        lines.with(|lines| picture(lines, size, is_log.get()))
    });
    let num_steps = move || steps.with(Vec::len);
    let point_at =
        move |event: PointerEvent| {
            let step = drawn.with(|drawn| {
                drawn
                    .as_ref()
                    .map(|drawn| drawn.x.value_from_pixel(f64::from(event.offset_x())))
            });
            cursor.set(step.and_then(|step| {
                steps.with(|steps| nearest(steps, step).map(|index| steps[index]))
            }));
        };
    let selected = move || {
        let last = num_steps().saturating_sub(1);
        let step = cursor.get();
        step.and_then(|step| steps.with(|steps| nearest(steps, step)))
            .unwrap_or(last)
    };
    let walk = move |event: KeyboardEvent| {
        let last = num_steps().saturating_sub(1);
        let now = selected();
        let next = match event.key().as_str() {
            "ArrowLeft" | "ArrowDown" => now.saturating_sub(1),
            "ArrowRight" | "ArrowUp" => (now + 1).min(last),
            "PageDown" => now.saturating_sub(10),
            "PageUp" => (now + 10).min(last),
            "Home" => 0,
            "End" => last,
            _ => return,
        };
        event.prevent_default();
        cursor.set(steps.with(|steps| steps.get(next).copied()));
    };
    let cursor_x = move || {
        let step = cursor.get()?;
        drawn.with(|drawn| drawn.as_ref().map(|drawn| drawn.x.pixel_from_value(step)))
    };
    view! {
        <div class="chart" node_ref=frame>
            <div class="chart-surface" role="slider" aria-label="Selected step" aria-valuemin="0"
                tabindex=move || if num_steps() == 0 { "-1" } else { "0" }
                aria-disabled=move || (num_steps() == 0).to_string()
                aria-valuemax=move || num_steps().saturating_sub(1).to_string()
                aria-valuenow=move || selected().to_string()
                aria-valuetext=move || readout.get()
                on:pointermove=point_at on:pointerdown=point_at
                on:pointerleave=move |_| cursor.set(None) on:keydown=walk>
                <svg width=move || width.get() height=HEIGHT aria-hidden="true" focusable="false">
                    {move || drawn.with(|drawn| drawn.as_ref().map(axes))}
                    {move || drawn.with(|drawn| drawn.as_ref().map(curves))}
                    {move || cursor_x().map(|x| view! {
                        <line class="chart-cursor" x1=x x2=x y1="12" y2=HEIGHT - 28.0 />
                    })}
                </svg>
            </div>
            {move || drawn.with(Option::is_none).then(|| view! {
                <p class="chart-empty">"The loss curves appear here once training starts."</p>
            })}
        </div>
    }
}

fn axes(picture: &Picture) -> impl IntoView + use<> {
    let (left, right) = picture.x.range;
    let bottom = picture.y.range.0;
    let rules = picture.y_ticks.iter().cloned().map(|(y, text)| {
        view! {
            <line class="chart-rule" x1=left x2=right y1=y y2=y />
            <text class="chart-tick" x=left - 8.0 y=y + 4.0 text-anchor="end">{text}</text>
        }
    });
    let marks = picture.x_ticks.iter().cloned().map(|(x, text)| {
        view! {
            <text class="chart-tick" x=x y=bottom + 20.0 text-anchor="middle">{text}</text>
        }
    });
    (rules.collect_view(), marks.collect_view())
}

fn curves(picture: &Picture) -> impl IntoView + use<> {
    let paths = picture.paths.iter().cloned().map(|(class, stroke, path)| {
        let weight = match stroke {
            Stroke::Faint => "is-faint",
            Stroke::Solid | Stroke::Dotted => "",
            Stroke::Level => "is-level",
        };
        view! { <path class=format!("chart-line {class} {weight}") d=path /> }
    });
    let dots = picture.dots.iter().cloned().map(|(class, (x, y))| {
        view! {
            <circle class=format!("chart-dot {class}") cx=x cy=y r="3" />
        }
    });
    (paths.collect_view(), dots.collect_view())
}
