//! A request to sign, with every field checked.

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, TxKind, U256};
use api::convert::{self, bad};
use api::keys::v1::{SignTransactionRequest, SigningIntent};
use api::reasons::{CALLDATA_UNKNOWN, ENUM_UNSPECIFIED, KEY_ADDRESS_MISMATCH};
use api::types::v1::UnsignedTransaction;
use runtime::errors::{Refusal, generic};

use crate::policy::judgement::Transaction;

/// The longest known call has 292 bytes.
const CALLDATA_BYTES_MAX: usize = 4096;

/// A well-formed request.
#[derive(Clone)]
pub struct Asked {
    pub transaction: TxEip1559,
    /// The same, as policies look at it.
    pub judged_as: Transaction,
    /// The highest value that approvals are asked for.
    pub approved_value_max: U256,
    pub to: Address,
    pub intent: SigningIntent,
}

/// Takes a request of the key with address `own`.
pub fn transaction(request: SignTransactionRequest, own: Address) -> Result<Asked, Refusal> {
    let SignTransactionRequest {
        key_id: _,
        network,
        transaction,
        intent,
        operation_id: _,
        approved_value_wei_max,
    } = request;
    convert::required("network", &network)?;
    let intent = SigningIntent::try_from(intent)
        .map_err(|_| bad(&ENUM_UNSPECIFIED, "intent", "choose NEW, REPLACE or CANCEL"))?;
    let UnsignedTransaction {
        chain_id,
        from,
        to,
        nonce,
        value_wei,
        data,
        gas_limit,
        max_fee_per_gas_wei,
        max_priority_fee_per_gas_wei,
    } = convert::present("transaction", transaction)?;
    if convert::address("transaction.from", &from)? != own {
        let why = format!("the key has address {own}");
        return Err(bad(&KEY_ADDRESS_MISMATCH, "transaction.from", why).meta("address", own));
    }
    let to = convert::address_nonzero("transaction.to", &to)?;
    let max_fee_per_gas = fee("transaction.max_fee_per_gas_wei", &max_fee_per_gas_wei)?;
    let field = "transaction.max_priority_fee_per_gas_wei";
    let max_priority_fee_per_gas = fee(field, &max_priority_fee_per_gas_wei)?;
    if max_priority_fee_per_gas > max_fee_per_gas {
        return Err(bad(&generic::INVALID_ARGUMENT, field, "is above max_fee_per_gas_wei"));
    }
    let transaction = TxEip1559 {
        chain_id: number("transaction.chain_id", chain_id, 1)?,
        nonce: number("transaction.nonce", convert::present("transaction.nonce", nonce)?, 0)?,
        gas_limit: number("transaction.gas_limit", gas_limit, 1)?,
        max_fee_per_gas,
        max_priority_fee_per_gas,
        to: TxKind::Call(to),
        value: convert::eth("transaction.value_wei", &value_wei)?.0,
        access_list: Default::default(),
        input: calldata(&data)?.into(),
    };
    let approved_value_max = match approved_value_wei_max.as_str() {
        "" => transaction.value,
        text => convert::eth("approved_value_wei_max", text)?.0,
    };
    if transaction.value > approved_value_max {
        let why = "is above approved_value_wei_max";
        return Err(bad(&generic::INVALID_ARGUMENT, "transaction.value_wei", why));
    }
    let judged_as = Transaction {
        network,
        chain_id: transaction.chain_id,
        to,
        value: transaction.value,
        data: transaction.input.to_vec(),
        gas_limit: transaction.gas_limit,
        max_fee_per_gas: U256::from(transaction.max_fee_per_gas),
        cancel: intent == SigningIntent::Cancel,
    };
    Ok(Asked { transaction, judged_as, approved_value_max, to, intent })
}

fn calldata(data: &str) -> Result<Vec<u8>, Refusal> {
    let field = "transaction.data";
    let digits = match data {
        "" => "",
        data => {
            data.strip_prefix("0x").ok_or_else(|| bad(&CALLDATA_UNKNOWN, field, "calldata begins with 0x"))?
        }
    };
    if digits.len() > 2 * CALLDATA_BYTES_MAX {
        return Err(bad(&CALLDATA_UNKNOWN, field, format!("more than {CALLDATA_BYTES_MAX} bytes")));
    }
    hex::decode(digits).map_err(|_| bad(&CALLDATA_UNKNOWN, field, "calldata is hex"))
}

fn fee(field: &str, text: &str) -> Result<u128, Refusal> {
    let wei = convert::eth(field, text)?.0;
    wei.try_into()
        .map_err(|_| bad(&api::reasons::AMOUNT_TOO_LARGE, field, "a fee per gas has at most 128 bits"))
}

/// A number that the database can hold.
fn number(field: &str, number: u64, least: u64) -> Result<u64, Refusal> {
    if number < least || i64::try_from(number).is_err() {
        return Err(bad(&generic::INVALID_ARGUMENT, field, format!("from {least} to {}", i64::MAX)));
    }
    Ok(number)
}
