//! The guard under attack: two `seqd keys` over one database, one of them killed every 2 s, and clients that want
//! other payloads for the same few nonces. Judged by what was released: no two intents for one nonce, ever.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use alloy_consensus::{Signed, Transaction, TxEip1559};
use alloy_primitives::{Address, U256};
use api::keys::v1::keys_service_client::KeysServiceClient;
use api::keys::v1::{Key, KeyRole, SignTransactionRequest, SigningIntent};
use keys::audit::{Head, verify};
use keys::db::audit::page;
use keys::policy::call::approveCall;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runtime::client;
use runtime::errors::refusal_of;
use sea_orm::ConnectionTrait;
use testkit::{Pki, Seqd, TestDb, free_port, wait_until};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::stand::{
    CHAIN_ID, Client, INFO, KEK, METIS, NETWORK, POOL, Stand, address_of, lift_eth_windows, metis, request,
    tls, with_fees,
};

/// Requests in `make test`; `make test-long` asks for 100,000.
const REQUESTS: u64 = 3_000;
const CLIENTS: u64 = 32;
/// Requests that fight for the same few nonces before the next ones are fought for.
const FIGHT: u64 = 250;
const NONCES: u64 = 4;
const KILL_EVERY: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(30);
const TRUST_DOMAIN: &str = "metis.test";

/// A replica as a process of its own, always at the same address.
struct Replica {
    number: usize,
    folder: PathBuf,
    address: String,
    process: Option<Seqd>,
}

impl Replica {
    fn new(number: usize, folder: PathBuf, db: &TestDb) -> Self {
        let [grpc, admin] = [(); 2].map(|()| free_port().expect("a free port"));
        let url = folder.join("keys.url");
        fs::write(&url, db.url_for("keys")).expect("the URL is written");
        let kek = folder.join("kek");
        fs::write(&kek, KEK).expect("the key-encryption key is written");
        let text = format!(
            "[tls]\ndir = {folder:?}\ntrust_domain = \"{TRUST_DOMAIN}\"\n\
             [telemetry]\nlog_filter = \"warn\"\n\
             [database]\nurls.keys = {{ file = {url:?} }}\n\
             [listen]\nkeys = \"127.0.0.1:{grpc}\"\nadmin = \"127.0.0.1:{admin}\"\n\
             [keys]\nkek = {{ file = {kek:?} }}\n\
             [networks.{NETWORK}]\nvariant = \"main\"\n\
             l1 = {{ rpc = [\"http://127.0.0.1:1\"], chain_id = {CHAIN_ID}, locking_pool = \"{POOL}\", locking_info = \"{INFO}\", \
             metis = \"{METIS}\", bridge = \"{bridge}\", start_block = 0 }}\n",
            bridge = Address::repeat_byte(0xb1),
        );
        fs::write(folder.join(format!("replica{number}.toml")), text).expect("the configuration is written");
        Self { number, folder, address: format!("127.0.0.1:{grpc}"), process: None }
    }

    fn start(&mut self) {
        let file = |end| self.folder.join(format!("replica{}.{end}", self.number));
        self.process = Some(Seqd::start("keys", &file("toml"), &file("log")));
    }

    async fn until_it_listens(&self) {
        let address = &self.address;
        let listens = || async { TcpStream::connect(address).await.is_ok() };
        wait_until("the replica listens", DEADLINE, listens).await;
    }

    fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}

/// Two replicas, and an in-process service beside them that makes the keys.
struct Fleet {
    db: TestDb,
    stand: Stand,
    pki: Pki,
    replicas: Vec<Replica>,
    _folder: tempfile::TempDir,
}

impl Fleet {
    async fn start(replicas: usize) -> Self {
        let db = testkit::database().await;
        let stand = Stand::start(&db).await;
        let folder = tempfile::tempdir().expect("a folder");
        let pki = Pki::new(folder.path(), TRUST_DOMAIN).expect("a CA");
        pki.identity("keys").expect("a certificate");
        let mut all: Vec<Replica> =
            (0..replicas).map(|number| Replica::new(number, folder.path().to_owned(), &db)).collect();
        for replica in &mut all {
            replica.start();
            replica.until_it_listens().await;
        }
        Self { db, stand, pki, replicas: all, _folder: folder }
    }

    fn clients(&self) -> Vec<Client> {
        let channel =
            |replica: &Replica| client::channel(&replica.address, "keys", tls(&self.pki, "lifecycle"));
        // Without the method table nothing is asked again behind our back.
        self.replicas.iter().map(|replica| KeysServiceClient::new(channel(replica))).collect()
    }
}

/// What an attacker asks for: one of a few calls or a cancel, some fees, some relation to what was before.
fn adversarial(rng: &mut StdRng, keys: &[Key], number: u64) -> SignTransactionRequest {
    let key = &keys[rng.random_range(0..keys.len())];
    let nonce = number / FIGHT * NONCES + rng.random_range(0..NONCES);
    let call = approveCall { spender: INFO, value: metis(rng.random_range(1..4)) };
    let intent = [SigningIntent::New, SigningIntent::New, SigningIntent::Replace, SigningIntent::Cancel]
        [rng.random_range(0..4)];
    let (max, tip) = (rng.random_range(10..60_u64), rng.random_range(1..10_u64));
    let mut asked =
        with_fees(request(key, METIS, &call, nonce), max * 1_000_000_000, tip * 1_000_000_000, intent);
    let transaction = asked.transaction.as_mut().expect("a transaction");
    transaction.gas_limit = 500_000 + rng.random_range(0..3);
    if intent == SigningIntent::Cancel {
        transaction.to = address_of(key).to_string();
        transaction.data = String::new();
        transaction.gas_limit = 21_000;
    }
    asked
}

/// One client: asks, and asks again elsewhere when the replica dies under it.
async fn attack(
    mut clients: Vec<Client>,
    keys: Arc<Vec<Key>>,
    next: Arc<AtomicU64>,
    total: u64,
    seed: u64,
) -> (Vec<Vec<u8>>, u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut released, mut lost) = (Vec::new(), 0);
    let mut before: Option<SignTransactionRequest> = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= total {
            return (released, lost);
        }
        let asked = match before.take() {
            Some(again) if rng.random_ratio(1, 5) => again,
            _ => adversarial(&mut rng, &keys, number),
        };
        let mut at = rng.random_range(0..clients.len());
        loop {
            match clients[at].sign_transaction(asked.clone()).await {
                Ok(answer) => {
                    released.push(answer.into_inner().raw_transaction.to_vec());
                    break;
                }
                // The rules said no.
                Err(status)
                    if refusal_of(&status).is_some_and(|refused| refused.reason == "NONCE_CONFLICT") =>
                {
                    break;
                }
                // Its answer is lost: whatever was decided, the same may be asked again, elsewhere too.
                Err(_) => {
                    lost += 1;
                    at = (at + 1) % clients.len();
                    tokio::task::yield_now().await;
                }
            }
        }
        before = Some(asked);
    }
}

/// Tip, gas limit, whether it is a cancel, and calldata of a payload.
type Form = (u128, u64, bool, Vec<u8>);

/// Every payload of one nonce by its fee: its call and the order in which its fees must have risen.
type Nonces = BTreeMap<(u64, Address, u64), BTreeMap<u128, Form>>;

/// Whether what was released for each nonce is one intent, with rising fees, and then at most its cancel.
fn judge(released: &BTreeSet<Vec<u8>>) -> usize {
    let mut nonces = Nonces::new();
    for raw in released {
        let signed = Signed::<TxEip1559>::eip2718_decode(&mut raw.as_slice()).expect("a transaction");
        let account = signed.recover_signer().expect("a signature");
        let transaction = signed.tx();
        let cancel = transaction.to() == Some(account)
            && transaction.value() == U256::ZERO
            && transaction.input().is_empty();
        let form = (
            transaction.max_priority_fee_per_gas,
            transaction.gas_limit,
            cancel,
            transaction.input().to_vec(),
        );
        let forms = nonces.entry((transaction.chain_id, account, transaction.nonce)).or_default();
        let other = forms.insert(transaction.max_fee_per_gas, form);
        assert!(other.is_none(), "two payloads of one nonce with the same fee");
    }
    for (nonce, forms) in &nonces {
        let mut before: Option<&Form> = None;
        for form in forms.values() {
            if let Some((tip, gas, cancelled, data)) = before {
                assert!(form.0 > *tip, "{nonce:?}: both fees rise");
                assert!(!cancelled || form.2, "{nonce:?}: after a cancel only the cancel");
                assert!(form.2 || form.3 == *data, "{nonce:?}: two calls for one nonce");
                assert!(form.2 != *cancelled || form.1 >= *gas, "{nonce:?}: the gas limit falls");
            }
            before = Some(form);
        }
    }
    nonces.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_nonce_gets_two_intents_whoever_is_killed() {
    let total = testkit::from_environment("KEYS_ATTACKS", REQUESTS);
    let seed = testkit::from_environment("KEYS_SEED", 1);
    let mut fleet = Fleet::start(2).await;
    let keys = Arc::new(vec![
        fleet.stand.create("alpha", KeyRole::Owner).await,
        fleet.stand.create("beta", KeyRole::Owner).await,
    ]);
    lift_eth_windows(&fleet.stand).await;
    let next = Arc::new(AtomicU64::new(0));
    let attackers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (clients, keys, next) = (fleet.clients(), Arc::clone(&keys), Arc::clone(&next));
            tokio::spawn(attack(clients, keys, next, total, seed * 1_000 + number))
        })
        .collect();
    let (over, mut ended) = watch::channel(false);
    let mut replicas = std::mem::take(&mut fleet.replicas);
    let killing = tokio::spawn(async move {
        let mut kills: usize = 0;
        loop {
            // Until it is over, or time for the next one.
            if tokio::time::timeout(KILL_EVERY, ended.changed()).await.is_ok() {
                return (kills, replicas);
            }
            let victim = &mut replicas[kills % 2];
            victim.kill();
            victim.start();
            victim.until_it_listens().await;
            kills += 1;
        }
    });
    let (mut released, mut answers, mut lost) = (BTreeSet::new(), 0, 0);
    for attacker in attackers {
        let (own, own_lost) = attacker.await.expect("a client ends");
        answers += own.len();
        lost += own_lost;
        released.extend(own);
    }
    over.send(true).expect("the killer listens");
    let (kills, _replicas) = killing.await.expect("the killer ends");
    let nonces = judge(&released);
    println!(
        "{total} requests, {answers} answers, {lost} lost, {} payloads for {nonces} nonces, {kills} kills",
        released.len()
    );
    assert!(kills > 0, "nobody was killed");
    assert!(nonces >= usize::try_from(total / FIGHT * NONCES / 2).expect("a few"), "{nonces} nonces");
    chain_is_unbroken(&fleet.db).await;
}

async fn chain_is_unbroken(db: &TestDb) {
    let own = db.connect("keys").await;
    let mut head = Head::START;
    loop {
        let rows = page(&own, i64::try_from(head.sequence).expect("a number"), 1_000).await.expect("records");
        if rows.is_empty() {
            break;
        }
        head = verify(head, &rows).expect("an unbroken chain");
    }
    let kept = keys::db::audit::head(&own).await.expect("a head");
    assert_eq!((kept.sequence.unsigned_abs(), kept.hash.0.0), (head.sequence, head.hash));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_whose_answer_was_lost_is_asked_for_again_with_the_same_bytes() {
    let mut fleet = Fleet::start(1).await;
    let key = fleet.stand.create("alpha", KeyRole::Owner).await;
    let admin = fleet.db.admin().await;
    for nonce in 0..3 {
        let call = approveCall { spender: INFO, value: metis(1) };
        let asked = request(&key, METIS, &call, nonce);
        let mut client = fleet.clients().remove(0);
        let first = asked.clone();
        let answer = tokio::spawn(async move { client.sign_transaction(first).await });
        let decided = format!("SELECT count(*) AS n FROM keys.nonce_guard WHERE nonce = {nonce}");
        wait_until("it is decided", DEADLINE, || async {
            let row = admin.query_one_raw(store::statement(decided.as_str(), [])).await.unwrap().unwrap();
            row.try_get::<i64>("", "n").unwrap() > 0
        })
        .await;
        fleet.replicas[0].kill();
        let other = request(&key, METIS, &approveCall { spender: INFO, value: metis(2) }, nonce);
        assert_eq!(fleet.stand.sign(other).await.unwrap_err().reason, "NONCE_CONFLICT", "the slot is taken");
        let again = fleet.stand.sign(asked.clone()).await.expect("the same may be asked again");
        if let Ok(first) = answer.await.expect("a client") {
            assert_eq!(first.into_inner().raw_transaction, again.raw_transaction);
        }
        fleet.replicas[0].start();
        fleet.replicas[0].until_it_listens().await;
        let third = fleet.clients().remove(0).sign_transaction(asked).await.expect("and by whoever");
        assert_eq!(third.into_inner().raw_transaction, again.raw_transaction);
    }
}
