//! From the two numbers that a backend gives to a signature that Ethereum takes: s is made low (EIP-2), the
//! parity is found, and the address that it recovers to must be that of the key.

use alloy_primitives::{Address, B256, Signature};
use k256::ecdsa::VerifyingKey;
use k256::elliptic_curve::ops::{Invert, LinearCombination, Reduce};
use k256::elliptic_curve::point::DecompressPoint;
use k256::{AffinePoint, ProjectivePoint, Scalar, U256};

use super::Unusable;

/// r and s, each above zero and below the order of the group; s may be high.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    given: k256::ecdsa::Signature,
    /// The parity of a signature whose s is low, where the signer knows it. Believed by nobody: it says only which
    /// of the two is tried first.
    odd: Option<bool>,
}

// The parity is a hint, and no part of what was signed.
impl PartialEq for Numbers {
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given
    }
}

impl Eq for Numbers {}

impl From<k256::ecdsa::Signature> for Numbers {
    fn from(given: k256::ecdsa::Signature) -> Self {
        Self { given, odd: None }
    }
}

impl Numbers {
    /// Those of a signer that says which parity they have, s being low.
    pub fn with_parity(given: k256::ecdsa::Signature, odd: bool) -> Self {
        Self { given, odd: Some(odd) }
    }

    /// r and s, 32 bytes each, s low.
    pub fn to_bytes(self) -> [u8; 64] {
        self.low().to_bytes().into()
    }

    fn low(self) -> k256::ecdsa::Signature {
        self.given.normalize_s().unwrap_or(self.given)
    }
}

/// The signature of `account` over `digest`, or a refusal of whatever else it is.
pub fn signature(numbers: Numbers, digest: &B256, account: Address) -> Result<Signature, Unusable> {
    let low = numbers.low();
    let first = numbers.odd.unwrap_or_default();
    for odd in [first, !first] {
        if recovered(&low, odd, digest) == Some(account) {
            return Ok(Signature::from_signature_and_parity(low, odd));
        }
    }
    Err(Unusable::Unfaithful(account))
}

/// Whose signature this is (SEC 1, 4.1.6).
///
/// Not by k256: it verifies what it has just recovered, which doubles the time and says nothing new. R is made of r
/// here and Q = r⁻¹(sR - zG), so s⁻¹(zG + rQ) is R again, whose x is r: that is what a verifier looks at.
fn recovered(signature: &k256::ecdsa::Signature, odd: bool, digest: &B256) -> Option<Address> {
    let (r, s) = signature.split_scalars();
    // r above the order of the group does not happen to honest signers: 2^-128.
    let nonce_point =
        Option::<AffinePoint>::from(AffinePoint::decompress(&r.to_bytes(), u8::from(odd).into()))?;
    let hashed = <Scalar as Reduce<U256>>::reduce_bytes(&digest.0.into());
    let inverse = *Invert::invert(&r);
    let point = ProjectivePoint::lincomb(
        &ProjectivePoint::GENERATOR,
        &-(inverse * hashed),
        &ProjectivePoint::from(nonce_point),
        &(inverse * *s),
    );
    VerifyingKey::from_affine(point.to_affine()).ok().map(|key| Address::from_public_key(&key))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;
    use k256::ecdsa::SigningKey;

    use super::*;

    #[test]
    fn what_is_recovered_is_what_k256_recovers_and_verifies() {
        for number in 0..200_u32 {
            let key = SigningKey::from_slice(keccak256(number.to_be_bytes()).as_slice()).unwrap();
            let digest = keccak256(number.to_le_bytes());
            let (made, parity) = key.sign_prehash_recoverable(digest.as_slice()).unwrap();
            for odd in [false, true] {
                let id = k256::ecdsa::RecoveryId::new(odd, false);
                let theirs = VerifyingKey::recover_from_prehash(digest.as_slice(), &made, id).unwrap();
                assert_eq!(recovered(&made, odd, &digest), Some(Address::from_public_key(&theirs)));
            }
            assert_eq!(
                recovered(&made, parity.is_y_odd(), &digest),
                Some(Address::from_public_key(key.verifying_key()))
            );
        }
    }

    #[test]
    fn a_wrong_hint_of_the_parity_costs_time_and_nothing_else() {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let (account, digest) = (Address::from_public_key(key.verifying_key()), keccak256(b"hint"));
        let (made, parity) = key.sign_prehash_recoverable(digest.as_slice()).unwrap();
        let expected = Signature::from_signature_and_parity(made, parity.is_y_odd());
        for numbers in [made.into(), Numbers::with_parity(made, true), Numbers::with_parity(made, false)] {
            assert_eq!(signature(numbers, &digest, account), Ok(expected));
        }
        let other = Address::repeat_byte(1);
        let hinted = Numbers::with_parity(made, parity.is_y_odd());
        assert_eq!(signature(hinted, &digest, other), Err(Unusable::Unfaithful(other)));
    }
}
