//! DER as hardware and clouds give it: signatures (ECDSA-Sig-Value) and public keys (SubjectPublicKeyInfo, as such
//! or as PEM). Strict: what is not exactly that is refused, never repaired.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::pubkey::PublicKey;
use k256::pkcs8::DecodePublicKey;

use super::{Numbers, Unusable};

const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";
/// Tag of an OCTET STRING and its length: an uncompressed point as PKCS#11 wraps it.
const POINT_IN_OCTETS: [u8; 2] = [0x04, 65];

/// Reads a signature.
pub fn signature(der: &[u8]) -> Result<Numbers, Unusable> {
    k256::ecdsa::Signature::from_der(der).map(Numbers::from).map_err(|_| Unusable::Signature)
}

/// Reads r and s as they are, 32 bytes each.
pub fn signature_of_64(bytes: &[u8]) -> Result<Numbers, Unusable> {
    k256::ecdsa::Signature::from_slice(bytes).map(Numbers::from).map_err(|_| Unusable::Signature)
}

/// Reads a public key.
pub fn public_key(der: &[u8]) -> Result<PublicKey, Unusable> {
    k256::PublicKey::from_public_key_der(der).map(PublicKey::from).map_err(|_| Unusable::PublicKey)
}

/// Reads a public key in PEM.
pub fn public_key_of_pem(pem: &str) -> Result<PublicKey, Unusable> {
    let body = pem.trim().strip_prefix(PEM_BEGIN).and_then(|rest| rest.strip_suffix(PEM_END));
    let digits: String = body.ok_or(Unusable::PublicKey)?.split_ascii_whitespace().collect();
    public_key(&STANDARD.decode(digits).map_err(|_| Unusable::PublicKey)?)
}

/// Reads `CKA_EC_POINT`: the point in an OCTET STRING (PKCS#11 3.0, 6.3.3), or bare, as some modules have it.
pub fn public_key_of_point(bytes: &[u8]) -> Result<PublicKey, Unusable> {
    let point = bytes.strip_prefix(&POINT_IN_OCTETS).filter(|rest| rest.len() == 65).unwrap_or(bytes);
    if point.len() != 65 || point[0] != 0x04 {
        return Err(Unusable::PublicKey);
    }
    PublicKey::from_bytes(point).map_err(|_| Unusable::PublicKey)
}
