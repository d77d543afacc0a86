//! What can go wrong between a server and a page, on request.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use server::hyper::body::Bytes;
use server::hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue,
};
use server::hyper::{Method, StatusCode};
use server::{Body, Request, Response, Sender};

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

    /// What goes wrong with the answer for this path.
    pub fn of(&self, path: &str) -> Option<Trouble> {
        Some(Trouble {
            fault: self.find(path)?,
            path: path.to_owned(),
            faults: self.clone(),
        })
    }

    fn find(&self, path: &str) -> Option<Fault> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = faults.iter().find(|(end, _)| path.ends_with(end.as_str()));
        found.map(|(_, fault)| *fault)
    }
}

/// The fault of one answer.
pub struct Trouble {
    fault: Fault,
    path: String,
    faults: Faults,
}

impl Trouble {
    fn is_there(&self) -> bool {
        self.faults.find(&self.path) == Some(self.fault)
    }

    async fn hold_up(&self) {
        while self.is_there() {
            tokio::time::sleep(LOOK).await;
        }
    }

    pub async fn before_answer(&self) {
        if self.fault == Fault::Silent {
            self.hold_up().await;
        }
    }

    /// Does to an answer what can be done to its head, and to its body what is done while it is sent.
    pub fn spoil(self, request: &Request, mut response: Response) -> Response {
        match self.fault {
            Fault::Status(status) => {
                let code = status.split(' ').next().unwrap_or_default();
                let code = StatusCode::from_bytes(code.as_bytes());
                *response.status_mut() = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                replace_body(&mut response, "no\n");
            }
            Fault::Page => {
                *response.status_mut() = StatusCode::OK;
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, html);
                replace_body(&mut response, "<!doctype html><title>Start</title>");
            }
            Fault::Encoded(encoding) => {
                let encoding = HeaderValue::from_static(encoding);
                response.headers_mut().insert(CONTENT_ENCODING, encoding);
            }
            Fault::WrongOnceAt(_)
                if request
                    .headers()
                    .get(CACHE_CONTROL)
                    .is_some_and(|value| value == "no-cache") =>
            {
                return response;
            }
            _ => {}
        }
        let keeping = match self.fault {
            Fault::WrongOnceAt(_) => "max-age=3600",
            // Once the fault is mended, nothing of it is still taken for the file.
            _ => "no-store",
        };
        let keeping = HeaderValue::from_static(keeping);
        response.headers_mut().insert(CACHE_CONTROL, keeping);
        if request.method() == Method::GET && self.first().is_some() {
            let (sender, spoiled) = Body::stream();
            let whole = std::mem::replace(response.body_mut(), spoiled);
            tokio::spawn(async move {
                if let Err(error) = self.send(Pieces::of(whole), &sender).await {
                    // Nobody listens any more where this fails.
                    let _ = sender.send(Err(error)).await;
                }
            });
        }
        response
    }

    /// The number of bytes that are sent as they are.
    fn first(&self) -> Option<u64> {
        match self.fault {
            Fault::StallAfter(first)
            | Fault::CutAfter(first)
            | Fault::DripAfter(first, _)
            | Fault::WrongAt(first)
            | Fault::WrongOnceAt(first) => Some(first),
            Fault::Status(_) | Fault::Page | Fault::Silent | Fault::Encoded(_) => None,
        }
    }

    async fn send(&self, mut body: Pieces, sender: &Sender) -> io::Result<()> {
        let mut first = self.first().unwrap_or_default();
        while first > 0
            && let Some(piece) = body.next(first).await?
        {
            first -= piece.len() as u64;
            send(sender, piece).await?;
        }
        match self.fault {
            Fault::StallAfter(_) => self.hold_up().await,
            Fault::CutAfter(_) => {
                // What is still on its way would be lost with the connection.
                tokio::time::sleep(LOOK).await;
                return Err(ErrorKind::ConnectionAborted.into());
            }
            Fault::DripAfter(_, pause) => {
                while self.is_there()
                    && let Some(byte) = body.next(1).await?
                {
                    send(sender, byte).await?;
                    tokio::time::sleep(pause).await;
                }
            }
            _ => {
                if let Some(byte) = body.next(1).await? {
                    let wrong = byte.iter().map(|byte| !byte).collect();
                    send(sender, wrong).await?;
                }
            }
        }
        while let Some(piece) = body.next(u64::MAX).await? {
            send(sender, piece).await?;
        }
        Ok(())
    }
}

async fn send(sender: &Sender, piece: Bytes) -> io::Result<()> {
    let sent = sender.send(Ok(piece)).await;
    sent.map_err(|_| ErrorKind::ConnectionAborted.into())
}

fn replace_body(response: &mut Response, text: &'static str) {
    *response.body_mut() = Body::text(text);
    response.headers_mut().remove(CONTENT_LENGTH);
}

/// A body, in pieces of any length.
struct Pieces {
    body: Body,
    /// Came with the last piece, and belongs to the next one.
    rest: Bytes,
}

impl Pieces {
    fn of(body: Body) -> Self {
        Self {
            body,
            rest: Bytes::new(),
        }
    }

    /// At most this many bytes more; `None` at the end.
    async fn next(&mut self, most_bytes: u64) -> io::Result<Option<Bytes>> {
        if self.rest.is_empty() {
            let Some(piece) = self.body.next().await else {
                return Ok(None);
            };
            self.rest = piece?;
        }
        let most_bytes = usize::try_from(most_bytes).unwrap_or(usize::MAX);
        let count = self.rest.len().min(most_bytes);
        Ok(Some(self.rest.split_to(count)))
    }
}
