//! GetAuditHead: the end of the log, who signs it, and whether an older database was restored. Changes nothing and
//! answers while sealed.

use api::keys::v1::{
    GetAuditHeadRequest, GetAuditHeadResponse, GuardDoubt, SignedAuditHead, UnprovenAccount,
};
use sea_orm::ConnectionTrait;
use time::OffsetDateTime;
use trail::{Head, SignedHead};

use super::backup_keys::all;
use super::wire;
use crate::db;
use crate::db::restoration::Restoration;
use crate::error::Declined;
use crate::policy::Policy;

/// As the message says; an operator with more confirms and asks again.
const WAITING_MAX: usize = 1000;

pub async fn run<C: ConnectionTrait>(
    db: &C,
    _: GetAuditHeadRequest,
) -> Result<GetAuditHeadResponse, Declined> {
    let Head { sequence, hash } = db::head::now(db).await?.head;
    let keys = db::head::keys(db).await?;
    let doubt = match db::restoration::last(db).await? {
        None => None,
        Some(restoration) => Some(doubt(db, restoration).await?),
    };
    Ok(GetAuditHeadResponse {
        sequence,
        hash: hex::encode(hash),
        signed: db::head::last(db).await?.map(signed),
        public_keys: keys.into_iter().map(|key| hex::encode(key.public_key)).collect(),
        doubt,
    })
}

fn signed(head: SignedHead) -> SignedAuditHead {
    let line = head.line();
    let SignedHead { head: Head { sequence, hash }, time_micros, public_key, signature: _ } = head;
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_micros) * 1000).ok();
    SignedAuditHead {
        sequence,
        hash: hex::encode(hash),
        time: time.map(wire::time),
        public_key: hex::encode(public_key),
        line,
    }
}

async fn doubt<C: ConnectionTrait>(db: &C, restoration: Restoration) -> Result<GuardDoubt, Declined> {
    let Restoration { id, published_sequence, published_hash, database_sequence, found_at, archive } =
        restoration;
    let proven = db::restoration::floors(db, id).await?;
    let policy = db::policy::in_force(db).await?.and_then(|row| Policy::parse(&row.toml).ok());
    let networks = policy.map(|policy| policy.contracts).unwrap_or_default();
    let mut waiting = Vec::new();
    for key in all(db).await? {
        for (network, contracts) in &networks {
            let chain_id = i64::try_from(contracts.chain_id).unwrap_or(i64::MAX);
            let is_proven = proven.contains(&(chain_id, key.address));
            if !is_proven && waiting.len() < WAITING_MAX {
                waiting.push(UnprovenAccount {
                    key_id: key.id.clone(),
                    key_name: key.name.clone(),
                    account: key.address.to_string(),
                    network: network.clone(),
                });
            }
        }
    }
    let number = |n: i64| u64::try_from(n).unwrap_or_default();
    Ok(GuardDoubt {
        published_sequence: number(published_sequence),
        published_hash: hex::encode(published_hash.0),
        database_sequence: number(database_sequence),
        found_time: Some(wire::time(found_at)),
        waiting,
        archive_sha256: archive.map(|digest| hex::encode(digest.0)).unwrap_or_default(),
    })
}
