use leptos::prelude::*;
use protocol::{DeviceKind, DeviceReport, Precision, SelfTestCase};

use crate::browser::gpu::this_browser;
use crate::state::State;
use crate::state::device::{Build, DeviceChoice, DeviceState, advice};
use crate::store::Store;

/// Shows which processor does the work, why, and the results of its self-test.
#[component]
pub fn DevicePanel() -> impl IntoView {
    let store = Store::get();
    let device = store.select(|state| state.device.clone());
    let is_busy = store.select(State::is_busy);
    let chosen =
        move |event| store.start_device(DeviceChoice::from_value(&event_target_value(&event)));
    let options = DeviceChoice::ALL.map(|choice| {
        let is_chosen = move || device.with(|device| device.choice == choice);
        view! { <option value=choice.value() prop:selected=is_chosen>{choice.label()}</option> }
    });
    view! {
        <div class="device-panel">
            <div class="field">
                <label for="device">"Device"</label>
                <select id="device" aria-describedby="device-note" on:change=chosen
                    prop:value=move || device.with(|device| device.choice.value())
                    disabled=move || is_busy.get()>
                    {options.collect_view()}
                </select>
            </div>
            <div id="device-note" class="device-note">
                <p>{move || device.with(what_runs)}</p>
                {move || device.with(why_single).map(|why| view! { <p class="quiet">{why}</p> })}
                {move || device.with(|device| device.problem.clone()).map(|problem| view! {
                    <p class="quiet">{advice(&problem, this_browser())}</p>
                })}
            </div>
            {move || device.with(|device| device.report.clone()).and_then(self_test)}
        </div>
    }
}

fn what_runs(device: &DeviceState) -> String {
    if device.is_outdated {
        return "The page and its engine are different versions: reload the page.".to_owned();
    }
    let why = device
        .problem
        .as_ref()
        .map(|problem| format!(": {problem}"))
        .unwrap_or_default();
    match (&device.report, &device.starting) {
        (Some(report), _) if report.kind == DeviceKind::WebGpu => {
            let bits = match report.precision {
                Precision::Single => 32,
                Precision::Half => 16,
            };
            format!(
                "Running on the GPU, {}, in {bits}-bit precision.",
                report.name
            )
        }
        // The name includes the threads.
        (Some(report), _) => format!("Running on the {}{why}.", report.name),
        (None, Some(Build::Gpu)) => "Starting the engine on the GPU and testing it.".to_owned(),
        (None, Some(Build::Cpu(_))) => format!("Starting the engine on the CPU{why}."),
        (None, None) => "Looking for a GPU.".to_owned(),
    }
}

/// Shown only for an engine that has started.
fn why_single(device: &DeviceState) -> Option<String> {
    device.report.as_ref()?;
    Some(device.starting.as_ref()?.why_single()?.to_string())
}

fn self_test(report: DeviceReport) -> Option<impl IntoView> {
    if report.self_test.is_empty() {
        return None;
    }
    let rows = report
        .self_test
        .into_iter()
        .map(self_test_row)
        .collect_view();
    Some(view! {
        <details class="disclosure">
            <summary>"Self-test"</summary>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Self-test results">
                <table>
                    <thead>
                        <tr>
                            <th scope="col">"Case"</th>
                            <th scope="col" class="num">"Largest error"</th>
                            <th scope="col" class="num">"Allowed"</th>
                            <th scope="col" class="num">"Time"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </details>
    })
}

fn self_test_row(case: SelfTestCase) -> impl IntoView {
    view! {
        <tr>
            <td>{case.name}</td>
            <td class="num">{format!("{:.1e}", case.max_error)}</td>
            <td class="num">{format!("{:.0e}", case.tolerance)}</td>
            <td class="num">{format!("{:.0} ms", case.elapsed_millis)}</td>
        </tr>
    }
}
