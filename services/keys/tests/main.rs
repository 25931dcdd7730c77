//! The keys service as a black box: real gRPC with certificates, real Postgres.

// Clippy's exception for tests knows test functions only, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod approvals;
mod audit;
mod backups;
mod freeze;
mod guard;
mod keys;
mod messages;
mod policy;
mod policy_tools;
mod rules;
mod secrecy;
mod signing;
mod stand;
