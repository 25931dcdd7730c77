//! The next nonce of each account. Handed out only in the transaction that stores the row which uses it.

use alloy_primitives::Address;
use sea_orm::{ConnectionTrait, FromQueryResult};
use store::Error;
use store::column::Addr;

use super::{execute, one};

/// A nonce that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Taken {
    pub nonce: i64,
    /// The lowest nonce that somebody else has spent since we took one last; none where nobody did, or where we never
    /// took one: what came before is no concern of ours.
    pub strange_from: Option<i64>,
}

/// Takes the next nonce: what our rows say (those of wallets too), or the chain's count where that is higher because
/// someone else sent from this account. The row stays locked until the transaction ends.
pub async fn take_nonce<C: ConnectionTrait>(
    tx: &C,
    chain_id: i64,
    account: Address,
    chain_count: i64,
) -> Result<Taken, Error> {
    let sql = "WITH t AS (SELECT coalesce(max(nonce) + 1, 0) AS used FROM lifecycle.transaction \
               WHERE chain_id = $1 AND account = $2), \
               before AS (SELECT greatest(l.next_nonce, t.used) AS next FROM lifecycle.lane l, t \
               WHERE l.chain_id = $1 AND l.account = $2), \
               taken AS (INSERT INTO lifecycle.lane AS l (chain_id, account, next_nonce) \
               SELECT $1, $2, greatest($3, t.used) + 1 FROM t \
               ON CONFLICT (chain_id, account) DO UPDATE \
               SET next_nonce = greatest(l.next_nonce + 1, EXCLUDED.next_nonce) RETURNING next_nonce) \
               SELECT taken.next_nonce - 1 AS nonce, \
               CASE WHEN before.next < taken.next_nonce - 1 THEN before.next END AS strange_from \
               FROM taken LEFT JOIN before ON true";
    let values = [chain_id.into(), Addr(account).into(), chain_count.into()];
    let taken: Option<Taken> = one(tx, "taking a nonce", sql, values).await?;
    taken.ok_or(Error::Row { what: "a lane" })
}

/// Gives back a nonce that was never signed, if it is the last one taken; false if it is not.
pub async fn give_back<C: ConnectionTrait>(
    tx: &C,
    chain_id: i64,
    account: Address,
    nonce: i64,
) -> Result<bool, Error> {
    let sql = "UPDATE lifecycle.lane SET next_nonce = $3 WHERE chain_id = $1 AND account = $2 AND next_nonce = $3 + 1";
    let values = [chain_id.into(), Addr(account).into(), nonce.into()];
    Ok(execute(tx, "giving back a nonce", sql, values).await? == 1)
}
