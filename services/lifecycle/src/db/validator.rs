//! Signers whose validator record themis has shown: the other proof that the consensus layer knows a sequencer. Rows are
//! never removed, because themis never takes a block back.

use alloy_primitives::Address;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Addr;

use super::{execute, one};

#[derive(Debug, FromQueryResult)]
struct Found {
    known: bool,
}

/// Notes that themis knows this signer; true if that is news.
pub async fn put<C: ConnectionTrait>(db: &C, network: &str, signer: Address) -> Result<bool, Error> {
    let sql = "INSERT INTO lifecycle.validator (network, signer) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    Ok(execute(db, "noting a validator", sql, [network.into(), Addr(signer).into()]).await? == 1)
}

/// Whether themis knows any of these signers, hex without 0x.
pub async fn any_known<C: ConnectionTrait>(db: &C, network: &str, signers: &[String]) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM lifecycle.validator WHERE network = $1 \
               AND encode(signer, 'hex') = ANY($2)) AS known";
    let found: Option<Found> =
        one(db, "looking for a validator", sql, [network.into(), signers.to_vec().into()]).await?;
    Ok(found.is_some_and(|found| found.known))
}
