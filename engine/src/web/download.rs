//! A model from the page's own origin, kept in the origin's private file system (OPFS) after the first download.

use js_sys::{Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, DedicatedWorkerGlobalScope, File, FileSystemDirectoryHandle, FileSystemFileHandle,
    FileSystemGetFileOptions, FileSystemSyncAccessHandle, ReadableStreamDefaultReader, Response,
};

use super::message;
use crate::{
    host::Host,
    protocol::{Event, Failure, FailureKind, Phase},
};

/// Folder of the downloaded models.
const FOLDER: &str = "models";

/// A file's place among the downloads. Whether its content is what it should be is told by its hash, which the caller
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
        // Without OPFS (a private window, say) nothing is kept, which is no failure.
        let handle = self.file_handle(key, false).await.ok()?;
        let file: File = JsFuture::from(handle.get_file())
            .await
            .ok()?
            .unchecked_into();
        (file.size() > 0.0).then(|| file.into())
    }

    /// Forgets the file kept under `key`.
    pub async fn remove(&self, key: &str) {
        if let Ok(folder) = self.folder().await {
            // What is not there need not be removed.
            let _ = JsFuture::from(folder.remove_entry(key)).await;
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
        let mut sink = self.sink(key).await;
        let mut done = 0;
        while let Some(chunk) = next_chunk(&reader).await.map_err(broken)? {
            done += u64::from(chunk.length());
            sink = sink.write(&chunk).map_err(|error| {
                failure(format!(
                    "The model could not be stored: {}.",
                    message(&error)
                ))
                .remedy("Free up some disk space, or drop a model file here.")
            })?;
            host.emit(Event::Progress {
                phase: Phase::DownloadingModel,
                done,
                total,
            });
        }
        if total.is_some_and(|total| total != done) {
            return Err(failure("The download ended too early.".to_owned()));
        }
        sink.finish().await.map_err(broken)
    }

    async fn sink(&self, key: Option<&str>) -> Sink {
        match key {
            Some(key) => self
                .opfs_sink(key)
                .await
                .unwrap_or_else(|_| Sink::in_memory()),
            None => Sink::in_memory(),
        }
    }

    /// Fails where there is no OPFS, and where another tab is writing the same file.
    async fn opfs_sink(&self, key: &str) -> Result<Sink, JsValue> {
        let handle = self.file_handle(key, true).await?;
        let access: FileSystemSyncAccessHandle = JsFuture::from(handle.create_sync_access_handle())
            .await?
            .unchecked_into();
        access.truncate_with_f64(0.0)?;
        Ok(Sink::Opfs { handle, access })
    }

    async fn file_handle(&self, key: &str, create: bool) -> Result<FileSystemFileHandle, JsValue> {
        let options = FileSystemGetFileOptions::new();
        options.set_create(create);
        let folder = self.folder().await?;
        let handle = JsFuture::from(folder.get_file_handle_with_options(key, &options)).await?;
        Ok(handle.unchecked_into())
    }

    async fn folder(&self) -> Result<FileSystemDirectoryHandle, JsValue> {
        let storage = self.scope.navigator().storage();
        let root: FileSystemDirectoryHandle = JsFuture::from(storage.get_directory())
            .await?
            .unchecked_into();
        let options = web_sys::FileSystemGetDirectoryOptions::new();
        options.set_create(true);
        let folder =
            JsFuture::from(root.get_directory_handle_with_options(FOLDER, &options)).await?;
        Ok(folder.unchecked_into())
    }
}

/// Where a download goes.
enum Sink {
    Opfs {
        handle: FileSystemFileHandle,
        access: FileSystemSyncAccessHandle,
    },
    Memory {
        parts: js_sys::Array,
    },
}

impl Sink {
    fn in_memory() -> Self {
        Self::Memory {
            parts: js_sys::Array::new(),
        }
    }

    fn write(self, chunk: &Uint8Array) -> Result<Self, JsValue> {
        match &self {
            Self::Opfs { access, .. } => {
                if let Err(error) = access.write_with_js_u8_array(chunk) {
                    access.close();
                    return Err(error);
                }
            }
            Self::Memory { parts } => {
                parts.push(chunk);
            }
        }
        Ok(self)
    }

    async fn finish(self) -> Result<Blob, JsValue> {
        match self {
            Self::Opfs { handle, access } => {
                let flushed = access.flush();
                access.close();
                flushed?;
                let file: File = JsFuture::from(handle.get_file()).await?.unchecked_into();
                Ok(file.into())
            }
            Self::Memory { parts } => Blob::new_with_u8_array_sequence(&parts),
        }
    }
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
