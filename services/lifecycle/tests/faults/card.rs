//! What is asked for in a run, and what goes wrong in it.

use api::lifecycle::v1::operation_parameters::Parameters;
use api::lifecycle::v1::rotate_signer_parameters::NewSigner;
use api::lifecycle::v1::*;
use domain::amount::Metis;
use lifecycle::Point;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use testkit::postgres::Halt;
use testkit::proxy::{Chance, Faults, HttpStatus, Lie, NodeError};

use crate::world::{address, lock};

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
    /// The reward becomes principal.
    Compound,
    Withdraw,
    /// The reward leaves.
    Claim,
    /// The reward leaves, and its recipient is set first.
    ClaimAfterRecipient,
    SetRecipient,
    SetOwner,
    /// Sent by the signer, in a lane of its own.
    RotateSigner,
    /// The exit begins, and the reward leaves.
    Unlock,
    /// The principal leaves, the exit is over.
    WithdrawFinal,
}

impl Verb {
    /// Those that anything may happen to: each of the nine operations, and the one of two steps that is not a lock.
    const ALL: [Self; 10] = [
        Self::Lock,
        Self::Increase,
        Self::Withdraw,
        Self::Claim,
        Self::ClaimAfterRecipient,
        Self::SetRecipient,
        Self::SetOwner,
        Self::RotateSigner,
        Self::Unlock,
        Self::WithdrawFinal,
    ];
    /// Those that prepare something first.
    const OF_TWO_STEPS: [Self; 3] = [Self::Lock, Self::Increase, Self::ClaimAfterRecipient];
    /// Those that the contract refuses while it is paused.
    const PAUSED: [Self; 4] = [Self::Lock, Self::Increase, Self::Withdraw, Self::Unlock];
    /// What wallets are asked for.
    const OF_WALLETS: [Self; 4] = [Self::Lock, Self::Withdraw, Self::Claim, Self::SetRecipient];
    /// Those of one call.
    const OF_ONE_STEP: [Self; 3] = [Self::Withdraw, Self::Claim, Self::SetRecipient];

    /// As they are asked for of the sequencer of this name.
    pub fn parameters(self, name: &str) -> Parameters {
        let part = || Metis::whole(PART).wei_string();
        match self {
            Self::Lock => lock(LOCK),
            Self::Increase => {
                Parameters::Increase(IncreaseParameters { amount_wei: part(), with_rewards: false })
            }
            Self::Compound => {
                Parameters::Increase(IncreaseParameters { amount_wei: String::new(), with_rewards: true })
            }
            Self::Withdraw => Parameters::Withdraw(WithdrawParameters { amount_wei: part() }),
            Self::Claim | Self::ClaimAfterRecipient => Parameters::Claim(ClaimParameters { l2_gas: 0 }),
            Self::SetRecipient => Parameters::SetRecipient(SetRecipientParameters {
                recipient: address(&other_recipient(name)).to_string(),
            }),
            Self::SetOwner => {
                Parameters::SetOwner(SetOwnerParameters { new_owner: address(&heir(name)).to_string() })
            }
            Self::RotateSigner => Parameters::RotateSigner(RotateSignerParameters {
                new_signer: Some(NewSigner::KeyId(next_signer(name))),
            }),
            Self::Unlock => Parameters::Unlock(UnlockParameters { l2_gas: 0 }),
            Self::WithdrawFinal => Parameters::WithdrawFinal(WithdrawFinalParameters { l2_gas: 0 }),
        }
    }

    /// Name of the step that has the effect.
    pub fn own_step(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Increase | Self::Compound => "increase",
            Self::Withdraw => "withdraw",
            Self::Claim | Self::ClaimAfterRecipient => "claim",
            Self::SetRecipient => "set_recipient",
            Self::SetOwner => "set_owner",
            Self::RotateSigner => "rotate_signer",
            Self::Unlock => "unlock",
            Self::WithdrawFinal => "withdraw_final",
        }
    }
}

/// Who gets the rewards after a change.
pub fn other_recipient(name: &str) -> String {
    format!("{name}-recipient")
}

/// Who owns it after a change.
pub fn heir(name: &str) -> String {
    format!("{name}-heir")
}

/// Who signs after a rotation.
pub fn next_signer(name: &str) -> String {
    format!("{name}-next")
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

/// Why a nonce is to be spent on nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unused {
    /// An operation took it and was never signed.
    Taken,
    /// Nobody has it, and later ones are sent.
    Below,
}

/// What a wallet has mined instead of what was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// The same call for more.
    Same,
    Nothing,
    SomethingElse,
}

/// What goes wrong with a prepared operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wallet {
    /// The process dies when what was handed in is stored and not sent.
    Dies { tells_hash: bool },
    /// The wallet replaces what it told of, while the process is killed.
    Replaces(Instead),
    /// The block of what it handed in is replaced.
    Reorg { depth: u64, on_top: u64, fate: Fate },
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The process dies at a durable step.
    DiesAt(Point),
    /// It dies in a replacement that somebody hurries.
    ReplaceDies(Point),
    /// It dies in a cancel.
    CancelDies(Point),
    /// It dies where a nonce is spent on nothing.
    FillDies(Unused),
    /// It dies in the send that has a new quote.
    RequoteDies(Point),
    /// It dies in the commit of the intake, and its caller asks again.
    IntakeDies(Point),
    /// SIGKILL when it has asked the endpoints so often.
    KilledAfter(u64),
    /// SIGSTOP at a step, and SIGCONT when another replica has done everything.
    StopsAt(Point),
    /// A second replica works on the same tables; the first is killed after so many requests.
    TwoReplicas(u64),
    /// Endpoints say something else than they do, each its own; one of them always.
    Sends([Faults; 2]),
    /// One endpoint answers questions wrongly or not at all, the other is well.
    Reads { endpoint: usize, faults: Faults },
    /// One endpoint takes ten seconds for everything.
    Slow { endpoint: usize },
    /// Both lose answers: what was sent may have been taken.
    Silence(Faults),
    /// The pools lose what they have, so often.
    PoolsDrop(u32),
    /// Only one endpoint really has it, and is lost with its pool.
    PoolDies { endpoint: usize },
    /// The newest blocks are replaced, when so many are on top of the transaction.
    Reorg { depth: u64, on_top: u64, fate: Fate },
    /// Postgres ends all connections and takes none for a while, after so many requests.
    DatabaseAway(u64),
    /// Postgres is stopped after so many requests, and started a while later.
    DatabaseRestarts { requests: u64, how: Halt },
    /// A wallet spends the nonce; a reorganisation may take that out again.
    Foreign { comes_back: bool },
    /// Somebody cancels what is sent.
    Cancelled,
    /// A wallet signs.
    Wallet(Wallet),
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
    ReplaceDies(Point),
    CancelDies(Point),
    FillDies(Unused),
    RequoteDies(Point),
    IntakeDies(Point),
    Killed,
    StopsAt(Point),
    TwoReplicas,
    Sends,
    Reads,
    Slow,
    Silence,
    PoolsDrop,
    PoolDies,
    Reorg(Fate),
    DatabaseAway,
    DatabaseRestarts(Halt),
    Foreign(bool),
    Cancelled,
    WalletDies(bool),
    WalletReplaces(Instead),
    WalletReorg(Fate),
}

/// Every kind. A round of them is a deck; the long tier plays twenty, so that each durable step is met twenty times.
const CARDS: [Card; 63] = [
    Card::DiesAt(Point::AfterNonce),
    Card::DiesAt(Point::AfterSignBeforeStore),
    Card::DiesAt(Point::AfterStoreBeforeBroadcast),
    Card::DiesAt(Point::AfterBroadcastBeforeRecord),
    Card::DiesAt(Point::BeforeReceipt),
    Card::DiesAt(Point::AfterReceipt),
    Card::DiesAt(Point::BeforeConfirm),
    Card::DiesAt(Point::AfterConfirm),
    Card::DiesAt(Point::BetweenSteps),
    Card::ReplaceDies(Point::AfterReplan),
    Card::ReplaceDies(Point::AfterNewFormSigned),
    Card::ReplaceDies(Point::AfterNewFormStored),
    Card::CancelDies(Point::AfterCancelWanted),
    Card::CancelDies(Point::AfterReplan),
    Card::CancelDies(Point::AfterNewFormSigned),
    Card::CancelDies(Point::AfterNewFormStored),
    Card::FillDies(Unused::Taken),
    Card::FillDies(Unused::Below),
    Card::RequoteDies(Point::BetweenSteps),
    Card::RequoteDies(Point::AfterNonce),
    Card::RequoteDies(Point::AfterSignBeforeStore),
    Card::RequoteDies(Point::AfterStoreBeforeBroadcast),
    Card::IntakeDies(Point::BeforeIntake),
    Card::IntakeDies(Point::AfterIntake),
    Card::Killed,
    Card::Killed,
    Card::Killed,
    Card::StopsAt(Point::AfterNonce),
    Card::StopsAt(Point::AfterSignBeforeStore),
    Card::StopsAt(Point::AfterStoreBeforeBroadcast),
    Card::StopsAt(Point::AfterBroadcastBeforeRecord),
    Card::StopsAt(Point::BeforeReceipt),
    Card::StopsAt(Point::AfterReceipt),
    Card::StopsAt(Point::BeforeConfirm),
    Card::StopsAt(Point::AfterConfirm),
    Card::StopsAt(Point::BetweenSteps),
    Card::StopsAt(Point::AfterNewFormStored),
    Card::TwoReplicas,
    Card::Sends,
    Card::Sends,
    Card::Sends,
    Card::Reads,
    Card::Reads,
    Card::Slow,
    Card::Silence,
    Card::PoolsDrop,
    Card::PoolDies,
    Card::Reorg(Fate::Vanish),
    Card::Reorg(Fate::Move),
    Card::Reorg(Fate::Revert),
    Card::DatabaseAway,
    Card::DatabaseRestarts(Halt::Fast),
    Card::DatabaseRestarts(Halt::Immediate),
    Card::Foreign(false),
    Card::Foreign(true),
    Card::Cancelled,
    Card::WalletDies(false),
    Card::WalletDies(true),
    Card::WalletReplaces(Instead::Same),
    Card::WalletReplaces(Instead::Nothing),
    Card::WalletReplaces(Instead::SomethingElse),
    Card::WalletReorg(Fate::Vanish),
    Card::WalletReorg(Fate::Move),
];

/// What `make test` plays: one of each family in the table of `faults.rs`, with verbs that differ.
const SAMPLE: [(Card, Verb); 6] = [
    (Card::DiesAt(Point::BetweenSteps), Verb::ClaimAfterRecipient),
    (Card::PoolDies, Verb::RotateSigner),
    (Card::Reorg(Fate::Revert), Verb::Unlock),
    (Card::WalletReplaces(Instead::Nothing), Verb::Withdraw),
    (Card::CancelDies(Point::AfterNewFormSigned), Verb::Lock),
    (Card::DatabaseRestarts(Halt::Immediate), Verb::Increase),
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
        run(card, *verbs(card).choose(rng).expect("a verb"), rng)
    }

    /// The runs of `make test`.
    pub fn sample(rng: &mut StdRng) -> Vec<Run> {
        SAMPLE.into_iter().map(|(card, verb)| run(card, verb, rng)).collect()
    }
}

fn run(card: Card, verb: Verb, rng: &mut StdRng) -> Run {
    let automine = rng.random_bool(0.5) && !is_of_the_pool(card);
    Run { verb, fault: fault(card, rng), automine }
}

fn verbs(card: Card) -> &'static [Verb] {
    match card {
        Card::DiesAt(Point::BetweenSteps) | Card::StopsAt(Point::BetweenSteps) => &Verb::OF_TWO_STEPS,
        Card::RequoteDies(_) => &[Verb::Unlock],
        Card::Reorg(Fate::Revert) => &Verb::PAUSED,
        Card::WalletReplaces(_) => &Verb::OF_ONE_STEP,
        Card::WalletDies(_) | Card::WalletReorg(_) => &Verb::OF_WALLETS,
        _ => &Verb::ALL,
    }
}

/// Whether this happens to what is in a pool, and no block may come before.
fn is_of_the_pool(card: Card) -> bool {
    matches!(
        card,
        Card::ReplaceDies(_)
            | Card::CancelDies(_)
            | Card::FillDies(_)
            | Card::RequoteDies(_)
            | Card::StopsAt(Point::AfterNewFormStored)
            | Card::PoolsDrop
            | Card::PoolDies
            | Card::Cancelled
            | Card::Foreign(_)
            | Card::Reorg(_)
            | Card::WalletDies(_)
            | Card::WalletReplaces(_)
            | Card::WalletReorg(_)
    )
}

fn fault(card: Card, rng: &mut StdRng) -> Fault {
    let seed = rng.random();
    let endpoint = rng.random_range(0..2);
    let mut requests = || rng.random_range(1..=REQUESTS_MAX);
    match card {
        Card::DiesAt(point) => Fault::DiesAt(point),
        Card::ReplaceDies(point) => Fault::ReplaceDies(point),
        Card::CancelDies(point) => Fault::CancelDies(point),
        Card::FillDies(unused) => Fault::FillDies(unused),
        Card::RequoteDies(point) => Fault::RequoteDies(point),
        Card::IntakeDies(point) => Fault::IntakeDies(point),
        Card::Killed => Fault::KilledAfter(requests()),
        Card::StopsAt(point) => Fault::StopsAt(point),
        Card::TwoReplicas => Fault::TwoReplicas(requests()),
        Card::Sends => {
            let mut faults = [send(seed, rng), send(seed, rng)];
            always(&mut faults[endpoint]);
            Fault::Sends(faults)
        }
        Card::Reads => Fault::Reads { endpoint, faults: read(seed, rng) },
        Card::Slow => Fault::Slow { endpoint },
        Card::Silence => {
            let cut = Chance::percent(rng.random_range(20..=50));
            Fault::Silence(Faults { seed, cut, ..Faults::default() })
        }
        Card::PoolsDrop => Fault::PoolsDrop(rng.random_range(1..=3)),
        Card::PoolDies => Fault::PoolDies { endpoint },
        Card::Reorg(fate) => {
            let (depth, on_top) = place(rng);
            Fault::Reorg { depth, on_top, fate }
        }
        Card::DatabaseAway => Fault::DatabaseAway(requests()),
        Card::DatabaseRestarts(how) => Fault::DatabaseRestarts { requests: requests(), how },
        Card::Foreign(comes_back) => Fault::Foreign { comes_back },
        Card::Cancelled => Fault::Cancelled,
        Card::WalletDies(tells_hash) => Fault::Wallet(Wallet::Dies { tells_hash }),
        Card::WalletReplaces(instead) => Fault::Wallet(Wallet::Replaces(instead)),
        Card::WalletReorg(fate) => {
            let (depth, on_top) = place(rng);
            Fault::Wallet(Wallet::Reorg { depth, on_top, fate })
        }
    }
}

/// Depth of a reorganisation, and blocks on top of the transaction when it comes.
fn place(rng: &mut StdRng) -> (u64, u64) {
    let depth = rng.random_range(1..=DEPTH_MAX);
    (depth, rng.random_range(0..depth))
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

fn always(faults: &mut Faults) {
    if let Some(error) = &mut faults.node_error {
        error.chance = Chance::ALWAYS;
    }
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
