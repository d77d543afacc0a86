use leptos::prelude::*;

use crate::shared::icon::{Glyph, Icon};
use crate::store::Store;

/// Says that the engine is silent or down, and starts it again when that is wanted.
#[component]
pub fn EngineAlert() -> impl IntoView {
    let store = Store::get();
    let silent_secs = store.select(|state| state.device.silent_secs);
    let is_down = store.select(|state| state.device.is_down);
    let is_shown = move || is_down.get() || silent_secs.get().is_some();
    let text = move || match (is_down.get(), silent_secs.get()) {
        (true, _) => "The engine has stopped and is not started again by itself.".to_owned(),
        (false, Some(secs)) => format!(
            "The engine has not answered for {secs} seconds. A very large step can take that long; if it does not end, restart it: your model, data and adapters are loaded again, but a run is lost."
        ),
        (false, None) => String::new(),
    };
    view! {
        // Always there, so that what comes into it is announced.
        <div class="engine-alert-place" role="status" aria-label="Engine">
            <Show when=is_shown>
                <div class="engine-alert">
                    <Icon glyph=Glyph::Alert />
                    <p>{text}</p>
                    <button type="button" class="button button-small" on:click=move |_| store.restart_engine()>
                        "Restart the engine"
                    </button>
                </div>
            </Show>
        </div>
    }
}
