//! The origin's private file system (OPFS), which not every browser has and not every window may use.
//!
//! Its methods are looked up by name: where one is missing, that is an error like a refusal, and no exception that would
//! end the worker.

use js_sys::{Array, Function, Object, Promise, Reflect};
use protocol::NotKept;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{DedicatedWorkerGlobalScope, File, FileSystemSyncAccessHandle};

/// A folder of the private file system.
pub struct Folder(JsValue);

/// An entry of a [`Folder`] that is a file.
pub struct Entry(JsValue);

impl Folder {
    /// Opens the folder `name`, which is made if it is missing.
    ///
    /// # Errors
    /// Where the browser has no such storage or refuses it.
    pub async fn open(scope: &DedicatedWorkerGlobalScope, name: &str) -> Result<Self, JsValue> {
        let storage = Reflect::get(&scope.navigator(), &"storage".into())?;
        let root = call(&storage, "getDirectory", &Array::new()).await?;
        let arguments = Array::of2(&name.into(), &creating(true)?);
        Ok(Self(call(&root, "getDirectoryHandle", &arguments).await?))
    }

    /// Finds the file `name`; makes an empty one if it is missing and `create` says so.
    ///
    /// # Errors
    /// Where it is missing, or the browser refuses.
    pub async fn entry(&self, name: &str, create: bool) -> Result<Entry, JsValue> {
        let arguments = Array::of2(&name.into(), &creating(create)?);
        Ok(Entry(call(&self.0, "getFileHandle", &arguments).await?))
    }

    /// The names of all that is in the folder.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub async fn names(&self) -> Result<Vec<String>, JsValue> {
        let keys = call(&self.0, "keys", &Array::new()).await?;
        let mut names = Vec::new();
        loop {
            let next = call(&keys, "next", &Array::new()).await?;
            if Reflect::get(&next, &"done".into())?.is_truthy() {
                return Ok(names);
            }
            names.extend(Reflect::get(&next, &"value".into())?.as_string());
        }
    }

    /// Removes the file `name`.
    ///
    /// # Errors
    /// Where it is missing, in use, or the browser refuses.
    pub async fn remove(&self, name: &str) -> Result<(), JsValue> {
        let removed = call(&self.0, "removeEntry", &Array::of1(&name.into())).await;
        removed.map(drop)
    }
}

impl Entry {
    /// The file as it is now, to be read.
    ///
    /// # Errors
    /// Where the browser refuses.
    pub async fn file(&self) -> Result<File, JsValue> {
        let file = call(&self.0, "getFile", &Array::new()).await?;
        file.dyn_into()
    }

    /// Whether the browser can give the file another name.
    pub fn can_be_renamed(&self) -> bool {
        Reflect::get(&self.0, &"move".into()).is_ok_and(|method| method.is_function())
    }

    /// Gives the file another name in its folder.
    ///
    /// # Errors
    /// Where the browser cannot, or the file is open here or in another tab.
    pub async fn rename(&self, name: &str) -> Result<(), JsValue> {
        let renamed = call(&self.0, "move", &Array::of1(&name.into())).await;
        renamed.map(drop)
    }

    /// Opens the file for writing, which no other tab can do meanwhile.
    ///
    /// # Errors
    /// Where the browser cannot write without waiting, or another tab is writing the file.
    pub async fn open(&self) -> Result<FileSystemSyncAccessHandle, JsValue> {
        let access = call(&self.0, "createSyncAccessHandle", &Array::new()).await?;
        access.dyn_into()
    }
}

/// Why a file is not kept, as the user is told; `None` where another tab is about to keep the same file.
pub fn why_not(error: &JsValue) -> Option<NotKept> {
    let name = Reflect::get(error, &"name".into()).ok();
    match name.and_then(|name| name.as_string()).as_deref() {
        Some("NoModificationAllowedError") => None,
        Some("QuotaExceededError") => Some(NotKept::NoSpace),
        _ => Some(NotKept::NoStorage),
    }
}

fn creating(create: bool) -> Result<JsValue, JsValue> {
    let options = Object::new();
    Reflect::set(&options, &"create".into(), &create.into())?;
    Ok(options.into())
}

/// Calls a method that may be missing, and waits for what it promises.
async fn call(object: &JsValue, method: &str, arguments: &Array) -> Result<JsValue, JsValue> {
    let function: Function = Reflect::get(object, &method.into())?.dyn_into()?;
    let answer = function.apply(object, arguments)?;
    JsFuture::from(Promise::resolve(&answer)).await
}
