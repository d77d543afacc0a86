//! A static file server for the built page: security headers on every response, byte ranges, revalidation by ETag.
//!
//! `trunk serve` is not used because it rebuilds what it serves, adds scripts for reloading to the page, and sends its
//! headers with files only, not with errors. A worker obeys the policy of its own response, so the headers must be on
//! every one: a `<meta>` policy does not reach it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::UNIX_EPOCH;

use tiny_http::{Header, Method, Request, Response, Server};

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

/// Requests answered at once; a browser opens six connections to one host.
const NUM_THREADS: usize = 6;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{0} is not a folder with an index.html: build the page first (make build)")]
    NoSite(PathBuf),
    #[error("port {port} of 127.0.0.1 cannot be listened on ({source}): is another server there? Choose another: PORT={} make run", port.wrapping_add(1))]
    Port { port: u16, source: std::io::Error },
    #[error("the server could not start: {0}")]
    Start(String),
}

/// Serves one folder on 127.0.0.1 until it is dropped.
pub struct SiteServer {
    server: Arc<Server>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl SiteServer {
    /// Serves the built page in `root`; port 0 takes any free port.
    ///
    /// # Errors
    /// Where `root` holds no index.html, or the port is taken.
    pub fn start(root: &Path, port: u16) -> Result<Self, ServeError> {
        let root: Arc<Path> = match root.canonicalize() {
            Ok(root) if root.join("index.html").is_file() => root.into(),
            _ => return Err(ServeError::NoSite(root.to_owned())),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(|source| ServeError::Port { port, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| ServeError::Port { port, source })?;
        let server = Arc::new(
            Server::from_listener(listener, None)
                .map_err(|error| ServeError::Start(error.to_string()))?,
        );
        let threads = (0..NUM_THREADS)
            .map(|_| {
                let (server, root) = (Arc::clone(&server), Arc::clone(&root));
                std::thread::spawn(move || {
                    // `recv` fails once the server is unblocked, which ends the thread.
                    while let Ok(request) = server.recv() {
                        // A visitor who hangs up in the middle of a response is no failure of ours.
                        let _ = answer(&root, request);
                    }
                })
            })
            .collect();
        Ok(Self {
            server,
            address,
            threads,
        })
    }

    /// The page's origin without a trailing slash, e.g. `http://127.0.0.1:8080`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        for thread in std::mem::take(&mut self.threads) {
            let _ = thread.join();
        }
    }
}

impl Drop for SiteServer {
    fn drop(&mut self) {
        for _ in &self.threads {
            self.server.unblock();
        }
    }
}

fn answer(root: &Path, request: Request) -> std::io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return respond(
            request,
            405,
            "text/plain",
            &[("Allow", "GET, HEAD".to_owned())],
            std::io::empty(),
            0,
        );
    }
    let opened = file_of(root, request.url()).and_then(|path| {
        let file = File::open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        Some((path, file, metadata))
    });
    let Some((path, mut file, metadata)) = opened else {
        let body = b"Not found\n";
        return respond(request, 404, "text/plain", &[], body.as_slice(), body.len());
    };
    let len_bytes = metadata.len();
    let changed_nanos = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_nanos());
    let tag = format!("\"{len_bytes:x}-{changed_nanos:x}\"");
    let mime = mime_of(&path);
    let mut headers = vec![("ETag", tag.clone()), ("Accept-Ranges", "bytes".to_owned())];
    if header(&request, "If-None-Match").is_some_and(|known| known == tag) {
        return respond(request, 304, mime, &headers, std::io::empty(), 0);
    }
    match header(&request, "Range")
        .map_or(ByteRange::Whole, |text| ByteRange::parse(text, len_bytes))
    {
        ByteRange::Whole => respond(request, 200, mime, &headers, file, to_usize(len_bytes)),
        ByteRange::Part { start, end } => {
            headers.push((
                "Content-Range",
                format!("bytes {start}-{}/{len_bytes}", end - 1),
            ));
            file.seek(SeekFrom::Start(start))?;
            respond(
                request,
                206,
                mime,
                &headers,
                file.take(end - start),
                to_usize(end - start),
            )
        }
        ByteRange::Unsatisfiable => {
            headers.push(("Content-Range", format!("bytes */{len_bytes}")));
            respond(request, 416, mime, &headers, std::io::empty(), 0)
        }
    }
}

/// Lengths of files that the server itself opened; a 32-bit server of larger files does not exist.
fn to_usize(len_bytes: u64) -> usize {
    usize::try_from(len_bytes).unwrap_or(usize::MAX)
}

fn respond(
    request: Request,
    status: u16,
    mime: &str,
    headers: &[(&str, String)],
    body: impl Read,
    len_bytes: usize,
) -> std::io::Result<()> {
    let own = headers.iter().map(|(name, value)| (*name, value.as_str()));
    let headers = HEADERS
        .into_iter()
        .chain([("Content-Type", mime)])
        .chain(own);
    // Names and values are ours and ASCII, so none is ever left out here.
    let headers = headers
        .filter_map(|(name, value)| Header::from_bytes(name, value).ok())
        .collect();
    // Never chunked: the page shows how much of the model is still to come.
    let response = Response::new(status.into(), headers, body, Some(len_bytes), None)
        .with_chunked_threshold(usize::MAX);
    request.respond(response)
}

fn header<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request
        .headers()
        .iter()
        .find(|header| header.field.equiv(name))
        .map(|header| header.value.as_str())
}

/// The file that a request names, if it lies inside `root`.
fn file_of(root: &Path, url: &str) -> Option<PathBuf> {
    let path = percent_decoded(url.split(['?', '#']).next()?)?;
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
