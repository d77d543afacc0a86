//! The tensor side of the engine on Burn's CPU backend, against values from transformers and PEFT.

mod common;
mod model;
mod train;
