//! A password as Postgres keeps it (SCRAM-SHA-256, RFC 5803), made here so that the password
//! itself never travels in a statement that a server log could keep.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// What Postgres itself uses.
const ITERATIONS: u32 = 4096;
const SALT_BYTES: usize = 16;

/// The verifier of `password`, ready for `ALTER ROLE … PASSWORD`.
///
/// `None` for passwords with anything but printable ASCII: those would need SASLprep.
pub(crate) fn verifier(password: &str) -> Option<String> {
    let printable =
        !password.is_empty() && password.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    printable.then(|| verifier_with(password, &rand::random::<[u8; SALT_BYTES]>()))
}

fn verifier_with(password: &str, salt: &[u8]) -> String {
    let salted = salted(password.as_bytes(), salt);
    let stored_key = Sha256::digest(hmac(&salted, &[b"Client Key"]));
    let server_key = hmac(&salted, &[b"Server Key"]);
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    )
}

/// PBKDF2 with one block, which is all that SHA-256 needs.
fn salted(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let mut round = hmac(password, &[salt, &1_u32.to_be_bytes()]);
    let mut result = round;
    for _ in 1..ITERATIONS {
        round = hmac(password, &[&round]);
        result.iter_mut().zip(round).for_each(|(sum, byte)| *sum ^= byte);
    }
    result
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_has_the_keys_of_the_standard() {
        // The keys of the example in RFC 7677, whose password is "pencil".
        let verifier = verifier_with("pencil", &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64"));
        assert_eq!(
            verifier,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }

    #[test]
    fn passwords_that_need_preparation_are_refused() {
        assert_eq!(verifier("pässword"), None);
        assert_eq!(verifier(""), None);
    }
}
