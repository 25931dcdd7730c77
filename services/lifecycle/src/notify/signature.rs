//! The Standard Webhooks scheme (standardwebhooks.com, specification 1.0.0): HMAC-SHA256 over id, timestamp and body.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a secret that we make; the scheme wants 24 to 64.
const SECRET_BYTES: usize = 32;
/// What every symmetric secret begins with.
const PREFIX: &str = "whsec_";

/// The key that an endpoint and we share; never printed but by [`Secret::shown`].
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(<redacted>)")
    }
}

impl Secret {
    /// A fresh one.
    pub fn random() -> Self {
        Self(Zeroizing::new(rand::random::<[u8; SECRET_BYTES]>().to_vec()))
    }

    /// Of the bytes that were kept.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What is sealed.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As its owner gets it, once.
    pub fn shown(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0.as_slice()))
    }

    fn signature(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The header `webhook-signature`: one signature for each secret that is valid now, so that a receiver may change from
/// one to the other at any moment of a rotation.
pub fn header(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let all: Vec<String> = secrets.iter().map(|secret| secret.signature(id, timestamp, body)).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector that the libraries of the scheme are tested with.
    #[test]
    fn the_published_vector_is_met() {
        let secret = Secret::of(STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64"));
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = header(&[secret], id, 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn during_a_rotation_each_secret_signs() {
        let (old, new) = (Secret::random(), Secret::random());
        let both = header(&[old.clone(), new.clone()], "msg_1", 1, b"{}");
        let one = |secret| header(&[secret], "msg_1", 1, b"{}");
        assert_eq!(both, format!("{} {}", one(old), one(new)));
    }

    #[test]
    fn a_secret_is_shown_only_when_asked() {
        let secret = Secret::random();
        assert!(secret.shown().starts_with("whsec_"));
        assert!(!format!("{secret:?}").contains(&secret.shown()[PREFIX.len()..]));
    }
}
