//! From a node's error to the contract's reason: `domain` knows what the bytes mean, this knows where
//! each node puts them.

use alloy_sol_types::{Revert as ErrorString, SolError};
use domain::revert::Revert;

use crate::rpc::{NodeError, RpcError};

/// What stands before the text where nodes put the reason into the message.
const PREFIXES: [&str; 3] =
    ["execution reverted: ", "VM Exception while processing transaction: revert ", "revert: "];

/// Why the contract refused; none if the error is something else than a revert.
#[must_use]
pub fn of(error: &RpcError) -> Option<Revert> {
    of_node(error.node()?)
}

/// Why the contract refused; none if the node's error is something else than a revert.
#[must_use]
pub fn of_node(error: &NodeError) -> Option<Revert> {
    let data = error.revert_data()?;
    // The data goes first: anvil's message for a custom error is junk. Some gateways drop the data.
    Some(match text(&error.message).filter(|_| data.is_empty()) {
        Some(text) => Revert::decode(&ErrorString::from(text).abi_encode()),
        None => Revert::decode(&data),
    })
}

fn text(message: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| message.split_once(prefix)).map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use domain::amount::Eth;
    use serde_json::{Value, json};

    use super::*;

    fn decoded(code: i64, message: &str, data: Value) -> Option<Revert> {
        of_node(&NodeError {
            code,
            message: message.to_owned(),
            data: Some(data).filter(|data| !data.is_null()),
        })
    }

    #[test]
    fn a_reason_is_found_wherever_a_node_puts_it() {
        let amount = "0x08c379a0\
            0000000000000000000000000000000000000000000000000000000000000020\
            000000000000000000000000000000000000000000000000000000000000000e\
            696e76616c696420616d6f756e74000000000000000000000000000000000000";
        let text = Some(Revert::Text("invalid amount".to_owned()));
        let table = [
            // anvil: junk in the message, the truth in the data
            (
                3,
                "execution reverted: custom error 0x584a7938",
                json!("0x584a7938"),
                Some(Revert::NotWhitelisted),
            ),
            // geth
            (3, "execution reverted: invalid amount", json!(amount), text.clone()),
            // erigon and reth without data
            (3, "execution reverted", Value::Null, Some(Revert::Empty)),
            // nethermind, old parity
            (-32015, "VM execution error.", json!(format!("Reverted {amount}")), text.clone()),
            // besu
            (-32000, "Execution reverted", json!("0xc4946571"), Some(Revert::SeqNotActive)),
            // hardhat and gateways
            (-32603, "Internal JSON-RPC error.", json!({ "data": "0xa91da8ff" }), Some(Revert::NotSeqOwner)),
            // a gateway that drops the data
            (-32000, "execution reverted: invalid amount", Value::Null, text),
            (
                -32000,
                "execution reverted: insufficient fee supplied. send at least 200",
                Value::Null,
                Some(Revert::BridgeFee { required: Eth::wei(200) }),
            ),
            // no reverts
            (-32000, "header not found", Value::Null, None),
            (-32005, "rate limit", json!({ "see": "https://example.org" }), None),
        ];
        for (code, message, data, expected) in table {
            assert_eq!(decoded(code, message, data), expected, "{message}");
        }
    }
}
