//! As many others as are asked for have approved exactly this.

use alloy_primitives::B256;
use sea_orm::ConnectionTrait;

use super::denial;
use crate::db;
use crate::error::Declined;

/// Refuses unless `needed` identities other than `caller` approve this digest now.
pub async fn of_others<C: ConnectionTrait>(
    db: &C,
    digest: B256,
    needed: u32,
    caller: &str,
) -> Result<(), Declined> {
    if needed == 0 {
        return Ok(());
    }
    let given = db::approval::approvers(db, digest, caller).await?;
    if given < needed { Err(denial::approvals_missing(digest, needed, given).into()) } else { Ok(()) }
}
