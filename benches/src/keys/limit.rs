//! What bounds a signer on this machine: the same rows committed durably by a plain client, and the cost of secp256k1.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use alloy_consensus::{Signed, TxEip1559};
use alloy_primitives::{Address, Signature};
use anyhow::{Context, Result, ensure};
use k256::ecdsa::SigningKey;
use sha2::{Digest, Sha256};
use sqlx::{Connection, Executor, PgConnection};

use super::world::World;

/// The rows of one signature, in tables of the same shape beside those of the service. Nothing is decided and nothing
/// is chained.
const TABLES: &str = "
    CREATE SCHEMA IF NOT EXISTS bare;
    CREATE TABLE IF NOT EXISTS bare.audit_record (LIKE keys.audit_record INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS bare.nonce_guard (LIKE keys.nonce_guard INCLUDING ALL);
    CREATE TABLE IF NOT EXISTS bare.signed_form (LIKE keys.signed_form INCLUDING ALL,
        FOREIGN KEY (key_id) REFERENCES keys.key (id),
        FOREIGN KEY (audit_sequence) REFERENCES bare.audit_record (sequence),
        FOREIGN KEY (chain_id, account, nonce) REFERENCES bare.nonce_guard (chain_id, account, nonce))";
const ROWS: &str = "
    WITH audit AS (
        INSERT INTO bare.audit_record (sequence, recorded_at, body, hash) VALUES ($1, clock_timestamp(), $2, $3)),
    guard AS (
        INSERT INTO bare.nonce_guard (chain_id, account, nonce, digest, max_fee_wei, priority_fee_wei, gas_limit, cancelled,
                                      forms, updated_at, eth_wei)
        VALUES (1, $4, $1, $3, 20000000000, 1000000000, 500000, false, 1, clock_timestamp(), 10000000000000000))
    INSERT INTO bare.signed_form (chain_id, account, nonce, form, key_id, digest, signing_hash, max_fee_wei, priority_fee_wei,
                                  gas_limit, metis_wei, audit_sequence, signed_at, eth_wei, metis_total, eth_total, window_at)
    VALUES (1, $4, $1, 1, $5, $3, $3, 20000000000, 1000000000, 500000, 1, $1, clock_timestamp(), 10000000000000000, 1, 1,
            clock_timestamp())";
/// About what the record of a signature has.
const BODY_BYTES: usize = 400;
const K256_TIMES: u32 = 2_000;

/// Numbers of the rows, for all plain clients of this process.
static NEXT: AtomicI64 = AtomicI64::new(1);

/// A plain client of the database.
pub struct Bare {
    connection: PgConnection,
    key_id: String,
    account: Vec<u8>,
}

impl Bare {
    /// Connects.
    ///
    /// # Errors
    /// When the tables cannot be made.
    pub async fn connect(world: &World, key: usize) -> Result<Self> {
        let mut connection = PgConnection::connect(&world.url).await?;
        if NEXT.load(Ordering::Relaxed) == 1 {
            connection.execute(TABLES).await?;
        }
        let account = world.address(key)?.to_vec();
        Ok(Self { connection, key_id: world.keys[key % world.keys.len()].id.clone(), account })
    }

    /// Commits the rows of one signature.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn commit(&mut self) -> Result<()> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let hash = Sha256::digest(number.to_be_bytes()).to_vec();
        let rows = sqlx::query(ROWS).bind(number).bind(vec![7_u8; BODY_BYTES]).bind(hash);
        rows.bind(&self.account).bind(&self.key_id).execute(&mut self.connection).await?;
        Ok(())
    }
}

/// Signatures' rows that so many plain clients commit in a second.
///
/// # Errors
/// When one of them fails.
pub async fn group_commits(world: &World, clients: usize, lasting: Duration) -> Result<f64> {
    let mut connected = Vec::new();
    for number in 0..clients {
        let mut bare = Bare::connect(world, number).await?;
        bare.commit().await?;
        connected.push(bare);
    }
    let begun = Instant::now();
    let done = Arc::new(AtomicI64::new(0));
    let tasks: Vec<_> = connected
        .into_iter()
        .map(|mut bare| {
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                while begun.elapsed() < lasting {
                    bare.commit().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

/// Microseconds of one core: a signature alone, and with the recovery of its signer that we never leave out.
///
/// # Errors
/// When k256 fails.
pub fn k256_us() -> Result<(f64, f64)> {
    let key = SigningKey::from_slice(&[7; 32])?;
    let digests: Vec<[u8; 32]> = (0..K256_TIMES).map(|n| Sha256::digest(n.to_be_bytes()).into()).collect();
    let begun = Instant::now();
    let mut signatures = Vec::new();
    for digest in &digests {
        signatures.push(key.sign_prehash_recoverable(digest)?);
    }
    let signing = begun.elapsed();
    for (digest, signature) in digests.iter().zip(signatures) {
        let signature = Signature::from(signature);
        signature.recover_address_from_prehash(&(*digest).into())?;
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
