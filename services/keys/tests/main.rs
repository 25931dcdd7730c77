//! The keys service as a black box: real gRPC with certificates, real Postgres.

// Clippy's exception for tests knows test functions only, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod audit;
mod backups;
mod durable;
mod fuzz;
mod guard;
mod heads;
mod keys;
mod malformed;
mod policy;
mod secrecy;
mod signing;
mod stand;
