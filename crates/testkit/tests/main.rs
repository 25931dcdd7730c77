//! The test kit on this machine's real programs.

mod anvil;
mod contracts;
mod crowd;
mod database;
mod pki;
mod postgres;
mod proxy;
mod simulator;
mod wait;
