//! The indexer as a black box on a real Postgres and real chains, and its pure parts against a model.

mod bad_input;
mod fencing;
mod life;
mod model;
mod nodes;
mod random_chains;
mod reorgs;
mod stream;
mod world;
