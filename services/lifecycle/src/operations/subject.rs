//! Who an operation is about: the register and the projection, joined for one decision.

use alloy_primitives::Address;
use api::lifecycle::v1::OperationParameters;
use api::reasons;
use domain::ids::SequencerId;
use domain::operation::Operation;
use domain::pubkey::PublicKey;
use prost::Message;
use runtime::errors::Refusal;
use uuid::Uuid;

use super::facts::Subject;
use crate::approval::state;
pub use crate::db::standing::Row as Standing;
use crate::db::{self, account_key, cursor, operation};
use crate::error::Error;
use crate::fleet::Fleet;
use crate::request::{self, Registered, SignerAsked};

/// The sequencer with this id in the register.
pub async fn standing(fleet: &Fleet, id: Uuid) -> Result<Standing, Error> {
    let found = db::standing::of(&fleet.db, id).await?;
    Ok(found.ok_or_else(|| {
        Refusal::new(&reasons::SEQUENCER_NOT_FOUND, format!("there is no sequencer {id}"))
            .meta("sequencer", id)
    })?)
}

/// An operation with who it is about, read from what was asked.
pub async fn asked(
    fleet: &Fleet,
    standing: &Standing,
    parameters: &OperationParameters,
    operation: Option<Uuid>,
) -> Result<(Operation, Subject), Error> {
    let Standing { register, position, signer_key, open, prepared, place, owner_key: _ } = standing;
    let registered = Registered {
        signer: register.signer_pubkey.as_deref().and_then(|bytes| PublicKey::from_bytes(bytes).ok()),
        recipient: register.wanted_recipient.map_or(register.owner.0, |recipient| recipient.0),
    };
    let (new_signer, new_key) = new_signer(fleet, parameters).await?;
    let parsed = request::operation(parameters, &registered, new_signer)?;
    let signer_key = match parsed {
        Operation::RotateSigner { .. } => new_key,
        _ => signer_key.clone(),
    };
    let subject = Subject {
        seq_id: position.seq_id.and_then(|id| SequencerId::try_from(id.0).ok()),
        owner: position.owner.0,
        signer: position.signer.0,
        signer_key,
        recipient_if_unset: None,
        open_operation: open.iter().copied().find(|id| Some(*id) != operation),
        open_prepared: prepared.iter().copied().find(|id| Some(*id) != operation),
        hold: place.as_ref().and_then(cursor::Row::hold),
        approved: None,
    };
    Ok((parsed, subject))
}

/// The public key of a rotation's new signer, and its key where it is ours. The key is noted at once: after the
/// rotation it is by the address that we find it.
async fn new_signer(
    fleet: &Fleet,
    parameters: &OperationParameters,
) -> Result<(Option<PublicKey>, Option<String>), Error> {
    match request::signer_asked(parameters)? {
        None => Ok((None, None)),
        Some(SignerAsked::Pubkey(key)) => Ok((Some(key), account_key::of(&fleet.db, key.address()).await?)),
        Some(SignerAsked::Key(id)) => {
            let key = pubkey_of(fleet, &id).await?;
            account_key::put(&fleet.db, key.address(), &id).await?;
            Ok((Some(key), Some(id)))
        }
    }
}

/// The public key of a key of ours.
pub async fn pubkey_of(fleet: &Fleet, key_id: &str) -> Result<PublicKey, Error> {
    let key = fleet.neighbours.key(key_id).await?;
    let forms = key.public_key.ok_or(Error::Malformed { what: "a key without public key" })?;
    PublicKey::from_hex(&forms.uncompressed).map_err(|_| Error::Malformed { what: "a public key of keys" })
}

/// A stored operation, read again as it was asked.
pub async fn stored(fleet: &Fleet, row: &operation::Row) -> Result<(Operation, Subject), Error> {
    let parameters = OperationParameters::decode(row.parameters.as_slice())
        .map_err(|_| Error::Malformed { what: "the parameters of an operation" })?;
    let standing = standing(fleet, row.sequencer).await?;
    let (operation, mut subject) = asked(fleet, &standing, &parameters, Some(row.id)).await?;
    subject.recipient_if_unset = row.recipient_if_unset.map(|recipient| recipient.0);
    subject.approved = (!state::requirements(&row.requirements).is_empty()).then(|| row.words.clone());
    Ok((operation, subject))
}

/// The key that signs for an account; refused where the account is not ours.
pub async fn key_of(fleet: &Fleet, account: Address) -> Result<String, Error> {
    if let Some(id) = account_key::of(&fleet.db, account).await? {
        return Ok(id);
    }
    // An owner change on chain may have made another key of ours the owner.
    let Some(key) = fleet.neighbours.key_at(account).await? else {
        let words = format!("{account} is no key of ours");
        return Err(Refusal::new(&reasons::ACCOUNT_EXTERNAL, words).meta("account", account).into());
    };
    account_key::put(&fleet.db, account, &key.id).await?;
    Ok(key.id)
}
