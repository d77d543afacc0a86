//! Files that the user picked or dropped.

use js_sys::Uint8Array;
use wasm_bindgen_futures::JsFuture;
use web_sys::{File, FileList};

use crate::state::files::{FileRole, HEAD_BYTES, role};

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

/// What a file is for, by its first bytes and its name.
pub async fn role_of(file: &File) -> FileRole {
    let head = read_head(file).await.unwrap_or_default();
    role(&file.name(), &head)
}

async fn read_head(file: &File) -> Option<Vec<u8>> {
    let head = file.slice_with_i32_and_i32(0, HEAD_BYTES as i32).ok()?;
    let buffer = JsFuture::from(head.array_buffer()).await.ok()?;
    Some(Uint8Array::new(&buffer).to_vec())
}
