//! The document around the application: title, theme, downloads, scrolling, the clipboard.

use js_sys::{Array, ArrayBuffer};
use leptos::prelude::{document, window};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    BeforeUnloadEvent, Blob, BlobPropertyBag, Element, HtmlAnchorElement, HtmlElement,
    IntersectionObserver, IntersectionObserverEntry, IntersectionObserverInit, ResizeObserver,
    ResizeObserverEntry, Url,
};

use super::property::{get, settle};

/// Writes the tab's title.
pub fn set_title(title: &str) {
    document().set_title(title);
}

/// Marks the document with the theme for the style sheet; `None` follows the system.
pub fn set_theme(theme: Option<&str>) {
    let Some(root) = document().document_element() else {
        return;
    };
    let done = match theme {
        Some(theme) => root.set_attribute("data-theme", theme),
        None => root.remove_attribute("data-theme"),
    };
    report(done);
}

/// A zip file with these bytes.
///
/// # Errors
/// The browser's, if it has no room.
pub fn zip_of(bytes: &ArrayBuffer) -> Result<Blob, JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type("application/zip");
    Blob::new_with_buffer_source_sequence_and_options(&Array::of1(bytes), &options)
}

/// Hands a file to the user.
pub fn download(file_name: &str, blob: &Blob) {
    report(try_download(file_name, blob));
}

fn try_download(file_name: &str, blob: &Blob) -> Result<(), JsValue> {
    let url = Url::create_object_url_with_blob(blob)?;
    let link: HtmlAnchorElement = document().create_element("a")?.unchecked_into();
    link.set_href(&url);
    link.set_download(file_name);
    link.click();
    // The browser reads the blob after the click returns.
    leptos::leptos_dom::helpers::set_timeout(
        move || report(Url::revoke_object_url(&url)),
        std::time::Duration::from_secs(60),
    );
    Ok(())
}

/// Scrolls an element into view and moves the keyboard focus to it.
pub fn focus(id: &str) {
    if let Some(element) = document().get_element_by_id(id) {
        element.scroll_into_view();
        if let Some(element) = element.dyn_ref::<HtmlElement>() {
            report(element.focus());
        }
    }
}

/// Opens a disclosure, and brings it and the keyboard to it.
pub fn open(id: &str) {
    let Some(element) = document().get_element_by_id(id) else {
        return;
    };
    report(element.set_attribute("open", ""));
    element.scroll_into_view();
    if let Ok(Some(summary)) = element.query_selector("summary")
        && let Some(summary) = summary.dyn_ref::<HtmlElement>()
    {
        report(summary.focus());
    }
}

/// Copies text to the clipboard; `false` if the browser does not offer or allow it.
pub async fn copy(text: String) -> bool {
    let Some(clipboard) = get(&window().navigator(), "clipboard") else {
        return false;
    };
    let written = settle(&clipboard, "writeText", &text.into()).await;
    written.is_some()
}

/// Asks before the tab is closed, while `is_busy` says so.
pub fn ask_before_closing(is_busy: impl Fn() -> bool + 'static) {
    let asks = Closure::<dyn FnMut(BeforeUnloadEvent)>::new(move |event: BeforeUnloadEvent| {
        if is_busy() {
            event.prevent_default();
        }
    });
    report(
        window().add_event_listener_with_callback("beforeunload", asks.as_ref().unchecked_ref()),
    );
    // It listens as long as the page lives.
    asks.forget();
}

/// Pixels of one `rem`.
pub fn rem_px() -> f64 {
    let root = document().document_element();
    let style = root.and_then(|root| window().get_computed_style(&root).ok().flatten());
    let size = style.and_then(|style| style.get_property_value("font-size").ok());
    let px = size.and_then(|size| size.trim_end_matches("px").parse().ok());
    px.unwrap_or(16.0)
}

/// Reports the element's width in CSS pixels, now and whenever it changes, as long as the page lives.
pub fn watch_width(element: &Element, on_width: impl Fn(f64) + 'static) {
    let on_resize = Closure::<dyn FnMut(Array)>::new(move |entries: Array| {
        if let Ok(entry) = entries.get(0).dyn_into::<ResizeObserverEntry>() {
            on_width(entry.content_rect().width());
        }
    });
    match ResizeObserver::new(on_resize.as_ref().unchecked_ref()) {
        Ok(observer) => observer.observe(element),
        Err(error) => report(Err(error)),
    }
    on_resize.forget();
}

/// Reports which of the elements is in the middle of the window, as long as the page lives.
pub fn watch_sections(ids: &[&'static str], on_middle: impl Fn(String) + 'static) {
    let on_change = Closure::<dyn FnMut(Array)>::new(move |entries: Array| {
        for entry in entries
            .iter()
            .filter_map(|entry| entry.dyn_into::<IntersectionObserverEntry>().ok())
        {
            if entry.is_intersecting() {
                on_middle(entry.target().id());
            }
        }
    });
    let options = IntersectionObserverInit::new();
    options.set_root_margin("-40% 0px -59% 0px");
    match IntersectionObserver::new_with_options(on_change.as_ref().unchecked_ref(), &options) {
        Ok(observer) => ids
            .iter()
            .filter_map(|id| document().get_element_by_id(id))
            .for_each(|element| observer.observe(&element)),
        Err(error) => report(Err(error)),
    }
    on_change.forget();
}

fn report(done: Result<(), JsValue>) {
    if let Err(error) = done {
        leptos::logging::warn!("the browser refused: {error:?}");
    }
}
