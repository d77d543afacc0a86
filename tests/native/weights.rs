//! Model files as users have them: the bundled GGUF against values from transformers, damaged files, random files.

#[path = "weights/bundled.rs"]
mod bundled;
