use leptos::ev;
use leptos::prelude::*;
use web_sys::{DataTransfer, DragEvent};

use crate::browser::files::files_of;
use crate::store::Store;

/// Takes files dropped anywhere on the window, and says so while they hover.
#[component]
pub fn DropOverlay() -> impl IntoView {
    let store = Store::get();
    // Enter and leave come for every element on the way; the pointer is inside while more entered than left.
    let depth = RwSignal::new(0_u32);
    let listeners = [
        window_event_listener(ev::dragenter, move |event| {
            if has_files(&event) {
                event.prevent_default();
                depth.update(|depth| *depth += 1);
            }
        }),
        window_event_listener(ev::dragleave, move |event| {
            if has_files(&event) {
                depth.update(|depth| *depth = depth.saturating_sub(1));
            }
        }),
        window_event_listener(ev::dragover, move |event| {
            if has_files(&event) {
                event.prevent_default();
            }
        }),
        window_event_listener(ev::drop, move |event| {
            depth.set(0);
            if has_files(&event) {
                event.prevent_default();
                store.load_dropped(files_of(
                    event.data_transfer().and_then(|data| data.files()),
                ));
            }
        }),
    ];
    on_cleanup(move || listeners.into_iter().for_each(WindowListenerHandle::remove));
    view! {
        <div class="drop-overlay" class:is-shown=move || { depth.get() > 0 } aria-hidden="true">
            <p class="drop-overlay-title">"Drop anywhere"</p>
            <p>"A dataset or a model: the page can tell which it is."</p>
        </div>
    }
}

fn has_files(event: &DragEvent) -> bool {
    let types = event.data_transfer().map(|data: DataTransfer| data.types());
    types.is_some_and(|types| {
        types
            .iter()
            .any(|kind| kind.as_string().as_deref() == Some("Files"))
    })
}
