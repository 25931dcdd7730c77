//! Verification of exports as an auditor uses it.

// Clippy's exception for tests knows test functions only, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod damages;
mod heads;
mod log;
