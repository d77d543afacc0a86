//! A model from the page's own origin, kept in the origin's private file system (OPFS) after the first download. Where
//! the browser keeps no files, the model is held in memory, and the page is told why.

use std::cell::Cell;

use js_sys::{Array, Promise, Reflect, Uint8Array};
use protocol::{Event, Failure, FailureKind, NotKept, Phase};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Blob, DedicatedWorkerGlobalScope, ReadableStreamDefaultReader, RequestCache,
    RequestInit, Response,
};

use super::{
    blob_parts::BlobParts,
    kept_file::{KeptFile, remove_old_parts},
    message,
    storage::{Folder, why_not},
    timer::timer,
};
use engine::{
    host::{Host, cancelled},
    transfer::{Answer, Transfer, TransferProblem},
};

/// Folder of the downloaded models.
const FOLDER: &str = "models";
/// How often a download that is waited for is looked at: whether it is silent for too long, and whether it is still wanted.
const LOOK_MILLIS: u32 = 250;

/// Why there is no file.
pub enum Unfetched {
    Failed(Failure),
    /// The browser does not give back what it kept.
    NotKept,
}

impl From<Failure> for Unfetched {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The models that were downloaded. Whether a file's content is what it should be is told by its hash, which the caller
/// takes; [`Self::remove`] is for the case that it is not.
pub struct Downloads {
    scope: DedicatedWorkerGlobalScope,
    is_cleared: Cell<bool>,
}

impl Downloads {
    pub fn new(scope: DedicatedWorkerGlobalScope) -> Self {
        Self {
            scope,
            is_cleared: Cell::new(false),
        }
    }

    /// The file kept under `key`, if there is one.
    pub async fn find(&self, key: &str) -> Option<Blob> {
        let folder = self.folder().await.ok()?;
        let file = folder.entry(key, false).await.ok()?.file().await.ok()?;
        (file.size() > 0.0).then(|| file.into())
    }

    /// Forgets the file kept under `key`.
    pub async fn remove(&self, key: &str) {
        if let Ok(folder) = self.folder().await {
            // What is not there need not be removed.
            let _ = folder.remove(key).await;
        }
    }

    /// Downloads `url`, to OPFS under `key` where that can be, else to a blob in the browser's memory; past the browser's
    /// cache if `is_past_cache`. Nothing is left of a download that fails.
    ///
    /// # Errors
    /// [`FailureKind::Network`] with the URL where the server does not answer, refuses, breaks off or falls silent;
    /// [`FailureKind::OutOfMemory`] where the browser has no room; [`FailureKind::Cancelled`].
    pub async fn fetch(
        &self,
        url: &str,
        key: Option<&str>,
        is_past_cache: bool,
        host: &dyn Host,
    ) -> Result<Blob, Unfetched> {
        let mut request = Request::send(&self.scope, url, is_past_cache, host);
        let reader = request.answer().await?;
        let mut sink = self.sink(key, host).await;
        match receive(&mut request, &reader, &mut sink).await {
            Ok(()) => sink.finish(host).await,
            Err(unfetched) => {
                sink.discard().await;
                Err(unfetched)
            }
        }
    }

    async fn sink(&self, key: Option<&str>, host: &dyn Host) -> Sink {
        let Some(key) = key else {
            return Sink::Memory(BlobParts::default());
        };
        let begun = match self.folder().await {
            Ok(folder) => KeptFile::begin(folder, key).await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(file) => Sink::Kept(file),
            Err(error) => {
                say(why_not(&error), host);
                Sink::Memory(BlobParts::default())
            }
        }
    }

    async fn folder(&self) -> Result<Folder, JsValue> {
        let folder = Folder::open(&self.scope, FOLDER).await?;
        if !self.is_cleared.replace(true) {
            remove_old_parts(&folder).await;
        }
        Ok(folder)
    }
}

/// Passes on what comes until the answer ends.
async fn receive(
    request: &mut Request<'_>,
    reader: &ReadableStreamDefaultReader,
    sink: &mut Sink,
) -> Result<(), Unfetched> {
    while let Some(chunk) = request.chunk(reader).await? {
        sink.write(&chunk, request.host).await?;
        request.host.emit(Event::Progress {
            phase: Phase::DownloadingModel,
            done: request.transfer.done(),
            total: request.transfer.total(),
        });
    }
    request.end()
}

/// A request under way. The browser gives it up when it is dropped before its end.
struct Request<'a> {
    scope: &'a DedicatedWorkerGlobalScope,
    host: &'a dyn Host,
    url: &'a str,
    answer: Promise,
    controller: Option<AbortController>,
    transfer: Transfer,
    /// Resolves at the next look.
    look: Option<Promise>,
}

impl<'a> Request<'a> {
    fn send(
        scope: &'a DedicatedWorkerGlobalScope,
        url: &'a str,
        is_past_cache: bool,
        host: &'a dyn Host,
    ) -> Self {
        let options = RequestInit::new();
        if is_past_cache {
            options.set_cache(RequestCache::Reload);
        }
        let controller = AbortController::new().ok();
        if let Some(controller) = &controller {
            options.set_signal(Some(&controller.signal()));
        }
        Self {
            scope,
            host,
            url,
            answer: scope.fetch_with_str_and_init(url, &options),
            controller,
            transfer: Transfer::begin(host.now_millis()),
            look: None,
        }
    }

    /// The body of the server's answer.
    async fn answer(&mut self) -> Result<ReadableStreamDefaultReader, Failure> {
        let promise = self.answer.clone();
        let response: Response = self.wait(&promise).await?.unchecked_into();
        let header = |name: &str| response.headers().get(name).ok().flatten();
        let (kind, encoding, length) = (
            header("content-type"),
            header("content-encoding"),
            header("content-length"),
        );
        let answer = Answer {
            status: response.status(),
            content_type: kind.as_deref(),
            content_encoding: encoding.as_deref(),
            content_length: length.as_deref(),
        };
        let now_millis = self.host.now_millis();
        self.transfer
            .answered(&answer, now_millis)
            .map_err(|problem| problem.failure(self.url))?;
        let body = response
            .body()
            .ok_or_else(|| TransferProblem::Empty.failure(self.url))?;
        Ok(body.get_reader().unchecked_into())
    }

    /// The next piece of the body, none at its end.
    async fn chunk(
        &mut self,
        reader: &ReadableStreamDefaultReader,
    ) -> Result<Option<Uint8Array>, Failure> {
        let result = self.wait(&reader.read()).await?;
        let part = |name: &str| Reflect::get(&result, &name.into()).unwrap_or(JsValue::UNDEFINED);
        if part("done").is_truthy() {
            return Ok(None);
        }
        let chunk: Uint8Array = part("value").unchecked_into();
        let now_millis = self.host.now_millis();
        self.transfer
            .received(u64::from(chunk.length()), now_millis);
        Ok(Some(chunk))
    }

    /// The body is at its end.
    fn end(&mut self) -> Result<(), Unfetched> {
        // There is nothing left to give up.
        self.controller = None;
        let ended = self.transfer.ended();
        ended.map_err(|problem| problem.failure(self.url).into())
    }

    /// Waits for what the browser promises, as long as it is wanted and the server is not silent.
    async fn wait(&mut self, promise: &Promise) -> Result<JsValue, Failure> {
        loop {
            if self.host.is_cancelled() {
                return Err(cancelled());
            }
            let look = self
                .look
                .get_or_insert_with(|| timer(self.scope, LOOK_MILLIS))
                .clone();
            // The first of them, in this order, that is settled.
            let first = JsFuture::from(Promise::race(&Array::of2(promise, &look))).await;
            match first {
                Ok(value) if !value.is_undefined() => return Ok(value),
                Ok(_) => {
                    self.look = None;
                    let looked = self.transfer.look(self.host.now_millis());
                    looked.map_err(|problem| problem.failure(self.url))?;
                }
                Err(error) => {
                    let broken = self.transfer.broken(message(&error));
                    return Err(broken.failure(self.url));
                }
            }
        }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if let Some(controller) = &self.controller {
            controller.abort();
        }
    }
}

/// Tells the page that the model will not be there at the next visit.
pub fn say(reason: Option<NotKept>, host: &dyn Host) {
    if let Some(reason) = reason {
        host.emit(Event::ModelNotKept { reason });
    }
}

/// Where a download goes.
enum Sink {
    Kept(KeptFile),
    Memory(BlobParts),
}

impl Sink {
    /// Where the file cannot grow, the download goes on in memory.
    async fn write(&mut self, chunk: &Uint8Array, host: &dyn Host) -> Result<(), Unfetched> {
        let parts = match self {
            Self::Memory(parts) => return parts.push_array(chunk).map_err(unstored),
            Self::Kept(file) => match file.write(chunk) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    say(why_not(&error), host);
                    match std::mem::replace(self, Self::Memory(BlobParts::default())) {
                        Self::Kept(file) => file.take_back().await,
                        Self::Memory(parts) => Ok(parts),
                    }
                }
            },
        };
        let parts = parts.map_err(|_| Unfetched::NotKept)?;
        parts.push_array(chunk).map_err(unstored)?;
        *self = Self::Memory(parts);
        Ok(())
    }

    async fn finish(self, host: &dyn Host) -> Result<Blob, Unfetched> {
        let parts = match self {
            Self::Memory(parts) => parts,
            Self::Kept(file) => match file.finish().await {
                Ok(blob) => return Ok(blob),
                Err((error, parts)) => {
                    say(why_not(&error), host);
                    parts.map_err(|_| Unfetched::NotKept)?
                }
            },
        };
        parts.finish().map_err(unstored)
    }

    async fn discard(self) {
        if let Self::Kept(file) = self {
            file.discard().await;
        }
    }
}

fn unstored(error: JsValue) -> Unfetched {
    let what = format!(
        "The browser has no room for the model ({}).",
        message(&error)
    );
    let failure = Failure::new(FailureKind::OutOfMemory, what)
        .remedy("Close other tabs or free up some disk space, then try again.");
    Unfetched::Failed(failure)
}
