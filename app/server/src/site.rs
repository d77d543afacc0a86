//! The answer to each request: the file that is asked for, or why it is refused.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderMap,
    HeaderName, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use crate::body::{Body, Sender};
use crate::range::ByteRange;
use crate::{Response, ServeError};

/// Sent with every response, whatever its status. (Only what is not HTTP gets a bare 400 or 431.)
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

/// The names of this machine under which the page may be asked for.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Read from a file at a time.
const PIECE_BYTES: usize = 256 << 10;

/// A folder with a built page; clones share it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Without links, so that what lies inside it can be told by its path.
    root: Arc<Path>,
}

impl Site {
    /// The page in the folder `root`.
    ///
    /// # Errors
    /// Where `root` holds no index.html.
    pub fn new(root: &Path) -> Result<Self, ServeError> {
        match root.canonicalize() {
            Ok(root) if root.join("index.html").is_file() => Ok(Self { root: root.into() }),
            _ => Err(ServeError::NoSite(root.to_owned())),
        }
    }

    /// The answer to a request, with [`HEADERS`]. The request's body, if it has one, is not read.
    pub async fn answer<B>(&self, request: &hyper::Request<B>) -> Response {
        let mut response = match refusal(request) {
            Some(refusal) => refusal,
            None => match self.open(request.uri().path()).await {
                Some(found) => found.answer(request.method(), request.headers()),
                None => said(StatusCode::NOT_FOUND, "Not found\n"),
            },
        };
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(value))
            {
                headers.insert(name, value);
            }
        }
        response
    }

    /// The file that a path names, if it lies in the folder.
    async fn open(&self, path: &str) -> Option<Found> {
        let (root, path) = (Arc::clone(&self.root), path.to_owned());
        let open = move || Found::open(file_of(&root, &path)?).ok();
        tokio::task::spawn_blocking(open).await.ok().flatten()
    }
}

/// Why a request is not answered with a file, whatever it asks for.
fn refusal<B>(request: &hyper::Request<B>) -> Option<Response> {
    // A foreign site can give its own name this machine's address, and its pages then read the answers as their own (DNS
    // rebinding). Their requests still carry that name.
    if !is_for_this_machine(request.uri(), request.headers()) {
        let text = "This server answers only for localhost, 127.0.0.1 and [::1].\n";
        return Some(said(StatusCode::MISDIRECTED_REQUEST, text));
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return Some(response);
    }
    None
}

/// Whether a request names this machine, once in its `Host` and, where it asks as one asks a proxy, in its address.
fn is_for_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let is_ours = |authority: &Authority| {
        let is_known = HOSTS
            .iter()
            .any(|host| host.eq_ignore_ascii_case(authority.host()));
        is_known && !authority.as_str().contains('@')
    };
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let host = Authority::try_from(host.as_bytes());
    host.is_ok_and(|host| is_ours(&host)) && uri.authority().is_none_or(is_ours)
}

fn said(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::text(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// A file of the folder, open.
struct Found {
    file: File,
    len_bytes: u64,
    mime: &'static str,
    /// Another one after each change of the file.
    tag: String,
}

impl Found {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        let len_bytes = metadata.len();
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH);
        let changed = changed.unwrap_or_default().as_nanos();
        Ok(Self {
            file,
            len_bytes,
            mime: mime_of(&path),
            tag: format!("\"{len_bytes:x}-{changed:x}\""),
        })
    }

    /// The file, whole or in part, or that the browser has it already.
    fn answer(self, method: &Method, headers: &HeaderMap) -> Response {
        let len_bytes = self.len_bytes;
        let mut response = Response::new(Body::empty());
        let mut put = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        };
        put(CONTENT_TYPE, self.mime);
        put(ACCEPT_RANGES, "bytes");
        put(ETAG, &self.tag);
        if is_known(headers, &self.tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        let (status, start, end) = match self.range(headers) {
            ByteRange::Whole => (StatusCode::OK, 0, len_bytes),
            ByteRange::Part { start, end } => {
                put(
                    CONTENT_RANGE,
                    &format!("bytes {start}-{}/{len_bytes}", end - 1),
                );
                (StatusCode::PARTIAL_CONTENT, start, end)
            }
            ByteRange::Unsatisfiable => {
                put(CONTENT_RANGE, &format!("bytes */{len_bytes}"));
                (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0)
            }
        };
        put(CONTENT_LENGTH, &(end - start).to_string());
        *response.status_mut() = status;
        if method != Method::HEAD && start < end {
            *response.body_mut() = streamed(self.file, start, end);
        }
        response
    }

    /// What the request asks for of this file.
    fn range(&self, headers: &HeaderMap) -> ByteRange {
        // A part goes with parts of the same file only. (Dates are never sent, so none is known.)
        let is_of_this = headers
            .get(IF_RANGE)
            .is_none_or(|tag| tag.as_bytes() == self.tag.as_bytes());
        let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
        match range {
            Some(range) if is_of_this => ByteRange::parse(range, self.len_bytes),
            _ => ByteRange::Whole,
        }
    }
}

/// Whether the browser has the file with this tag. A weak tag is as good, for the same bytes have the same meaning.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter();
    let mut known = lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The bytes of a file from `start` up to `end`.
fn streamed(file: File, start: u64, end: u64) -> Body {
    let (sender, body) = Body::stream();
    tokio::spawn(async move {
        if let Err(error) = send(file, start, end, &sender).await {
            // Nobody listens any more where this fails.
            let _ = sender.send(Err(error)).await;
        }
    });
    body
}

/// # Errors
/// Where the file cannot be read, or has shrunk meanwhile.
async fn send(file: File, start: u64, end: u64, sender: &Sender) -> io::Result<()> {
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(start)).await?;
    let mut file = file.take(end - start);
    while file.limit() > 0 {
        let mut piece = Vec::with_capacity(PIECE_BYTES.min(file.limit() as usize));
        if file.read_buf(&mut piece).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if sender.send(Ok(Bytes::from(piece))).await.is_err() {
            // The other end has hung up.
            break;
        }
    }
    Ok(())
}

/// The file that a path of a request names, if it lies inside `root` once links are followed.
fn file_of(root: &Path, path: &str) -> Option<PathBuf> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
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
    let path = path.canonicalize().ok()?;
    (path.starts_with(root) && path.is_file()).then_some(path)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_url_leaves_the_root() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let root = root.canonicalize().unwrap();
        let file_of = |url: &str| file_of(&root, url.parse::<Uri>().ok()?.path());
        assert!(file_of("/site.rs").is_some());
        assert!(file_of("/site.rs?version=1").is_some());
        assert!(file_of("/%73ite.rs").is_some());
        for url in [
            "/../Cargo.toml",
            "/%2e%2e/Cargo.toml",
            "/bin/../../Cargo.toml",
            "/bin%2f..%2f..%2fCargo.toml",
            "//../Cargo.toml",
            "/%",
            "/%zz",
            "/%00",
            "/%ff",
            "/\0",
        ] {
            assert_eq!(file_of(url), None, "{url}");
        }
    }
}
