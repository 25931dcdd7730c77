//! Keys, policies and times as they cross the wire.

use api::convert::bad;
use api::keys::v1 as wire;
use api::reasons::ENUM_UNSPECIFIED;
use runtime::errors::{Refusal, generic};
use time::OffsetDateTime;

use crate::db::key::{Key, Labels, Role, State};
use crate::db::{self, policy};
use crate::policy::Denial;

/// Enough to group a fleet by; all of them are looked at in each decision.
const LABELS_MAX: usize = 32;
/// A label or its value.
const LABEL_CHARS_MAX: usize = 63;

pub fn time(time: OffsetDateTime) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.nanosecond()).expect("nanoseconds are below 10^9");
    prost_types::Timestamp { seconds: time.unix_timestamp(), nanos }
}

pub fn public_key(public: &domain::pubkey::PublicKey) -> wire::PublicKeyForms {
    wire::PublicKeyForms {
        address: public.address().to_string(),
        uncompressed: public.listing(),
        themis: public.themis(),
        tendermint_base64: public.tendermint_base64(),
        compressed_base64: public.compressed_base64(),
    }
}

pub fn state(state: State) -> wire::KeyState {
    match state {
        State::Enabled => wire::KeyState::Enabled,
        State::Disabled => wire::KeyState::Disabled,
        State::Frozen => wire::KeyState::Frozen,
    }
}

pub fn key(key: &Key) -> wire::Key {
    let Key { id, name, role, state, place, address: _, public_key: public, labels, .. } = key;
    let role = match role {
        Role::Owner => wire::KeyRole::Owner,
        Role::Sequencer => wire::KeyRole::Sequencer,
    };
    wire::Key {
        id: id.clone(),
        name: name.clone(),
        role: role.into(),
        state: self::state(*state).into(),
        backend: place.backend().to_owned(),
        backend_reference: place.reference().unwrap_or_default().to_owned(),
        public_key: Some(public_key(public)),
        labels: labels.clone(),
        create_time: Some(time(key.created_at)),
        backup_proven_time: key.backup_proven_at.map(time),
    }
}

pub fn policy(row: policy::Row) -> wire::Policy {
    let policy::Row { version, toml, set_by, set_at } = row;
    let version = u64::try_from(version).expect("versions are counted from 1");
    wire::Policy { version, toml, set_by, set_time: Some(time(set_at)) }
}

pub fn approval(row: db::approval::Row) -> wire::Approval {
    let db::approval::Row { id, intent_digest, words, approver, requester, approved_at, expires_at, .. } =
        row;
    wire::Approval {
        id,
        intent_digest: intent_digest.0.to_string(),
        words,
        approver,
        requested_by: requester,
        approve_time: Some(time(approved_at)),
        expire_time: Some(time(expires_at)),
        revoke_time: row.revoked_at.map(time),
        used_audit_sequence: row.used_sequence.and_then(|n| u64::try_from(n).ok()).unwrap_or_default(),
    }
}

/// What a policy says to a request.
pub fn denied(denial: Denial) -> wire::PolicyVerdict {
    let Denial { rule, field, bound, value } = denial;
    let rule = rule.unwrap_or_default();
    wire::PolicyVerdict { rule, field: field.to_owned(), bound, value, ..wire::PolicyVerdict::default() }
}

/// What a policy says to a request.
pub fn allowed(rule: String, approvals: u32) -> wire::PolicyVerdict {
    wire::PolicyVerdict { allowed: true, rule, approvals, ..wire::PolicyVerdict::default() }
}

/// A label to be frozen or thawed.
pub fn label(label: Option<wire::Label>) -> Result<wire::Label, Refusal> {
    let label = api::convert::present("label", label)?;
    api::convert::required("label.name", &label.name)?;
    labels("label", &Labels::from([(label.name.clone(), label.value.clone())]))?;
    Ok(label)
}

/// A role; `None` for the unspecified one.
pub fn role(field: &str, number: i32) -> Result<Option<Role>, Refusal> {
    match wire::KeyRole::try_from(number) {
        Ok(wire::KeyRole::Unspecified) => Ok(None),
        Ok(wire::KeyRole::Owner) => Ok(Some(Role::Owner)),
        Ok(wire::KeyRole::Sequencer) => Ok(Some(Role::Sequencer)),
        Err(_) => Err(bad(&ENUM_UNSPECIFIED, field, format!("{number} is no role"))),
    }
}

pub fn role_required(field: &str, number: i32) -> Result<Role, Refusal> {
    role(field, number)?.ok_or_else(|| bad(&ENUM_UNSPECIFIED, field, "choose OWNER or SEQUENCER"))
}

pub fn state_required(field: &str, number: i32) -> Result<State, Refusal> {
    match wire::KeyState::try_from(number) {
        Ok(wire::KeyState::Enabled) => Ok(State::Enabled),
        Ok(wire::KeyState::Disabled) => Ok(State::Disabled),
        Ok(wire::KeyState::Frozen) => Ok(State::Frozen),
        Ok(wire::KeyState::Unspecified) | Err(_) => {
            Err(bad(&ENUM_UNSPECIFIED, field, "choose ENABLED, DISABLED or FROZEN"))
        }
    }
}

pub fn labels(field: &str, labels: &Labels) -> Result<(), Refusal> {
    if labels.len() > LABELS_MAX {
        return Err(bad(&generic::INVALID_ARGUMENT, field, format!("at most {LABELS_MAX} labels")));
    }
    let fits = |text: &str| text.chars().count() <= LABEL_CHARS_MAX && !text.chars().any(char::is_control);
    match labels.iter().find(|(label, value)| label.is_empty() || !fits(label) || !fits(value)) {
        None => Ok(()),
        Some(_) => {
            let rule =
                format!("labels have 1 to {LABEL_CHARS_MAX} printable characters, values at most as many");
            Err(bad(&generic::INVALID_ARGUMENT, field, rule))
        }
    }
}
