//! Golden files, read from disk.

use std::{fs, path::PathBuf};

/// The bytes of a file among the fixtures.
pub fn bytes(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures"));
    fs::read(folder.join(name)).unwrap()
}
