//! What is asked for in a run, and what goes wrong in it.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::*;
use domain::amount::Metis;
use lifecycle::Point;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use testkit::proxy::{Chance, Faults, HttpStatus, Lie, NodeError};

use crate::world::lock;

/// METIS that a sequencer has locked before anything but a lock is asked for.
pub const BEFORE: u64 = 25_000;
/// METIS of a lock, the least that the pool takes.
pub const LOCK: u64 = 20_000;
/// METIS that are added or taken out.
pub const PART: u64 = 1_000;
/// A reorganisation is at most so deep: deeper ones are below `finalized`, where everything is held.
pub const DEPTH_MAX: u64 = 64;
/// Requests to the endpoints from the intake to a random kill, at most: a lock asks some 60.
const REQUESTS_MAX: u64 = 60;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Lock,
    Increase,
    Withdraw,
    Unlock,
    /// The reward leaves.
    Claim,
    /// The reward becomes principal.
    Compound,
}

impl Verb {
    /// Those of single operations.
    const ALL: [Self; 4] = [Self::Lock, Self::Increase, Self::Withdraw, Self::Unlock];
    /// Those that approve first.
    const OF_TWO_STEPS: [Self; 2] = [Self::Lock, Self::Increase];

    pub fn parameters(self) -> Parameters {
        let part = || Metis::whole(PART).wei_string();
        match self {
            Self::Lock => lock(LOCK),
            Self::Increase => {
                Parameters::Increase(IncreaseParameters { amount_wei: part(), with_rewards: false })
            }
            Self::Withdraw => Parameters::Withdraw(WithdrawParameters { amount_wei: part() }),
            Self::Unlock => Parameters::Unlock(UnlockParameters { l2_gas: 0 }),
            Self::Claim => Parameters::Claim(ClaimParameters { l2_gas: 0 }),
            Self::Compound => {
                Parameters::Increase(IncreaseParameters { amount_wei: String::new(), with_rewards: true })
            }
        }
    }
}

/// What becomes of the transactions of blocks that a reorganisation takes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They are in no block and no pool.
    Vanish,
    /// They are in other blocks.
    Move,
    /// They come back on a chain on which they revert.
    Revert,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The process dies at a durable step.
    DiesAt(Point),
    /// SIGKILL when it has asked the endpoints so often.
    KilledAfter(u64),
    /// Endpoints say something else than they do, each its own.
    Sends([Faults; 2]),
    /// The first endpoint answers questions wrongly or not at all, the second is well.
    Reads(Faults),
    /// Both lose answers: what was sent may have been taken.
    Silence(Faults),
    /// The pools lose what they have, so often.
    PoolsDrop(u32),
    /// The newest blocks are replaced, when so many are on top of the transaction.
    Reorg { depth: u64, on_top: u64, fate: Fate },
    /// Postgres ends all connections and takes none for a while, after so many requests.
    DatabaseAway(u64),
    /// A second replica works on the same tables; the first is killed after so many requests.
    TwoReplicas(u64),
    /// A wallet spends the nonce; a reorganisation may take that out again.
    Foreign { comes_back: bool },
    /// Somebody cancels what is sent.
    Cancelled,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    pub verb: Verb,
    pub fault: Fault,
    /// Blocks are made as soon as there is something for them.
    pub automine: bool,
}

/// Kinds of faults, without what is left to chance.
#[derive(Debug, Clone, Copy)]
enum Card {
    DiesAt(Point),
    Killed,
    Sends,
    Reads,
    Silence,
    PoolsDrop,
    Reorg(Fate),
    DatabaseAway,
    TwoReplicas,
    Foreign(bool),
    Cancelled,
}

/// Every kind; twenty rounds of them are more than 500 runs, with every durable step twenty times.
const CARDS: [Card; 27] = [
    Card::DiesAt(Point::AfterNonce),
    Card::DiesAt(Point::AfterSignBeforeStore),
    Card::DiesAt(Point::AfterStoreBeforeBroadcast),
    Card::DiesAt(Point::AfterBroadcastBeforeRecord),
    Card::DiesAt(Point::BeforeReceipt),
    Card::DiesAt(Point::AfterReceipt),
    Card::DiesAt(Point::BeforeConfirm),
    Card::DiesAt(Point::AfterConfirm),
    Card::DiesAt(Point::BetweenSteps),
    Card::Killed,
    Card::Killed,
    Card::Killed,
    Card::Sends,
    Card::Sends,
    Card::Sends,
    Card::Reads,
    Card::Reads,
    Card::Silence,
    Card::PoolsDrop,
    Card::Reorg(Fate::Vanish),
    Card::Reorg(Fate::Move),
    Card::Reorg(Fate::Revert),
    Card::DatabaseAway,
    Card::TwoReplicas,
    Card::Foreign(false),
    Card::Foreign(true),
    Card::Cancelled,
];

/// Runs in which each kind comes as often as any other, in an order that the seed says.
#[derive(Debug, Default)]
pub struct Deck(Vec<Card>);

impl Deck {
    /// The next run.
    pub fn draw(&mut self, rng: &mut StdRng) -> Run {
        if self.0.is_empty() {
            self.0 = CARDS.to_vec();
            self.0.shuffle(rng);
        }
        let card = self.0.pop().expect("a card");
        let (steps, automine) = match card {
            Card::DiesAt(Point::BetweenSteps) => (&Verb::OF_TWO_STEPS[..], rng.random_bool(0.5)),
            // These happen to what is in a pool.
            Card::PoolsDrop | Card::Cancelled | Card::Foreign(_) | Card::Reorg(_) => (&Verb::ALL[..], false),
            _ => (&Verb::ALL[..], rng.random_bool(0.5)),
        };
        Run { verb: *steps.choose(rng).expect("a verb"), fault: fault(card, rng), automine }
    }
}

fn fault(card: Card, rng: &mut StdRng) -> Fault {
    let seed = rng.random();
    let mut requests = || rng.random_range(1..=REQUESTS_MAX);
    match card {
        Card::DiesAt(point) => Fault::DiesAt(point),
        Card::Killed => Fault::KilledAfter(requests()),
        Card::DatabaseAway => Fault::DatabaseAway(requests()),
        Card::TwoReplicas => Fault::TwoReplicas(requests()),
        Card::Sends => Fault::Sends([send(seed, rng), send(seed, rng)]),
        Card::Reads => Fault::Reads(read(seed, rng)),
        Card::Silence => {
            let cut = Chance::percent(rng.random_range(20..=50));
            Fault::Silence(Faults { seed, cut, ..Faults::default() })
        }
        Card::PoolsDrop => Fault::PoolsDrop(rng.random_range(1..=3)),
        Card::Reorg(fate) => {
            let depth = rng.random_range(1..=DEPTH_MAX);
            Fault::Reorg { depth, on_top: rng.random_range(0..depth), fate }
        }
        Card::Foreign(comes_back) => Fault::Foreign { comes_back },
        Card::Cancelled => Fault::Cancelled,
    }
}

/// What nodes say of a transaction that they have not taken.
pub const SAID: [(i64, &str); 7] = [
    (-32000, "replacement transaction underpriced"),
    (-32000, "insufficient funds for gas * price + value"),
    (-32000, "already known"),
    (-32000, "nonce too low"),
    (-32000, "transaction underpriced"),
    (-32000, "txpool is full"),
    (-32603, "Internal error"),
];

fn send(seed: u64, rng: &mut StdRng) -> Faults {
    let chance = Chance::percent(rng.random_range(30..=100));
    let said = saying(*SAID.choose(rng).expect("an answer"));
    Faults { seed, node_error: said.node_error.map(|error| NodeError { chance, ..error }), ..said }
}

/// An endpoint that says this of every transaction, and takes none.
pub fn saying((code, message): (i64, &str)) -> Faults {
    let methods = vec!["eth_sendRawTransaction"];
    let error = NodeError { chance: Chance::ALWAYS, code, message: message.to_owned(), methods };
    Faults { node_error: Some(error), ..Faults::default() }
}

fn read(seed: u64, rng: &mut StdRng) -> Faults {
    let none = Faults { seed, ..Faults::default() };
    let half = Chance::percent(50);
    match rng.random_range(0..6_u32) {
        0 => Faults { stale: Some(rng.random_range(1..=4)), ..none },
        1 => Faults { stale: Some(2), alternate_stale: true, ..none },
        2 => Faults { lie: Some(Lie::WrongChainId(1)), ..none },
        3 => {
            let status = HttpStatus { chance: half, status: 429, retry_after_secs: None };
            Faults { http_status: vec![status], ..none }
        }
        4 => Faults { drop: half, ..none },
        _ => Faults { lie: Some(Lie::ForkAbove(1)), ..none },
    }
}
