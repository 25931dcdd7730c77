//! The chain crate from outside: every selector against the reference, and everything else against a
//! real node with our contracts on it.

mod contracts;
mod nodes;
mod pools;
mod provider;
mod selectors;
mod world;
