//! The loops. Each takes no input, looks at the tables and brings the world in line; running one twice changes nothing.

pub mod agenda;
pub mod apply;
pub mod confirm;
mod event;
pub mod flags;
pub mod follow;
pub mod hold;
pub mod lanes;
pub mod lease;
pub mod outcome;
mod revert;
pub mod send;
mod wallet;
mod wire;
