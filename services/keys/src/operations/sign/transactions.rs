//! SignTransactions: many requests of one caller, decided together. Each is judged as if it had come alone, and one
//! that is refused harms no other.

use std::sync::Arc;

use api::convert::bad;
use api::keys::v1::{
    SignTransactionResult, SignTransactionsRequest, SignTransactionsResponse,
    sign_transaction_result::Outcome,
};
use bytes::Bytes;
use runtime::errors::generic;
use tonic::Status;

use crate::audit::Entry;
use crate::decisions::BATCH_MAX;
use crate::error::Declined;
use crate::keyring::Keyring;
use crate::operations::recorded;

pub async fn run(
    keyring: &Arc<Keyring>,
    caller: &str,
    request: SignTransactionsRequest,
) -> Result<SignTransactionsResponse, Declined> {
    let SignTransactionsRequest { requests } = request;
    if requests.is_empty() || requests.len() > BATCH_MAX {
        let why = format!("from 1 to {BATCH_MAX} requests");
        let refusal = bad(&generic::INVALID_ARGUMENT, "requests", why).meta("requests", requests.len());
        let entry = Entry { caller: caller.to_owned(), action: "SignTransactions", ..Entry::default() };
        return recorded(keyring, &entry, async { Err(refusal.into()) }).await;
    }
    let answers = super::sign(keyring, caller, requests).await?;
    let results = answers.into_iter().map(|answer| {
        let outcome = match answer {
            Ok(signed) => Outcome::Signed(signed),
            Err(declined) => Outcome::Refused(Bytes::copy_from_slice(Status::from(declined).details())),
        };
        SignTransactionResult { outcome: Some(outcome) }
    });
    Ok(SignTransactionsResponse { results: results.collect() })
}
