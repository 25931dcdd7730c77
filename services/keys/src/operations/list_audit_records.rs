//! ListAuditRecords: pages of the audit log, oldest first. Answers while sealed, too.

use api::keys::v1::{AuditBody, AuditRecord, ListAuditRecordsRequest, ListAuditRecordsResponse};
use prost::Message;
use runtime::page;
use sea_orm::ConnectionTrait;

use super::wire;
use crate::db;
use crate::db::audit::Row;
use crate::error::{Declined, Failure};

pub async fn run<C: ConnectionTrait>(
    db: &C,
    request: ListAuditRecordsRequest,
) -> Result<ListAuditRecordsResponse, Declined> {
    let ListAuditRecordsRequest { page_size, page_token } = request;
    let size = page::page_size(page_size)?;
    let after: Option<i64> = page::decode(&page_token, &())?;
    let mut rows = db::audit::page(db, after.unwrap_or_default(), size + 1).await?;
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next_page_token = match rows.last() {
        Some(last) if more => page::encode(&last.sequence, &()),
        _ => String::new(),
    };
    let records = rows.into_iter().map(record).collect::<Result<_, _>>()?;
    Ok(ListAuditRecordsResponse { records, next_page_token })
}

fn record(row: Row) -> Result<AuditRecord, Failure> {
    let Row { sequence, recorded_at, body, hash } = row;
    let decoded = AuditBody::decode(body.as_slice()).map_err(|_| Failure::AuditBody(sequence))?;
    let AuditBody { caller, action, key_id, intent, digest, verdict, rule, .. } = decoded;
    Ok(AuditRecord {
        sequence: u64::try_from(sequence).map_err(|_| Failure::AuditBody(sequence))?,
        time: Some(wire::time(recorded_at)),
        caller,
        action,
        key_id,
        intent,
        digest: hex::encode(digest),
        verdict,
        rule,
        hash: hex::encode(hash.0),
        body: body.into(),
    })
}
