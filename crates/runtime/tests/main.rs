//! The runtime as a service sees it: real TLS, real sockets, one process.
#![allow(clippy::panic, reason = "the lint exempts only functions marked as tests, not what they share")]

mod admin;
mod calls;
mod certificates;
mod echo;
mod limits;
mod pki;
mod telemetry;
