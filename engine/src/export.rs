//! What a run leaves behind: one zip.
