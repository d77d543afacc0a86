//! The formats that both the reader of datasets and the engine know: a row and the file of rows that travels between them, the
//! directory of a zip archive, and JSON from untrusted files. It knows the messages ([`protocol`]) and no other crate of the project.

pub mod chunks;
pub mod row;
pub mod row_file;
pub mod text;
pub mod zip_directory;
