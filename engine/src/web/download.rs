//! A model from the page's own origin, kept in the origin's private file system (OPFS) after the first download. Where
//! the browser keeps no files, the model is held in memory, and the page is told why.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, DedicatedWorkerGlobalScope, FileSystemReadWriteOptions, FileSystemSyncAccessHandle,
    ReadableStreamDefaultReader, Response,
};

use super::{
    blob_parts::BlobParts,
    message,
    storage::{Entry, Folder, why_not},
};
use crate::{
    host::Host,
    protocol::{Event, Failure, FailureKind, NotKept, Phase},
};

/// Folder of the downloaded models.
const FOLDER: &str = "models";
/// Bytes that are read back at a time from a file that cannot grow any more.
const PIECE_BYTES: u32 = 8 << 20;

/// The models that were downloaded. Whether a file's content is what it should be is told by its hash, which the caller
/// takes; [`Self::remove`] is for the case that it is not.
pub struct Downloads {
    scope: DedicatedWorkerGlobalScope,
}

impl Downloads {
    pub fn new(scope: DedicatedWorkerGlobalScope) -> Self {
        Self { scope }
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

    /// Downloads `url`, to OPFS under `key` where that can be, else to a blob in the browser's memory.
    ///
    /// # Errors
    /// [`FailureKind::Network`] with the URL, where the server does not answer, refuses, or breaks off.
    pub async fn fetch(
        &self,
        url: &str,
        key: Option<&str>,
        host: &dyn Host,
    ) -> Result<Blob, Failure> {
        let failure = |what: String| {
            Failure::new(FailureKind::Network, what)
                .at(url)
                .remedy("Check that the page's server is still running and try again, or drop a model file here.")
        };
        let broken = |error: JsValue| {
            failure(format!(
                "The model could not be downloaded: {}.",
                message(&error)
            ))
        };
        let unstored = |error: JsValue| {
            let what = format!("The model could not be stored: {}.", message(&error));
            failure(what).remedy("Free up some disk space, or drop a model file here.")
        };
        let response: Response = JsFuture::from(self.scope.fetch_with_str(url))
            .await
            .map_err(broken)?
            .unchecked_into();
        if !response.ok() {
            return Err(failure(format!(
                "The server answered {} instead of the model.",
                response.status()
            )));
        }
        let total = response
            .headers()
            .get("content-length")
            .ok()
            .flatten()
            .and_then(|length| length.parse::<u64>().ok());
        let body = response
            .body()
            .ok_or_else(|| failure("The server's answer is empty.".to_owned()))?;
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        let mut sink = self.sink(key, host).await;
        let mut done = 0;
        while let Some(chunk) = next_chunk(&reader).await.map_err(broken)? {
            done += u64::from(chunk.length());
            sink = self.write(sink, &chunk, host).await.map_err(unstored)?;
            host.emit(Event::Progress {
                phase: Phase::DownloadingModel,
                done,
                total,
            });
        }
        if total.is_some_and(|total| total != done) {
            return Err(failure("The download ended too early.".to_owned()));
        }
        self.finish(sink, host).await.map_err(unstored)
    }

    async fn sink(&self, key: Option<&str>, host: &dyn Host) -> Sink {
        let Some(key) = key else {
            return Sink::Memory(BlobParts::default());
        };
        match self.kept_file(key).await {
            Ok(file) => Sink::Kept(file),
            Err(error) => {
                say(why_not(&error), host);
                Sink::Memory(BlobParts::default())
            }
        }
    }

    /// Fails where there is no OPFS, and where another tab is writing the same file.
    async fn kept_file(&self, key: &str) -> Result<KeptFile, JsValue> {
        let entry = self.folder().await?.entry(key, true).await?;
        let access = entry.open().await?;
        if let Err(error) = access.truncate_with_f64(0.0) {
            access.close();
            return Err(error);
        }
        Ok(KeptFile {
            key: key.to_owned(),
            entry,
            access,
            num_bytes: 0.0,
        })
    }

    async fn write(
        &self,
        sink: Sink,
        chunk: &Uint8Array,
        host: &dyn Host,
    ) -> Result<Sink, JsValue> {
        let parts = match sink {
            Sink::Memory(parts) => parts,
            Sink::Kept(mut file) => match file.write(chunk) {
                Ok(()) => return Ok(Sink::Kept(file)),
                Err(error) => self.give_up(file, &error, host).await?,
            },
        };
        parts.push_array(chunk)?;
        Ok(Sink::Memory(parts))
    }

    /// Takes a file that cannot grow back into memory, and removes it.
    async fn give_up(
        &self,
        file: KeptFile,
        error: &JsValue,
        host: &dyn Host,
    ) -> Result<BlobParts, JsValue> {
        let parts = file.read_back();
        file.access.close();
        self.remove(&file.key).await;
        say(why_not(error), host);
        parts
    }

    async fn finish(&self, sink: Sink, host: &dyn Host) -> Result<Blob, JsValue> {
        let parts = match sink {
            Sink::Memory(parts) => parts,
            Sink::Kept(mut file) => match file.access.flush() {
                Ok(()) => {
                    file.access.close();
                    match file.entry.file().await {
                        Ok(whole) => return Ok(whole.into()),
                        Err(error) => {
                            file.access = file.entry.open().await?;
                            self.give_up(file, &error, host).await?
                        }
                    }
                }
                Err(error) => self.give_up(file, &error, host).await?,
            },
        };
        parts.finish()
    }

    async fn folder(&self) -> Result<Folder, JsValue> {
        Folder::open(&self.scope, FOLDER).await
    }
}

/// Tells the page that the model will not be there at the next visit.
fn say(reason: Option<NotKept>, host: &dyn Host) {
    if let Some(reason) = reason {
        host.emit(Event::ModelNotKept { reason });
    }
}

/// Where a download goes.
enum Sink {
    Kept(KeptFile),
    Memory(BlobParts),
}

/// A file in OPFS that is being written.
struct KeptFile {
    key: String,
    entry: Entry,
    access: FileSystemSyncAccessHandle,
    /// Written so far: a whole number far below 2^53.
    num_bytes: f64,
}

impl KeptFile {
    fn write(&mut self, chunk: &Uint8Array) -> Result<(), JsValue> {
        let written = self
            .access
            .write_with_js_u8_array_and_options(chunk, &at(self.num_bytes))?;
        if written < f64::from(chunk.length()) {
            // Some browsers write what has room and say so, where others throw.
            return Err(web_sys::DomException::new_with_message_and_name(
                "no room",
                "QuotaExceededError",
            )?
            .into());
        }
        self.num_bytes += written;
        Ok(())
    }

    /// What was written so far.
    fn read_back(&self) -> Result<BlobParts, JsValue> {
        let parts = BlobParts::default();
        let mut offset = 0.0;
        while offset < self.num_bytes {
            let piece = (self.num_bytes - offset).min(f64::from(PIECE_BYTES));
            let bytes = Uint8Array::new_with_length(piece as u32);
            let read = self
                .access
                .read_with_js_u8_array_and_options(&bytes, &at(offset))?;
            if read < piece {
                return Err("the file became shorter".into());
            }
            parts.push_array(&bytes)?;
            offset += piece;
        }
        Ok(parts)
    }
}

fn at(offset: f64) -> FileSystemReadWriteOptions {
    let options = FileSystemReadWriteOptions::new();
    options.set_at(offset);
    options
}

/// The next piece of a body, none at its end.
async fn next_chunk(reader: &ReadableStreamDefaultReader) -> Result<Option<Uint8Array>, JsValue> {
    let result = JsFuture::from(reader.read()).await?;
    if Reflect::get(&result, &"done".into())?.is_truthy() {
        return Ok(None);
    }
    Ok(Some(
        Reflect::get(&result, &"value".into())?.unchecked_into(),
    ))
}
