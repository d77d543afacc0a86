//! The page's behavior as a function of the workers' messages.

mod chat;
mod copies;
mod events;
mod files;
mod form;
mod judging;
mod mapping;
mod merging;
mod reading;
mod recipe;
mod rows;
mod sample;
mod scores;
mod splits;
mod summary;
mod trial;
mod unsaved;
mod verdict;
mod work;
