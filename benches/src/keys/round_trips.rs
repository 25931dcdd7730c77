//! Round trips to the database for a signature: counted on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::world::world;
use crate::report::Figure;

const SIGNATURES: u64 = 200;
/// The loops of the service look at the database every few seconds, too; the least of a few attempts is without them.
const ATTEMPTS: u64 = 5;
const WARM_UP: u64 = 10;
const BUFFER_BYTES: usize = 1 << 16;

/// How often a server spoke, and how often the client after it, of one connection.
#[derive(Default)]
struct Turns {
    heard: AtomicU64,
    answered: AtomicU64,
}

/// As many as the service makes for one signature after the other.
pub async fn counted() -> Result<Figure> {
    let world = world().await?;
    let world = world.as_ref().context("the world stands")?;
    let (_, place) = world.url.rsplit_once('@').context("a URL with a password")?;
    let (server, _) = place.split_once('/').context("a URL with a database")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let wire = listener.local_addr()?.to_string();
    let count = Arc::new(AtomicU64::new(0));
    let passing = tokio::spawn(serve(listener, server.to_owned(), Arc::clone(&count)));
    let service = world.another(&wire).await?;
    let mut client = world.client_of(&service, "lifecycle")?;
    for _ in 0..WARM_UP {
        client.sign_transaction(world.request(0)).await?;
    }
    let mut turns = u64::MAX;
    for _ in 0..ATTEMPTS {
        let before = count.load(Ordering::SeqCst);
        for _ in 0..SIGNATURES {
            client.sign_transaction(world.request(0)).await?;
        }
        turns = turns.min(count.load(Ordering::SeqCst) - before);
    }
    passing.abort();
    let each = turns as f64 / SIGNATURES as f64;
    Ok(Figure::new(
        each,
        "round trips",
        1.0,
        "turns of the wire between service and database for one signature",
    )
    .with("signatures", json!(SIGNATURES)))
}

async fn serve(listener: TcpListener, server: String, count: Arc<AtomicU64>) -> Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        let server = TcpStream::connect(&server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let turns = Arc::new(Turns::default());
        tokio::spawn(pass(from_client, to_server, Arc::clone(&turns), Some(Arc::clone(&count))));
        tokio::spawn(pass(from_server, to_client, turns, None));
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    turns: Arc<Turns>,
    of_client: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        match &of_client {
            None => {
                turns.heard.fetch_add(1, Ordering::SeqCst);
            }
            // The first that is said after the server has spoken begins a round trip.
            Some(count) => {
                let heard = turns.heard.load(Ordering::SeqCst) + 1;
                if turns.answered.swap(heard, Ordering::SeqCst) != heard {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
