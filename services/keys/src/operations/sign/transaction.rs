//! SignTransaction: one request, decided with those of other callers.

use std::sync::Arc;

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, U256};
use api::keys::v1::{SignTransactionRequest, SignTransactionResponse};
use runtime::errors::Refusal;

use super::parse::{self, Asked};
use crate::error::{Declined, Failure};
use crate::keyring::Keyring;
use crate::policy::judgement::Transaction;

pub async fn run(
    keyring: &Arc<Keyring>,
    caller: &str,
    request: SignTransactionRequest,
) -> Result<SignTransactionResponse, Declined> {
    super::sign(keyring, caller, vec![request]).await?.pop().ok_or(Failure::Undecided)?
}

/// A well-formed transaction as policies look at it, and the highest value that approvals are asked for.
pub fn judged_as(request: SignTransactionRequest, own: Address) -> Result<(Transaction, U256), Refusal> {
    let Asked { judged_as, approved_value_max, .. } = parse::transaction(request, own)?;
    Ok((judged_as, approved_value_max))
}

/// The transaction of a request, for whoever wants to throw anything at it (`crate::fuzzing`).
pub(crate) fn parsed(request: SignTransactionRequest, own: Address) -> Result<TxEip1559, Refusal> {
    parse::transaction(request, own).map(|asked| asked.transaction)
}
