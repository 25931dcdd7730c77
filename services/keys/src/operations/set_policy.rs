//! SetPolicy: replaces the policy as a whole, if it is still the one the editor started from, and if as many others
//! approve of exactly this document as the policy in force asks for. Versions stay for ever, the record tells the
//! difference, and the next decision of every replica notices the new one.

use alloy_primitives::B256;
use api::convert::bad;
use api::keys::v1::{SetPolicyRequest, SetPolicyResponse};
use api::reasons::{POLICY_CONFLICT, POLICY_INVALID};
use runtime::errors::Refusal;
use sha2::{Digest, Sha256};

use super::{quorum, recorded, wire};
use crate::audit::Entry;
use crate::db;
use crate::error::{Declined, Failure};
use crate::keyring::{Keyring, parsed};
use crate::policy::{Policy, difference, intent};

pub async fn run(
    keyring: &Keyring,
    caller: &str,
    request: SetPolicyRequest,
) -> Result<SetPolicyResponse, Declined> {
    let entry = Entry {
        caller: caller.to_owned(),
        action: "SetPolicy",
        intent: format!("replace version {} of the policy", request.expected_version),
        digest: Some(B256::from_slice(&Sha256::digest(&request.toml))),
        ..Entry::default()
    };
    recorded(keyring, &entry, set(keyring, &entry, request)).await
}

async fn set(
    keyring: &Keyring,
    entry: &Entry,
    request: SetPolicyRequest,
) -> Result<SetPolicyResponse, Declined> {
    let SetPolicyRequest { toml, expected_version, validate_only } = request;
    Policy::parse(&toml).map_err(|invalid| bad(&POLICY_INVALID, "toml", invalid))?;
    let (toml, caller) = (toml.as_str(), entry.caller.as_str());
    let answer = store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            let before = db::policy::in_force(&tx).await?.ok_or(Failure::PolicyMissing)?;
            if u64::try_from(before.version) != Ok(expected_version) {
                return Err(conflict(before.version).into());
            }
            let changes = difference::between(&before.toml, toml)
                .map_err(|invalid| bad(&POLICY_INVALID, "toml", invalid))?;
            let needed = parsed(&before)?.policy.quorum.set_policy;
            let digest = intent::policy(expected_version, toml);
            let after = if validate_only {
                before
            } else {
                quorum::of_others(&tx, digest, needed, caller).await?;
                let next = before.version + 1;
                db::policy::insert(&tx, next, toml, caller).await?.ok_or_else(|| conflict(next))?
            };
            let note = if validate_only { " (validate only)" } else { "" };
            let words = format!("{}{note}: {changes}", entry.intent);
            db::audit::append(&tx, Entry { intent: words, ..entry.clone() }.allowed()).await?;
            if needed > 0 && !validate_only {
                db::approval::use_up(&tx, digest, caller).await?;
            }
            Ok::<_, Declined>(SetPolicyResponse { policy: Some(wire::policy(after)) })
        })
    })
    .await?;
    keyring.reload_policy().await?;
    Ok(answer)
}

fn conflict(version: i64) -> Refusal {
    Refusal::new(&POLICY_CONFLICT, format!("the policy has version {version} by now"))
        .field("expected_version", "is not the version in force")
        .meta("version", version)
}
