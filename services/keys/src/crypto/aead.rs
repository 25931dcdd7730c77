//! XChaCha20-Poly1305 with a fresh random nonce before each ciphertext. Nonces of 24 bytes may be
//! drawn at random for as long as a key lives.

use chacha20poly1305::aead::{Aead, AeadInPlace, Payload};
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::Pinned;

const NONCE_BYTES: usize = 24;
/// Of Poly1305.
const TAG_BYTES: usize = 16;

/// The ciphertext was not made with this key and these associated data.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not belong to this key and these associated data")]
pub struct Unauthentic;

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("asking the operating system for random bytes")]
pub struct NoRandomness(#[source] pub <SysRng as TryRng>::Error);

/// Random bytes from the operating system itself.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; N]);
    SysRng.try_fill_bytes(bytes.as_mut_slice()).map_err(NoRandomness)?;
    Ok(bytes)
}

/// A random key, drawn into its own page.
pub fn random_key() -> Result<Pinned, NoRandomness> {
    let mut key = Pinned::zeroed();
    SysRng.try_fill_bytes(key.as_mut_slice()).map_err(NoRandomness)?;
    Ok(key)
}

/// Encrypts `plain` and binds it to `associated`.
pub fn seal(key: &[u8; 32], associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, NoRandomness> {
    let nonce = random::<NONCE_BYTES>()?;
    let cipher = XChaCha20Poly1305::new(key.into());
    let sealed = cipher
        .encrypt(XNonce::from_slice(nonce.as_slice()), Payload { msg: plain, aad: associated })
        .expect("only messages of more than 256 GiB are refused");
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Gives back what `seal` encrypted.
pub fn open(key: &[u8; 32], associated: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unauthentic> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or(Unauthentic)?;
    XChaCha20Poly1305::new(key.into())
        .decrypt(XNonce::from_slice(nonce), Payload { msg: ciphertext, aad: associated })
        .map(Zeroizing::new)
        .map_err(|_| Unauthentic)
}

/// Gives back thirty-two bytes that `seal` encrypted; they are nowhere but on their own page.
pub fn open_key(key: &[u8; 32], associated: &[u8], sealed: &[u8]) -> Result<Pinned, Unauthentic> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or(Unauthentic)?;
    let mut plain = Pinned::zeroed();
    if ciphertext.len() != plain.len() + TAG_BYTES {
        return Err(Unauthentic);
    }
    let (text, tag) = ciphertext.split_at(plain.len());
    plain.copy_from_slice(text);
    XChaCha20Poly1305::new(key.into())
        .decrypt_in_place_detached(
            XNonce::from_slice(nonce),
            associated,
            plain.as_mut_slice(),
            Tag::from_slice(tag),
        )
        .map_err(|_| Unauthentic)?;
    Ok(plain)
}
