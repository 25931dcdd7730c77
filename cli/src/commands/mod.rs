//! One file per noun; each command asks, prints, and says nothing else.

pub mod audit;
pub mod chain;
mod confirm;
mod confirm_floor;
pub mod fleet;
pub mod keys;
mod keys_approval;
mod keys_backends;
mod keys_policy;
pub mod listing;
pub mod node;
pub mod offline;
pub mod operation;
pub mod rewards;
pub mod schedule;
pub mod sequencer;
pub mod status;
mod terms;
pub mod verb;
pub mod webhook;

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::exit::usage;

/// A fresh request id; printed with failures, so that a command can be repeated with it.
fn request_id() -> String {
    Uuid::now_v7().to_string()
}

/// `key=value` pairs.
fn labels(pairs: Vec<String>) -> anyhow::Result<BTreeMap<String, String>> {
    pairs
        .into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(usage(format!("label `{pair}` is not KEY=VALUE"))),
        })
        .collect()
}
