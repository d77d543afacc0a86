//! The page's behaviour as a function of the worker's messages.

mod events;
mod form;
mod judging;
