//! The server binary `seqd`: puts the services together, from one configuration, in one process or five.
//!
//! What a service does belongs to its own crate; here are only configuration, wiring and the command line.

pub mod config;
pub mod migrate;
pub mod process;

pub use config::{Config, Role};
