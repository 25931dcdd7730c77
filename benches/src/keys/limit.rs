//! What bounds a signer on this machine: the same rows committed durably by a plain client, and the cost of secp256k1.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::keys::backend::{Numbers, proof};
use alloy_consensus::{Signed, TxEip1559};
use alloy_primitives::Address;
use anyhow::{Context, Result, ensure};
use k256::ecdsa::SigningKey;
use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection};
use store::group_commit::{Batches, Limits};
use tokio::sync::Mutex;

use super::world::World;

/// The rows of one signature, in tables of the same shape beside those of the service: record, guard, form, and the
/// end of the chain, which moves with each commit. Nothing is judged, looked up or decided.
const TABLES: &str = "
    CREATE SCHEMA IF NOT EXISTS bare;
    CREATE TABLE IF NOT EXISTS bare.audit_record (LIKE keys.audit_record INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS bare.nonce_guard (LIKE keys.nonce_guard INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS bare.signed_form (LIKE keys.signed_form INCLUDING ALL,
        FOREIGN KEY (key_id) REFERENCES keys.key (id),
        FOREIGN KEY (audit_sequence) REFERENCES bare.audit_record (sequence),
        FOREIGN KEY (chain_id, account, nonce) REFERENCES bare.nonce_guard (chain_id, account, nonce));
    CREATE TABLE IF NOT EXISTS bare.audit_head (LIKE keys.audit_head INCLUDING ALL);
    INSERT INTO bare.audit_head (sequence, hash) SELECT 0, decode(repeat('00', 32), 'hex')
     WHERE NOT EXISTS (SELECT 1 FROM bare.audit_head)";
/// Of many signatures at once, in one statement.
const ROWS: &str = "
    WITH signature AS MATERIALIZED (
        SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::text[])
                   AS s (number, body, hash, account, key_id)),
    audit AS (
        INSERT INTO bare.audit_record (sequence, recorded_at, body, hash)
        SELECT s.number, clock_timestamp(), s.body, s.hash FROM signature AS s),
    guard AS (
        INSERT INTO bare.nonce_guard (chain_id, account, nonce, digest, max_fee_wei, priority_fee_wei, gas_limit, cancelled,
                                      forms, updated_at, eth_wei)
        SELECT 1, s.account, s.number, s.hash, 20000000000, 1000000000, 500000, false, 1, clock_timestamp(), 10000000000000000
          FROM signature AS s),
    head AS (
        UPDATE bare.audit_head SET sequence = $6, hash = $7)
    INSERT INTO bare.signed_form (chain_id, account, nonce, form, key_id, digest, signing_hash, max_fee_wei, priority_fee_wei,
                                  gas_limit, metis_wei, audit_sequence, signed_at, eth_wei, metis_total, eth_total, window_at)
    SELECT 1, s.account, s.number, 1, s.key_id, s.hash, s.hash, 20000000000, 1000000000, 500000, 1, s.number, clock_timestamp(),
           10000000000000000, 1, 1, clock_timestamp()
      FROM signature AS s";
/// About what the record of a signature has.
const BODY_BYTES: usize = 400;
/// As in the service.
const BATCH_MAX: usize = 256;
/// Cores of the machine that the promises are about.
pub const CORES: f64 = 2.0;
const K256_TIMES: u32 = 2_000;

/// A plain client of the database, which holds the end of the chain.
pub struct Bare {
    connection: PgConnection,
    /// Where the rows of each signature belong: account and key.
    owners: Vec<(Vec<u8>, String)>,
    sequence: i64,
    hash: Vec<u8>,
}

impl Bare {
    /// Connects, and goes on where the last one ended.
    ///
    /// # Errors
    /// When the tables cannot be made.
    pub async fn connect(world: &World) -> Result<Self> {
        let mut connection = PgConnection::connect(&world.url).await?;
        connection.execute(TABLES).await?;
        let head = sqlx::query_as("SELECT sequence, hash FROM bare.audit_head");
        let (sequence, hash) = head.fetch_one(&mut connection).await?;
        let owner = |(number, key): (usize, &api::keys::v1::Key)| {
            anyhow::Ok((world.address(number)?.to_vec(), key.id.clone()))
        };
        let owners = world.keys.iter().enumerate().map(owner).collect::<Result<_>>()?;
        Ok(Self { connection, owners, sequence, hash })
    }

    /// Commits the rows of one signature by each of these clients, all at once.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn commit(&mut self, clients: &[usize]) -> Result<(), sqlx::Error> {
        let (mut numbers, mut bodies, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut accounts, mut keys) = (Vec::new(), Vec::new());
        for client in clients {
            self.sequence += 1;
            let body = vec![7_u8; BODY_BYTES];
            self.hash = Sha256::new().chain_update(&self.hash).chain_update(&body).finalize().to_vec();
            let (account, key) = &self.owners[client % self.owners.len()];
            numbers.push(self.sequence);
            bodies.push(body);
            hashes.push(self.hash.clone());
            accounts.push(account.clone());
            keys.push(key.clone());
        }
        let rows = sqlx::query(ROWS).bind(numbers).bind(bodies).bind(hashes).bind(accounts).bind(keys);
        rows.bind(self.sequence).bind(&self.hash).execute(&mut self.connection).await?;
        Ok(())
    }
}

/// Signatures' rows that Postgres commits in a second for so many clients, each of which waits for its own: what came
/// while the last commit ran is committed together, by the same queue as in the service.
///
/// # Errors
/// When one of them fails.
pub async fn group_commits(world: &World, clients: usize, lasting: Duration) -> Result<f64> {
    let mut bare = Bare::connect(world).await?;
    bare.commit(&[0]).await?;
    let bare = Arc::new(Mutex::new(bare));
    let limits = Limits { items: BATCH_MAX, queue: BATCH_MAX };
    let batches = Batches::start_with(limits, move |waiting: Arc<Vec<usize>>| {
        let bare = Arc::clone(&bare);
        async move { bare.lock().await.commit(&waiting).await.map(|()| vec![(); waiting.len()]) }
    });
    let begun = Instant::now();
    let done = Arc::new(AtomicU64::new(0));
    let waiting = (0..clients).map(|client| {
        let (batches, done) = (batches.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while begun.elapsed() < lasting {
                batches.submit(client).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        })
    });
    for client in waiting.collect::<Vec<_>>() {
        client.await??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

/// Microseconds of one core: a signature alone, and with the recovery of its signer that we never leave out.
///
/// # Errors
/// When k256 fails.
pub fn k256_us() -> Result<(f64, f64)> {
    let key = SigningKey::from_slice(&[7; 32])?;
    let address = Address::from_public_key(key.verifying_key());
    let digests: Vec<[u8; 32]> = (0..K256_TIMES).map(|n| Sha256::digest(n.to_be_bytes()).into()).collect();
    let begun = Instant::now();
    let mut signatures = Vec::new();
    for digest in &digests {
        signatures.push(key.sign_prehash_recoverable(digest)?);
    }
    let signing = begun.elapsed();
    for (digest, (signature, parity)) in digests.iter().zip(signatures) {
        proof::signature(Numbers::with_parity(signature, parity.is_y_odd()), &(*digest).into(), address)?;
    }
    let each = |elapsed: Duration| elapsed.as_secs_f64() * 1e6 / f64::from(K256_TIMES);
    Ok((each(signing), each(begun.elapsed())))
}

/// Every signature recovers to the key that was asked.
///
/// # Errors
/// When one does not.
pub fn all_recover(signed: &[(Address, Vec<u8>)]) -> Result<()> {
    for (address, raw) in signed {
        let transaction = Signed::<TxEip1559>::eip2718_decode(&mut raw.as_slice())?;
        ensure!(transaction.recover_signer()? == *address, "a signature of somebody else");
    }
    Ok(())
}

/// The audit chain of the service is whole, from its first record to its head.
///
/// # Errors
/// At the first record that is not as it was written.
pub async fn chain_is_whole(world: &World) -> Result<u64> {
    let db = store::connect(&world.url, 1).await?;
    let mut head = ::keys::audit::Head::START;
    loop {
        let rows = ::keys::db::audit::page(&db, head.sequence.try_into()?, 5_000).await?;
        if rows.is_empty() {
            break;
        }
        head = ::keys::audit::verify(head, &rows)?;
    }
    let kept = ::keys::db::audit::head(&db).await?;
    ensure!(kept.hash.0 == head.hash, "the head is another one");
    u64::try_from(kept.sequence).context("a number of records")
}
