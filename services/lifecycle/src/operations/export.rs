//! A prepared operation as a document: for a wallet, for a Safe, for a cold machine. Nothing is stored; what comes back is
//! checked by `submit`.

use alloy_primitives::{B256, Bytes, U256};
use api::lifecycle::v1::{ExportPreparedOperationRequest, ExportPreparedOperationResponse, PreparedForm};
use api::{convert, reasons};
use bundle::{Bundle, Call, FORMAT, Subject, safe_batch, wallet_calls};
use chain::fees::Fees;
use chain::rpc::{BlockId, call};
use domain::amount::Eth;
use runtime::errors::Refusal;
use time::OffsetDateTime;

use super::plan::suggested_fees;
use super::submit::{contracts, expired, missing};
use super::view::time;
use crate::db::operation::{self, State};
use crate::db::{position, sequencer, transaction};
use crate::error::Error;
use crate::fleet::{Chain, Fleet};
use crate::request;

/// Signing on a cold machine takes hours, in which the market moves: fees are this many times what is enough now, still
/// within the ceiling. What is not needed is not paid.
const COLD_FEE_TIMES: u128 = 3;

/// Writes the calls that are still to be signed.
pub async fn run(
    fleet: &Fleet,
    request: ExportPreparedOperationRequest,
) -> Result<ExportPreparedOperationResponse, Error> {
    let form = request.form();
    let id = request::id("id", &request.id)?;
    let row = operation::of_id(&fleet.db, id).await?.ok_or_else(|| missing(id))?;
    if row.is_managed() {
        let words = "this operation is signed by us, not by a wallet";
        return Err(Refusal::new(&reasons::OPERATION_MODE_WRONG, words).into());
    }
    if row.state() == State::Expired || row.expire_time.is_some_and(|at| at < OffsetDateTime::now_utc()) {
        return Err(expired(&row));
    }
    let chain = fleet.network("network", &row.network)?;
    let calls = transaction::of_operation(&fleet.db, id).await?;
    let calls: Vec<transaction::Row> = calls.into_iter().filter(|one| one.hash.is_none()).collect();
    if calls.is_empty() || row.state().is_final() {
        let words = format!("every call of operation {id} is signed");
        return Err(Refusal::new(&reasons::OPERATION_FINISHED, words)
            .meta("state", row.state().name())
            .into());
    }
    let datas: Vec<Bytes> = calls.iter().map(|one| one.data.clone().into()).collect();
    let plain = || calls.iter().zip(&datas).map(|(one, data)| (one.target.0, one.value.0, data));
    let (json, digest) = match form {
        PreparedForm::WalletCalls => {
            (pretty(&wallet_calls(chain.chain_id, row.account.0, plain()))?, String::new())
        }
        PreparedForm::SafeBatch => {
            let millis = row.create_time.unix_timestamp().saturating_mul(1_000);
            let file =
                safe_batch(chain.chain_id, row.account.0, millis, &row.words, &contracts(chain), plain());
            let file = file.map_err(|_| Error::Malformed { what: "a prepared call" })?;
            (pretty(&file)?, String::new())
        }
        PreparedForm::OfflineBundle => {
            let bundle = bundled(fleet, chain, &row, &calls).await?;
            (pretty(&bundle)?, bundle.digest.to_string())
        }
        PreparedForm::Unspecified => {
            return Err(convert::bad(&reasons::ENUM_UNSPECIFIED, "form", "choose the form").into());
        }
    };
    Ok(ExportPreparedOperationResponse {
        json,
        words: row.words,
        call_words: calls.into_iter().map(|one| one.words).collect(),
        expire_time: row.expire_time.map(time),
        digest,
    })
}

fn pretty<T: serde::Serialize>(document: &T) -> Result<String, Error> {
    serde_json::to_string_pretty(document).map_err(|_| Error::Malformed { what: "a document of ours" })
}

/// With nonce and fees, because a cold machine can ask nobody. The nonce is not kept for it: who signs something else
/// meanwhile makes a new bundle.
async fn bundled(
    fleet: &Fleet,
    chain: &Chain,
    row: &operation::Row,
    calls: &[transaction::Row],
) -> Result<Bundle, Error> {
    let register = sequencer::of_id(&fleet.db, row.sequencer).await?;
    let register = register.ok_or(Error::Malformed { what: "the sequencer of an operation" })?;
    let standing = position::of(&fleet.db, row.sequencer).await?;
    let first = chain.l1.ask(call::nonce(row.account.0, BlockId::Pending)).await?;
    let fees = cold(suggested_fees(fleet, chain).await?, fleet.config.fees.policy().max_fee_ceiling);
    let last = calls.last().ok_or(Error::Malformed { what: "a prepared operation" })?;
    let bundle = Bundle {
        format: FORMAT.to_owned(),
        operation: row.id.to_string(),
        network: chain.name.clone(),
        chain_id: chain.chain_id,
        sender: row.account.0,
        words: format!("{}: {}", register.name, last.words),
        sequencer: Subject {
            name: register.name,
            id: standing.and_then(|position| position.seq_id).map(|id| id.0),
        },
        expires_at: row.expire_time.map_or(i64::MAX, OffsetDateTime::unix_timestamp),
        contracts: contracts(chain),
        calls: (first..)
            .zip(calls)
            .map(|(nonce, one)| Call {
                step: one.step_name.clone(),
                words: one.words.clone(),
                to: one.target.0,
                value: Eth(one.value.0),
                data: one.data.clone().into(),
                nonce,
                gas_limit: u64::try_from(one.gas_limit).unwrap_or_default(),
                max_fee_per_gas: Eth(U256::from(fees.max_fee_per_gas)),
                max_priority_fee_per_gas: Eth(U256::from(fees.max_priority_fee_per_gas)),
            })
            .collect(),
        digest: B256::ZERO,
    };
    let bundle = bundle.sealed();
    // What the cold machine would refuse is not given out.
    match bundle.check(OffsetDateTime::now_utc().unix_timestamp()) {
        Ok(()) => Ok(bundle),
        Err(why) => {
            tracing::error!(operation.id = %row.id, "operation {} makes no bundle: {why}", row.id);
            Err(Error::Malformed { what: "a prepared call" })
        }
    }
}

fn cold(fees: Fees, ceiling: u128) -> Fees {
    Fees {
        max_fee_per_gas: fees.max_fee_per_gas.saturating_mul(COLD_FEE_TIMES).min(ceiling),
        max_priority_fee_per_gas: fees.max_priority_fee_per_gas.min(ceiling),
    }
}
