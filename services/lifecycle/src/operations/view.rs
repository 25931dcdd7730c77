//! Rows as the wire shows them. Reads only what it is given or asks for by id; decides nothing.

use std::collections::BTreeMap;

use alloy_primitives::Bytes;
use api::lifecycle::v1 as wire;
use api::types::v1::{AsOf, BlockRef, Finality, Layer, LogRef, OperationKind};
use domain::phase::Phase;
use prost::Message;
use prost_types::Timestamp;
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use store::column::Addr;
use time::OffsetDateTime;
use uuid::Uuid;

use super::waits;
use crate::approval::state as state_of;
use crate::db::{
    account_key, approval, cursor, flag, operation, position, sequencer, step, transaction, transition,
};
use crate::error::Error;
use crate::reconcile::form::unsigned;

/// Listing data as the register keeps it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Listing {
    pub name: String,
    pub description: String,
    pub avatar: String,
    pub url: String,
    pub lst_name: String,
    pub lst_url: String,
}

impl From<wire::ListingFields> for Listing {
    fn from(fields: wire::ListingFields) -> Self {
        let wire::ListingFields { name, description, avatar, url, lst_name, lst_url } = fields;
        Self { name, description, avatar, url, lst_name, lst_url }
    }
}

impl From<Listing> for wire::ListingFields {
    fn from(listing: Listing) -> Self {
        let Listing { name, description, avatar, url, lst_name, lst_url } = listing;
        Self { name, description, avatar, url, lst_name, lst_url }
    }
}

/// A moment for the wire.
pub fn time(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: i32::try_from(at.nanosecond()).unwrap_or(0) }
}

fn hex_of(bytes: &[u8]) -> String {
    Bytes::copy_from_slice(bytes).to_string()
}

fn height(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The listing data of a row.
pub fn listing_of(row: &sequencer::Row) -> Option<Listing> {
    row.listing.clone().and_then(|json| serde_json::from_value(json).ok())
}

/// The L1 block that everything of a network rests on.
pub fn as_of(network: &str, place: Option<&cursor::Row>) -> AsOf {
    let block = place.and_then(|place| {
        let number = place.block_number?;
        Some(BlockRef {
            number: height(number),
            hash: place.block_hash.map(|hash| hash.0.to_string()).unwrap_or_default(),
            time: place.block_time.map(time),
        })
    });
    let finality = match (place, place.and_then(|place| place.block_number)) {
        (Some(place), Some(number)) if number <= place.finalized => Finality::Finalized,
        (Some(place), Some(number)) if number <= place.safe => Finality::Safe,
        _ => Finality::Latest,
    };
    AsOf { network: network.to_owned(), block, finality: finality.into() }
}

/// The wire's number of a phase.
pub fn phase(name: &str) -> i32 {
    wire::Phase::from_str_name(&format!("PHASE_{name}")).unwrap_or(wire::Phase::Unspecified).into()
}

/// The wire's number of an operation's state.
pub fn state(name: &str) -> i32 {
    wire::OperationState::from_str_name(&format!("OPERATION_STATE_{name}"))
        .unwrap_or(wire::OperationState::Unspecified)
        .into()
}

/// The wire's number of a kind.
pub fn kind(name: &str) -> i32 {
    OperationKind::from_str_name(&format!("OPERATION_KIND_{}", name.to_uppercase()))
        .unwrap_or(OperationKind::Unspecified)
        .into()
}

/// Sequencers with their positions, flags and keys, in the order given.
pub async fn sequencers<C: ConnectionTrait>(
    db: &C,
    rows: Vec<sequencer::Row>,
) -> Result<Vec<wire::Sequencer>, Error> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let positions = position::of_many(db, &ids).await?;
    let positions: BTreeMap<Uuid, position::Row> =
        positions.into_iter().map(|row| (row.sequencer, row)).collect();
    let accounts = positions.values().flat_map(|row| [row.owner, row.signer]);
    let accounts = accounts.chain(rows.iter().flat_map(|row| [row.owner, row.signer])).collect();
    let keys = account_key::of_many(db, accounts).await?;
    let mut flags: BTreeMap<Uuid, Vec<flag::Row>> = BTreeMap::new();
    for row in flag::of_many(db, &ids).await? {
        flags.entry(row.sequencer).or_default().push(row);
    }
    let mut places: BTreeMap<String, Option<cursor::Row>> = BTreeMap::new();
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        if !places.contains_key(&row.network) {
            places.insert(row.network.clone(), cursor::of(db, &row.network).await?);
        }
        let place = places.get(&row.network).and_then(Option::as_ref);
        // An observed sequencer whose lock was taken back has no position.
        let nothing = position::Row::without_lock(&row, Phase::Registered.name());
        let position = positions.get(&row.id).unwrap_or(&nothing);
        let key = |address: Addr| keys.get(&address).cloned().unwrap_or_default();
        let keys = (key(position.owner), key(position.signer));
        let raised = flags.remove(&row.id).unwrap_or_default();
        shown.push(sequencer(row, position, keys, raised, place));
    }
    Ok(shown)
}

/// One sequencer.
pub async fn sequencer_of<C: ConnectionTrait>(db: &C, row: sequencer::Row) -> Result<wire::Sequencer, Error> {
    let shown = sequencers(db, vec![row]).await?;
    shown.into_iter().next().ok_or(Error::Malformed { what: "a sequencer" })
}

/// One sequencer with the position that it had after an L1 block.
pub async fn sequencer_then<C: ConnectionTrait>(
    db: &C,
    row: sequencer::Row,
    then: &position::Row,
    block: i64,
) -> Result<wire::Sequencer, Error> {
    let owner_key = account_key::of(db, then.owner.0).await?.unwrap_or_default();
    let signer_key = account_key::of(db, then.signer.0).await?.unwrap_or_default();
    let place = cursor::of(db, &row.network).await?;
    let mut shown = sequencer(row, then, (owner_key, signer_key), Vec::new(), place.as_ref());
    let finality = match place {
        Some(place) if block <= place.finalized => Finality::Finalized,
        Some(place) if block <= place.safe => Finality::Safe,
        _ => Finality::Latest,
    };
    let at = BlockRef { number: height(block), hash: String::new(), time: None };
    shown.as_of = Some(AsOf { network: shown.network.clone(), block: Some(at), finality: finality.into() });
    Ok(shown)
}

fn sequencer(
    row: sequencer::Row,
    position: &position::Row,
    (owner_key, signer_key): (String, String),
    flags: Vec<flag::Row>,
    place: Option<&cursor::Row>,
) -> wire::Sequencer {
    let labels = row.labels().into_iter().collect();
    let listing = listing_of(&row).map(wire::ListingFields::from);
    let position::Row { phase: at, seq_id, owner, signer, signer_pubkey, recipient, locked, .. } =
        position.clone();
    let pubkey = signer_pubkey.or(row.signer_pubkey);
    wire::Sequencer {
        id: row.id.to_string(),
        as_of: Some(as_of(&row.network, place)),
        network: row.network,
        name: row.name,
        managed: row.managed,
        owner: Some(wire::Account { address: owner.0.to_string(), key_id: owner_key }),
        signer: Some(wire::Account { address: signer.0.to_string(), key_id: signer_key }),
        signer_pubkey: pubkey.as_deref().map(hex_of).unwrap_or_default(),
        reward_recipient: recipient.map(|recipient| recipient.0.to_string()).unwrap_or_default(),
        labels,
        listing,
        withdrawable_time: position
            .withdrawable_at
            .filter(|_| at == "EXITING" || at == "WITHDRAWABLE")
            .map(time),
        phase: phase(&at),
        sequencer_id: seq_id.map(|id| id.0.to_string()).unwrap_or_default(),
        locked_wei: locked.0.to_string(),
        flags: flags
            .into_iter()
            .map(|flag| wire::Flag { name: flag.name, reason: flag.reason, since: Some(time(flag.since)) })
            .collect(),
        create_time: Some(time(row.create_time)),
        etag: row.version.to_string(),
    }
}

/// A state change.
pub fn transition(row: transition::Row) -> wire::Transition {
    let block = BlockRef {
        number: height(row.block_number),
        hash: row.block_hash.map(|hash| hash.0.to_string()).unwrap_or_default(),
        time: Some(time(row.block_time)),
    };
    let log = row.log_layer.map(|layer| LogRef {
        layer: if layer == 2 { Layer::L2 } else { Layer::L1 }.into(),
        block: Some(BlockRef {
            number: row.log_block_number.map(height).unwrap_or_default(),
            hash: row.log_block_hash.map(|hash| hash.0.to_string()).unwrap_or_default(),
            time: row.log_block_time.map(time),
        }),
        transaction_hash: row.log_transaction.map(|hash| hash.0.to_string()).unwrap_or_default(),
        log_index: row.log_index.and_then(|index| u32::try_from(index).ok()).unwrap_or_default(),
    });
    wire::Transition {
        id: height(row.id),
        sequencer: row.sequencer.to_string(),
        network: row.network,
        from: row.from_phase.as_deref().map(phase).unwrap_or_default(),
        to: phase(&row.to_phase),
        cause: row.cause,
        log,
        block: Some(block),
        undone: row.undone,
        record_time: Some(time(row.record_time)),
    }
}

/// Operations with their transactions and steps, in the order given.
pub async fn operations<C: ConnectionTrait>(
    db: &C,
    rows: Vec<operation::Row>,
) -> Result<Vec<wire::Operation>, Error> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let (mut calls, mut steps) = (BTreeMap::<Uuid, Vec<_>>::new(), BTreeMap::<Uuid, Vec<_>>::new());
    for row in transaction::of_operations(db, &ids).await? {
        calls.entry(row.operation).or_default().push(call(row));
    }
    let mut decisions = BTreeMap::<Uuid, Vec<_>>::new();
    for row in approval::of_many(db, &ids).await? {
        decisions.entry(row.subject).or_default().push(row);
    }
    for row in step::of_many(db, &ids).await? {
        let step::Row { operation, state: entered, reason, time: at } = row;
        let shown = wire::OperationStep { state: state(&entered), reason, time: Some(time(at)) };
        steps.entry(operation).or_default().push(shown);
    }
    rows.into_iter()
        .map(|row| {
            let (calls, steps) = (calls.remove(&row.id), steps.remove(&row.id));
            let terms = terms(&row, &decisions.remove(&row.id).unwrap_or_default());
            let shown = operation(row, calls.unwrap_or_default(), steps.unwrap_or_default())?;
            Ok(wire::Operation { terms: Some(terms), ..shown })
        })
        .collect()
}

/// One operation.
pub async fn operation_of<C: ConnectionTrait>(db: &C, row: operation::Row) -> Result<wire::Operation, Error> {
    let shown = operations(db, vec![row]).await?;
    shown.into_iter().next().ok_or(Error::Malformed { what: "an operation" })
}

/// An operation that is being stored at `at`, with nothing of it in the tables yet.
pub fn new_operation(
    row: operation::Row,
    calls: Vec<transaction::Row>,
    at: OffsetDateTime,
) -> Result<wire::Operation, Error> {
    let first =
        wire::OperationStep { state: state(&row.state), reason: row.reason.clone(), time: Some(time(at)) };
    let terms = terms(&row, &[]);
    let shown = operation(row, calls.into_iter().map(call).collect(), vec![first])?;
    Ok(wire::Operation { terms: Some(terms), ..shown })
}

/// The terms of an operation, its approvals, and what it waits for.
fn terms(row: &operation::Row, decisions: &[approval::Row]) -> wire::OperationTerms {
    let now = OffsetDateTime::now_utc();
    let digest = state_of::digest_of(row);
    let (requirements, approvals) =
        state_of::shown(&state_of::requirements(&row.requirements), decisions, digest, now);
    wire::OperationTerms {
        not_before: row.not_before.map(time),
        deadline: row.deadline.map(time),
        recipient_if_unset: row.recipient_if_unset.map(|to| to.0.to_string()).unwrap_or_default(),
        digest: digest.to_string(),
        requirements,
        approvals,
        approve_by: row.approve_by.map(time),
        origin: row.origin.clone(),
        waits: waits::sentence(row, now),
    }
}

fn operation(
    row: operation::Row,
    transactions: Vec<wire::Transaction>,
    steps: Vec<wire::OperationStep>,
) -> Result<wire::Operation, Error> {
    let parameters = wire::OperationParameters::decode(row.parameters.as_slice())
        .map_err(|_| Error::Malformed { what: "the parameters of an operation" })?;
    let mode = if row.is_managed() { wire::OperationMode::Managed } else { wire::OperationMode::Prepared };
    Ok(wire::Operation {
        id: row.id.to_string(),
        network: row.network,
        sequencer: row.sequencer.to_string(),
        kind: kind(&row.kind),
        parameters: Some(parameters),
        mode: mode.into(),
        state: state(&row.state),
        reason: row.reason,
        reason_code: row.reason_code,
        transactions,
        steps,
        caller: row.caller,
        words: row.words,
        create_time: Some(time(row.create_time)),
        update_time: Some(time(row.update_time)),
        expire_time: row.expire_time.map(time),
        terms: None,
    })
}

fn call(row: transaction::Row) -> wire::Transaction {
    let block = row.receipt_block.map(|number| BlockRef {
        number: height(number),
        hash: row.receipt_hash.map(|hash| hash.0.to_string()).unwrap_or_default(),
        time: row.receipt_time.map(time),
    });
    wire::Transaction {
        unsigned: Some(unsigned(&row)),
        step: row.step_name,
        hash: row.hash.map(|hash| hash.0.to_string()).unwrap_or_default(),
        state: row.state,
        block,
        words: row.words,
        last_answer: row.last_answer,
        mined_form: row.mined_intent.unwrap_or_default(),
        cancel_reason: row.cancel_reason.unwrap_or_default(),
        paid_wei: row.paid.map(|wei| wei.0.to_string()).unwrap_or_default(),
    }
}
