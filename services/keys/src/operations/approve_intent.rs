//! ApproveIntent: one identity says yes to exactly one thing. The same approval twice adds a row and counts once.
//!
//! The digest is made here from the parts, never taken from the caller; who was shown a digest says which.

use alloy_primitives::{B256, U256};
use api::convert::{self, bad};
use api::keys::v1::approve_intent_request::Intent;
use api::keys::v1::thaw_intent::Target;
use api::keys::v1::{
    Approval, ApproveIntentRequest, ApproveIntentResponse, MessageIntent, PolicyIntent, ThawIntent,
    TransactionIntent, TypedDataIntent,
};
use api::reasons::{CALLDATA_UNKNOWN, LABEL_NOT_FROZEN, POLICY_CONFLICT, POLICY_INVALID};
use runtime::errors::{Refusal, generic};
use sha2::{Digest, Sha256};

use super::{clip, denial, message, recorded, wire};
use crate::audit::Entry;
use crate::db;
use crate::db::approval::New;
use crate::error::{Declined, Failure};
use crate::keyring::Keyring;
use crate::policy::judgement::Transaction;
use crate::policy::{Policy, difference, intent};

/// Time enough for a colleague to look.
const VALID_SECS_USUAL: u32 = 24 * 3600;
/// What is approved longer ago was approved of another world.
const VALID_SECS_MAX: u32 = 7 * 24 * 3600;
/// The longest known call has 292 bytes.
const CALLDATA_BYTES_MAX: usize = 4096;

/// What is approved.
struct Meant {
    digest: B256,
    words: String,
    key_id: String,
    network: String,
}

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: ApproveIntentRequest,
) -> Result<ApproveIntentResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "ApproveIntent",
        intent: "approve an intent".to_owned(),
        ..Entry::default()
    };
    recorded(keyring, &entry, approve(keyring, &entry, request)).await
}

async fn approve(
    keyring: &Keyring,
    entry: &Entry,
    request: ApproveIntentRequest,
) -> Result<ApproveIntentResponse, Declined> {
    let ApproveIntentRequest { intent, requested_by, valid_secs, expected_digest, validate_only } = request;
    let approver = entry.caller.as_str();
    if requested_by == approver {
        return Err(
            bad(&generic::INVALID_ARGUMENT, "requested_by", "nobody approves what they asked for").into()
        );
    }
    let valid_secs = match valid_secs {
        0 => VALID_SECS_USUAL,
        1..=VALID_SECS_MAX => valid_secs,
        _ => return Err(bad(&generic::INVALID_ARGUMENT, "valid_secs", "at most seven days").into()),
    };
    let meant = meant(keyring, convert::present("intent", intent)?).await?;
    if !expected_digest.is_empty() && convert::hash("expected_digest", &expected_digest)? != meant.digest {
        let why = format!("the intent has digest {}", meant.digest);
        return Err(bad(&generic::INVALID_ARGUMENT, "expected_digest", why).into());
    }
    let Meant { digest, words, key_id, network } = meant;
    let (id, requester) = (uuid::Uuid::now_v7().to_string(), clip(&requested_by));
    let entry = Entry { digest: Some(digest), key_id, network, ..entry.clone() };
    let (id, words, requester, entry) = (id.as_str(), words.as_str(), requester.as_str(), &entry);
    store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            let note = if validate_only { " (validate only)" } else { "" };
            let entry = Entry { intent: format!("approve: {words}{note}"), ..entry.clone() };
            let record = entry.allowed();
            let approval = if validate_only {
                db::audit::append(&tx, record).await?;
                Approval {
                    intent_digest: digest.to_string(),
                    words: words.to_owned(),
                    approver: approver.to_owned(),
                    requested_by: requester.to_owned(),
                    ..Approval::default()
                }
            } else {
                let valid_secs = i64::from(valid_secs);
                let new = New { id, digest, words, approver, requester, valid_secs, record };
                wire::approval(db::approval::insert(&tx, new).await?)
            };
            let approvers = db::approval::approvers(&tx, digest, "").await?;
            Ok(ApproveIntentResponse { approval: Some(approval), approvers })
        })
    })
    .await
}

async fn meant(keyring: &Keyring, intent: Intent) -> Result<Meant, Declined> {
    match intent {
        Intent::Transaction(transaction) => of_transaction(keyring, transaction).await,
        Intent::Policy(PolicyIntent { toml, expected_version }) => {
            Policy::parse(&toml).map_err(|invalid| bad(&POLICY_INVALID, "policy.toml", invalid))?;
            let before = db::policy::in_force(&keyring.db).await?.ok_or(Failure::PolicyMissing)?;
            if u64::try_from(before.version) != Ok(expected_version) {
                let sentence = format!("the policy has version {} by now", before.version);
                return Err(Refusal::new(&POLICY_CONFLICT, sentence).meta("version", before.version).into());
            }
            let changes = difference::between(&before.toml, &toml)
                .map_err(|invalid| bad(&POLICY_INVALID, "policy.toml", invalid))?;
            let document = hex::encode(Sha256::digest(&toml));
            let words = format!("replace version {expected_version} of the policy by {document}: {changes}");
            Ok(Meant {
                digest: intent::policy(expected_version, &toml),
                words,
                key_id: String::new(),
                network: String::new(),
            })
        }
        Intent::Thaw(ThawIntent { target }) => {
            of_thaw(keyring, convert::present("thaw.target", target)?).await
        }
        Intent::Message(MessageIntent { key_id, message }) => {
            let key = keyring.key(&key_id).await?;
            let asked = message::text(&message, "message.message")?;
            let (digest, words) =
                (intent::message(key.address, asked.preimage.signing_hash()), asked.words(&key));
            Ok(Meant { digest, words, key_id, network: String::new() })
        }
        Intent::TypedData(TypedDataIntent { key_id, json }) => {
            let key = keyring.key(&key_id).await?;
            let asked = message::typed(&json, "typed_data.json")?;
            let (digest, words) =
                (intent::message(key.address, asked.preimage.signing_hash()), asked.words(&key));
            Ok(Meant { digest, words, key_id, network: String::new() })
        }
    }
}

/// Only a call that could be signed under the policy's contracts: an approver is shown its words.
async fn of_transaction(keyring: &Keyring, intent: TransactionIntent) -> Result<Meant, Declined> {
    let TransactionIntent { key_id, network, to, value_wei_max, data } = intent;
    let key = keyring.key(&key_id).await?;
    let to = convert::address_nonzero("transaction.to", &to)?;
    let value_max = match value_wei_max.as_str() {
        "" => U256::ZERO,
        text => convert::eth("transaction.value_wei_max", text)?.0,
    };
    let malformed = || bad(&CALLDATA_UNKNOWN, "transaction.data", "0x and hex of at most 4096 bytes");
    let data = hex::decode(data.strip_prefix("0x").unwrap_or(&data)).map_err(|_| malformed())?;
    if data.len() > CALLDATA_BYTES_MAX {
        return Err(malformed().into());
    }
    let in_force = keyring.policy();
    let chain_id = in_force.policy.contracts.get(&network).map(|contracts| contracts.chain_id);
    let transaction = Transaction {
        network,
        chain_id: chain_id.unwrap_or_default(),
        to,
        value: value_max,
        cancel: to == key.address && data.is_empty(),
        data,
        gas_limit: 0,
        max_fee_per_gas: U256::ZERO,
    };
    let call = transaction
        .call(key.address, &in_force.policy)
        .map_err(|why| denial::no_call(in_force.version, &transaction, why))?;
    let words = format!("{}, with at most {value_max} wei", transaction.words(key.address, &call));
    let Transaction { network, chain_id, data, .. } = transaction;
    let digest = intent::digest(&network, chain_id, key.address, to, value_max, &data);
    Ok(Meant { digest, words, key_id, network })
}

async fn of_thaw(keyring: &Keyring, target: Target) -> Result<Meant, Declined> {
    let (digest, words, key_id) = match target {
        Target::KeyId(id) => {
            let key = keyring.key(&id).await?;
            let words = format!("end the freeze of key {} ({})", key.name, key.address);
            let frozen_at = db::key::frozen_at(&keyring.db, &key.id).await?;
            (intent::thaw_key(&key.id, frozen_at), words, id)
        }
        Target::Label(label) => {
            let named = (label.name.as_str(), label.value.as_str());
            let frozen = db::frozen_label::of_label(&keyring.db, named).await?.ok_or_else(|| {
                Refusal::new(&LABEL_NOT_FROZEN, "this label is not frozen")
                    .field("thaw.label", "is not frozen")
            })?;
            let words = format!("end the freeze of label {}={}", clip(&label.name), clip(&label.value));
            (intent::thaw_label(&label.name, &label.value, frozen.frozen_at), words, String::new())
        }
    };
    Ok(Meant { digest, words, key_id, network: String::new() })
}
