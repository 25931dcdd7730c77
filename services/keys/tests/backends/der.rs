//! DER signatures of all shapes: what is right becomes low s with the right parity, all else is refused.

use alloy_primitives::{B256, Signature};
use keys::backend::{Unusable, der, proof};
use keys::crypto::SecretKey;
use proptest::prelude::*;

/// A positive INTEGER, the shortest way.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let mut body = bytes[start..].to_vec();
    if body[0] >= 0x80 {
        body.insert(0, 0);
    }
    [vec![0x02, u8::try_from(body.len()).unwrap()], body].concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}

fn scalar() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>().prop_filter("a scalar", |bytes| SecretKey::from_slice(bytes).is_ok())
}

proptest! {
    #[test]
    fn a_signature_becomes_the_one_of_ethereum_whatever_its_s(secret in scalar(), digest: [u8; 32], high: bool) {
        let (secret, digest) = (SecretKey::from_slice(&secret).unwrap(), B256::from(digest));
        let expected: Signature = secret.sign(&digest).unwrap();
        let order = alloy_primitives::uint!(
            0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
        let s = if high { order - expected.s() } else { expected.s() };
        let der = sequence(&[integer(&expected.r().to_be_bytes::<32>()), integer(&s.to_be_bytes::<32>())]);
        let signature = proof::signature(der::signature(&der).unwrap(), &digest, secret.address()).unwrap();
        prop_assert_eq!(signature, expected);
        prop_assert!(signature.normalize_s().is_none());
    }

    #[test]
    fn a_signature_for_somebody_else_is_found_out(one in scalar(), other in scalar(), digest: [u8; 32]) {
        prop_assume!(one != other);
        let (one, other) = (SecretKey::from_slice(&one).unwrap(), SecretKey::from_slice(&other).unwrap());
        let numbers = one.sign_unproven(&digest.into()).unwrap();
        let found = proof::signature(numbers, &digest.into(), other.address());
        prop_assert_eq!(found, Err(Unusable::Unfaithful(other.address())));
    }

    #[test]
    fn der_that_is_cut_or_has_more_behind_it_is_refused(r in scalar(), s in scalar(), more in 1..9usize) {
        let whole = sequence(&[integer(&r), integer(&s)]);
        prop_assert!(der::signature(&whole).is_ok());
        for length in 0..whole.len() {
            prop_assert_eq!(der::signature(&whole[..length]).unwrap_err(), Unusable::Signature);
        }
        prop_assert_eq!(der::signature(&[whole, vec![0; more]].concat()).unwrap_err(), Unusable::Signature);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..150)) {
        let _ = der::signature(&bytes);
        let _ = der::signature_of_64(&bytes);
        let _ = der::public_key(&bytes);
        let _ = der::public_key_of_point(&bytes);
        let _ = der::public_key_of_pem(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn what_is_read_is_written_the_same_way(bytes in proptest::collection::vec(any::<u8>(), 0..6), r in scalar(), s in scalar(), at in 0..72usize) {
        // A byte changed anywhere: either it is refused, or it is another signature in the one right form.
        let mut der = sequence(&[integer(&r), integer(&s)]);
        let at = at % der.len();
        der[at] ^= bytes.first().copied().unwrap_or(1) | 1;
        if let Ok(numbers) = k256::ecdsa::Signature::from_der(&der) {
            let again = numbers.to_der();
            prop_assert_eq!(again.as_bytes(), der.as_slice());
        }
    }
}

#[test]
fn shapes_that_only_look_like_a_signature_are_refused() {
    let one = integer(&[1]);
    let order = hex::decode("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").unwrap();
    let table = [
        ("zero r", sequence(&[integer(&[0]), one.clone()])),
        ("zero s", sequence(&[one.clone(), integer(&[0])])),
        ("r is the order", sequence(&[integer(&order), one.clone()])),
        ("s is the order", sequence(&[one.clone(), integer(&order)])),
        ("negative", sequence(&[vec![0x02, 0x01, 0x81], one.clone()])),
        ("a zero too many", sequence(&[vec![0x02, 0x02, 0x00, 0x01], one.clone()])),
        ("no bytes", sequence(&[vec![0x02, 0x00], one.clone()])),
        ("one number", sequence(std::slice::from_ref(&one))),
        ("three numbers", sequence(&[one.clone(), one.clone(), one.clone()])),
        ("long form of a short length", [vec![0x30, 0x81, 0x06], one.clone(), one.clone()].concat()),
        ("a SET", [vec![0x31, 0x06], one.clone(), one.clone()].concat()),
        ("too long a number", sequence(&[integer(&[0x7f; 33]), one.clone()])),
        ("indefinite length", [vec![0x30, 0x80], one.clone(), one.clone(), vec![0, 0]].concat()),
    ];
    for (what, der) in table {
        assert_eq!(der::signature(&der).unwrap_err(), Unusable::Signature, "{what}");
    }
    assert!(der::signature(&sequence(&[one.clone(), one])).is_ok());
}

#[test]
fn public_keys_are_read_in_the_three_forms_and_no_other_curve_is_taken() {
    let secret = SecretKey::from_slice(&[9; 32]).unwrap();
    let point = secret.public().bytes65();
    let algorithm = hex::decode("301006072a8648ce3d020106052b8104000a").unwrap();
    let bits = [vec![0x03, 66, 0x00], point.to_vec()].concat();
    let der = sequence(&[algorithm, bits.clone()]);
    assert_eq!(der::public_key(&der).unwrap(), secret.public());
    let octets = [vec![0x04, 65], point.to_vec()].concat();
    assert_eq!(der::public_key_of_point(&octets).unwrap(), secret.public());
    assert_eq!(der::public_key_of_point(&point).unwrap(), secret.public());

    let p256 = hex::decode("301306072a8648ce3d020106082a8648ce3d030107").unwrap();
    assert_eq!(der::public_key(&sequence(&[p256, bits])), Err(Unusable::PublicKey));
    assert_eq!(der::public_key(&[der.clone(), vec![0]].concat()), Err(Unusable::PublicKey));
    assert_eq!(der::public_key_of_point(&octets[..66]), Err(Unusable::PublicKey));
    assert_eq!(der::public_key_of_pem("-----BEGIN PUBLIC KEY-----"), Err(Unusable::PublicKey));
}
