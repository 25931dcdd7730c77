//! `keys.decide_batch` against the rules written down once more, in Rust: whatever is asked, in batches of whatever
//! size, the database answers as if it had been asked one by one.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};
use api::keys::v1::KeyRole;
use keys::audit::{Entry, Head, verdict, verify};
use keys::db::audit::page;
use keys::db::decision::{Decision, Held, Judged, Payload, Question, Way, decide};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use store::standing::Standing;

use crate::stand::{Stand, address_of};

/// Questions of one history; a few hundred meet every case many times.
const QUESTIONS: usize = 600;
const SEEDS: u64 = 4;
const NONCES: i64 = 6;
/// Windows that fill up in the middle of a history.
const METIS_MAX: u64 = 150;
const ETH_MAX: u64 = 9_000;

/// The rules of the guard and of the windows, without time.
#[derive(Default)]
struct Model {
    guards: BTreeMap<(Address, i64), Guard>,
    metis: BTreeMap<Address, U256>,
    eth: BTreeMap<Address, U256>,
}

struct Guard {
    digest: B256,
    max_fee: U256,
    priority_fee: U256,
    gas_limit: i64,
    cancelled: bool,
    eth: U256,
    released: BTreeSet<B256>,
}

impl Model {
    /// The outcome by name, as a decision without its numbers.
    fn decide(&mut self, question: &Question, way: usize) -> &'static str {
        let Some(asked) = question.payload.as_deref() else { return "refused" };
        if asked.policy_version != 1 {
            return "stale";
        }
        let Judged::Allowed(ways) = &question.judged else { return "refused" };
        let guard = self.guards.get(&(asked.account, asked.nonce));
        let (metis, eth) = match guard {
            Some(guard) if guard.released.contains(&asked.signing_hash) => return "sign",
            None if asked.intent == "REPLACE" => return "conflict",
            None => (asked.metis, asked.eth),
            Some(guard) => {
                let higher = asked.max_fee > guard.max_fee && asked.priority_fee > guard.priority_fee;
                let same = asked.digest == guard.digest;
                let bump = same && asked.intent != "NEW" && asked.gas_limit >= guard.gas_limit;
                let cancel = !same && asked.intent == "CANCEL" && !guard.cancelled;
                if !higher || !(bump || cancel) {
                    return "conflict";
                }
                (U256::ZERO, asked.eth.saturating_sub(guard.eth))
            }
        };
        let way = &ways[way];
        let metis_used = self.metis.entry(asked.account).or_default();
        if !metis.is_zero() && way.metis_24h_max.is_some_and(|most| *metis_used + metis > most) {
            return "metis window";
        }
        let eth_used = self.eth.entry(asked.account).or_default();
        if !eth.is_zero() && way.eth_24h_max.is_some_and(|most| *eth_used + eth > most) {
            return "eth window";
        }
        *metis_used += metis;
        *eth_used += eth;
        let guard = self.guards.entry((asked.account, asked.nonce)).or_insert(Guard {
            digest: asked.digest,
            max_fee: asked.max_fee,
            priority_fee: asked.priority_fee,
            gas_limit: asked.gas_limit,
            cancelled: false,
            eth: U256::ZERO,
            released: BTreeSet::new(),
        });
        (guard.digest, guard.max_fee, guard.priority_fee) = (asked.digest, asked.max_fee, asked.priority_fee);
        guard.gas_limit = asked.gas_limit;
        guard.cancelled |= asked.intent == "CANCEL";
        guard.eth += eth;
        guard.released.insert(asked.signing_hash);
        "sign"
    }

    /// What the database must say of the holder of a nonce when it refuses.
    fn held(&self, asked: &Payload) -> Option<Held> {
        self.guards.get(&(asked.account, asked.nonce)).map(|guard| Held {
            digest: guard.digest,
            max_fee: guard.max_fee,
            priority_fee: guard.priority_fee,
        })
    }
}

fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::Sign { .. } => "sign",
        Decision::Refused => "refused",
        Decision::NotEnabled => "not enabled",
        Decision::Unproven { .. } => "unproven",
        Decision::Conflict { .. } => "conflict",
        Decision::Approvals { .. } => "approvals",
        Decision::MetisWindow { .. } => "metis window",
        Decision::EthWindow { .. } => "eth window",
        Decision::Stale => "stale",
    }
}

fn hash(parts: &[u64]) -> B256 {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
    alloy_primitives::keccak256(bytes)
}

fn random_question(rng: &mut StdRng, keys: &[(String, Address)]) -> Question {
    let fields = Entry { intent: rng.random::<u32>().to_string(), ..Entry::default() }.fields();
    if rng.random_ratio(1, 20) {
        let judged = Judged::Refused(verdict(false, "FIELD_REQUIRED"));
        return Question { caller: "lifecycle".to_owned(), fields, judged, payload: None };
    }
    let (key_id, account) = keys[rng.random_range(0..keys.len())].clone();
    let intent = ["NEW", "NEW", "REPLACE", "CANCEL"][rng.random_range(0..4)];
    let call = if intent == "CANCEL" { 0 } else { rng.random_range(1..3) };
    let (max, tip) = (rng.random_range(1..30_u64), rng.random_range(1..30_u64));
    let gas = rng.random_range(1..4_i64);
    let nonce = rng.random_range(0..NONCES);
    let judged = match rng.random_ratio(1, 15) {
        true => Judged::Refused(verdict(false, "POLICY_DENIED")),
        false => Judged::Allowed((0..rng.random_range(1..3)).map(|_| random_way(rng)).collect()),
    };
    let payload = Payload {
        key_id,
        policy_version: if rng.random_ratio(1, 30) { 7 } else { 1 },
        chain_id: 1,
        account,
        nonce,
        digest: hash(&[call]),
        signing_hash: hash(&[call, nonce.unsigned_abs(), max, tip, gas.unsigned_abs()]),
        max_fee: U256::from(max),
        priority_fee: U256::from(tip),
        gas_limit: gas,
        intent,
        metis: U256::from(if call == 1 { 100 } else { 0 }),
        eth: U256::from(max * 100),
        intent_digest: hash(&[call]),
    };
    Question { caller: "lifecycle".to_owned(), fields, judged, payload: Some(Box::new(payload)) }
}

fn random_way(rng: &mut StdRng) -> Way {
    Way {
        verdict: verdict(true, "rule"),
        metis_24h_max: rng.random_bool(0.8).then(|| U256::from(METIS_MAX)),
        eth_24h_max: rng.random_bool(0.5).then(|| U256::from(ETH_MAX)),
        approvals: 0,
    }
}

#[tokio::test]
async fn batches_of_any_size_are_decided_as_the_rules_say() {
    for seed in 0..SEEDS {
        let rng = &mut StdRng::seed_from_u64(seed);
        let db = testkit::database().await;
        let stand = Stand::start(&db).await;
        let mut keys = Vec::new();
        for key in ["alpha", "beta"] {
            let key = stand.create(key, KeyRole::Owner).await;
            keys.push((key.id.clone(), address_of(&key)));
        }
        let own = db.connect("keys").await;
        let standing = Standing::new(own.clone());
        let mut model = Model::default();
        let (mut asked, mut seen) = (0, BTreeSet::new());
        while asked < QUESTIONS {
            let most = if rng.random_bool(0.3) { 1 } else { 64 };
            let batch: Vec<Question> =
                (0..rng.random_range(1..=most)).map(|_| random_question(rng, &keys)).collect();
            let decisions = decide(&standing, &batch.iter().collect::<Vec<_>>()).await.unwrap();
            let mut answered = BTreeSet::new();
            // One by one, nonce by nonce: what the rounds of a batch make of it.
            for round in rounds(&batch) {
                for (place, way) in round {
                    if answered.contains(&place) {
                        continue;
                    }
                    let held = batch[place].payload.as_deref().and_then(|asked| model.held(asked));
                    let expected = model.decide(&batch[place], way);
                    if expected.ends_with("window") && way + 1 < ways(&batch[place]) {
                        continue;
                    }
                    answered.insert(place);
                    if expected == "sign" {
                        assert_eq!(decisions[place].way, way, "seed {seed}: {:?}", batch[place]);
                    }
                    assert_eq!(name(&decisions[place].decision), expected, "seed {seed}: {:?}", batch[place]);
                    if let Decision::Conflict { held: told } = &decisions[place].decision {
                        assert_eq!(*told, held);
                    }
                    seen.insert(expected);
                }
            }
            asked += batch.len();
        }
        for outcome in ["sign", "refused", "conflict", "metis window", "eth window", "stale"] {
            assert!(seen.contains(outcome), "seed {seed} never came to `{outcome}`");
        }
        let mut head = Head::START;
        loop {
            let rows = page(&own, i64::try_from(head.sequence).unwrap(), 500).await.unwrap();
            if rows.is_empty() {
                break;
            }
            head = verify(head, &rows).unwrap();
        }
    }
}

fn ways(question: &Question) -> usize {
    match &question.judged {
        Judged::Allowed(ways) => ways.len(),
        Judged::Refused(_) => 1,
    }
}

/// Places and ways in the order in which the database decides: those of one nonce behind each other.
fn rounds(batch: &[Question]) -> Vec<Vec<(usize, usize)>> {
    let mut rounds: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut counts: BTreeMap<(Address, i64), usize> = BTreeMap::new();
    for (place, question) in batch.iter().enumerate() {
        for way in 0..ways(question) {
            let round = match question.payload.as_deref() {
                Some(asked) => {
                    let count = counts.entry((asked.account, asked.nonce)).or_default();
                    *count += 1;
                    *count - 1
                }
                None => 0,
            };
            if rounds.len() <= round {
                rounds.resize(round + 1, Vec::new());
            }
            rounds[round].push((place, way));
        }
    }
    rounds
}
