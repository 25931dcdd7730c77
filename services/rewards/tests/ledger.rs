use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256};
use api::indexer::v1::chain_event::Event;
use api::indexer::v1::stream_events_response::Message;
use api::indexer::v1::*;
use api::rewards::v1::rewards_service_client::RewardsServiceClient;
use api::rewards::v1::{
    Balance, EntryKind, GetBalanceRequest, GetRateRequest, GetReconciliationRequest, ListEntriesRequest,
};
use api::types::v1::{BlockRef, Layer, LogRef};
use prost_types::Timestamp;
use runtime::client::{self, Peer};
use runtime::errors::refusal_of;
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use runtime::tls::{Tls, TlsConfig};
use testkit::{Pki, TestDb, wait_for, wait_until};
use tokio::net::TcpListener;
use tonic::Code;

use crate::fake_indexer::{FakeIndexer, NETWORK};

/// Generous: other tests compile and run beside this one.
const DEADLINE: Duration = Duration::from_secs(20);
const RECIPIENT: Address = Address::repeat_byte(7);

struct Stand {
    indexer: FakeIndexer,
    client: RewardsServiceClient<Peer>,
    stranger: RewardsServiceClient<Peer>,
    shutdown: Shutdown,
    database: TestDb,
    tls: Arc<Tls>,
    indexer_at: std::net::SocketAddr,
    _dir: tempfile::TempDir,
}

impl Stand {
    async fn start() -> Self {
        runtime::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new(dir.path(), "test.local").unwrap();
        let tls = |name: &str| {
            let files = pki.identity(name).unwrap();
            let config = TlsConfig {
                cert: files.certificate,
                key: files.key,
                ca: pki.ca(),
                trust_domain: "test.local".into(),
            };
            Tls::load(&config).unwrap()
        };
        let shutdown = Shutdown::new();
        let (indexer, indexer_at) = FakeIndexer::start(tls("indexer"), shutdown.clone()).await;
        let database = testkit::database().await;
        let rewards_tls = tls("rewards");
        let address = service(&database, &rewards_tls, indexer_at, &shutdown).await;
        let client_of = |name: &str| {
            let peer = client::channel(address, "rewards", tls(name)).with_methods(api::methods::grpc());
            RewardsServiceClient::new(peer)
        };
        Self {
            indexer,
            client: client_of("gateway"),
            stranger: client_of("keys"),
            shutdown,
            database,
            tls: rewards_tls,
            indexer_at,
            _dir: dir,
        }
    }

    async fn balance(&self, id: u64) -> Option<Balance> {
        let request =
            GetBalanceRequest { network: NETWORK.into(), sequencer_id: id.to_string(), at_block: 0 };
        self.client.clone().get_balance(request).await.ok()?.into_inner().balance
    }

    /// Waits until the balance of sequencer 1 is (accrued, unclaimed, claimed, compounded, paid at exit).
    async fn wait_for_balance(&self, what: &str, expected: [&str; 5]) {
        wait_until(what, DEADLINE, || async {
            self.balance(1).await.is_some_and(|b| {
                [&b.accrued_wei, &b.unclaimed_wei, &b.claimed_wei, &b.compounded_wei, &b.paid_at_exit_wei]
                    .into_iter()
                    .eq(expected.iter().copied())
            })
        })
        .await;
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.shutdown.drain();
        self.shutdown.stop();
    }
}

async fn service(
    database: &TestDb,
    tls: &Arc<Tls>,
    indexer: std::net::SocketAddr,
    shutdown: &Shutdown,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ports = rewards::Ports {
        listener,
        tls: Arc::clone(tls),
        database: database.connect("rewards").await,
        health: Health::new(),
        indexer: client::channel(indexer, "indexer", Arc::clone(tls)).with_methods(api::methods::grpc()),
    };
    let service = rewards::build(rewards::Config { reconcile_secs: 1 }, ports).await.unwrap();
    tokio::spawn(service.run(shutdown.clone()));
    address
}

fn block(number: u64, branch: u8) -> BlockRef {
    let mut hash = B256::repeat_byte(branch);
    hash.0[31] = number as u8;
    let time = Timestamp { seconds: 1_000 + 10 * number as i64, nanos: 0 };
    BlockRef { number, hash: hash.to_string(), time: Some(time) }
}

fn commit(block: BlockRef, events: Vec<Event>) -> Message {
    let log = |(index, event)| ChainEvent {
        at: Some(LogRef {
            layer: Layer::L1.into(),
            block: Some(block.clone()),
            transaction_hash: B256::repeat_byte(block.number as u8).to_string(),
            log_index: index as u32,
        }),
        event: Some(event),
        ..ChainEvent::default()
    };
    let events = events.into_iter().enumerate().map(log).collect();
    let blocks = vec![CommittedBlock { block: Some(block), events }];
    Message::Commit(Commit { layer: Layer::L1.into(), blocks })
}

fn revert(to: BlockRef) -> Message {
    Message::Revert(Revert { layer: Layer::L1.into(), to: Some(to), below_finalized: false })
}

fn locked(amount: &str) -> Event {
    Event::Locked(Locked { sequencer_id: "1".into(), amount_wei: amount.into(), ..Locked::default() })
}

fn batch(id: u64, amount: &str) -> Event {
    let credit = RewardCredit { sequencer_id: "1".into(), blocks: 10, amount_wei: amount.into() };
    Event::DistributeReward(DistributeReward {
        batch_id: id,
        amount_wei: amount.into(),
        reward_per_block_wei: "1".into(),
        method: CreditMethod::Calldata.into(),
        credits: vec![credit],
        ..DistributeReward::default()
    })
}

fn claim(amount: &str) -> Event {
    Event::ClaimRewards(ClaimRewards {
        sequencer_id: "1".into(),
        recipient: RECIPIENT.to_string(),
        amount_wei: amount.into(),
        total_amount_wei: amount.into(),
    })
}

fn unlock() -> Event {
    Event::UnlockInit(UnlockInit { sequencer_id: "1".into(), ..UnlockInit::default() })
}

fn increase(from_reward: &str) -> Event {
    Event::Relocked(Relocked {
        sequencer_id: "1".into(),
        amount_wei: from_reward.into(),
        total_wei: "0".into(),
        from_reward_wei: from_reward.into(),
    })
}

#[tokio::test]
async fn every_wei_that_came_is_unclaimed_claimed_compounded_or_paid_at_exit() {
    let stand = Stand::start().await;
    let steps = [
        commit(block(1, 1), vec![locked("20000")]),
        commit(block(2, 1), vec![batch(2, "100")]),
        commit(block(3, 1), vec![claim("30")]),
        commit(block(4, 1), vec![batch(3, "50"), increase("40")]),
        commit(block(5, 1), vec![claim("80"), unlock()]),
    ];
    for step in steps {
        stand.indexer.send(step);
    }
    stand.wait_for_balance("all five blocks are in the ledger", ["150", "0", "30", "40", "80"]).await;

    let request =
        ListEntriesRequest { network: NETWORK.into(), page_size: 2, ..ListEntriesRequest::default() };
    let first = stand.client.clone().list_entries(request.clone()).await.unwrap().into_inner();
    let request = ListEntriesRequest { page_token: first.next_page_token, page_size: 10, ..request };
    let rest = stand.client.clone().list_entries(request).await.unwrap().into_inner();
    let kinds: Vec<_> = first.entries.iter().chain(&rest.entries).map(|entry| entry.kind()).collect();
    use EntryKind::{Claim, Compound, Credit, Exit};
    assert_eq!(kinds, [Credit, Claim, Credit, Compound, Exit]);
    assert_eq!(rest.next_page_token, "");
}

#[tokio::test]
async fn a_reorganisation_takes_back_exactly_what_stood_above() {
    let stand = Stand::start().await;
    stand.indexer.send(commit(block(1, 1), vec![locked("20000"), batch(2, "100")]));
    stand.indexer.send(commit(block(2, 1), vec![claim("100")]));
    stand.wait_for_balance("the claim is in the ledger", ["100", "0", "100", "0", "0"]).await;

    stand.indexer.send(revert(block(1, 1)));
    stand.wait_for_balance("the claim is gone", ["100", "100", "0", "0", "0"]).await;

    stand.indexer.send(commit(block(2, 2), vec![batch(3, "5")]));
    stand.wait_for_balance("the new branch counts", ["105", "105", "0", "0", "0"]).await;
}

#[tokio::test]
async fn two_replicas_keep_one_ledger() {
    let stand = Stand::start().await;
    let second = service(&stand.database, &stand.tls, stand.indexer_at, &stand.shutdown).await;
    stand.indexer.send(commit(block(1, 1), vec![locked("20000"), batch(2, "100")]));
    stand.wait_for_balance("the batch is in the ledger once", ["100", "100", "0", "0", "0"]).await;
    let peer = client::channel(second, "rewards", Arc::clone(&stand.tls));
    // The replica's certificate says `rewards`, which may not read the ledger from outside.
    let refused =
        RewardsServiceClient::new(peer).get_balance(GetBalanceRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_ledger_that_differs_from_the_contract_by_one_wei_says_so() {
    let stand = Stand::start().await;
    let record = |reward: &str| SequencerRecord {
        sequencer_id: "1".into(),
        reward_wei: reward.into(),
        ..SequencerRecord::default()
    };
    *stand.indexer.contract.lock().unwrap() = vec![record("100")];
    stand.indexer.send(commit(block(1, 1), vec![locked("20000"), batch(2, "100")]));
    let drift = || async {
        let request = GetReconciliationRequest { network: NETWORK.into() };
        let answer = stand.client.clone().get_reconciliation(request).await.ok()?.into_inner();
        answer.block.is_some().then_some((answer.drift, answer.first_difference))
    };
    let none = wait_for("the first comparison", DEADLINE, drift).await;
    assert_eq!(none, (0, String::new()));
    *stand.indexer.contract.lock().unwrap() = vec![record("101")];
    let found =
        wait_for("the drift is found", DEADLINE, || async { drift().await.filter(|(drift, _)| *drift > 0) })
            .await;
    assert_eq!(found, (1, "unclaimed of sequencer 1: ledger 100 wei, contract 101 wei".to_owned()));
}

#[tokio::test]
async fn the_rate_is_what_accrued_on_the_lock_held_over_the_window() {
    let stand = Stand::start().await;
    // 1 000 wei locked for 100 s, 10 wei earned: 0.01 in 100 s is 3153.6 in a year.
    stand.indexer.send(commit(block(0, 1), vec![locked("1000")]));
    stand.indexer.send(commit(block(5, 1), vec![batch(2, "10")]));
    stand.indexer.send(commit(block(10, 1), vec![]));
    stand.wait_for_balance("the batch is in the ledger", ["10", "10", "0", "0", "0"]).await;
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let request =
        GetRateRequest { network: NETWORK.into(), sequencer_id: "1".into(), from: at(1_000), to: at(1_100) };
    let answer = stand.client.clone().get_rate(request).await.unwrap().into_inner();
    assert_eq!((answer.accrued_wei.as_str(), answer.average_lock_wei.as_str()), ("10", "1000"));
    assert_eq!(answer.simple_rate, "3153.600000000000");
}

#[tokio::test]
async fn bad_input_names_the_field_and_strangers_are_refused() {
    let stand = Stand::start().await;
    stand.indexer.send(commit(block(1, 1), vec![locked("20000")]));
    stand.wait_for_balance("the ledger has begun", ["0", "0", "0", "0", "0"]).await;
    let cases = [
        ("nowhere", "1", 0, "NETWORK_NOT_FOUND", "network"),
        ("", "1", 0, "FIELD_REQUIRED", "network"),
        (NETWORK, "-1", 0, "ID_MALFORMED", "sequencer_id"),
        (NETWORK, "0", 0, "ID_MALFORMED", "sequencer_id"),
        (NETWORK, "1", 99, "INDEX_BEHIND", "at_block"),
    ];
    for (network, id, at_block, reason, field) in cases {
        let request = GetBalanceRequest { network: network.into(), sequencer_id: id.into(), at_block };
        let status = stand.client.clone().get_balance(request).await.unwrap_err();
        let refusal = refusal_of(&status).unwrap();
        assert_eq!((refusal.reason.as_str(), refusal.fields[0].0.as_str()), (reason, field));
    }
    let denied = stand.stranger.clone().get_balance(GetBalanceRequest::default()).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
}
