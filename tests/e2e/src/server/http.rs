//! As much of HTTP/1.1 as a static server needs: requests without bodies, answers of known length, kept connections.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use super::fault::Trouble;

/// A request's head is refused beyond this.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// A request; its body, if it has one, is never read.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    headers: Vec<(String, String)>,
    is_1_1: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        path_of(&self.target)
    }

    /// The same request without one of its headers.
    pub fn without(&self, name: &str) -> Self {
        let mut other = self.clone();
        other
            .headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        other
    }

    /// Whether another request may follow on the same connection.
    fn keeps_connection(&self) -> bool {
        let has_body = self.header("Transfer-Encoding").is_some()
            || self.header("Content-Length").is_some_and(|len| len != "0");
        let is_closing = self
            .header("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.is_1_1 && !has_body && !is_closing
    }
}

/// An address without its query.
pub fn path_of(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

/// What follows an answer's head.
pub enum Body {
    None,
    Text(&'static str),
    /// This many bytes from where the file stands.
    File(File, u64),
}

pub struct Response {
    /// Code and reason, such as `200 OK`.
    pub status: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// What goes wrong with this answer, if something does.
    pub trouble: Option<Trouble>,
}

/// Answers the requests of one connection until the other end closes it or falls silent.
///
/// # Errors
/// Where the connection breaks, which ends it just the same.
pub fn serve(mut connection: TcpStream, answer: impl Fn(&Request) -> Response) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut received = Vec::new();
    while let Some(request) = read(&mut connection, &mut received)? {
        let response = answer(&request);
        if let Some(trouble) = &response.trouble {
            trouble.before_head();
        }
        write(&mut connection, response, request.method == "HEAD")?;
        if !request.keeps_connection() {
            break;
        }
    }
    Ok(())
}

/// The next request's head; `None` once the other end has closed. `received` holds what came after the last one.
fn read(connection: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let parsed = head
            .parse(received)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if let httparse::Status::Complete(head_bytes) = parsed {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let request = Request {
                method: head.method.unwrap_or_default().to_owned(),
                target: head.path.unwrap_or_default().to_owned(),
                headers: head
                    .headers
                    .iter()
                    .map(|header| (header.name.to_owned(), text(header.value)))
                    .collect(),
                is_1_1: head.version == Some(1),
            };
            received.drain(..head_bytes);
            return Ok(Some(request));
        }
        if received.len() > MAX_HEAD_BYTES {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the request's head is too long",
            ));
        }
        let mut chunk = [0; 4096];
        match connection.read(&mut chunk)? {
            0 => return Ok(None),
            num_bytes => received.extend(&chunk[..num_bytes]),
        }
    }
}

fn write(connection: &mut TcpStream, response: Response, is_head_only: bool) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status);
    for (name, value) in &response.headers {
        // Writing into a String cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let len_bytes = match &response.body {
        Body::None => 0,
        Body::Text(text) => text.len() as u64,
        Body::File(_, len_bytes) => *len_bytes,
    };
    // Of a 304 the length would be the file's, which is not sent.
    if !response.status.starts_with("304") {
        let _ = write!(head, "Content-Length: {len_bytes}\r\n");
    }
    head.push_str("\r\n");
    connection.write_all(head.as_bytes())?;
    match response.body {
        _ if is_head_only => {}
        Body::None => {}
        Body::Text(text) => connection.write_all(text.as_bytes())?,
        Body::File(file, len_bytes) => {
            let mut file = file.take(len_bytes);
            let mut sent = 0;
            if let Some(trouble) = response.trouble {
                sent += trouble.before_body(&mut file, connection)?;
            }
            sent += io::copy(&mut file, connection)?;
            if sent < len_bytes {
                // The file shrank meanwhile; only a broken connection tells the other end.
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
    connection.flush()
}
