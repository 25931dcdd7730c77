//! The test kit on this machine's real programs.

mod anvil;
mod contracts;
mod database;
mod pki;
mod postgres;
mod simulator;
mod wait;
