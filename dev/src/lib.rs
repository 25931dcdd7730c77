//! The whole system on one machine, for people who try it and for tests: `make up` and `make demo`.
//!
//! In reading order: [`stack`] starts everything, [`clients`] speaks to it as an operator,
//! [`fleet`] gives it six sequencers to look at, [`journey`] plays the guide from a new key to the
//! final withdrawal, and [`up`] and [`demo`] are what the two commands do. Seeding and journey use the
//! public APIs only, and look at the contracts to check them. **Not for production**: keys, passwords
//! and certificates are thrown away or lie in files.

pub mod announce;
pub mod clients;
pub mod demo;
pub mod fleet;
pub mod journey;
pub mod stack;
pub mod up;
mod wait;
