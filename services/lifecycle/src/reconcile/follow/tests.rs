//! The projection against the contract: random legal lives of several owners with reverts of both chains at any point,
//! through the real code and a real Postgres. After them every row and every past block must be what a model of the
//! contract, which forgot the same blocks, says.
#![allow(clippy::panic, reason = "the lint exempts only functions marked as tests, not what they share")]

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, keccak256};
use api::indexer::v1 as wire;
use api::types::v1::{BlockRef, LogRef};
use domain::amount::Metis;
use prost_types::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sea_orm::DatabaseConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;
use crate::db::{position, sequencer, transition};
use crate::operations::register::store_row;

/// Seeds of one run, or `LIFECYCLE_LIVES`; each is a chain of its own, and a failure names its own.
const LIVES: u64 = 12;
/// So many beside one another: each waits for the database most of the time.
const AT_ONCE: u64 = 12;
/// What happens to each.
const STEPS: u64 = 60;
/// Steps between two looks at everything.
const LOOK_EVERY: u64 = 6;
/// Owners of one chain; few, so that they have several lives.
const OWNERS: u64 = 3;
const EXIT_DELAY: u64 = 2_000;
const BLOCK_SECS: u64 = 12;
const START: u64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Active,
    Inactive(u64),
    Unlocked,
}

/// A record as the contract has it, and the signers it has had.
#[derive(Debug, Clone)]
struct Held {
    owner: Address,
    signers: Vec<Address>,
    amount: u64,
    nonce: u64,
    recipient: Address,
    status: Status,
}

impl Held {
    fn signer(&self) -> Address {
        *self.signers.last().expect("a lock has a signer")
    }
}

/// The contract after a block.
#[derive(Debug, Clone, Default)]
struct Contract {
    time: u64,
    whitelist: BTreeSet<Address>,
    records: Vec<Held>,
    used: BTreeSet<Address>,
}

impl Contract {
    fn of_owner(&self, owner: Address) -> Option<usize> {
        self.records.iter().position(|one| one.owner == owner && one.status != Status::Unlocked)
    }
}

fn owner(number: u64) -> Address {
    Address::left_padding_from(&[&b"owner"[..], &number.to_be_bytes()].concat())
}

/// Few, so that after a revert the same one is locked again, perhaps by another owner.
fn signer(number: u64) -> Address {
    Address::left_padding_from(&[&b"signer"[..], &number.to_be_bytes()].concat())
}

/// Both chains, what lifecycle is told of them, and the model.
struct World {
    db: DatabaseConnection,
    network: String,
    rng: StdRng,
    /// The surviving L1 blocks, each with the contract after it.
    blocks: Vec<(BlockRef, Contract)>,
    /// The surviving L2 blocks with the signer that each gave an epoch.
    epochs: Vec<(BlockRef, Address)>,
    validators: BTreeSet<Address>,
    registered: BTreeMap<Uuid, (Address, Address)>,
    counter: u64,
    done: Vec<String>,
}

impl World {
    fn contract(&self) -> Contract {
        self.blocks.last().map(|(_, after)| after.clone()).unwrap_or_default()
    }

    fn hash(&mut self) -> B256 {
        self.counter += 1;
        keccak256(format!("{} {}", self.network, self.counter))
    }

    fn block(&mut self, number: usize, time: u64) -> BlockRef {
        let seconds = i64::try_from(time).expect("small");
        BlockRef {
            number: u64::try_from(number).expect("small"),
            hash: self.hash().to_string(),
            time: Some(Timestamp { seconds, nanos: 0 }),
        }
    }

    async fn tell(&mut self, message: Message) {
        let message = StreamEventsResponse { cursor: self.counter.to_string(), message: Some(message) };
        let network = self.network.clone();
        in_transaction(&self.db, |tx| {
            let (message, network) = (message.clone(), network.clone());
            Box::pin(async move {
                let place = cursor::lock(&*tx, &network).await?;
                apply(&*tx, &network, place, &message).await
            })
        })
        .await
        .unwrap_or_else(|error| panic!("{}: {}", self.story(), runtime::report(&error)));
    }

    fn story(&self) -> String {
        format!("{}: {}", self.network, self.done.join("; "))
    }

    async fn step(&mut self) {
        match self.rng.random_range(..20u32) {
            0..=11 => self.l1_block().await,
            12..=13 => self.revert_l1().await,
            14..=15 => self.epoch().await,
            16 => self.revert_l2().await,
            17 => self.validator().await,
            _ => self.register().await,
        }
    }

    async fn l1_block(&mut self) {
        let mut contract = self.contract();
        let passes = if self.rng.random_range(..6_u64) == 0 { EXIT_DELAY } else { BLOCK_SECS };
        contract.time = contract.time.max(START) + passes;
        let block = self.block(self.blocks.len() + 1, contract.time);
        let mut events = Vec::new();
        for _ in 0..self.rng.random_range(..3_u64) {
            let transaction = self.hash();
            for event in self.act(&mut contract) {
                let at = LogRef {
                    layer: Layer::L1.into(),
                    block: Some(block.clone()),
                    transaction_hash: transaction.to_string(),
                    log_index: u32::try_from(events.len()).expect("small"),
                };
                events.push(ChainEvent { at: Some(at), event: Some(event), ..Default::default() });
            }
        }
        self.done.push(format!("block {}", block.number));
        let committed = wire::CommittedBlock { block: Some(block.clone()), events };
        self.blocks.push((block, contract));
        self.tell(Message::Commit(Commit { layer: Layer::L1.into(), blocks: vec![committed] })).await;
    }

    /// Something that the contract allows, or nothing.
    fn act(&mut self, contract: &mut Contract) -> Vec<Event> {
        let who = owner(self.rng.random_range(..OWNERS));
        let Some(place) = contract.of_owner(who) else { return self.before_lock(contract, who) };
        let (id, other) = ((place + 1).to_string(), owner(self.rng.random_range(..OWNERS)));
        let fresh = signer(self.rng.random_range(..12_u64));
        let (unused, free) = (!contract.used.contains(&fresh), contract.of_owner(other).is_none());
        let now = contract.time;
        let held = &mut contract.records[place];
        match (self.rng.random_range(..7_u64), held.status) {
            (0, _) => toggle(contract, who),
            (1, Status::Active) => {
                (held.amount, held.nonce) = (held.amount + 1, held.nonce + 1);
                let (nonce, new_amount_wei) = (held.nonce, held.amount.to_string());
                vec![Event::LockUpdate(wire::LockUpdate { sequencer_id: id, nonce, new_amount_wei })]
            }
            (2, Status::Active) if unused => {
                let old = held.signer();
                held.signers.push(fresh);
                held.nonce += 1;
                let nonce = held.nonce;
                contract.used.insert(fresh);
                vec![Event::SignerChange(wire::SignerChange {
                    sequencer_id: id,
                    nonce,
                    old_signer: old.to_string(),
                    new_signer: fresh.to_string(),
                    signer_pubkey: format!("0x{}", "22".repeat(64)),
                })]
            }
            (3, Status::Active) if free => {
                held.owner = other;
                vec![owner_changed(id, other)]
            }
            (4, Status::Active) => {
                held.recipient = other;
                vec![recipient_changed(id, other)]
            }
            (5, Status::Active) => {
                held.nonce += 1;
                held.status = Status::Inactive(now + EXIT_DELAY);
                vec![Event::UnlockInit(wire::UnlockInit {
                    sequencer_id: id,
                    signer: held.signer().to_string(),
                    nonce: held.nonce,
                    deactivation_time: now,
                    unlock_claim_time: now + EXIT_DELAY,
                    ..Default::default()
                })]
            }
            (_, Status::Inactive(from)) if from <= now => {
                let amount_wei = held.amount.to_string();
                (held.amount, held.nonce, held.status) = (0, held.nonce + 1, Status::Unlocked);
                let owner = who.to_string();
                vec![Event::Unlocked(wire::Unlocked {
                    sequencer_id: id,
                    owner,
                    amount_wei,
                    ..Default::default()
                })]
            }
            _ => vec![],
        }
    }

    fn before_lock(&mut self, contract: &mut Contract, who: Address) -> Vec<Event> {
        let fresh = signer(self.rng.random_range(..12_u64));
        if !contract.whitelist.contains(&who) || self.rng.random_range(..8_u64) == 0 {
            return toggle(contract, who);
        }
        if !contract.used.insert(fresh) {
            return vec![];
        }
        contract.records.push(Held {
            owner: who,
            signers: vec![fresh],
            amount: 20_000,
            nonce: 1,
            recipient: who,
            status: Status::Active,
        });
        let id = contract.records.len().to_string();
        vec![
            Event::Locked(wire::Locked {
                sequencer_id: id.clone(),
                signer: fresh.to_string(),
                nonce: 1,
                amount_wei: "20000".to_owned(),
                signer_pubkey: format!("0x{}", "11".repeat(64)),
                ..Default::default()
            }),
            owner_changed(id.clone(), who),
            recipient_changed(id, who),
        ]
    }

    async fn revert_l1(&mut self) {
        let depth = self.rng.random_range(1..=8_usize);
        if self.blocks.len() <= depth {
            return;
        }
        self.blocks.truncate(self.blocks.len() - depth);
        let to = self.blocks.last().map(|(block, _)| block.clone());
        self.done.push(format!("L1 back by {depth}"));
        self.tell(Message::Revert(Revert { layer: Layer::L1.into(), to, below_finalized: false })).await;
    }

    async fn epoch(&mut self) {
        let who = signer(self.rng.random_range(..12_u64));
        let time = self.contract().time.max(START);
        let block = self.block(self.epochs.len() + 1, time);
        let at = LogRef {
            layer: Layer::L2.into(),
            block: Some(block.clone()),
            transaction_hash: self.hash().to_string(),
            log_index: 0,
        };
        let event = Event::NewEpoch(wire::NewEpoch {
            epoch_id: block.number,
            signer: who.to_string(),
            ..Default::default()
        });
        let events = vec![ChainEvent { at: Some(at), event: Some(event), ..Default::default() }];
        self.done.push(format!("epoch {} of {who}", block.number));
        self.epochs.push((block.clone(), who));
        let committed = wire::CommittedBlock { block: Some(block), events };
        self.tell(Message::Commit(Commit { layer: Layer::L2.into(), blocks: vec![committed] })).await;
    }

    async fn revert_l2(&mut self) {
        let depth = self.rng.random_range(1..=4_usize);
        if self.epochs.len() <= depth {
            return;
        }
        self.epochs.truncate(self.epochs.len() - depth);
        let to = self.epochs.last().map(|(block, _)| block.clone());
        self.done.push(format!("L2 back by {depth}"));
        self.tell(Message::Revert(Revert { layer: Layer::L2.into(), to, below_finalized: false })).await;
    }

    /// themis shows the record of a signer that L1 has.
    async fn validator(&mut self) {
        let contract = self.contract();
        let count = contract.records.len();
        if count == 0 || self.rng.random_range(..2_u64) == 0 {
            return;
        }
        let place = self.rng.random_range(..count);
        let who = contract.records[place].signer();
        self.validators.insert(who);
        self.done.push(format!("themis knows {who}"));
        let network = self.network.clone();
        in_transaction(&self.db, |tx| {
            let network = network.clone();
            Box::pin(async move {
                let place = cursor::lock(&*tx, &network).await?;
                let block = head(&place).expect("there is a lock");
                Applier { tx: &*tx, network: &network, block, transitions: 0 }.validator_known(who).await
            })
        })
        .await
        .expect("the fact is taken");
    }

    /// An operator registers a sequencer before its lock, or adopts an observed one.
    async fn register(&mut self) {
        let (who, with) = (owner(self.rng.random_range(..OWNERS)), signer(self.rng.random_range(..12_u64)));
        let stored = sequencer::of_lock(&self.db, &self.network, who, with).await.expect("a read");
        if stored.is_some_and(|row| row.managed) {
            return;
        }
        let row = sequencer::Row {
            id: Uuid::now_v7(),
            network: self.network.clone(),
            name: format!("managed-{}", self.counter),
            managed: true,
            owner: Addr(who),
            signer: Addr(with),
            signer_pubkey: None,
            wanted_recipient: None,
            labels: serde_json::json!({}),
            listing: None,
            version: 1,
            create_time: OffsetDateTime::UNIX_EPOCH,
        };
        self.counter += 1;
        self.done.push(format!("registered {who} with {with}"));
        let network = self.network.clone();
        let stored = in_transaction(&self.db, |tx| {
            let (row, network) = (row.clone(), network.clone());
            Box::pin(async move {
                let place = cursor::lock(&*tx, &network).await?;
                store_row(&*tx, row, &place).await
            })
        })
        .await
        .expect("registered");
        self.registered.insert(stored.id, (who, with));
    }

    fn phase_of(&self, held: &Held, now: u64) -> &'static str {
        let known = |signer: &Address| {
            self.validators.contains(signer) || self.epochs.iter().any(|(_, producer)| producer == signer)
        };
        match held.status {
            Status::Active if held.signers.iter().any(known) => "ACTIVE",
            Status::Active => "LOCKED",
            Status::Inactive(from) if from <= now => "WITHDRAWABLE",
            Status::Inactive(_) => "EXITING",
            Status::Unlocked => "WITHDRAWN",
        }
    }

    /// Everything that is stored, against the model.
    async fn check(&mut self) {
        let (contract, story) = (self.contract(), self.story());
        let mut locked = BTreeSet::new();
        for (place, held) in contract.records.iter().enumerate() {
            let id = alloy_primitives::U256::from(place + 1);
            let row = position::of_seq_id(&self.db, &self.network, id).await.expect("a read");
            let row = row.unwrap_or_else(|| panic!("no sequencer {id}. {story}"));
            self.same(&row, held, &story);
            assert_eq!(row.phase, self.phase_of(held, contract.time), "phase of {id}. {story}");
            self.history(&row, &story).await;
            locked.insert(row.sequencer);
        }
        for (id, (owner, _)) in &self.registered {
            if locked.contains(id) {
                continue;
            }
            let row = position::of(&self.db, *id).await.expect("a read");
            let row = row.unwrap_or_else(|| panic!("the registered {id} is gone. {story}"));
            let expected = if contract.whitelist.contains(owner) { "WHITELISTED" } else { "REGISTERED" };
            assert_eq!((row.phase.as_str(), row.seq_id), (expected, None), "{id} without lock. {story}");
            self.history(&row, &story).await;
        }
        self.past(&story).await;
    }

    fn same(&self, row: &position::Row, held: &Held, story: &str) {
        let found = (row.owner.0, row.signer.0, row.recipient.map(|one| one.0), row.nonce);
        let nonce = i64::try_from(held.nonce).expect("small");
        assert_eq!(found, (held.owner, held.signer(), Some(held.recipient), nonce), "{story}");
        assert_eq!(Metis(row.locked.0), Metis::wei(held.amount), "{story}");
    }

    /// The standing history is a chain that ends in the present state.
    async fn history(&self, row: &position::Row, story: &str) {
        let standing = transition::standing(&self.db, row.sequencer).await.expect("a read");
        assert_eq!(standing.last().map(|last| &last.to_phase), Some(&row.phase), "the end. {story}");
        for pair in standing.windows(2) {
            let (before, after) = (&pair[0].to_phase, pair[1].from_phase.as_ref());
            assert_eq!(Some(before), after, "a link of {}. {story}", row.sequencer);
        }
    }

    /// Some blocks of the past: state and record as they were.
    async fn past(&mut self, story: &str) {
        let count = self.blocks.len();
        if count == 0 {
            return;
        }
        let place = self.rng.random_range(..count);
        let (block, then) = self.blocks[place].clone();
        let number = i64::try_from(block.number).expect("small");
        for (place, held) in then.records.iter().enumerate() {
            let id = alloy_primitives::U256::from(place + 1);
            let row = position::of_seq_id(&self.db, &self.network, id).await.expect("a read");
            let id = row.expect("it is still there").sequencer;
            let was = position::at_block(&self.db, id, number).await.expect("a read");
            self.same(&was.expect("it was there"), held, story);
            let state = transition::at_block(&self.db, id, number).await.expect("a read");
            let state = state.expect("it had a state").to_phase;
            // When the consensus layer came to know it is not in the contract.
            let expected = match self.phase_of(held, then.time) {
                "ACTIVE" if state == "LOCKED" => "LOCKED",
                expected => expected,
            };
            assert_eq!(state, expected, "sequencer {id} at block {number}. {story}");
        }
    }
}

fn toggle(contract: &mut Contract, who: Address) -> Vec<Event> {
    let whitelisted = contract.whitelist.insert(who);
    if !whitelisted {
        contract.whitelist.remove(&who);
    }
    vec![Event::SetWhitelist(wire::SetWhitelist { owner: who.to_string(), whitelisted })]
}

fn owner_changed(sequencer_id: String, owner: Address) -> Event {
    Event::SequencerOwnerChanged(wire::SequencerOwnerChanged { sequencer_id, owner: owner.to_string() })
}

fn recipient_changed(sequencer_id: String, recipient: Address) -> Event {
    Event::SequencerRewardRecipientChanged(wire::SequencerRewardRecipientChanged {
        sequencer_id,
        recipient: recipient.to_string(),
    })
}

async fn live(db: DatabaseConnection, seed: u64) {
    let mut world = World {
        db,
        network: format!("chain-{seed}"),
        rng: StdRng::seed_from_u64(seed),
        blocks: Vec::new(),
        epochs: Vec::new(),
        validators: BTreeSet::new(),
        registered: BTreeMap::new(),
        counter: 0,
        done: Vec::new(),
    };
    for step in 1..=STEPS {
        world.step().await;
        if step % LOOK_EVERY == 0 {
            world.check().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_both_chains_take_back_the_projection_is_what_the_contract_says() {
    let database = testkit::database().await;
    let db = store::connect(&database.url_for("lifecycle"), 6).await.expect("the database");
    let wanted = testkit::from_environment("LIFECYCLE_LIVES", LIVES);
    for first in (0..wanted).step_by(AT_ONCE as usize) {
        let seeds = first..wanted.min(first + AT_ONCE);
        let runs = seeds.clone().map(|seed| tokio::spawn(live(db.clone(), seed)));
        for (seed, run) in seeds.zip(futures::future::join_all(runs).await) {
            run.unwrap_or_else(|failed| panic!("seed {seed}: {failed}"));
        }
    }
}
