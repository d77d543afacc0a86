use leptos::ev;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{ClipboardEvent, DataTransfer, DragEvent, Element};

use crate::browser::files::dropped;
use crate::store::Store;

/// Accepts files and folders dropped anywhere on the window, and says so while they hover; also accepts what is pasted
/// outside fields.
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
                if let Some(data) = event.data_transfer() {
                    store.take_dropped(dropped(&data));
                }
            }
        }),
        window_event_listener(ev::paste, move |event| {
            if !is_typed_into(&event)
                && let Some(data) = event.clipboard_data()
            {
                pasted(store, &event, &data);
            }
        }),
    ];
    on_cleanup(move || listeners.into_iter().for_each(WindowListenerHandle::remove));
    view! {
        <div class="drop-overlay" class:is-shown=move || { depth.get() > 0 } aria-hidden="true">
            <p class="drop-overlay-title">"Drop anywhere"</p>
            <p>"A dataset, a model, an adapter, or whole folders: the page can tell which it is."</p>
        </div>
    }
}

/// Pasted text becomes a dataset, and files are treated like dropped ones. A spreadsheet puts a picture next to its
/// text.
fn pasted(store: Store, event: &ClipboardEvent, data: &DataTransfer) {
    let text = data.get_data("text/plain").unwrap_or_default();
    let files = dropped(data);
    let has_text = !text.trim().is_empty();
    let is_text = files.is_empty() || (has_text && files.are_pictures());
    if !is_text {
        event.prevent_default();
        store.take_dropped(files);
    } else if has_text {
        event.prevent_default();
        store.take_text(text);
    }
}

/// Whether the text goes into a field.
fn is_typed_into(event: &ClipboardEvent) -> bool {
    let target = event
        .target()
        .and_then(|target| target.dyn_into::<Element>().ok());
    let fields = "input, textarea, select, [contenteditable]";
    target.is_some_and(|target| target.closest(fields).ok().flatten().is_some())
}

fn has_files(event: &DragEvent) -> bool {
    let types = event.data_transfer().map(|data: DataTransfer| data.types());
    types.is_some_and(|types| {
        types
            .iter()
            .any(|kind| kind.as_string().as_deref() == Some("Files"))
    })
}
