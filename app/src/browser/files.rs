//! Files and folders that the user chose, dropped or pasted.

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, DataTransfer, File, FileList};

use super::property::get;
use crate::state::files::{HEAD_BYTES, Sample, TAIL_BYTES};

/// The maximum number of files taken from one drop.
pub const MAX_FILES: usize = 10_000;
/// How deeply nested folders are searched.
const MAX_DEPTH: usize = 32;
/// Folders whose files nobody intends to drop.
const LEFT_FOLDERS: [&str; 4] = [".git", "node_modules", "__pycache__", "__MACOSX"];

/// A file with the folders it came in.
#[derive(Clone)]
pub struct Found {
    pub path: String,
    pub file: File,
}

/// The contents of a drop: they have to be taken from the event before it ends, and are read afterward.
pub struct Dropped {
    files: Vec<File>,
    /// The browser's entries of folders.
    entries: Vec<JsValue>,
}

/// All files of a drop.
pub struct Walked {
    pub files: Vec<Found>,
    /// There are more than [`MAX_FILES`].
    pub is_cut: bool,
}

/// The list's files.
pub fn files_of(list: Option<FileList>) -> Vec<File> {
    let list = list.as_ref();
    (0..list.map_or(0, FileList::length))
        .filter_map(|index| list?.get(index))
        .collect()
}

/// The files' names in their order.
pub fn names_of(files: &[File]) -> Vec<String> {
    files.iter().map(File::name).collect()
}

/// Chosen files, with their folders if a folder was chosen.
pub fn found(files: Vec<File>) -> Vec<Found> {
    let of = |file: File| {
        let path = get(&file, "webkitRelativePath").and_then(|path| path.as_string());
        let path = path.filter(|path| !path.is_empty());
        Found {
            path: path.unwrap_or_else(|| file.name()),
            file,
        }
    };
    files.into_iter().map(of).collect()
}

/// What was dropped or pasted. Folders are included only if the browser provides entries.
pub fn dropped(data: &DataTransfer) -> Dropped {
    let items = get(data, "items");
    let length = items.as_ref().and_then(|items| get(items, "length"));
    let length = length.and_then(|length| length.as_f64()).unwrap_or(0.0) as u32;
    let (mut files, mut entries) = (Vec::new(), Vec::new());
    for index in 0..length {
        let Some(item) = items
            .as_ref()
            .and_then(|items| Reflect::get_u32(items, index).ok())
        else {
            continue;
        };
        let kind = get(&item, "kind").and_then(|kind| kind.as_string());
        if kind.is_some_and(|kind| kind != "file") {
            continue;
        }
        let asked = |method: &str| {
            let method = get(&item, method)?.dyn_into::<Function>().ok()?;
            let answer = method.call0(&item).ok()?;
            (!answer.is_null() && !answer.is_undefined()).then_some(answer)
        };
        let entry = asked("webkitGetAsEntry");
        let is_folder = entry.as_ref().and_then(|entry| get(entry, "isDirectory"));
        if let (Some(entry), true) = (entry, is_folder.is_some_and(|is| is.is_truthy())) {
            entries.push(entry);
        } else if let Some(file) = asked("getAsFile").and_then(|file| file.dyn_into().ok()) {
            files.push(file);
        }
    }
    if files.is_empty() && entries.is_empty() {
        files = files_of(data.files());
    }
    Dropped { files, entries }
}

impl Dropped {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.entries.is_empty()
    }

    /// Whether all files are pictures, like those that a program puts on the clipboard next to its text.
    pub fn are_pictures(&self) -> bool {
        let is_picture = |file: &File| file.type_().starts_with("image/");
        self.entries.is_empty() && self.files.iter().all(is_picture)
    }

    /// The files, including those of folders.
    pub async fn walk(self) -> Walked {
        let mut walked = Walked {
            files: found(self.files),
            is_cut: false,
        };
        // The remaining entries, in reverse order.
        let mut left: Vec<(String, usize, JsValue)> = self
            .entries
            .into_iter()
            .rev()
            .map(|entry| (String::new(), 0, entry))
            .collect();
        while let Some((folder, depth, entry)) = left.pop() {
            if walked.files.len() >= MAX_FILES {
                walked.is_cut = true;
                break;
            }
            let name = get(&entry, "name").and_then(|name| name.as_string());
            let name = name.unwrap_or_default();
            let path = match folder.as_str() {
                "" => name.clone(),
                folder => format!("{folder}/{name}"),
            };
            let is_folder = get(&entry, "isDirectory").is_some_and(|is| is.is_truthy());
            if !is_folder {
                if let Some(file) = file_of(&entry).await {
                    walked.files.push(Found { path, file });
                }
            } else if depth < MAX_DEPTH && !LEFT_FOLDERS.contains(&name.as_str()) {
                let room = MAX_FILES + 1 - walked.files.len();
                let within = entries_of(&entry, room).await;
                let within = within.into_iter().rev();
                left.extend(within.map(|entry| (path.clone(), depth + 1, entry)));
            }
        }
        walked
    }
}

/// The file of an entry; `None` if the browser can no longer read it.
async fn file_of(entry: &JsValue) -> Option<File> {
    answer(entry, "file").await?.dyn_into().ok()
}

/// The entries of a folder, in the browser's order. The browser returns a hundred at a time, and none at the end.
async fn entries_of(folder: &JsValue, most: usize) -> Vec<JsValue> {
    let mut entries = Vec::new();
    let reader = get(folder, "createReader")
        .and_then(|create| create.dyn_into::<Function>().ok())
        .and_then(|create| create.call0(folder).ok());
    let Some(reader) = reader else {
        return entries;
    };
    while entries.len() < most {
        let Some(some) = answer(&reader, "readEntries").await else {
            break;
        };
        let some = Array::from(&some);
        if some.length() == 0 {
            break;
        }
        entries.extend(some.iter());
    }
    entries
}

/// What a method passes to the first of its two callbacks; `None` if it calls the second.
async fn answer(object: &JsValue, method: &str) -> Option<JsValue> {
    let function = get(object, method)?.dyn_into::<Function>().ok()?;
    let promise = Promise::new(&mut |resolve, reject| {
        if let Err(error) = function.call2(object, &resolve, &reject) {
            // A settled promise is not settled again.
            let _ = reject.call1(&JsValue::NULL, &error);
        }
    });
    JsFuture::from(promise).await.ok()
}

/// The parts of a file that show what it is for.
pub async fn sample(found: &Found) -> Sample {
    let num_bytes = found.file.size();
    let head = part(&found.file, 0.0, HEAD_BYTES as f64).await;
    let is_zip = head.starts_with(b"PK\x03\x04");
    let tail = if is_zip {
        let start = (num_bytes - TAIL_BYTES as f64).max(0.0);
        part(&found.file, start, num_bytes).await
    } else {
        Vec::new()
    };
    Sample {
        path: found.path.clone(),
        // A size is an integer far below 2^53.
        num_bytes: num_bytes as u64,
        head,
        tail,
    }
}

/// The bytes of a file; empty if it cannot be read.
async fn part(file: &File, start: f64, end: f64) -> Vec<u8> {
    let Ok(part) = file.slice_with_f64_and_f64(start, end) else {
        return Vec::new();
    };
    match JsFuture::from(part.array_buffer()).await {
        Ok(buffer) => Uint8Array::new(&buffer).to_vec(),
        Err(_) => Vec::new(),
    }
}

/// The first bytes of a file; none if it cannot be read.
pub async fn start_of(file: &File, max_bytes: usize) -> Vec<u8> {
    part(file, 0.0, max_bytes as f64).await
}

/// The file with this name; its bytes are not copied. If the browser cannot create it, the file keeps its own name.
pub fn renamed(file: &File, name: &str) -> File {
    if file.name() == name {
        return file.clone();
    }
    let parts = Array::of1(file.unchecked_ref::<Blob>());
    File::new_with_blob_sequence(&parts, name).unwrap_or_else(|_| file.clone())
}
