//! Inlay's page: mounts the application into the document of `index.html`.

mod browser;
mod charts;
mod client;
mod shared;
mod shell;
mod state;
mod step;
mod store;

use leptos::prelude::{document, mount_to};
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

fn main() {
    console_error_panic_hook::set_once();
    let root = document()
        .get_element_by_id("app")
        .and_then(|root| root.dyn_into::<HtmlElement>().ok());
    let Some(root) = root else {
        leptos::logging::error!("index.html has no element with the id `app`");
        return;
    };
    root.set_inner_html("");
    mount_to(root, shell::App).forget();
}
