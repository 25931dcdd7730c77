//! The keys service as a black box: real gRPC with certificates, real Postgres.

// Clippy's exception for tests knows test functions only, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod audit;
mod backups;
mod exports;
mod guard;
mod keys;
mod policy;
mod restores;
mod rotation;
mod secrecy;
mod signing;
mod sources;
mod stand;
mod transit;
