//! ListFrozenLabels: what is frozen now, by whom and why.

use api::keys::v1::{FrozenLabel, Label, ListFrozenLabelsRequest, ListFrozenLabelsResponse};

use super::wire;
use crate::db;
use crate::db::frozen_label::Row;
use crate::error::Declined;
use crate::keyring::Keyring;

pub async fn run(
    keyring: &Keyring,
    _caller: &str,
    _request: ListFrozenLabelsRequest,
) -> Result<ListFrozenLabelsResponse, Declined> {
    let rows = db::frozen_label::all(&keyring.db).await?;
    let labels = rows.into_iter().map(|Row { name, value, reason, frozen_by, frozen_at }| FrozenLabel {
        label: Some(Label { name, value }),
        frozen_by,
        reason,
        freeze_time: Some(wire::time(frozen_at)),
    });
    Ok(ListFrozenLabelsResponse { labels: labels.collect() })
}
