//! From the two numbers that a backend gives to a signature that Ethereum takes: s is made low (EIP-2), the
//! parity is found, and the address that it recovers to must be that of the key.

use alloy_primitives::{Address, B256, Signature};
use k256::ecdsa::{RecoveryId, VerifyingKey};

use super::Unusable;

/// r and s, each above zero and below the order of the group; s may be high.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers(k256::ecdsa::Signature);

impl From<k256::ecdsa::Signature> for Numbers {
    fn from(signature: k256::ecdsa::Signature) -> Self {
        Self(signature)
    }
}

impl Numbers {
    /// r and s, 32 bytes each, s low.
    pub fn to_bytes(self) -> [u8; 64] {
        self.low().to_bytes().into()
    }

    fn low(self) -> k256::ecdsa::Signature {
        self.0.normalize_s().unwrap_or(self.0)
    }
}

/// The signature of `account` over `digest`, or a refusal of whatever else it is.
pub fn signature(numbers: Numbers, digest: &B256, account: Address) -> Result<Signature, Unusable> {
    let low = numbers.low();
    for odd in [false, true] {
        // r above the order of the group does not happen to honest signers: 2^-128.
        let recovered =
            VerifyingKey::recover_from_prehash(digest.as_slice(), &low, RecoveryId::new(odd, false));
        if recovered.is_ok_and(|key| Address::from_public_key(&key) == account) {
            return Ok(Signature::from_signature_and_parity(low, odd));
        }
    }
    Err(Unusable::Unfaithful(account))
}
