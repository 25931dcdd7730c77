//! How fast an export of the audit log is verified offline (K9).

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use api::keys::v1::AuditBody;
use prost::Message;
use serde_json::json;
use sha2::{Digest, Sha256};
use trail::{End, HEADER, Head, Heads, Record, SignedHead, SigningKey, Trusted, verify};

use crate::report::Figure;

/// One million records.
pub const VERIFY: &str = "keys.audit_verify_1m_s";
const TARGET: f64 = 30.0;
const RECORDS: u64 = 1_000_000;
/// As the service publishes them by default.
const RECORDS_PER_HEAD: u64 = 1_000;

/// Writes an export as `seqctl audit export` does, then verifies it against its heads.
pub async fn verification() -> Result<Figure> {
    tokio::task::spawn_blocking(measure).await?
}

fn measure() -> Result<Figure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("export");
    let key = SigningKey::from_bytes(&[1; 32]);
    let mut file = BufWriter::new(File::create(&path)?);
    let (mut head, mut heads, mut bytes) = (Head::START, String::new(), 0);
    writeln!(file, "{HEADER}")?;
    for sequence in 1..=RECORDS {
        let body = body(sequence);
        bytes += body.len();
        head = head.after(&body);
        writeln!(file, "{}", Record { sequence, body, hash: head.hash }.line())?;
        if sequence % RECORDS_PER_HEAD == 0 {
            heads += &(SignedHead::sign(head, sequence, &key).line() + "\n");
        }
    }
    writeln!(file, "{}", End(head).line())?;
    file.flush()?;
    let begun = Instant::now();
    let heads = Heads::read(&heads, &[key.verifying_key()])?;
    let trusted = Trusted { heads: Some(&heads), keys_known: true };
    let report = verify(BufReader::new(File::open(&path)?), trusted)?;
    let took = begun.elapsed().as_secs_f64();
    ensure!(report.head == head && report.not_checked.is_empty(), "all of it was checked");
    let what = "reading heads and export from files, every signature, hash and line checked, one thread";
    let hashing = hashing(bytes).context("there are bytes")?;
    Ok(Figure::new(took, "s", TARGET, what)
        .limit(hashing, "SHA-256 over as many blocks, in memory")
        .with("records", json!(RECORDS))
        .with("export_mb", json!(path.metadata()?.len() / (1 << 20))))
}

/// What the hashes alone cost.
fn hashing(bytes: usize) -> Option<f64> {
    let body = vec![7; bytes.checked_div(usize::try_from(RECORDS).ok()?)?];
    let begun = Instant::now();
    let mut hash = [0; 32];
    for _ in 0..RECORDS {
        hash = Sha256::new().chain_update(hash).chain_update(&body).finalize().into();
    }
    std::hint::black_box(hash);
    Some(begun.elapsed().as_secs_f64())
}

/// As long as that of a signature.
fn body(sequence: u64) -> Vec<u8> {
    AuditBody {
        caller: "lifecycle".to_owned(),
        action: "SignTransaction".to_owned(),
        key_id: "0192f3a0-0000-7000-8000-000000000001".to_owned(),
        intent: format!("increase the lock of sequencer {sequence} by 5 METIS, from 0x1111111111111111111111111111111111111111 on devnet"),
        digest: vec![7; 32].into(),
        policy_version: 1,
        operation_id: "0192f3a0-0000-7000-8000-000000000002".to_owned(),
        network: "devnet".to_owned(),
        transaction: Some(api::keys::v1::AuditedTransaction {
            chain_id: 31337,
            account: vec![0x11; 20].into(),
            nonce: sequence,
            gas_limit: 500_000,
            max_fee_per_gas_wei: "20000000000".to_owned(),
            max_priority_fee_per_gas_wei: "1000000000".to_owned(),
            signing_hash: vec![9; 32].into(),
            to: vec![0x22; 20].into(),
            value_wei: "0".to_owned(),
            data: vec![8; 100].into(),
            signing_intent: 1,
            intent_digest: vec![6; 32].into(),
        }),
        verdict: "ALLOWED".to_owned(),
        rule: "owner-lock".to_owned(),
        sequence,
        time_micros: 1_790_000_000_000_000 + sequence,
    }
    .encode_to_vec()
}
