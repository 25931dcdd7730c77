//! Adds a sequencer to the register, or makes an observed one ours. Changes nothing on chain.

use alloy_primitives::Address;
use api::keys::v1::KeyRole;
use api::lifecycle::v1::register_sequencer_request::{Owner, Signer};
use api::lifecycle::v1::{RegisterSequencerRequest, RegisterSequencerResponse};
use api::{convert, reasons};
use domain::phase::Phase;
use domain::pubkey::PublicKey;
use prost::Message;
use runtime::errors::Refusal;
use sea_orm::ConnectionTrait;
use store::column::Addr;
use store::{idempotency, in_transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::once::Once;
use super::view::{self, Listing};
use crate::db::{SCHEMA, account_key, cursor, position, sequencer, transition, whitelist};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::reconcile::follow::CHANNEL;

const METHOD: &str = "RegisterSequencer";

/// An account with the key behind it, if it is ours.
#[derive(Debug, Clone)]
struct Account {
    address: Address,
    pubkey: Option<PublicKey>,
    key_id: Option<String>,
}

/// Registers; asking again with the same request id gives the same answer.
pub async fn run(
    fleet: &Fleet,
    request: RegisterSequencerRequest,
    caller: &str,
) -> Result<RegisterSequencerResponse, Error> {
    let request_id = convert::request_id("request_id", &request.request_id)?;
    let once = Once::of(request_id, caller, &request, |bare| bare.request_id.clear());
    let network = fleet.network("network", &request.network)?.name.clone();
    let owner = owner(fleet, request.owner.as_ref()).await?;
    let signer = signer(fleet, request.signer.as_ref()).await?;
    let row = row(&request, network, &owner, &signer)?;
    if request.validate_only {
        check(&fleet.db, &row).await?;
        return Ok(RegisterSequencerResponse { sequencer: None });
    }
    in_transaction(&fleet.db, |tx| {
        let (once, row, owner, signer) = (once.clone(), row.clone(), owner.clone(), signer.clone());
        Box::pin(async move {
            let begun = idempotency::begin(&*tx, SCHEMA, &once.request_id, METHOD, &once.fingerprint).await?;
            if let Some(before) = once.answer(begun)? {
                return Ok(before);
            }
            let place = cursor::lock(&*tx, &row.network).await?;
            check(&*tx, &row).await?;
            for account in [&owner, &signer] {
                if let Some(key_id) = &account.key_id {
                    account_key::put(&*tx, account.address, key_id).await?;
                }
            }
            let stored = store_row(&*tx, row, &place).await?;
            let shown = view::sequencer_of(&*tx, stored).await?;
            let answer = RegisterSequencerResponse { sequencer: Some(shown) };
            idempotency::finish(&*tx, SCHEMA, &once.request_id, METHOD, &answer.encode_to_vec()).await?;
            Ok::<_, Error>(answer)
        })
    })
    .await
}

fn row(
    request: &RegisterSequencerRequest,
    network: String,
    owner: &Account,
    signer: &Account,
) -> Result<sequencer::Row, Refusal> {
    let recipient = match request.reward_recipient.as_str() {
        "" => owner.address,
        text => convert::address_nonzero("reward_recipient", text)?,
    };
    let listing = request.listing.clone().map(Listing::from);
    Ok(sequencer::Row {
        id: Uuid::now_v7(),
        network,
        name: convert::name("name", &request.name)?,
        managed: true,
        owner: Addr(owner.address),
        signer: Addr(signer.address),
        signer_pubkey: signer.pubkey.map(|key| key.bytes64().to_vec()),
        wanted_recipient: Some(Addr(recipient)),
        labels: serde_json::json!(request.labels),
        listing: listing.map(|listing| serde_json::json!(listing)),
        version: 1,
        create_time: OffsetDateTime::now_utc(),
    })
}

async fn owner(fleet: &Fleet, asked: Option<&Owner>) -> Result<Account, Error> {
    match convert::present("owner", asked)? {
        Owner::OwnerKeyId(id) => key(fleet, "owner_key_id", id, KeyRole::Owner).await,
        Owner::OwnerAddress(text) => {
            let address = convert::address_nonzero("owner_address", text)?;
            Ok(Account { address, pubkey: None, key_id: None })
        }
    }
}

async fn signer(fleet: &Fleet, asked: Option<&Signer>) -> Result<Account, Error> {
    match convert::present("signer", asked)? {
        Signer::SignerKeyId(id) => key(fleet, "signer_key_id", id, KeyRole::Sequencer).await,
        Signer::SignerPubkey(text) => {
            let key = convert::pubkey("signer_pubkey", text)?;
            Ok(Account { address: key.address(), pubkey: Some(key), key_id: None })
        }
    }
}

async fn key(fleet: &Fleet, field: &str, id: &str, role: KeyRole) -> Result<Account, Error> {
    convert::required(field, id)?;
    let key = fleet.neighbours.key(id).await?;
    if key.role() != role {
        let words = format!("key {} is no {} key", key.name, role.as_str_name());
        return Err(convert::bad(&reasons::KEY_ROLE_WRONG, field, words).into());
    }
    let forms = key.public_key.ok_or(Error::Malformed { what: "a key without public key" })?;
    let pubkey = PublicKey::from_hex(&forms.uncompressed)
        .map_err(|_| Error::Malformed { what: "a public key of keys" })?;
    Ok(Account { address: pubkey.address(), pubkey: Some(pubkey), key_id: Some(key.id) })
}

/// What the register itself forbids.
async fn check<C: ConnectionTrait>(db: &C, row: &sequencer::Row) -> Result<(), Error> {
    let taken = sequencer::of_name(db, &row.network, &row.name).await?;
    if taken.is_some_and(|other| other.managed || (other.owner, other.signer) != (row.owner, row.signer)) {
        return Err(convert::bad(&reasons::NAME_TAKEN, "name", format!("`{}` is taken", row.name)).into());
    }
    let mut same_signer = sequencer::of_signer(db, &row.network, row.signer.0).await?;
    same_signer.retain(|other| other.managed);
    let holders = position::of_signer(db, &row.network, row.signer.0).await?;
    let used = holders.iter().any(|holder| holder.seq_id.is_some() && holder.owner != row.owner);
    if !same_signer.is_empty() || used {
        let words = format!("signer {} belongs to another sequencer", row.signer.0);
        return Err(Refusal::new(&reasons::SIGNER_TAKEN, words).field("signer", "use another one").into());
    }
    for other in position::of_owner(db, &row.network, row.owner.0).await? {
        let live = other.phase != Phase::Withdrawn.name() && other.signer != row.signer;
        let register = sequencer::of_id(db, other.sequencer).await?;
        if let Some(register) = register.filter(|register| live && register.managed) {
            let words = format!("owner {} has the live sequencer {}", row.owner.0, register.name);
            return Err(Refusal::new(&reasons::OWNER_TAKEN, words)
                .field("owner", "use another one")
                .meta("sequencer", register.id)
                .into());
        }
    }
    Ok(())
}

/// Stores the row, or takes over what was only observed; the position of a new one says what the whitelist says.
pub async fn store_row<C: ConnectionTrait>(
    tx: &C,
    row: sequencer::Row,
    place: &cursor::Row,
) -> Result<sequencer::Row, Error> {
    let observed = sequencer::of_lock(tx, &row.network, row.owner.0, row.signer.0).await?;
    let id = match observed {
        Some(observed) => {
            let row = sequencer::Row { id: observed.id, ..row };
            sequencer::adopt(tx, &row).await?;
            row.id
        }
        None if sequencer::insert(tx, &row).await? => row.id,
        None => {
            return Err(convert::bad(&reasons::NAME_TAKEN, "name", format!("`{}` is taken", row.name)).into());
        }
    };
    let stored =
        sequencer::of_id(tx, id).await?.ok_or(Error::Malformed { what: "a registered sequencer" })?;
    if position::of(tx, id).await?.is_none() {
        begin(tx, &stored, place).await?;
    }
    Ok(stored)
}

/// The first state: what the whitelist says.
async fn begin<C: ConnectionTrait>(tx: &C, row: &sequencer::Row, place: &cursor::Row) -> Result<(), Error> {
    let whitelisted = whitelist::of(tx, &row.network, row.owner.0).await?;
    let phase = if whitelisted { Phase::Whitelisted } else { Phase::Registered };
    let position = position::Row::without_lock(row, phase.name());
    position::put(tx, &position).await?;
    let first = transition::New {
        sequencer: row.id,
        network: row.network.clone(),
        from_phase: None,
        to_phase: position.phase,
        cause: "registered by an operator".to_owned(),
        block_number: place.block_number.unwrap_or(0),
        block_hash: None,
        block_time: place.block_time.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        log: None,
    };
    transition::append(tx, &first).await?;
    Ok(store::notify::notify(tx, CHANNEL, &row.network).await?)
}
