//! SetPolicy: replaces the policy as a whole, if it is still the one the editor started from. Versions
//! stay for ever; the next decision of every replica notices the new one.

use alloy_primitives::B256;
use api::convert::bad;
use api::keys::v1::{SetPolicyRequest, SetPolicyResponse};
use api::reasons::{POLICY_CONFLICT, POLICY_INVALID};
use runtime::errors::Refusal;
use sha2::{Digest, Sha256};

use super::{recorded, wire};
use crate::audit::{self, Entry};
use crate::db;
use crate::error::{Declined, Failure};
use crate::keyring::Keyring;
use crate::policy::Policy;

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
    let parsed = &Policy::parse(&toml).map_err(|invalid| bad(&POLICY_INVALID, "toml", invalid))?;
    let (toml, caller) = (toml.as_str(), entry.caller.as_str());
    let answer = store::in_transaction(&keyring.db, move |tx| {
        Box::pin(async move {
            let before = db::policy::in_force(&tx).await?.ok_or(Failure::PolicyMissing)?;
            if u64::try_from(before.version) != Ok(expected_version) {
                return Err(conflict(before.version).into());
            }
            let difference = Policy::parse(&before.toml)
                .map_or("the one before does not parse any more".to_owned(), |old| {
                    audit::of_policies(&old, parsed)
                });
            let after = if validate_only {
                before
            } else {
                let next = before.version + 1;
                db::policy::insert(&tx, next, toml, caller).await?.ok_or_else(|| conflict(next))?
            };
            let intent = if validate_only {
                format!("{} (validate only): {difference}", entry.intent)
            } else {
                format!("{}: {difference}", entry.intent)
            };
            db::audit::append(&tx, Entry { intent, ..entry.clone() }.allowed()).await?;
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
