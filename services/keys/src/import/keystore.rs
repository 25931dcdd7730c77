//! Keystore v3 (Web3 Secret Storage), scrypt and pbkdf2.
//!
//! Own decryption: the crate for it works on files only, trusts the parameters of the document and
//! panics on short fields.

use aes::Aes128;
use aes::cipher::{KeyIvInit, StreamCipher};
use alloy_primitives::keccak256;
use ctr::Ctr128BE;
use serde::Deserialize;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::crypto::SecretKey;
use crate::crypto::aead::{self, NoRandomness};
use crate::error::Failure;

/// Twice what geth uses; a document may not ask for all of our memory. Imports derive one at a time.
const SCRYPT_MEMORY_MAX: u64 = 1 << 29;
/// Memory times lanes, which is time: some seconds.
const SCRYPT_WORK_MAX: u64 = 1 << 30;
/// Forty times what geth used; about ten seconds.
const PBKDF2_ROUNDS_MAX: u32 = 10_000_000;
/// A keystore has 500 bytes.
pub const BYTES_MAX: usize = 64 * 1024;
const DERIVED_BYTES: usize = 32;
/// Rounds of scrypt in what we write: 128 MiB, as OWASP asks for.
const EXPORT_N: u64 = 1 << 17;
/// Salts have 32 bytes; a longer one is hashed first and only costs us.
const SALT_BYTES_MAX: usize = 1024;

/// One derivation may take half a gigabyte and seconds of CPU; two at once may not.
static TURN: Semaphore = Semaphore::const_new(1);

/// Why a keystore gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the document is no keystore of version 3")]
    Document,
    #[error("{0} is not supported or out of range")]
    Parameter(&'static str),
    #[error("the passphrase is wrong, or the document was changed")]
    Passphrase,
    #[error("the decrypted bytes are no secret of secp256k1")]
    Secret,
}

#[derive(Deserialize)]
struct Document {
    version: u32,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt { dklen: usize, n: u64, p: u32, r: u32, salt: String },
    Pbkdf2 { dklen: usize, c: u32, prf: String, salt: String },
}

/// Decrypts or encrypts when it is its turn, off the async threads. The turn lasts as long as the work, also where the
/// caller has stopped waiting for it.
pub async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let turn = TURN.acquire().await.map_err(|_| Failure::TurnsClosed)?;
    let working = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    Ok(working.await?)
}

/// Decrypts a keystore. Takes seconds of CPU: see `in_turn`.
pub fn decrypt(json: &str, passphrase: &str) -> Result<SecretKey, Invalid> {
    if json.len() > BYTES_MAX {
        return Err(Invalid::Document);
    }
    let Document { version, crypto } = serde_json::from_str(json).map_err(|_| Invalid::Document)?;
    if version != 3 {
        return Err(Invalid::Document);
    }
    let Crypto { cipher, cipherparams, ciphertext, kdf, mac } = crypto;
    if cipher != "aes-128-ctr" {
        return Err(Invalid::Parameter("cipher"));
    }
    let iv: [u8; 16] = bytes(&cipherparams.iv)?.try_into().map_err(|_| Invalid::Parameter("iv"))?;
    let (mut text, mac) = (Zeroizing::new(bytes(&ciphertext)?), bytes(&mac)?);
    let derived = derive(&kdf, passphrase.as_bytes())?;
    let (cipher_key, mac_key) = derived.split_at(16);
    let expected = keccak256(Zeroizing::new([mac_key, &text].concat()));
    if !bool::from(expected.as_slice().ct_eq(&mac)) {
        return Err(Invalid::Passphrase);
    }
    Ctr128BE::<Aes128>::new_from_slices(cipher_key, &iv)
        .map_err(|_| Invalid::Parameter("iv"))?
        .apply_keystream(&mut text);
    SecretKey::from_slice(&text).map_err(|_| Invalid::Secret)
}

/// Encrypts a key as other tools do: scrypt with 128 MiB, aes-128-ctr. Takes half a second of CPU.
pub fn encrypt(secret: &SecretKey, passphrase: &str) -> Result<String, NoRandomness> {
    let (salt, iv) = (aead::random::<32>()?, aead::random::<16>()?);
    let kdf =
        Kdf::Scrypt { dklen: DERIVED_BYTES, n: EXPORT_N, p: 1, r: 8, salt: hex::encode(salt.as_slice()) };
    let derived = derive(&kdf, passphrase.as_bytes()).expect("our own parameters are within our bounds");
    let (cipher_key, mac_key) = derived.split_at(16);
    let mut text = *secret.expose();
    Ctr128BE::<Aes128>::new_from_slices(cipher_key, iv.as_slice())
        .expect("key and iv have sixteen bytes")
        .apply_keystream(&mut text);
    let mac = keccak256(Zeroizing::new([mac_key, &text[..]].concat()));
    let Kdf::Scrypt { dklen, n, p, r, salt } = kdf else { unreachable!("made above") };
    Ok(serde_json::json!({
        "version": 3,
        "id": uuid::Uuid::new_v4(),
        "address": hex::encode(secret.address()),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": { "iv": hex::encode(iv.as_slice()) },
            "ciphertext": hex::encode(text),
            "kdf": "scrypt",
            "kdfparams": { "dklen": dklen, "n": n, "p": p, "r": r, "salt": salt },
            "mac": hex::encode(mac),
        }
    })
    .to_string())
}

fn derive(kdf: &Kdf, passphrase: &[u8]) -> Result<Zeroizing<[u8; DERIVED_BYTES]>, Invalid> {
    let mut key = Zeroizing::new([0; DERIVED_BYTES]);
    match kdf {
        Kdf::Scrypt { dklen, n, p, r, salt } => {
            // 128 * n * r bytes, checked before anything is allocated.
            let memory = n.checked_mul(u64::from(*r)).and_then(|blocks| blocks.checked_mul(128));
            let work = memory.and_then(|memory| memory.checked_mul(u64::from(*p)));
            let fits = memory.is_some_and(|memory| memory <= SCRYPT_MEMORY_MAX)
                && work.is_some_and(|work| work <= SCRYPT_WORK_MAX);
            if *dklen != DERIVED_BYTES || !n.is_power_of_two() || *n < 2 || !fits {
                return Err(Invalid::Parameter("kdfparams"));
            }
            let log_n = u8::try_from(n.ilog2()).map_err(|_| Invalid::Parameter("n"))?;
            let parameters = scrypt::Params::new(log_n, *r, *p, DERIVED_BYTES)
                .map_err(|_| Invalid::Parameter("kdfparams"))?;
            scrypt::scrypt(passphrase, &salt_of(salt)?, &parameters, key.as_mut_slice())
                .map_err(|_| Invalid::Parameter("kdfparams"))?;
        }
        Kdf::Pbkdf2 { dklen, c, prf, salt } => {
            if *dklen != DERIVED_BYTES || prf != "hmac-sha256" || *c == 0 || *c > PBKDF2_ROUNDS_MAX {
                return Err(Invalid::Parameter("kdfparams"));
            }
            pbkdf2::pbkdf2::<hmac::Hmac<Sha256>>(passphrase, &salt_of(salt)?, *c, key.as_mut_slice())
                .map_err(|_| Invalid::Parameter("kdfparams"))?;
        }
    }
    Ok(key)
}

fn salt_of(text: &str) -> Result<Vec<u8>, Invalid> {
    bytes(text).and_then(|salt| {
        if salt.len() <= SALT_BYTES_MAX { Ok(salt) } else { Err(Invalid::Parameter("salt")) }
    })
}

fn bytes(text: &str) -> Result<Vec<u8>, Invalid> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).map_err(|_| Invalid::Document)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From the Web3 Secret Storage definition, passphrase "testpassword".
    const SECRET: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
    const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
        "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    /// The same secret by scrypt, made with Python's hashlib and openssl. The scrypt vector of the definition has
    /// r = 1 with n = 2^18, which RFC 7914 forbids.
    const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"0102030405060708090a0b0c0d0e0f10"},
        "ciphertext":"0e85f89eeda43d114d4a91b5edc0a49ba9c0ea1c70de4e5af6aeb064d17566ef","kdf":"scrypt",
        "kdfparams":{"dklen":32,"n":8192,"p":1,"r":8,"salt":"abababababababababababababababababababababababababababababababab"},
        "mac":"56b239e0532569098de170eb2f96a0a4a73eff5a76eb634ae6fceca348af948a"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

    #[test]
    fn both_derivations_give_the_secret() {
        for document in [PBKDF2, SCRYPT] {
            let secret = decrypt(document, "testpassword").unwrap();
            assert_eq!(hex::encode(secret.expose()), SECRET);
        }
    }

    #[test]
    fn a_wrong_passphrase_or_a_changed_ciphertext_is_refused() {
        assert_eq!(decrypt(PBKDF2, "testpassword ").unwrap_err(), Invalid::Passphrase);
        let changed = PBKDF2.replace("5318b4d5", "5318b4d6");
        assert_eq!(decrypt(&changed, "testpassword").unwrap_err(), Invalid::Passphrase);
    }

    #[test]
    fn what_is_written_opens_with_its_passphrase_only() {
        let secret = SecretKey::from_slice(&[7; 32]).unwrap();
        let json = encrypt(&secret, "a long passphrase").unwrap();
        assert_eq!(decrypt(&json, "a long passphrase").unwrap().expose(), &[7; 32]);
        assert_eq!(decrypt(&json, "another passphrase").unwrap_err(), Invalid::Passphrase);
        assert!(!json.contains(&"07".repeat(32)));
        assert!(json.contains(&hex::encode(secret.address())));
    }

    #[test]
    fn a_document_cannot_ask_for_all_memory_or_time() {
        let huge = SCRYPT.replace("8192", "1073741824");
        let odd = SCRYPT.replace("8192", "8193");
        let none = SCRYPT.replace("8192", "0");
        let rounds = PBKDF2.replace("262144", "4294967295");
        let short = PBKDF2.replace(r#""dklen":32"#, r#""dklen":8"#);
        // n * r * 128 does not fit in 64 bits, or only r is huge, or p asks for years.
        let overflow = SCRYPT.replace("8192", "9223372036854775808");
        let wide = SCRYPT.replace(r#""r":8"#, r#""r":4294967295"#);
        let no_blocks = SCRYPT.replace(r#""r":8"#, r#""r":0"#);
        let lanes = SCRYPT.replace(r#""p":1"#, r#""p":1073741823"#);
        let no_lanes = SCRYPT.replace(r#""p":1"#, r#""p":0"#);
        let no_rounds = PBKDF2.replace("262144", "0");
        let more = [overflow, wide, no_blocks, lanes, no_lanes, no_rounds];
        for document in [huge, odd, none, rounds, short].into_iter().chain(more) {
            let refused = decrypt(&document, "testpassword").unwrap_err();
            assert_eq!(refused, Invalid::Parameter("kdfparams"), "{document}");
        }
    }

    proptest! {
        #[test]
        fn no_document_makes_the_reader_panic(text in ".{0,200}", iv in "[0-9a-f]{0,40}", salt in "[0-9a-f]{0,9}") {
            let _ = decrypt(&text, "x");
            let cheap = PBKDF2.replace("262144", "1").replace("6087dab2f9fdbbfaddc31a909735c1e6", &iv)
                .replace("ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd", &salt);
            let _ = decrypt(&cheap, "x");
        }
    }
}
