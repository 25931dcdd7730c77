//! GetBlastRadius: what each identity and each key could move in 24 hours at most. Only enabled keys count.

use std::collections::BTreeMap;

use api::keys::v1::{
    GetBlastRadiusRequest, GetBlastRadiusResponse, IdentityReach, KeyReach, Reach as WireReach,
};

use super::explain_policy::policy_of;
use super::wire;
use crate::db;
use crate::db::key::State;
use crate::error::Declined;
use crate::keyring::{InForce, Keyring};
use crate::policy::reach::{Most, Reach, identities, of_key};

/// Keys of one look, and keys that are listed; the sums of identities are over all.
const PAGE: u32 = 500;
/// Each is summed over all keys; a policy names a handful.
const IDENTITIES_MAX: usize = 50;

pub async fn run(
    keyring: &Keyring,
    _caller: &str,
    request: GetBlastRadiusRequest,
) -> Result<GetBlastRadiusResponse, Declined> {
    let InForce { version, policy } = policy_of(keyring, &request.toml).await?;
    let named = identities(&policy).into_iter().take(IDENTITIES_MAX);
    let mut sums: BTreeMap<&str, (Reach, Reach)> = named.map(|name| (name, Default::default())).collect();
    let (mut keys, mut examined) = (Vec::new(), 0_u32);
    let mut after = None;
    loop {
        let page = db::key::page(&keyring.db, None, after.take(), PAGE).await?;
        for key in &page {
            examined = examined.saturating_add(1);
            let enabled = key.state == State::Enabled;
            let (alone, approved) =
                if enabled { of_key(&policy, key.facts(), None) } else { Default::default() };
            for (identity, sum) in sums.iter_mut().filter(|_| enabled) {
                let (own, all) = of_key(&policy, key.facts(), Some(identity));
                *sum = (sum.0.and(own), sum.1.and(all));
            }
            if keys.len() < PAGE as usize {
                keys.push(KeyReach {
                    key_id: key.id.clone(),
                    name: key.name.clone(),
                    state: wire::state(key.state).into(),
                    alone: Some(reach(alone)),
                    approved: Some(reach(approved)),
                });
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after = Some((last.created_at, last.id.clone())),
            _ => break,
        }
    }
    let identities = sums.into_iter().map(|(identity, (alone, approved))| IdentityReach {
        identity: identity.to_owned(),
        alone: Some(reach(alone)),
        approved: Some(reach(approved)),
    });
    Ok(GetBlastRadiusResponse {
        policy_version: u64::try_from(version).unwrap_or_default(),
        identities: identities.collect(),
        keys,
        keys_examined: examined,
    })
}

fn reach(reach: Reach) -> WireReach {
    let Reach { metis, eth, can_unlock, can_give_away, can_redirect_rewards, can_sign_messages } = reach;
    let most = |most: Most| match most {
        Most::Wei(wei) => (wei.to_string(), false),
        Most::Unbounded => (String::new(), true),
    };
    let ((metis_wei, metis_unbounded), (eth_wei, eth_unbounded)) = (most(metis), most(eth));
    WireReach {
        metis_wei,
        metis_unbounded,
        eth_wei,
        eth_unbounded,
        can_unlock,
        can_give_away,
        can_redirect_rewards,
        can_sign_messages,
    }
}
