//! The page's server as the tests need it: as other hosts would send the page, and with answers that go wrong.

mod fault;

use std::path::Path;

pub use fault::Fault;
pub use server::{HEADERS, ServeError};

use server::hyper::header::IF_NONE_MATCH;
use server::{Limits, Request, Response, Server, Site};

use fault::Faults;

/// The headers that a plain static host does not send.
const ISOLATION: [&str; 2] = ["Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy"];

/// Which of [`HEADERS`] a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All of them: the page is cross-origin isolated, and may load nothing from elsewhere.
    #[default]
    Isolated,
    /// As from a host that cannot send headers: the page is not isolated.
    Plain,
    /// Isolated, but with no policy for scripts: for pages that measure libraries which make workers from blobs.
    WithoutPolicy,
}

impl Isolation {
    fn lacks(self) -> &'static [&'static str] {
        match self {
            Self::Isolated => &[],
            Self::Plain => &ISOLATION,
            Self::WithoutPolicy => &["Content-Security-Policy"],
        }
    }
}

/// Serves one folder on 127.0.0.1 until it is dropped.
pub struct SiteServer {
    server: Server,
    faults: Faults,
}

impl SiteServer {
    /// Serves the built page in `root`; port 0 takes any free port.
    ///
    /// # Errors
    /// Where `root` holds no index.html, or the port is taken.
    pub fn start(root: &Path, port: u16) -> Result<Self, ServeError> {
        Self::start_with(root, port, Isolation::Isolated)
    }

    /// As [`Self::start`], with or without the headers that isolate a page.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(root: &Path, port: u16, isolation: Isolation) -> Result<Self, ServeError> {
        let site = Site::new(root)?;
        let faults = Faults::default();
        let layer = (site, faults.clone());
        let server = Server::start_with(port, Limits::default(), move |request| {
            let (site, faults) = layer.clone();
            async move {
                let mut response = answer(&site, &faults, request).await;
                for name in isolation.lacks() {
                    response.headers_mut().remove(*name);
                }
                response
            }
        })?;
        Ok(Self { server, faults })
    }

    /// The page's origin without a trailing slash, e.g. `http://127.0.0.1:8080`.
    pub fn origin(&self) -> String {
        self.server.origin()
    }

    /// From now on, something goes wrong with answers for paths with this end; `None` mends it, for answers under way too.
    pub fn set_fault(&self, path_end: &str, fault: Option<Fault>) {
        self.faults.set(path_end, fault);
    }
}

/// The site's answer, spoiled where a fault is set for its path.
async fn answer(site: &Site, faults: &Faults, mut request: Request) -> Response {
    let Some(trouble) = faults.of(request.uri().path()) else {
        return site.answer(&request).await;
    };
    trouble.before_answer().await;
    // What the browser has already is sent again, so that something can go wrong with it.
    request.headers_mut().remove(IF_NONE_MATCH);
    let response = site.answer(&request).await;
    trouble.spoil(&request, response)
}
