//! The tensor side of the engine on Burn's CPU backend, against values from transformers and PEFT, and the
//! behaviour of whole runs.

mod common;
mod model;
mod session;
mod train;
