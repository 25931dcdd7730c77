//! Places in a send, and between the steps of workflows, where a test may stop the process, to prove that nothing is done twice or lost.
//!
//! They are always compiled, so that what is tested is what runs, and refused at start unless every network is a
//! devnet by its chain id. A point of a send is met on its first pass only, never when a restarted lane resumes it:
//! the same configuration therefore stops a process once for each operation. All others are met whenever their turn comes:
//! a receipt or a confirmation is stored, a new form is made, a request is taken in, a member, a look or an admission.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, raise};
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
    /// The fees of a replacement or of a cancel are stored, nothing is signed with them.
    AfterReplan,
    /// The keys service has signed a replacement or a cancel, that is not stored.
    AfterNewFormSigned,
    /// A replacement or a cancel is stored, it is not sent.
    AfterNewFormStored,
    /// That somebody cancels what is signed is stored, nothing else.
    AfterCancelWanted,
    /// That a nonce is to be spent on nothing is stored, nothing is signed for it.
    BeforeFill,
    /// What a wallet signed is stored, it is not sent.
    AfterBind,
    /// New operations are written, that is not committed.
    BeforeIntake,
    /// New operations are committed, nobody has been answered.
    AfterIntake,
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
    /// The whole process stands still, as by SIGSTOP, until somebody continues it; once in its life.
    Stop,
}

/// The configured points.
#[derive(Debug, Clone, Default)]
pub struct Failpoints {
    points: BTreeMap<Point, Action>,
    /// Whether the process was stopped already.
    was_stopped: Arc<AtomicBool>,
}

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
            _ => Ok(Self { points, was_stopped: Arc::default() }),
        }
    }

    /// Does what is configured for this point; nothing if nothing is.
    pub async fn meet(&self, point: Point) {
        let Some(action) = self.points.get(&point) else { return };
        match action {
            Action::Abort => {
                tell(point);
                std::process::abort()
            }
            Action::Pause => {
                tell(point);
                std::future::pending::<()>().await;
            }
            Action::Stop => {
                if !self.was_stopped.swap(true, Ordering::SeqCst) {
                    tell(point);
                    // Fails for no signal that exists; a test that waits for it would say so.
                    let _ = raise(Signal::SIGSTOP);
                }
            }
        }
    }
}

/// The last words, unbuffered: tests look for them, so that nothing else passes for a failpoint.
fn tell(point: Point) {
    let _ = writeln!(std::io::stderr(), "failpoint {point:?}");
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
