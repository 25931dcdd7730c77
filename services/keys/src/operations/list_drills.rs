//! ListDrills: what was proven restorable, when and by whom; newest first.

use api::keys::v1::{Drill, DrillKind, ListDrillsRequest, ListDrillsResponse};
use runtime::page;

use super::wire;
use crate::db;
use crate::db::drill::{Kind, Row};
use crate::error::Declined;
use crate::keyring::Keyring;

pub async fn run(keyring: &Keyring, request: ListDrillsRequest) -> Result<ListDrillsResponse, Declined> {
    let ListDrillsRequest { page_size, page_token, key_id } = request;
    let size = page::page_size(page_size)?;
    let before: Option<i64> = page::decode(&page_token, &key_id)?;
    let of_key = Some(key_id.as_str()).filter(|id| !id.is_empty());
    let mut rows = db::drill::page(&keyring.db, of_key, before, size + 1).await?;
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next_page_token = match rows.last() {
        Some(last) if more => page::encode(&last.id, &key_id),
        _ => String::new(),
    };
    Ok(ListDrillsResponse { drills: rows.into_iter().map(drill).collect(), next_page_token })
}

fn drill(row: Row) -> Drill {
    let Row { id, kind, caller, archive_sha256, archive_made_at, proven, missing, proven_at } = row;
    let kind = match [Kind::Verify, Kind::Restore].into_iter().find(|known| known.as_str() == kind) {
        Some(Kind::Verify) => DrillKind::Verify,
        Some(Kind::Restore) => DrillKind::Restore,
        None => DrillKind::Unspecified,
    };
    Drill {
        id: u64::try_from(id).unwrap_or_default(),
        kind: kind.into(),
        proven_time: Some(wire::time(proven_at)),
        caller,
        archive_sha256: hex::encode(archive_sha256.0),
        archive_create_time: Some(wire::time(archive_made_at)),
        proven_keys: u32::try_from(proven).unwrap_or_default(),
        missing_keys: u32::try_from(missing).unwrap_or_default(),
    }
}
