//! The formats that both the reader of datasets and the engine know: a row and the file of rows that travels between them, the
//! directory of a zip archive, and JSON of files that are not trusted. It knows the messages ([`protocol`]) and nothing else of ours:
//! no reader, no tensor, no browser.

pub mod chunks;
pub mod row;
pub mod row_file;
pub mod text;
pub mod zip_directory;
