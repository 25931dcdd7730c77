//! ListKeys: pages of public sides, in order of creation.

use api::keys::v1::{ListKeysRequest, ListKeysResponse};
use runtime::page;
use time::OffsetDateTime;

use super::wire;
use crate::db;
use crate::error::Declined;
use crate::keyring::Keyring;

pub async fn run(keyring: &Keyring, request: ListKeysRequest) -> Result<ListKeysResponse, Declined> {
    let ListKeysRequest { page_size, page_token, role } = request;
    let size = page::page_size(page_size)?;
    let filter = role;
    let role = wire::role("role", role)?;
    let after: Option<(i128, String)> = page::decode(&page_token, &filter)?;
    let after =
        after.and_then(|(nanos, id)| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().zip(Some(id)));
    let mut rows = db::key::page(&keyring.db, role, after, size + 1).await?;
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next_page_token = match rows.last() {
        Some(last) if more => page::encode(&(last.created_at.unix_timestamp_nanos(), &last.id), &filter),
        _ => String::new(),
    };
    Ok(ListKeysResponse { keys: rows.iter().map(wire::key).collect(), next_page_token })
}
