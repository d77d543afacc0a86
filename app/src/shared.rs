//! What several steps are made of, one component per file.

pub mod cancel;
pub mod choice;
pub mod control;
pub mod facts;
pub mod field;
pub mod file_input;
pub mod icon;
pub mod modules_field;
pub mod notices;
pub mod progress;
pub mod show_row;
pub mod step_section;
pub mod switch;
pub mod table_row;
pub mod token_view;
pub mod words;
