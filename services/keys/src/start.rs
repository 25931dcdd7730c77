//! What happens once at the start, before any key is touched.

use std::collections::BTreeMap;

use sea_orm::DatabaseConnection;
use sha2::{Digest, Sha256};

use crate::audit::Entry;
use crate::config::Preset;
use crate::db;
use crate::error::Failure;
use crate::policy::{Contracts, preset};

/// Gives a new installation its policy, and keeps a preset in step with the configured networks. A
/// policy set by an operator is left alone. Twice is harmless: the same text makes no new version.
pub async fn ensure_policy(
    db: &DatabaseConnection,
    wanted: Preset,
    contracts: &BTreeMap<String, Contracts>,
) -> Result<(), Failure> {
    let toml = match wanted {
        Preset::Metis => preset::metis(contracts),
        Preset::None => preset::metis(&BTreeMap::new()),
    };
    let toml = toml.as_str();
    store::in_transaction(db, move |tx| {
        Box::pin(async move {
            let version = match db::policy::in_force(&tx).await? {
                None => 1,
                Some(row) if row.set_by == preset::AUTHOR && row.toml != toml => row.version + 1,
                Some(_) => return Ok(()),
            };
            // Another replica that was faster wrote the same.
            if db::policy::insert(&tx, version, toml, preset::AUTHOR).await?.is_none() {
                return Ok(());
            }
            let entry = Entry {
                caller: preset::AUTHOR.to_owned(),
                action: "SetPolicy",
                intent: format!("set the preset policy as version {version}"),
                digest: Some(alloy_primitives::B256::from_slice(&Sha256::digest(toml))),
                ..Entry::default()
            };
            db::audit::append(&tx, entry.allowed()).await
        })
    })
    .await
}
