//! SignTransaction: one request, decided with those of other callers.

use std::sync::Arc;

use api::keys::v1::{SignTransactionRequest, SignTransactionResponse};

use crate::error::{Declined, Failure};
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Arc<Keyring>,
    caller: &str,
    request: SignTransactionRequest,
) -> Result<SignTransactionResponse, Declined> {
    super::sign(keyring, caller, vec![request]).await?.pop().ok_or(Failure::Undecided)?
}
