//! A download on its way into the origin's private file system (OPFS).
//!
//! Until it is whole, the file has a name of its own. So a tab that is closed meanwhile leaves nothing that looks whole, and
//! what it leaves is known as a part and removed later. While a tab writes a part, the browser lets no other tab open or
//! remove it.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;
use web_sys::{Blob, DomException, FileSystemReadWriteOptions, FileSystemSyncAccessHandle};

use super::{blob_parts::BlobParts, storage::Folder};

/// What the name of a part ends with.
const PART: &str = ".part";
/// Bytes that are read back at a time from a file that cannot grow any more.
const PIECE_BYTES: u32 = 8 << 20;

/// A file that is being written. It is either finished or discarded.
pub struct KeptFile {
    folder: Folder,
    key: String,
    access: Open,
    /// Written so far: a whole number far below 2^53.
    num_bytes: f64,
}

/// An open file, closed when it is dropped: until then nobody else can use or remove it.
struct Open(FileSystemSyncAccessHandle);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl KeptFile {
    /// Begins the file that will be `key`.
    ///
    /// # Errors
    /// Where the browser cannot write or rename files, or another tab is writing the same file.
    pub async fn begin(folder: Folder, key: &str) -> Result<Self, JsValue> {
        match open(&folder, key).await {
            Ok(access) => Ok(Self {
                folder,
                key: key.to_owned(),
                access,
                num_bytes: 0.0,
            }),
            Err(error) => {
                // One that another tab is writing stays.
                let _ = folder.remove(&part_of(key)).await;
                Err(error)
            }
        }
    }

    /// # Errors
    /// Where there is no more room.
    pub fn write(&mut self, chunk: &Uint8Array) -> Result<(), JsValue> {
        let written = self
            .access
            .0
            .write_with_js_u8_array_and_options(chunk, &at(self.num_bytes))?;
        if written < f64::from(chunk.length()) {
            // Some browsers write what has room and say so, where others throw.
            return Err(
                DomException::new_with_message_and_name("no room", "QuotaExceededError")?.into(),
            );
        }
        self.num_bytes += written;
        Ok(())
    }

    /// The whole file, kept under its name.
    ///
    /// # Errors
    /// What the browser says, with what was written where it can still be read. Nothing is left of the file then.
    pub async fn finish(self) -> Result<Blob, (JsValue, Result<BlobParts, JsValue>)> {
        let Self {
            folder,
            key,
            access,
            num_bytes,
        } = self;
        let flushed = access.0.flush();
        drop(access);
        let whole = match flushed {
            Ok(()) => whole(&folder, &key, num_bytes).await,
            Err(error) => Err(error),
        };
        match whole {
            Ok(blob) => Ok(blob),
            Err(error) => {
                let parts = read_again(&folder, &key, num_bytes).await;
                remove(&folder, &key).await;
                Err((error, parts))
            }
        }
    }

    /// Takes what was written into memory, and removes the file.
    ///
    /// # Errors
    /// Where the browser does not give it back.
    pub async fn take_back(self) -> Result<BlobParts, JsValue> {
        let parts = read_back(&self.access, self.num_bytes);
        self.discard().await;
        parts
    }

    /// Removes the file.
    pub async fn discard(self) {
        drop(self.access);
        remove(&self.folder, &self.key).await;
    }
}

/// Removes what tabs left that were closed before their download ended.
pub async fn remove_old_parts(folder: &Folder) {
    for name in folder.names().await.unwrap_or_default() {
        if name.ends_with(PART) {
            // One that another tab is writing stays.
            let _ = folder.remove(&name).await;
        }
    }
}

fn part_of(key: &str) -> String {
    format!("{key}{PART}")
}

async fn open(folder: &Folder, key: &str) -> Result<Open, JsValue> {
    let part = folder.entry(&part_of(key), true).await?;
    if !part.can_be_renamed() {
        // It could be written, but never be whole.
        return Err("files cannot be renamed".into());
    }
    let access = Open(part.open().await?);
    access.0.truncate_with_f64(0.0)?;
    Ok(access)
}

async fn whole(folder: &Folder, key: &str, num_bytes: f64) -> Result<Blob, JsValue> {
    if folder.entry(key, false).await.is_ok() {
        // Another tab was first, and may be reading its file, so that one stays.
        let _ = folder.remove(&part_of(key)).await;
    } else {
        let part = folder.entry(&part_of(key), false).await?;
        part.rename(key).await?;
    }
    let file = folder.entry(key, false).await?.file().await?;
    if file.size() != num_bytes {
        return Err("the file has another length".into());
    }
    Ok(file.into())
}

async fn remove(folder: &Folder, key: &str) {
    for name in [part_of(key), key.to_owned()] {
        // What is not there need not be removed.
        let _ = folder.remove(&name).await;
    }
}

/// Opens a file that could not be finished, and reads it.
async fn read_again(folder: &Folder, key: &str, num_bytes: f64) -> Result<BlobParts, JsValue> {
    let entry = match folder.entry(&part_of(key), false).await {
        Ok(part) => part,
        Err(_) => folder.entry(key, false).await?,
    };
    let access = Open(entry.open().await?);
    read_back(&access, num_bytes)
}

fn read_back(access: &Open, num_bytes: f64) -> Result<BlobParts, JsValue> {
    let parts = BlobParts::default();
    let mut offset = 0.0;
    while offset < num_bytes {
        let piece = (num_bytes - offset).min(f64::from(PIECE_BYTES));
        let bytes = Uint8Array::new_with_length(piece as u32);
        let read = access
            .0
            .read_with_js_u8_array_and_options(&bytes, &at(offset))?;
        if read < piece {
            return Err("the file became shorter".into());
        }
        parts.push_array(&bytes)?;
        offset += piece;
    }
    Ok(parts)
}

fn at(offset: f64) -> FileSystemReadWriteOptions {
    let options = FileSystemReadWriteOptions::new();
    options.set_at(offset);
    options
}
