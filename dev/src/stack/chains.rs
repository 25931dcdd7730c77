//! L1 and L2 with the contracts on them; kept ones go on where they were.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::Anvil;
use testkit::anvil::{self, State};
use testkit::contracts::{
    L1, L1_CHAIN_ID, L1Options, L2, L2_CHAIN_ID, L2Options, Link, deploy_l1, deploy_l2,
};

use super::{Options, home::Home};
use crate::announce::{Announce, State as Told};

/// Nobody uses them: every account of a journey has its own key.
const ACCOUNTS: u32 = 1;

#[derive(Debug)]
pub(super) struct Chains {
    anvils: [Anvil; 2],
    pub(super) l1: L1,
    pub(super) l2: L2,
}

impl Chains {
    pub(super) async fn start(
        home: &Home,
        saved: Option<(L1, L2)>,
        options: &Options,
        announce: &Announce,
    ) -> Result<Self> {
        announce.state(Told::StartingChains);
        let secs = [options.l1_block_secs, options.l2_block_secs];
        if home.is_kept() {
            // Its rhythm is set after the clock was repaired, in whole seconds.
            ensure!(
                secs.iter().all(|secs| *secs >= 1.0),
                "a kept chain has at least a second between blocks"
            );
        }
        let of = |chain_id, hardfork: Option<&str>, file: &str, secs: f64| anvil::Options {
            chain_id: Some(chain_id),
            hardfork: hardfork.map(str::to_owned),
            accounts: Some(ACCOUNTS),
            own_group: true,
            block_time: (!home.is_kept()).then_some(secs),
            state: home.is_kept().then(|| State::Keep(home.path(file))),
            ..anvil::Options::default()
        };
        let (first, second) = tokio::join!(
            Anvil::start(of(L1_CHAIN_ID, None, "l1.state", secs[0])),
            Anvil::start(of(L2_CHAIN_ID, Some("berlin"), "l2.state", secs[1])),
        );
        let anvils = [first.context("starting L1")?, second.context("starting L2")?];
        let (l1, l2) = match saved {
            Some((l1, l2)) => (
                L1 { link: Link::to(&anvils[0].url())?, ..l1 },
                L2 { link: Link::to(&anvils[1].url())?, ..l2 },
            ),
            None => {
                announce.state(Told::DeployingContracts);
                let l2_options = L2Options { epoch_blocks: options.epoch_blocks, ..L2Options::default() };
                let l1 = deploy_l1(&anvils[0], L1Options::default()).await.context("deploying on L1")?;
                (l1, deploy_l2(&anvils[1], l2_options).await.context("deploying on L2")?)
            }
        };
        if home.is_kept() {
            for (link, secs) in [(&l1.link, secs[0]), (&l2.link, secs[1])] {
                repair_clock(link).await.context("setting the clock of a chain")?;
                // Whole seconds, as made sure above.
                let secs = secs as u64;
                link.rpc::<Value>("evm_setIntervalMining", json!([secs])).await?;
            }
        }
        Ok(Self { anvils, l1, l2 })
    }

    /// Process ids of L1 and L2.
    pub(super) fn pids(&self) -> [u32; 2] {
        [self.anvils[0].pid(), self.anvils[1].pid()]
    }

    pub(super) async fn stop(self) -> Result<()> {
        // Both write their state, which takes a moment for long chains.
        tokio::task::spawn_blocking(move || drop(self.anvils)).await.context("stopping the chains")
    }
}

/// A loaded chain has the clock of the wall, and may have been sent into the future before: the next
/// block must not be older than the last.
async fn repair_clock(link: &Link) -> Result<()> {
    let head = link.head().await?.timestamp;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    if let Some(ahead) = head.checked_sub(now) {
        link.rpc::<Value>("evm_increaseTime", json!([ahead + 1])).await?;
    }
    Ok(())
}
