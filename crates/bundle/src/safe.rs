//! The batch file of the Safe Transaction Builder, with the checksum that the app computes when it imports one
//! (safe-global/safe-react-apps, tx-builder, lib/checksum.ts).

use alloy_primitives::{Address, Bytes, U256, keccak256};
use serde_json::{Map, Value, json};

use super::call::{Contracts, Meaning, Unread};

/// Version of the file.
const VERSION: &str = "1.0";
/// The builder whose files look like this one.
const BUILDER_VERSION: &str = "1.18.2";

/// The file for a Safe that is the sender.
///
/// # Errors
/// [`Unread`] if a call cannot be shown as a function with arguments.
pub fn safe_batch<'a>(
    chain_id: u64,
    safe: Address,
    created_at_millis: i64,
    words: &str,
    contracts: &Contracts,
    calls: impl IntoIterator<Item = (Address, U256, &'a Bytes)>,
) -> Result<Value, Unread> {
    let transactions = calls
        .into_iter()
        .map(|(to, value, data)| {
            let function = Meaning::of(to, value, data, contracts)?.function(contracts);
            let inputs: Vec<Value> = function
                .arguments
                .iter()
                .map(|(name, kind, _)| json!({ "internalType": kind, "name": name, "type": kind }))
                .collect();
            let values: Map<String, Value> = function
                .arguments
                .iter()
                .map(|(name, _, value)| ((*name).to_owned(), Value::String(value.clone())))
                .collect();
            Ok(json!({
                "to": to,
                "value": value.to_string(),
                // The bytes decide; the rest is what the app shows.
                "data": data,
                "contractMethod": { "inputs": inputs, "name": function.name, "payable": function.is_payable() },
                "contractInputsValues": values,
            }))
        })
        .collect::<Result<Vec<_>, Unread>>()?;
    let mut file = json!({
        "version": VERSION,
        "chainId": chain_id.to_string(),
        "createdAt": created_at_millis,
        "meta": {
            "name": "Metis sequencer",
            "description": words,
            "txBuilderVersion": BUILDER_VERSION,
            "createdFromSafeAddress": safe,
            "createdFromOwnerAddress": "",
        },
        "transactions": transactions,
    });
    let checksum = checksum(&file);
    file["meta"]["checksum"] = Value::String(checksum);
    Ok(file)
}

/// Keccak-256 of the file in the app's own serialisation, with the name of the batch left out.
pub(crate) fn checksum(file: &Value) -> String {
    let mut file = file.clone();
    if let Some(meta) = file.get_mut("meta").and_then(Value::as_object_mut) {
        meta.remove("checksum");
        meta.insert("name".to_owned(), Value::Null);
    }
    let mut text = String::new();
    serialise(&file, &mut text);
    keccak256(text).to_string()
}

/// Keys in order as a list, then each value followed by a comma.
fn serialise(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                serialise(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort_unstable();
            text.push('{');
            text.push_str(&json!(keys).to_string());
            for key in keys {
                serialise(&fields[key], text);
                text.push(',');
            }
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}
