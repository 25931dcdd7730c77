//! The indexer as a black box on a real Postgres and real chains, and its pure parts against a model.

mod bad_input;
mod credits;
mod digests;
mod export;
mod faults;
mod fencing;
mod kills;
mod life;
mod lists;
mod model;
mod nodes;
mod nodes_alerts;
mod nodes_policy;
mod random_chains;
mod reconcile;
mod reorgs;
mod stream;
mod trial;
mod world;
