//! ListApprovals: pages of approvals, newest first.

use api::convert;
use api::keys::v1::{ListApprovalsRequest, ListApprovalsResponse};
use runtime::page;
use time::OffsetDateTime;

use super::wire;
use crate::db;
use crate::error::Declined;
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    _caller: &str,
    request: ListApprovalsRequest,
) -> Result<ListApprovalsResponse, Declined> {
    let ListApprovalsRequest { page_size, page_token, intent_digest } = request;
    let size = page::page_size(page_size)?;
    let before: Option<(i128, String)> = page::decode(&page_token, &intent_digest)?;
    let before =
        before.and_then(|(nanos, id)| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().zip(Some(id)));
    let digest = match intent_digest.as_str() {
        "" => None,
        text => Some(convert::hash("intent_digest", text)?),
    };
    let mut rows = db::approval::page(&keyring.db, digest, before, size + 1).await?;
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next_page_token = match rows.last() {
        Some(last) if more => {
            page::encode(&(last.approved_at.unix_timestamp_nanos(), &last.id), &intent_digest)
        }
        _ => String::new(),
    };
    Ok(ListApprovalsResponse { approvals: rows.into_iter().map(wire::approval).collect(), next_page_token })
}
