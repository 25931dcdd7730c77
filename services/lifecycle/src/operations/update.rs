//! Changes what an operator says of a sequencer. What the chain says of it cannot be changed here.

use std::collections::BTreeMap;

use api::keys::v1::KeyRole;
use api::lifecycle::v1::{UpdateSequencerRequest, UpdateSequencerResponse};
use api::{convert, reasons};
use domain::approval::guarded_labels;
use runtime::errors::Refusal;
use store::in_transaction;

use super::subject::standing;
use super::view::{self, Listing};
use crate::db::{account_key, sequencer};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::request;

/// Writes the changes if nobody changed the sequencer since `etag` was read.
pub async fn run(fleet: &Fleet, request: UpdateSequencerRequest) -> Result<UpdateSequencerResponse, Error> {
    let UpdateSequencerRequest { id, etag, name, labels, set_labels, listing, signer_key_id } = request;
    let standing = standing(fleet, request::id("id", &id)?).await?;
    let mut row = standing.register;
    if !row.managed {
        let words = format!("{} is only observed", row.name);
        return Err(Refusal::new(&reasons::SEQUENCER_NOT_MANAGED, words).into());
    }
    convert::required("etag", &etag)?;
    if etag != row.version.to_string() {
        return Err(changed(&row));
    }
    if !name.is_empty() {
        row.name = convert::name("name", &name)?;
        let other = sequencer::of_name(&fleet.db, &row.network, &row.name).await?;
        if other.is_some_and(|other| other.id != row.id) {
            return Err(convert::bad(&reasons::NAME_TAKEN, "name", format!("`{name}` is taken")).into());
        }
    }
    if set_labels {
        keeps_guarded(fleet, &row, &labels)?;
        row.labels = serde_json::json!(labels);
    }
    if let Some(listing) = listing {
        row.listing = Some(serde_json::json!(Listing::from(listing)));
    }
    let key = match signer_key_id.as_str() {
        "" => None,
        key_id => Some(signer_key(fleet, key_id, standing.position.signer.0).await?),
    };
    in_transaction(&fleet.db, |tx| {
        let (row, key) = (row.clone(), key.clone());
        Box::pin(async move {
            if !sequencer::update(&*tx, &row).await? {
                return Err(changed(&row));
            }
            if let Some((address, key_id)) = key {
                account_key::put(&*tx, address, &key_id).await?;
            }
            let fresh = sequencer::of_id(&*tx, row.id).await?;
            let fresh = fresh.ok_or(Error::Malformed { what: "a changed sequencer" })?;
            Ok(UpdateSequencerResponse { sequencer: Some(view::sequencer_of(&*tx, fresh).await?) })
        })
    })
    .await
}

/// A label that a rule or a budget matches is for whoever writes the configuration to lift: an operator who took it off
/// alone would have decided alone.
fn keeps_guarded(
    fleet: &Fleet,
    row: &sequencer::Row,
    labels: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let now = row.labels();
    let budgets = &fleet.config.fees.budgets;
    let budgeted =
        now.iter().filter(|(label, value)| budgets.iter().any(|b| b.label == **label && b.value == **value));
    let lost = guarded_labels(&fleet.approval_rules, &now)
        .chain(budgeted)
        .find(|(label, value)| labels.get(*label) != Some(*value));
    let Some((label, value)) = lost else { return Ok(()) };
    let words =
        format!("{} has {label}={value}, which a rule of approvals or a fee budget matches", row.name);
    Err(Refusal::new(&reasons::LABEL_GUARDED, words).meta("label", label))
}

fn changed(row: &sequencer::Row) -> Error {
    let words = format!("{} was changed since it was read", row.name);
    Refusal::new(&reasons::ETAG_MISMATCH, words).field("etag", "read the sequencer again").into()
}

/// The key must be that of the present signer.
async fn signer_key(
    fleet: &Fleet,
    key_id: &str,
    signer: alloy_primitives::Address,
) -> Result<(alloy_primitives::Address, String), Error> {
    let key = fleet.neighbours.key(key_id).await?;
    let address = key.public_key.as_ref().and_then(|forms| forms.address.parse().ok());
    if address != Some(signer) || key.role() != KeyRole::Sequencer {
        let words = format!("key {} is not the key of signer {signer}", key.name);
        return Err(convert::bad(&reasons::KEY_ADDRESS_MISMATCH, "signer_key_id", words).into());
    }
    Ok((signer, key.id))
}
