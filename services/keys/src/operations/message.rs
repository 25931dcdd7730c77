//! What SignMessage and SignTypedData share: judged here, decided by the database in one statement, then signed.
//!
//! There is no nonce to guard: the same message has the same signature, and none is ever a transaction (see
//! `crate::message`).

use alloy_primitives::Signature;
use api::convert::bad;
use api::reasons::{KEY_NOT_ENABLED, MESSAGE_INVALID, POLICY_CONFLICT, TYPED_DATA_INVALID};
use runtime::errors::Refusal;
use time::OffsetDateTime;

use super::{clip, denial};
use crate::audit::{Entry, verdict};
use crate::backend::Payload;
use crate::db::key::Key;
use crate::db::message::{Decision, Question, Record};
use crate::error::{Declined, Failure};
use crate::keyring::{InForce, Keyring};
use crate::message::Preimage;
use crate::message::typed::Typed;
use crate::policy::document::TypedData;
use crate::policy::{Allowance, Request, Subject, intent};

/// Times that the policy may change under one request.
const ATTEMPTS_MAX: u32 = 3;

/// A well-formed message.
pub struct Asked<'a> {
    pub preimage: Preimage,
    content: Content<'a>,
}

enum Content<'a> {
    Text(&'a str),
    Typed(TypedData),
}

/// What was signed, and why.
pub struct Signed {
    pub signature: String,
    pub signing_hash: String,
    pub words: String,
    pub rule: String,
    pub audit_sequence: u64,
}

/// A text that may be signed; `field` is where it stands in the request.
pub fn text<'a>(text: &'a str, field: &str) -> Result<Asked<'a>, Refusal> {
    let preimage = Preimage::of_text(text).map_err(|why| bad(&MESSAGE_INVALID, field, why))?;
    Ok(Asked { preimage, content: Content::Text(text) })
}

/// Typed data that may be signed; `field` is where it stands in the request.
pub fn typed(json: &str, field: &str) -> Result<Asked<'static>, Refusal> {
    let Typed { data, preimage } = Typed::parse(json).map_err(|why| {
        let path = format!("{field}.{}", why.path);
        bad(&TYPED_DATA_INVALID, &path, why.problem)
    })?;
    Ok(Asked { preimage, content: Content::Typed(data) })
}

impl Asked<'_> {
    /// In words, for approvers and the audit log.
    pub fn words(&self, key: &Key) -> String {
        match &self.content {
            Content::Text(text) => {
                format!(
                    "sign the text of {} bytes that begins \"{}\", by {}",
                    text.len(),
                    clip(text),
                    key.address
                )
            }
            Content::Typed(data) => format!("sign typed data {data}, by {}", key.address),
        }
    }

    fn judge(&self, policy: &InForce, key: &Key, caller: &str) -> Result<Allowance, Refusal> {
        let subject = match &self.content {
            Content::Text(text) => Subject::Message(text),
            Content::Typed(data) => {
                let mut contracts = policy.policy.contracts.iter();
                let network = contracts.find(|(_, contracts)| contracts.chain_id == data.chain_id);
                Subject::TypedData { network: network.map(|(name, _)| name.as_str()), data }
            }
        };
        let request = Request {
            caller,
            key: key.facts(),
            account: key.address,
            now: OffsetDateTime::now_utc(),
            subject,
        };
        match policy.policy.allowances(&request) {
            Ok((first, _)) => Ok(first),
            Err(why) => Err(denial::denied(policy.version, why)),
        }
    }

    fn kind(&self) -> &'static str {
        match self.content {
            Content::Text(_) => "message",
            Content::Typed(_) => "typed_data",
        }
    }
}

/// Decides about a message, and signs it.
pub async fn sign(keyring: &Keyring, entry: &Entry, asked: &Asked<'_>) -> Result<Signed, Declined> {
    // One of those of transactions: operators find free places whatever is signed.
    let _place = keyring.decisions.place()?;
    let key = keyring.key(&entry.key_id).await?;
    let signing_hash = asked.preimage.signing_hash();
    let intent_digest = intent::message(key.address, signing_hash);
    let words = asked.words(&key);
    for _ in 0..ATTEMPTS_MAX {
        let policy = keyring.policy();
        let judged = asked.judge(&policy, &key, &entry.caller);
        let entry = Entry {
            intent: words.clone(),
            digest: Some(signing_hash),
            policy_version: u64::try_from(policy.version).unwrap_or_default(),
            ..entry.clone()
        };
        let approvals = judged.as_ref().map(|allowance| allowance.approvals).unwrap_or_default();
        let question = Question {
            key_id: &key.id,
            policy_version: policy.version,
            caller: &entry.caller,
            intent_digest,
            approvals,
            record: record(&entry, &judged),
        };
        let decision = keyring.decisions.decide_message(&keyring.db, question).await?;
        if decision == Decision::Stale {
            keyring.reload_policy().await?;
            continue;
        }
        let refused = match (decision, judged) {
            (Decision::Sign { audit_sequence }, Ok(Allowance { rule, .. })) => {
                keyring.metrics.decided("none", asked.kind(), "OK");
                let signature = signature(keyring, &key, &asked.preimage).await?;
                return Ok(Signed {
                    signature: format!("0x{}", hex::encode(signature.as_bytes())),
                    signing_hash: signing_hash.to_string(),
                    words,
                    rule: format!("{rule}, policy {}", policy.version),
                    audit_sequence,
                });
            }
            (_, Err(refusal)) => refusal,
            (Decision::NotEnabled, Ok(_)) => Refusal::new(&KEY_NOT_ENABLED, "the key is disabled or frozen"),
            (Decision::Approvals { approvers }, Ok(_)) => {
                denial::approvals_missing(intent_digest, approvals, approvers)
            }
            // The database refuses only what was judged so, and a stale policy was judged again.
            (Decision::Refused | Decision::Stale, Ok(_)) => {
                Refusal::new(&POLICY_CONFLICT, "the policy was changed in between")
            }
        };
        keyring.metrics.decided("none", asked.kind(), refused.reason.name);
        return Err(Declined::Recorded(refused));
    }
    Err(Refusal::new(&POLICY_CONFLICT, "the policy keeps changing").into())
}

/// The one place where a message meets a key.
async fn signature(keyring: &Keyring, key: &Key, preimage: &Preimage) -> Result<Signature, Failure> {
    keyring.sign(key, &Payload::new(preimage.bytes().to_vec())).await
}

fn record(entry: &Entry, judged: &Result<Allowance, Refusal>) -> Record {
    let refused_for = |reason: &str| verdict(false, reason);
    Record {
        fields: entry.fields(),
        refused: judged.as_ref().err().map(|refusal| {
            let rule = refusal.metadata.get("rule").map(|rule| format!("{}: {rule}", refusal.reason.name));
            refused_for(rule.as_deref().unwrap_or(refusal.reason.name))
        }),
        as_allowed: verdict(
            true,
            judged.as_ref().map(|allowance| allowance.rule.as_str()).unwrap_or_default(),
        ),
        as_not_enabled: refused_for(KEY_NOT_ENABLED.name),
        as_approvals: refused_for(api::reasons::APPROVALS_MISSING.name),
    }
}
