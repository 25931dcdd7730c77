//! The form of EIP-5792.

use alloy_primitives::{Address, Bytes, U256};
use serde_json::{Value, json};

/// Version of `wallet_sendCalls` that this is for.
const VERSION: &str = "2.0.0";

/// The object that `wallet_sendCalls` takes as its one parameter.
///
/// In order is enough, so `atomicRequired` is false: the second call fails without the first, and harms nothing. A wallet
/// may batch them nevertheless.
pub fn wallet_calls<'a>(
    chain_id: u64,
    from: Address,
    calls: impl IntoIterator<Item = (Address, U256, &'a Bytes)>,
) -> Value {
    let calls: Vec<Value> = calls
        .into_iter()
        .map(|(to, value, data)| json!({ "to": to, "data": data, "value": format!("{value:#x}") }))
        .collect();
    json!({
        "version": VERSION,
        "chainId": format!("{chain_id:#x}"),
        "from": from,
        "atomicRequired": false,
        "calls": calls,
    })
}
