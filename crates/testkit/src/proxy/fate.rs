//! What is to become of one call, decided before anything is asked: only calls that a fault
//! touches are ever taken apart.

use std::borrow::Cow;

use rand::{Rng, rngs::StdRng};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    faults::{Faults, Lie, Lost},
    limits::Refusal,
};

/// As much of a call as counting and chance need.
#[derive(Debug, Deserialize)]
pub(super) struct Asked<'a> {
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
}

/// The calls of a body, one or a batch; none if it is not JSON-RPC, which is the node's to say.
pub(super) fn asked(body: &[u8]) -> Vec<Asked<'_>> {
    let is_batch = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if is_batch {
        serde_json::from_slice(body).unwrap_or_default()
    } else {
        serde_json::from_slice(body).into_iter().collect()
    }
}

/// Where a method names its block: state is read with it after other parameters.
fn block_place(method: &str) -> Option<usize> {
    match method {
        "eth_getStorageAt" => Some(2),
        "eth_call" | "eth_getBalance" | "eth_getCode" | "eth_getTransactionCount" => Some(1),
        "eth_getLogs" => Some(0),
        other => other.contains("Block").then_some(0),
    }
}

/// Whether a method reads the state of a block.
pub(super) fn is_state(method: &str) -> bool {
    block_place(method).is_some_and(|place| place > 0)
}

/// The parameter that names a block or a range, if the call has one.
pub(super) fn block_parameter<'a>(method: &str, params: &'a mut Value) -> Option<&'a mut Value> {
    params.get_mut(block_place(method)?)
}

/// The hash in a block parameter, if it is named by one.
pub(super) fn hash_in(parameter: &mut Value) -> Option<&mut Value> {
    let named = if parameter.is_object() { parameter.get_mut("blockHash")? } else { parameter };
    let is_hash = named.as_str().is_some_and(|text| text.len() == 66);
    is_hash.then_some(named)
}

/// What chance and configuration have decided.
#[derive(Debug)]
pub(super) struct Fate {
    /// The fault by name, and the words.
    pub(super) refusal: Option<(&'static str, Refusal)>,
    pub(super) truncate: Option<Lost>,
    pub(super) alter: bool,
    pub(super) invent: bool,
    /// Seed of the choices inside the answer.
    pub(super) seed: u64,
    /// Whether the answer differs or could differ from the node's.
    pub(super) is_touched: bool,
}

impl Fate {
    /// `lags` says whether the call meets the node that is behind.
    pub(super) fn of(method: &str, faults: &Faults, lags: bool, rng: &mut StdRng) -> Self {
        let is_logs = method == "eth_getLogs";
        let seed = rng.next_u64();
        let failed = faults.node_error.as_ref().filter(|error| {
            error.chance.draw(rng) && (error.methods.is_empty() || error.methods.contains(&method))
        });
        let refusal = if faults.strip_methods.contains(&method) {
            let words = format!("the method {method} does not exist/is not available");
            Some(("strip_methods", Refusal::new(-32601, words)))
        } else {
            failed.map(|error| ("node_error", Refusal::new(error.code, error.message.clone())))
        };
        let truncate = faults.truncate_logs.filter(|fault| fault.chance.draw(rng) && is_logs);
        let (alter, invent, is_lie) = match faults.lie {
            Some(Lie::AlterLogData(chance)) => (chance.draw(rng) && is_logs, false, false),
            Some(Lie::InventLog(chance)) => (false, chance.draw(rng) && is_logs, false),
            Some(Lie::WrongChainId(_)) => (false, false, is_identity(method)),
            Some(Lie::ForkAbove(_)) => (false, false, true),
            None => (false, false, false),
        };
        let has_logs = is_logs || method.ends_with("Receipt") || method.ends_with("Receipts");
        let is_touched = refusal.is_some()
            || (faults.swallow && is_send(method))
            || truncate.is_some()
            || alter
            || invent
            || is_lie
            || lags
            || (is_logs && faults.log_limits.is_some())
            || (is_state(method) && faults.no_archive.is_some())
            || (faults.no_finality && method == "eth_getBlockByNumber")
            || (has_logs && faults.strip_block_timestamp);
        Self { refusal, truncate: truncate.map(|fault| fault.lost), alter, invent, seed, is_touched }
    }
}

/// Whether a method hands in a signed transaction.
pub(super) fn is_send(method: &str) -> bool {
    method == "eth_sendRawTransaction"
}

/// Whether a method tells the chain.
pub(super) fn is_identity(method: &str) -> bool {
    matches!(method, "eth_chainId" | "net_version")
}
