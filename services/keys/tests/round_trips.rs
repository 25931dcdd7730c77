//! How often the database is asked for a signature: counted on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::keys::v1::{KeyRole, SignTransactionsRequest};
use keys::policy::call::approveCall;
use testkit::TestDb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::stand::{INFO, METIS, Stand, config, lift_eth_windows, metis, request};

/// The loops of the service look at the database every few seconds, too. A signature never takes less than it takes, so
/// the least of a few attempts is what it takes.
const ATTEMPTS: u64 = 5;

/// A wire that counts how often the client speaks after the server has.
struct Wire {
    url: String,
    turns: Arc<AtomicU64>,
}

/// Turned over whenever the server speaks; a round trip begins when the client speaks next.
#[derive(Default)]
struct Turns {
    heard: AtomicU64,
    counted: AtomicU64,
}

impl Wire {
    async fn before(db: &TestDb) -> Self {
        let url = db.url_for("keys");
        let (credentials, place) = url.rsplit_once('@').unwrap();
        let (server, rest) = place.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let turns = Arc::new(AtomicU64::new(0));
        let (server, counter) = (server.to_owned(), Arc::clone(&turns));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let both = Arc::new(Turns::default());
                tokio::spawn(pass(from_client, to_server, Arc::clone(&both), Some(Arc::clone(&counter))));
                tokio::spawn(pass(from_server, to_client, both, None));
            }
        });
        Self { url: format!("{credentials}@{address}/{rest}"), turns }
    }

    fn count(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    turns: Arc<Turns>,
    of_client: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        match &of_client {
            None => {
                turns.heard.fetch_add(1, Ordering::SeqCst);
            }
            Some(counter) => {
                let heard = turns.heard.load(Ordering::SeqCst) + 1;
                if turns.counted.swap(heard, Ordering::SeqCst) != heard {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_signature_takes_one_round_trip_and_so_do_256() {
    let db = testkit::database().await;
    let wire = Wire::before(&db).await;
    let database = store::connect(&wire.url, 8).await.unwrap();
    let stand = Stand::on(database, config()).await;
    lift_eth_windows(&stand).await;
    let key = stand.create("alpha", KeyRole::Owner).await;
    let approve = |nonce| request(&key, METIS, &approveCall { spender: INFO, value: metis(1) }, nonce);
    // Reads the key, connects and prepares the statement.
    stand.sign(approve(0)).await.unwrap();
    let (mut alone, mut together, mut others) = (u64::MAX, u64::MAX, u64::MAX);
    for attempt in 0..ATTEMPTS {
        let first = 1 + attempt * 1_000;
        let before = wire.count();
        for nonce in first..first + 10 {
            stand.sign(approve(nonce)).await.unwrap();
        }
        alone = alone.min(wire.count() - before);
        let before = wire.count();
        let requests = (first + 100..first + 356).map(approve).collect();
        let answer = stand.lifecycle.clone().sign_transactions(SignTransactionsRequest { requests }).await;
        assert_eq!(answer.unwrap().into_inner().results.len(), 256);
        together = together.min(wire.count() - before);
        let before = wire.count();
        // What is refused is decided, too.
        stand.sign(approve(first)).await.unwrap();
        let mut bad = approve(first + 400);
        bad.transaction = None;
        stand.sign(bad).await.unwrap_err();
        others = others.min(wire.count() - before);
    }
    assert_eq!((alone, together, others), (10, 1, 2));
}
