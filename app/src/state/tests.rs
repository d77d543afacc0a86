//! The page's behaviour as a function of the workers' messages.

mod copies;
mod events;
mod form;
mod judging;
mod mapping;
mod merging;
mod reading;
mod rows;
mod scores;
mod summary;
mod trial;
