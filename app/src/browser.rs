//! What the page asks of the browser, besides elements and events.

pub mod channel;
pub mod files;
pub mod gpu;
pub mod lock;
pub mod notification;
pub mod page;
mod property;
pub mod storage;
pub mod threads;
pub mod wake_lock;

pub use page::{download, zip_of};
pub use property::get;
