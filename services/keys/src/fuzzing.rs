//! The bodies of the fuzz targets (`fuzz/`): what must hold for any input at all. A short run with fixed seeds is an
//! ordinary test (`tests/fuzz.rs`), a long one needs cargo-fuzz.
//!
//! Each takes bytes and returns; a broken promise is a failed assertion. None touches a database or a clock.

use std::sync::LazyLock;

use age::x25519::Identity;
use alloy_consensus::TxEip1559;
use alloy_consensus::transaction::{RlpEcdsaDecodableTx, RlpEcdsaEncodableTx};
use alloy_primitives::{Address, address};
use api::keys::v1::SignTransactionRequest;
use prost::Message;
use trail::{End, Record, Trusted};

use crate::backend::{Numbers, der};
use crate::backup::{age_file, archive};
use crate::import::priv_validator::File;
use crate::import::{keystore, priv_validator};
use crate::operations::sign_transaction;
use crate::policy::{Call, Contracts, Policy};

/// A name and what must hold.
pub type Target = (&'static str, fn(&[u8]));

/// The targets by name, each with a program in `fuzz/fuzz_targets`.
pub const TARGETS: [Target; 8] = [
    ("transaction", transaction),
    ("calldata", calldata),
    ("policy", policy),
    ("keystore", keystore),
    ("priv_validator", priv_validator),
    ("archive", archive),
    ("audit_export", audit_export),
    ("der", der),
];

const POOL: Address = address!("00000000000000000000000000000000000000a1");
const METIS: Address = address!("00000000000000000000000000000000000000a3");
/// Rounds and memory that a keystore may ask for here; the limits of the reader themselves allow ten seconds.
const COST_MAX: u64 = 1 << 12;

/// A request to sign, as protobuf: it is refused with a field, or becomes a transaction that survives encoding.
pub fn transaction(bytes: &[u8]) {
    let Ok(request) = SignTransactionRequest::decode(bytes) else { return };
    let own = request.transaction.as_ref().and_then(|t| t.from.parse().ok()).unwrap_or(Address::ZERO);
    match sign_transaction::parsed(request, own) {
        Err(refusal) => assert!(!refusal.fields.is_empty(), "a refusal names its field: {refusal:?}"),
        Ok(transaction) => {
            let mut encoded = Vec::new();
            transaction.rlp_encode(&mut encoded);
            let decoded = TxEip1559::rlp_decode(&mut encoded.as_slice());
            assert_eq!(decoded.as_ref(), Ok(&transaction), "what is signed is what was asked");
        }
    }
}

/// A target (one byte) and calldata: only what is canonical decodes, and has words.
pub fn calldata(bytes: &[u8]) {
    let Some((target, data)) = bytes.split_first() else { return };
    let contracts =
        Contracts { chain_id: 1, locking_pool: POOL, locking_info: Address::repeat_byte(2), metis: METIS };
    let to = if target % 2 == 0 { POOL } else { METIS };
    if let Ok(call) = Call::decode(to, data, &contracts) {
        assert!(!call.to_string().is_empty());
        // Nothing may be appended, and nothing may be left out.
        let longer = [data, &[0]].concat();
        assert!(Call::decode(to, &longer, &contracts).is_err(), "trailing bytes are refused");
        assert!(Call::decode(to, &data[..data.len() - 1], &contracts).is_err(), "a cut is refused");
    }
}

/// A policy document: refused with words, or the same each time.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Policy::parse(text) {
        Err(invalid) => assert!(!invalid.to_string().is_empty()),
        Ok(policy) => {
            assert_eq!(Policy::parse(text).as_ref(), Ok(&policy));
            assert!(policy.rules.is_sorted_by(|one, other| one.name < other.name), "order never matters");
        }
    }
}

/// A keystore v3 with a fixed passphrase.
pub fn keystore(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(document) = serde_json::from_str(text)
        && cost(&document) > COST_MAX
    {
        return;
    }
    if let Ok(secret) = keystore::decrypt(text, "testpassword") {
        secret.prove().expect("what was taken in can sign");
    }
}

/// The largest number anywhere in the document: rounds, blocks, lanes and lengths are all below it.
fn cost(document: &serde_json::Value) -> u64 {
    match document {
        serde_json::Value::Number(number) => number.as_u64().unwrap_or(0),
        serde_json::Value::Array(values) => values.iter().map(cost).max().unwrap_or(0),
        serde_json::Value::Object(fields) => fields.values().map(cost).max().unwrap_or(0),
        _ => 0,
    }
}

/// A priv_validator_key.json: what is read can be written and read again.
pub fn priv_validator(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(secret) = priv_validator::read(text) {
        let written = serde_json::to_string(&File::of(&secret)).expect("a file of text always serialises");
        let again = priv_validator::read(&written).expect("what we write we can read");
        assert_eq!(again.expose(), secret.expose());
    }
}

/// A backup, both as it arrives (age) and as it is inside.
pub fn archive(bytes: &[u8]) {
    if let Ok(opened) = archive::prove(bytes) {
        assert!(opened.keys.iter().all(|key| key.secret.prove().is_ok()));
    }
    // Nobody encrypts to this one: what is fuzzed is the way until that is known.
    static STRANGER: LazyLock<Identity> = LazyLock::new(Identity::generate);
    assert!(age_file::decrypt(&STRANGER, bytes).is_err());
}

/// What a hardware module or a cloud answers: a signature or a public key in DER, or nothing that is used.
pub fn der(bytes: &[u8]) {
    if let Ok(numbers) = der::signature(bytes) {
        let low = numbers.to_bytes();
        assert_eq!(
            der::signature_of_64(&low).map(Numbers::to_bytes),
            Ok(low),
            "both forms are the same numbers"
        );
    }
    if let Ok(key) = der::public_key(bytes) {
        assert_eq!(der::public_key_of_point(&[&[4], key.bytes64().as_slice()].concat()), Ok(key));
    }
    let _ = (der::signature_of_64(bytes), der::public_key_of_point(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = der::public_key_of_pem(text);
    }
}

/// An export of the audit log, and each of its lines alone.
pub fn audit_export(bytes: &[u8]) {
    let report = trail::verify(bytes, Trusted::default());
    if let Ok(report) = report {
        assert!(bytes.ends_with(format!("{}\n", End(report.head).line()).as_bytes()));
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some((record, _)) = Record::parse(line) {
            assert_eq!(record.line().as_bytes(), line, "a line has one form");
        }
        if let Some(end) = End::parse(line) {
            assert_eq!(end.line().as_bytes(), line, "an end has one form");
        }
        if let Ok(text) = std::str::from_utf8(line)
            && let Some(head) = trail::SignedHead::parse(text)
        {
            assert_eq!(trail::SignedHead::parse(&head.line()), Some(head));
        }
    }
}
