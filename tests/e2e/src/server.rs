//! A static file server for the built page: security headers on every response, byte ranges, revalidation by ETag.
//!
//! `trunk serve` is not used because it rebuilds what it serves, adds scripts for reloading to the page, and sends its
//! headers with files only, not with errors. A worker obeys the policy of its own response, so the headers must be on
//! every one: a `<meta>` policy does not reach it.

mod fault;
mod http;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

pub use fault::Fault;

use fault::Faults;
use http::{Body, Request, Response};

/// Sent with every response, whatever its status.
pub const HEADERS: [(&str, &str); 7] = [
    (
        "Content-Security-Policy",
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; \
         img-src 'self' data: blob:; style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    // The next two make the page cross-origin isolated, which shared memory and precise timers need.
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
];

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
    fn sends(self, name: &str) -> bool {
        match self {
            Self::Isolated => true,
            Self::Plain => !ISOLATION.contains(&name),
            Self::WithoutPolicy => name != "Content-Security-Policy",
        }
    }
}

/// A connection on which nothing comes for so long is closed.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{0} is not a folder with an index.html: build the page first (make build)")]
    NoSite(PathBuf),
    #[error("port {port} of 127.0.0.1 cannot be listened on ({source}): is another server there? Choose another: PORT={} make run", port.wrapping_add(1))]
    Port { port: u16, source: std::io::Error },
}

/// Serves one folder on 127.0.0.1 until it is dropped.
pub struct SiteServer {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    faults: Faults,
    acceptor: Option<JoinHandle<()>>,
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
        let root: Arc<Path> = match root.canonicalize() {
            Ok(root) if root.join("index.html").is_file() => root.into(),
            _ => return Err(ServeError::NoSite(root.to_owned())),
        };
        let port_error = |source| ServeError::Port { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(port_error)?;
        let address = listener.local_addr().map_err(port_error)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let faults = Faults::default();
        let acceptor = std::thread::spawn({
            let (is_over, faults) = (Arc::clone(&is_over), faults.clone());
            move || accept(&listener, &root, isolation, &faults, &is_over)
        });
        Ok(Self {
            address,
            is_over,
            faults,
            acceptor: Some(acceptor),
        })
    }

    /// The page's origin without a trailing slash, e.g. `http://127.0.0.1:8080`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, something goes wrong with answers for paths with this end; `None` mends it, for answers under way too.
    pub fn set_fault(&self, path_end: &str, fault: Option<Fault>) {
        self.faults.set(path_end, fault);
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Drop for SiteServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.faults.clear();
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

/// A thread for each connection: a browser opens six, and each must be answered while the others are kept open.
fn accept(
    listener: &TcpListener,
    root: &Arc<Path>,
    isolation: Isolation,
    faults: &Faults,
    is_over: &AtomicBool,
) {
    for connection in listener.incoming() {
        if is_over.load(Ordering::Acquire) {
            break;
        }
        let Ok(connection) = connection else { continue };
        let (root, faults) = (Arc::clone(root), faults.clone());
        std::thread::spawn(move || {
            // A visitor who hangs up, or sends something that is not a request, is not our failure.
            let _ = connection.set_read_timeout(Some(SILENCE));
            let _ = http::serve(connection, |request| {
                let Some(fault) = faults.of(request.path()) else {
                    return answer(&root, isolation, request);
                };
                // What the browser has already is sent again, so that something can go wrong with it.
                let mut response = answer(&root, isolation, &request.without("If-None-Match"));
                faults.spoil(fault, request, &mut response);
                response
            });
        });
    }
}

/// The answer to a request, with the headers that all answers carry.
fn answer(root: &Path, isolation: Isolation, request: &Request) -> Response {
    let mut response = match request.method.as_str() {
        "GET" | "HEAD" => file_response(root, request).unwrap_or_else(|| {
            let headers = vec![("Content-Type", "text/plain".to_owned())];
            Response {
                status: "404 Not Found",
                headers,
                body: Body::Text("Not found\n"),
                trouble: None,
            }
        }),
        _ => Response {
            status: "405 Method Not Allowed",
            headers: vec![("Allow", "GET, HEAD".to_owned())],
            body: Body::None,
            trouble: None,
        },
    };
    let headers = HEADERS
        .into_iter()
        .filter(|(name, _)| isolation.sends(name));
    response
        .headers
        .extend(headers.map(|(name, value)| (name, value.to_owned())));
    response
}

/// The file that is asked for, whole or in part; `None` where there is none.
fn file_response(root: &Path, request: &Request) -> Option<Response> {
    let path = file_of(root, &request.target)?;
    let mut file = File::open(&path).ok()?;
    let metadata = file.metadata().ok()?;
    let len_bytes = metadata.len();
    let changed = metadata
        .modified()
        .ok()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let tag = format!("\"{len_bytes:x}-{:x}\"", changed.as_nanos());
    let is_known = request.header("If-None-Match") == Some(&tag);
    let mut headers = vec![
        ("Content-Type", mime_of(&path).to_owned()),
        ("Accept-Ranges", "bytes".to_owned()),
        ("ETag", tag),
    ];
    if is_known {
        return Some(Response {
            status: "304 Not Modified",
            headers,
            body: Body::None,
            trouble: None,
        });
    }
    let range = request
        .header("Range")
        .map_or(ByteRange::Whole, |text| ByteRange::parse(text, len_bytes));
    let (status, body) = match range {
        ByteRange::Whole => ("200 OK", Body::File(file, len_bytes)),
        ByteRange::Part { start, end } => {
            file.seek(SeekFrom::Start(start)).ok()?;
            headers.push((
                "Content-Range",
                format!("bytes {start}-{}/{len_bytes}", end - 1),
            ));
            ("206 Partial Content", Body::File(file, end - start))
        }
        ByteRange::Unsatisfiable => {
            headers.push(("Content-Range", format!("bytes */{len_bytes}")));
            ("416 Range Not Satisfiable", Body::None)
        }
    };
    Some(Response {
        status,
        headers,
        body,
        trouble: None,
    })
}

/// The file that a request names, if it lies inside `root`.
fn file_of(root: &Path, url: &str) -> Option<PathBuf> {
    let path = percent_decoded(http::path_of(url))?;
    let relative = Path::new(path.trim_start_matches('/'));
    if !relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)))
    {
        return None;
    }
    let path = root.join(relative);
    let path = if path.is_dir() {
        path.join("index.html")
    } else {
        path
    };
    path.is_file().then_some(path)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn mime_of(path: &Path) -> &'static str {
    match path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
    {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "jsonl" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What a `Range` header asks for of a file; `end` is exclusive.
#[derive(Debug, PartialEq, Eq)]
enum ByteRange {
    Whole,
    Part { start: u64, end: u64 },
    Unsatisfiable,
}

impl ByteRange {
    /// Several ranges, other units and malformed headers get the whole file, as RFC 9110 allows.
    fn parse(text: &str, len_bytes: u64) -> Self {
        let Some((start, end)) = text
            .strip_prefix("bytes=")
            .and_then(|range| range.split_once('-'))
        else {
            return Self::Whole;
        };
        if start.is_empty() {
            return match end.parse::<u64>() {
                Ok(tail) if tail == 0 || len_bytes == 0 => Self::Unsatisfiable,
                Ok(tail) => Self::Part {
                    start: len_bytes.saturating_sub(tail),
                    end: len_bytes,
                },
                Err(_) => Self::Whole,
            };
        }
        let last = if end.is_empty() {
            Ok(u64::MAX)
        } else {
            end.parse::<u64>()
        };
        match (start.parse::<u64>(), last) {
            (Ok(start), Ok(last)) if start > last => Self::Whole,
            (Ok(start), Ok(_)) if start >= len_bytes => Self::Unsatisfiable,
            (Ok(start), Ok(last)) => Self::Part {
                start,
                end: last.saturating_add(1).min(len_bytes),
            },
            _ => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_rfc() {
        let part = |start, end| ByteRange::Part { start, end };
        for (text, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=5-", part(5, 10)),
            ("bytes=2-400", part(2, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-300", part(0, 10)),
            ("bytes=10-", ByteRange::Unsatisfiable),
            ("bytes=10-12", ByteRange::Unsatisfiable),
            ("bytes=-0", ByteRange::Unsatisfiable),
            ("bytes=3-2", ByteRange::Whole),
            ("bytes=0-1,4-5", ByteRange::Whole),
            ("bytes=99999999999999999999-", ByteRange::Whole),
            ("rows=0-1", ByteRange::Whole),
            ("bytes=a-b", ByteRange::Whole),
        ] {
            assert_eq!(ByteRange::parse(text, 10), expected, "{text}");
        }
        assert_eq!(ByteRange::parse("bytes=-1", 0), ByteRange::Unsatisfiable);
    }

    #[test]
    fn no_url_leaves_the_root() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert!(file_of(&root, "/server.rs").is_some());
        assert!(file_of(&root, "/server.rs?version=1").is_some());
        assert!(file_of(&root, "/%73erver.rs").is_some());
        for url in [
            "/../Cargo.toml",
            "/%2e%2e/Cargo.toml",
            "/bin/../../Cargo.toml",
            "/bin%2f..%2f..%2fCargo.toml",
            "/%",
            "/%zz",
            "/\0",
        ] {
            assert_eq!(file_of(&root, url), None, "{url}");
        }
    }
}
