//! Places in a send, and between the steps of workflows, where a test may stop the process, to prove that nothing is done twice or lost.
//!
//! They are always compiled, so that what is tested is what runs, and refused at start unless every network is a
//! devnet by its chain id. A point of a send is met on its first pass only, never when a restarted lane resumes it:
//! the same configuration therefore stops a process once for each operation. Those around a receipt or a confirmation
//! are met whenever one is stored, those of workflows whenever a member, a look or an admission has its turn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Chain ids that no public network has: anvil and hardhat, geth's developer chain, ganache.
const DEVNET_CHAIN_IDS: [u64; 4] = [31_337, 31_338, 1_337, 5_777];

/// Where in a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// The nonce is allocated and stored, nothing is signed.
    AfterNonce,
    /// The keys service has signed, nothing is stored.
    AfterSignBeforeStore,
    /// The signed bytes are stored, nothing is sent.
    AfterStoreBeforeBroadcast,
    /// The bytes are sent, no answer is stored.
    AfterBroadcastBeforeRecord,
    /// A receipt is seen, it is not stored.
    BeforeReceipt,
    /// The receipt is stored, nothing else.
    AfterReceipt,
    /// A transaction is deep enough, that is not stored.
    BeforeConfirm,
    /// That it is deep enough is stored, nothing else.
    AfterConfirm,
    /// The first call of an operation is mined, the next one has no nonce yet.
    BetweenSteps,
    /// A fleet has decided to begin a member, its operation is not stored.
    BeforeMember,
    /// The operation of a member is stored, nothing else.
    AfterMember,
    /// A schedule has decided to act, its operation is not stored.
    BeforeRun,
    /// The operation of a schedule is stored, its decision is not.
    AfterRun,
    /// An operation is taken in that waits, its time has come, it is not moved on.
    BeforeAdmission,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The process ends at once, as by SIGKILL.
    Abort,
    /// The send stands still for ever.
    Pause,
}

/// The configured points.
#[derive(Debug, Clone, Default)]
pub struct Failpoints(BTreeMap<Point, Action>);

/// Failpoints are for devnets only.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("lifecycle.failpoints is set, but chain {chain_id} is no devnet")]
pub struct NotADevnet {
    /// The chain that forbids it.
    pub chain_id: u64,
}

impl Failpoints {
    /// Takes the points if every chain is a devnet.
    pub fn new(
        points: BTreeMap<Point, Action>,
        chain_ids: impl IntoIterator<Item = u64>,
    ) -> Result<Self, NotADevnet> {
        let public = chain_ids.into_iter().find(|id| !DEVNET_CHAIN_IDS.contains(id));
        match public {
            Some(chain_id) if !points.is_empty() => Err(NotADevnet { chain_id }),
            _ => Ok(Self(points)),
        }
    }

    /// Does what is configured for this point; nothing if nothing is.
    pub async fn meet(&self, point: Point) {
        match self.0.get(&point) {
            None => {}
            Some(Action::Abort) => std::process::abort(),
            Some(Action::Pause) => std::future::pending::<()>().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failpoints_are_refused_on_a_public_chain() {
        let points = BTreeMap::from([(Point::AfterNonce, Action::Abort)]);
        assert_eq!(Failpoints::new(points.clone(), [31_337, 1]).unwrap_err(), NotADevnet { chain_id: 1 });
        assert!(Failpoints::new(points, [31_337]).is_ok());
        assert!(Failpoints::new(BTreeMap::new(), [1]).is_ok());
    }
}
