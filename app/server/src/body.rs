//! An answer's bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

/// Where the bytes of a streamed body go; an error ends the connection.
pub type Sender = mpsc::Sender<io::Result<Bytes>>;

/// The bytes of an answer: a text, or a stream of which only a few pieces are in memory at a time.
pub struct Body(Source);

enum Source {
    Text(Bytes),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    pub fn text(text: &'static str) -> Self {
        Self(Source::Text(Bytes::from_static(text.as_bytes())))
    }

    pub fn empty() -> Self {
        Self::text("")
    }

    /// A body that is sent while it is made. The answer needs a `Content-Length`, or it is sent in chunks; where fewer
    /// bytes come than it says, the connection is cut, which tells the other end.
    pub fn stream() -> (Sender, Self) {
        // The piece that waits here is read while the one before it is sent.
        let (sender, receiver) = mpsc::channel(1);
        (sender, Self(Source::Stream(receiver)))
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match &mut self.0 {
            Source::Text(text) if text.is_empty() => Poll::Ready(None),
            Source::Text(text) => Poll::Ready(Some(Ok(std::mem::take(text)))),
            Source::Stream(pieces) => pieces.poll_recv(context),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.get_mut().poll_next(context);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Source::Text(text) if text.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Text(text) => SizeHint::with_exact(text.len() as u64),
            Source::Stream(_) => SizeHint::default(),
        }
    }
}
