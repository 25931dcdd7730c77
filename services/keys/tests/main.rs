//! The keys service as a black box: real gRPC with certificates, real Postgres.

// Clippy's exception for tests knows test functions only, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod audit;
mod backends;
mod backups;
mod batch;
mod decisions;
mod guard;
mod guard_attack;
mod keys;
mod overload;
mod policy;
mod round_trips;
mod secrecy;
mod signing;
mod stand;
