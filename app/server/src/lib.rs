//! Serves the built page to browsers on this machine.
//!
//! ```text
//! listen  the socket: how many connections, how long each may take, and its end
//! site    a request -> the answer: which requests are refused, the file that is asked for, the headers
//! range   which bytes of a file a request asks for
//! body    an answer's bytes, streamed
//! ```
//!
//! `trunk serve` is not used because it rebuilds what it serves, adds scripts for reloading to the page, and sends its
//! headers with files only, not with errors. A worker obeys the policy of its own response, so the headers must be on
//! every one: a `<meta>` policy does not reach it.

mod body;
mod listen;
mod range;
mod site;

pub use body::{Body, Sender};
pub use hyper;
pub use listen::{Limits, Server};
pub use site::{HEADERS, Site};

/// A request as it comes from the network.
pub type Request = hyper::Request<hyper::body::Incoming>;
pub type Response = hyper::Response<Body>;

/// Why a page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{0} is not a folder with an index.html: build the page first (make build)")]
    NoSite(std::path::PathBuf),
    #[error("port {port} of 127.0.0.1 cannot be listened on ({source}): is another server there? Choose another: PORT={} make run", port.wrapping_add(1))]
    Port { port: u16, source: std::io::Error },
    #[error("the server cannot start: {0}")]
    Runtime(std::io::Error),
}
