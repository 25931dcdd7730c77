//! Random chains with random reorganisations, in memory: what the pure parts make of them equals the model.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use api::indexer::v1::CreditMethod;
use chain::calldata::RewardBatch;
use domain::amount::Metis;
use domain::network::{NetworkSpec, Variant};
use indexer::db::{Layer, batch, parameters, record, whitelist};
use indexer::fold::credit::Shares;
use indexer::fold::digest::{Hashed, Link};
use indexer::fold::parameters::Parameters;
use indexer::fold::stored::from_row;
use indexer::reconcile::fetch::{Fetched, Seen};
use indexer::reconcile::follow::{At, Follow, SHORTER_LOOKS, Sight, Step, chained, common};
use indexer::reconcile::plan::{Fold, plan};
use indexer::source::Source;
use proptest::prelude::*;

use crate::model::{Act, Block, block};

/// Blocks taken at once, so that reorganisations fall between takes.
const TAKEN_TOGETHER: usize = 4;

/// One thing that happens to the chain before the follower looks again.
#[derive(Debug, Clone)]
enum Turn {
    /// The chain grows.
    Grow(Vec<Vec<Act>>),
    /// The newest blocks are replaced; by fewer, and the chain is shorter.
    Reorg { depth: usize, blocks: Vec<Vec<Act>> },
    /// A node that lags answers, if it is not too many times in a row.
    Lag(usize),
}

/// The endpoint.
struct Node {
    spec: NetworkSpec,
    chain: Vec<Block>,
    salt: u64,
}

/// The tables, as far as the fold needs them.
#[derive(Default)]
struct Tables {
    canonical: Vec<At>,
    records: Vec<record::Row>,
    parameters: Vec<parameters::Row>,
    whitelist: Vec<whitelist::Row>,
    credits: Vec<batch::Credit>,
    logs: Vec<(i64, i32)>,
    digests: Vec<(i64, B256)>,
}

impl Node {
    fn grow(&mut self, blocks: &[Vec<Act>]) {
        for acts in blocks {
            self.salt += 1;
            let next = block(&self.spec, self.chain.last(), self.salt, acts);
            self.chain.push(next);
        }
    }

    fn sight(&self, tip: Option<At>, lag: usize) -> Sight {
        let seen = &self.chain[..self.chain.len().saturating_sub(lag).max(1)];
        let at = |block: &Block| At::from(&block.header);
        let at_tip = tip.and_then(|tip| seen.iter().find(|block| block.header.number == tip.number).map(at));
        Sight { latest: at(seen.last().expect("never empty")), at_tip }
    }

    fn fetched(&self, from: u64) -> Fetched {
        let mut fetched = Fetched::default();
        let blocks = self.chain.iter().filter(|block| block.header.number >= from).take(TAKEN_TOGETHER);
        for block in blocks {
            fetched.blocks.insert(block.header.number, Seen::from(&block.header));
            fetched.logs.extend(block.logs.iter().cloned());
            for transaction in &block.transactions {
                // What fetch::evidence finds, without its asking; nested batches by a trace.
                if let Ok(batch) = RewardBatch::decode(&transaction.input) {
                    let direct = transaction.to == Some(self.spec.l1.locking_pool);
                    let method = if direct { CreditMethod::Calldata } else { CreditMethod::Trace };
                    fetched
                        .evidence
                        .insert((transaction.hash, batch.batch_id), Shares::Batch { method, batch });
                }
                fetched.transactions.insert(transaction.hash, transaction.clone());
            }
        }
        fetched
    }
}

impl Tables {
    fn load(&self) -> Fold {
        let mut last = BTreeMap::new();
        for row in &self.records {
            last.insert(row.sequencer_id, row.clone());
        }
        Fold::l1(last.into_values().collect(), self.parameters.last().copied())
    }

    fn unwind(&mut self, to: i64) {
        self.canonical.retain(|at| at.number as i64 <= to);
        self.records.retain(|row| row.number <= to);
        self.parameters.retain(|row| row.number <= to);
        self.logs.retain(|(number, _)| *number <= to);
        self.digests.retain(|(number, _)| *number <= to);
        self.whitelist.retain(|row| row.number <= to);
        self.credits.retain(|row| row.number <= to);
    }
}

struct Follower {
    source: Source,
    tables: Tables,
    fold: Fold,
    follow: Follow,
}

impl Follower {
    fn new(spec: &NetworkSpec) -> Self {
        let url: chain::rpc::EndpointUrl = "http://127.0.0.1:9".parse().expect("a URL");
        let pool = chain::pool::Pool::new(1, vec![url.into()], Default::default()).expect("a pool");
        let source = Source {
            network: "model".to_owned(),
            layer: Layer::L1,
            spec: spec.clone(),
            declared: Variant::Unknown,
            pool,
            care: Default::default(),
        };
        let tables = Tables::default();
        let fold = tables.load();
        Self { source, tables, fold, follow: Follow::default() }
    }

    /// One step, as `advance` takes it; whether anything moved.
    fn step(&mut self, node: &Node, lag: usize) -> bool {
        let tip = self.tables.canonical.last().copied();
        match self.follow.next(tip, self.source.start(), &node.sight(tip, lag)) {
            Step::Wait => false,
            Step::Extend { from } => {
                let fetched = node.fetched(from);
                let headers: Vec<_> = node.chain.iter().map(|block| block.header).collect();
                let headers: Vec<_> = headers
                    .into_iter()
                    .filter(|header| fetched.blocks.contains_key(&header.number))
                    .collect();
                assert!(chained(tip.map(|tip| tip.hash), &headers), "only a block that was left is extended");
                let before = self.tables.digests.last().map_or(B256::ZERO, |(_, digest)| *digest);
                let plan =
                    plan(&self.source, &mut self.fold, Some(before), &fetched).expect("no log is missing");
                self.tables.canonical.extend(headers.iter().map(At::from));
                self.tables.logs.extend(plan.logs.iter().map(|log| (log.number, log.log_index)));
                let digests = plan.blocks.iter().filter_map(|block| Some((block.number, block.digest?.0)));
                self.tables.digests.extend(digests);
                self.tables.records.extend(plan.changes.records);
                self.tables.parameters.extend(plan.changes.parameters);
                self.tables.whitelist.extend(plan.changes.whitelist);
                self.tables.credits.extend(plan.changes.credits);
                true
            }
            Step::Retreat => {
                let ours: Vec<At> = self.tables.canonical.iter().rev().copied().collect();
                let their = |at: &At| {
                    node.chain
                        .iter()
                        .find(|block| block.header.number == at.number)
                        .map(|b| At::from(&b.header))
                };
                let theirs: Vec<_> = ours.iter().map(their).collect();
                let to = common(&ours, &theirs).map_or(self.source.start() as i64 - 1, |at| at.number as i64);
                self.tables.unwind(to);
                self.fold = self.tables.load();
                true
            }
        }
    }

    fn settle(&mut self, node: &Node) {
        let mut waits = 0;
        while waits <= SHORTER_LOOKS {
            waits = if self.step(node, 0) { 0 } else { waits + 1 };
        }
    }

    fn equals(&self, node: &Node) {
        let last = node.chain.last().expect("never empty");
        let expected = &last.after;
        assert_eq!(self.tables.canonical.last().copied(), Some(At::from(&last.header)));
        let Fold::L1(ledger) = &self.fold else { unreachable!("it follows L1") };
        assert_eq!(ledger.records(), &expected.records);
        let mut stored = BTreeMap::new();
        for row in &self.tables.records {
            let (id, record) = from_row(row.clone());
            stored.insert(id, record);
        }
        assert_eq!(&stored, &expected.records, "what is stored is what is known");

        let logged = |block: &Block| {
            block.logs.iter().map(|log| (log.block_number as i64, log.log_index as i32)).collect::<Vec<_>>()
        };
        let logs: Vec<_> = node.chain.iter().flat_map(logged).collect();
        assert_eq!(self.tables.logs, logs, "every log once, in order");
        assert_eq!(self.tables.digests.last().map(|(_, digest)| *digest), digest_of(&node.chain));

        let count =
            |status| expected.records.values().filter(|record| record.status == status).count() as u64;
        use domain::preflight::Status::{Active, Inactive, Unlocked};
        let Parameters { total_locked, total_rewards_liquidated, reward_per_block, paused, .. } =
            *ledger.parameters();
        assert_eq!(
            (total_locked, total_rewards_liquidated, reward_per_block, paused),
            (
                Metis(expected.total_locked),
                Metis(expected.liquidated),
                Metis(expected.reward_per_block),
                expected.paused
            )
        );
        let Parameters { batch_id, batch_end_epoch, active, exiting, exited, .. } = *ledger.parameters();
        assert_eq!((batch_id.0, batch_end_epoch.0), (expected.batch, expected.end_epoch));
        assert_eq!((active, exiting, exited), (count(Active), count(Inactive), count(Unlocked)));

        let mut whitelist: BTreeMap<Address, bool> = BTreeMap::new();
        for row in &self.tables.whitelist {
            whitelist.insert(row.owner.0, row.whitelisted);
        }
        assert_eq!(whitelist, expected.whitelist);
        let credited: U256 = self.tables.credits.iter().map(|credit| credit.amount.0).sum();
        let paid: U256 = node.chain.iter().flat_map(paid_in).sum();
        assert_eq!(credited, paid, "every wei of every batch is attributed");
    }
}

/// The digest of a chain from its first block on.
fn digest_of(chain: &[Block]) -> Option<B256> {
    let mut last = None;
    for block in chain.iter().filter(|block| !block.logs.is_empty()) {
        let mut link = Link::after(last.unwrap_or_default(), block.header.hash);
        for log in &block.logs {
            link.add(Hashed {
                log_index: log.log_index as i32,
                transaction_index: log.transaction_index as i32,
                address: log.address,
                topics: &log.topics,
                data: &log.data,
            });
        }
        last = Some(link.finish());
    }
    last
}

fn paid_in(block: &Block) -> Vec<U256> {
    use alloy_sol_types::SolEvent;
    use chain::abi::LockingPool::DistributeReward;
    let logs = block
        .logs
        .iter()
        .filter_map(|log| DistributeReward::decode_raw_log(log.topics.iter(), &log.data).ok());
    logs.map(|batch| batch.amount).collect()
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0_usize..8;
    prop_oneof![
        3 => (1_u64..100_000).prop_map(|amount| Act::Lock { amount }),
        3 => (who(), 0_u64..1_000, any::<bool>())
            .prop_map(|(who, amount, with_rewards)| Act::Relock { who, amount, with_rewards }),
        1 => (who(), 1_u64..1_000).prop_map(|(who, amount)| Act::Withdraw { who, amount }),
        2 => who().prop_map(|who| Act::Claim { who }),
        1 => who().prop_map(|who| Act::Unlock { who }),
        1 => who().prop_map(|who| Act::Finish { who }),
        1 => who().prop_map(|who| Act::Rotate { who }),
        1 => who().prop_map(|who| Act::SetOwner { who }),
        1 => who().prop_map(|who| Act::SetRecipient { who }),
        4 => (any::<[u16; 3]>(), any::<bool>()).prop_map(|(blocks, nested)| Act::Batch { blocks, nested }),
        1 => (who(), any::<bool>()).prop_map(|(who, yes)| Act::Whitelist { who, yes }),
        1 => any::<u32>().prop_map(|wei| Act::RewardPerBlock { wei }),
        1 => any::<bool>().prop_map(|yes| Act::Pause { yes }),
    ]
}

fn blocks(max: usize) -> impl Strategy<Value = Vec<Vec<Act>>> {
    prop::collection::vec(prop::collection::vec(act(), 0..4), 0..max)
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => blocks(6).prop_map(Turn::Grow),
        3 => (1_usize..12, blocks(8)).prop_map(|(depth, blocks)| Turn::Reorg { depth, blocks }),
        2 => (1_usize..5).prop_map(Turn::Lag),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_is_the_chain_whatever_happened_to_it(
        turns in prop::collection::vec((turn(), 0_u8..4), 1..25),
    ) {
        let spec = NetworkSpec::sepolia();
        let mut node = Node { spec: spec.clone(), chain: Vec::new(), salt: 0 };
        node.grow(&[vec![]]);
        let mut follower = Follower::new(&spec);
        for (turn, steps) in turns {
            match turn {
                Turn::Grow(blocks) => node.grow(&blocks),
                Turn::Reorg { depth, blocks } => {
                    // At least a block is left: an empty chain is no chain.
                    let left = node.chain.len().saturating_sub(depth).max(1);
                    node.chain.truncate(left);
                    node.grow(&blocks);
                }
                Turn::Lag(lag) => {
                    follower.settle(&node);
                    let before = follower.tables.canonical.clone();
                    follower.step(&node, lag);
                    prop_assert_eq!(&before, &follower.tables.canonical, "a lagging node is no reorganisation");
                }
            }
            for _ in 0..steps {
                follower.step(&node, 0);
            }
        }
        follower.settle(&node);
        follower.equals(&node);
    }
}
