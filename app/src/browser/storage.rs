//! Small things remembered between visits, where the browser allows it.

use leptos::prelude::window;
use web_sys::Storage;

fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

/// The value remembered under the key.
pub fn load(key: &str) -> Option<String> {
    storage()?.get_item(key).ok().flatten()
}

/// Remembers the value, or forgets it if it is `None`. If the browser refuses (private browsing), nothing is
/// remembered.
pub fn save(key: &str, value: Option<&str>) {
    let Some(storage) = storage() else {
        return;
    };
    let done = match value {
        Some(value) => storage.set_item(key, value),
        None => storage.remove_item(key),
    };
    if let Err(error) = done {
        leptos::logging::warn!("nothing is remembered: {error:?}");
    }
}
