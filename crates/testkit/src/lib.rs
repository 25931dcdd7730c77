//! What tests (and `dev`) need of the world: a real Postgres with a database for each test, a
//! real chain and a proxy that spoils its answers, certificates, and waiting with a deadline.
//!
//! A dev-dependency everywhere but in `dev`, which shows the same things to people.
#![deny(missing_docs)]

mod account;
mod amount;
pub mod anvil;
mod binaries;
pub mod contracts;
pub mod crowd;
pub mod database;
mod error;
pub mod moto;
pub mod pki;
pub mod postgres;
mod process;
pub mod proxy;
mod seqd;
mod shared;
pub mod simulator;
pub mod softhsm;
pub mod wait;

pub use amount::from_environment;
pub use anvil::Anvil;
pub use database::{TestDb, database};
pub use error::Error;
pub use moto::Moto;
pub use pki::Pki;
pub use postgres::Cluster;
pub use process::free_port;
pub use proxy::Proxy;
pub use seqd::{Seqd, program};
pub use shared::{shared_url, stop_shared};
pub use wait::{wait_for, wait_until};
