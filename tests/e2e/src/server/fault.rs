//! What can go wrong between a server and a page, on request.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::http::{Body, Request, Response};

/// How often an answer that is held up looks whether it still is.
const LOOK: Duration = Duration::from_millis(20);

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An answer with this status and reason, without a file.
    Status(&'static str),
    /// A web page instead of the file, as from a host that sends its start page for every unknown address.
    Page,
    /// No answer.
    Silent,
    /// No more bytes after this many.
    StallAfter(u64),
    /// The connection ends after this many bytes.
    CutAfter(u64),
    /// After this many bytes, the rest comes a byte at a time, with this pause after each.
    DripAfter(u64, Duration),
    /// The byte with this number is wrong. The browser is told to keep the answer for an hour; a request that must not be
    /// answered from what is kept gets the right bytes.
    WrongOnceAt(u64),
    /// As [`Self::WrongOnceAt`], for every request.
    WrongAt(u64),
    /// The file is said to be compressed.
    Encoded(&'static str),
}

/// The faults by the end of the path that they concern; clones share them.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<BTreeMap<String, Fault>>>);

impl Faults {
    pub fn set(&self, path_end: &str, fault: Option<Fault>) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fault {
            Some(fault) => faults.insert(path_end.to_owned(), fault),
            None => faults.remove(path_end),
        };
    }

    pub fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// What goes wrong with answers for this path.
    pub fn of(&self, path: &str) -> Option<Fault> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = faults.iter().find(|(end, _)| path.ends_with(end.as_str()));
        found.map(|(_, fault)| *fault)
    }

    /// Does to an answer what can be done to it before it is sent, and leaves the rest as its trouble.
    pub fn spoil(&self, fault: Fault, request: &Request, response: &mut Response) {
        match fault {
            Fault::Status(status) => {
                response.status = status;
                response.body = Body::Text("no\n");
            }
            Fault::Page => {
                response.status = "200 OK";
                set_header(response, "Content-Type", "text/html; charset=utf-8");
                response.body = Body::Text("<!doctype html><title>Start</title>");
            }
            Fault::Encoded(encoding) => set_header(response, "Content-Encoding", encoding),
            Fault::WrongOnceAt(_) if request.header("Cache-Control") == Some("no-cache") => return,
            Fault::WrongOnceAt(_) => set_header(response, "Cache-Control", "max-age=3600"),
            _ => {}
        }
        if !matches!(fault, Fault::WrongOnceAt(_)) {
            // Once the fault is mended, nothing of it is still taken for the file.
            set_header(response, "Cache-Control", "no-store");
        }
        response.trouble = Some(Trouble {
            fault,
            path: request.path().to_owned(),
            faults: self.clone(),
        });
    }
}

fn set_header(response: &mut Response, name: &'static str, value: &str) {
    response.headers.retain(|(known, _)| *known != name);
    response.headers.push((name, value.to_owned()));
}

/// The fault of an answer that is being sent.
pub struct Trouble {
    fault: Fault,
    path: String,
    faults: Faults,
}

impl Trouble {
    fn is_there(&self) -> bool {
        self.faults.of(&self.path) == Some(self.fault)
    }

    fn hold_up(&self) {
        while self.is_there() {
            std::thread::sleep(LOOK);
        }
    }

    pub fn before_head(&self) {
        if self.fault == Fault::Silent {
            self.hold_up();
        }
    }

    /// Sends the beginning of the body; returns the number of bytes.
    pub fn before_body(&self, body: &mut impl Read, connection: &mut TcpStream) -> io::Result<u64> {
        let first = match self.fault {
            Fault::StallAfter(first)
            | Fault::CutAfter(first)
            | Fault::DripAfter(first, _)
            | Fault::WrongAt(first)
            | Fault::WrongOnceAt(first) => first,
            Fault::Status(_) | Fault::Page | Fault::Silent | Fault::Encoded(_) => return Ok(0),
        };
        let mut sent = io::copy(&mut body.take(first), connection)?;
        connection.flush()?;
        let mut byte = [0];
        match self.fault {
            Fault::StallAfter(_) => self.hold_up(),
            Fault::CutAfter(_) => return Err(ErrorKind::ConnectionAborted.into()),
            Fault::DripAfter(_, pause) => {
                while self.is_there() && body.read(&mut byte)? == 1 {
                    connection.write_all(&byte)?;
                    sent += 1;
                    std::thread::sleep(pause);
                }
            }
            _ => {
                let count = body.read(&mut byte)?;
                byte[0] = !byte[0];
                connection.write_all(&byte[..count])?;
                sent += count as u64;
            }
        }
        Ok(sent)
    }
}
