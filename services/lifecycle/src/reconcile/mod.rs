//! The loops. Each takes no input, looks at the tables and brings the world in line; running one twice changes nothing.

pub mod agenda;
pub mod apply;
pub mod confirm;
pub mod flags;
pub mod follow;
pub mod hold;
pub mod lanes;
pub mod lease;
pub mod outcome;
pub mod send;
mod wallet;
mod wire;
