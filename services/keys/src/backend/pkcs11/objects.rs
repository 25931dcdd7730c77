//! What is done with the objects of a token in one session.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use domain::pubkey::PublicKey;

use super::Trouble;
use crate::backend::{Unusable, der};

/// `CKA_EC_PARAMS` of secp256k1: the object identifier 1.3.132.0.10 in DER.
const SECP256K1: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// Makes a key pair whose secret can neither be read nor wrapped, and checks that the token took that seriously.
pub(super) fn generate(session: &Session, id: &[u8], label: &str) -> Result<PublicKey, Trouble> {
    let common = |class| {
        vec![
            Attribute::Token(true),
            Attribute::Class(class),
            Attribute::KeyType(KeyType::EC),
            Attribute::Id(id.to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
        ]
    };
    let mut public = common(ObjectClass::PUBLIC_KEY);
    public.extend([
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::EcParams(SECP256K1.to_vec()),
    ]);
    let mut private = common(ObjectClass::PRIVATE_KEY);
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Derive(false),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
    ]);
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
    private_key(session, id)?;
    public_key(session, id)
}

/// The private key with this id, if it is one that cannot leave.
pub(super) fn private_key(session: &Session, id: &[u8]) -> Result<ObjectHandle, Trouble> {
    let found = session.find_objects(&template(ObjectClass::PRIVATE_KEY, id))?;
    let handle = match found.as_slice() {
        [] => return Err(Trouble::UnknownKey(hex::encode(id))),
        [one] => *one,
        _ => return Err(Trouble::Ambiguous(hex::encode(id))),
    };
    let stays = [Attribute::Sensitive(true), Attribute::Extractable(false)];
    let said = session.get_attributes(handle, &[AttributeType::Sensitive, AttributeType::Extractable])?;
    if stays.iter().all(|wanted| said.contains(wanted)) {
        Ok(handle)
    } else {
        Err(Unusable::Extractable.into())
    }
}

/// The public key with this id.
pub(super) fn public_key(session: &Session, id: &[u8]) -> Result<PublicKey, Trouble> {
    let found = session.find_objects(&template(ObjectClass::PUBLIC_KEY, id))?;
    let handle = *found.first().ok_or_else(|| Trouble::UnknownKey(hex::encode(id)))?;
    match session.get_attributes(handle, &[AttributeType::EcPoint])?.as_slice() {
        [Attribute::EcPoint(point)] => Ok(der::public_key_of_point(point)?),
        _ => Err(Unusable::Field("CKA_EC_POINT").into()),
    }
}

/// r and s of a digest, 32 bytes each.
pub(super) fn sign(session: &Session, private: ObjectHandle, digest: &[u8]) -> Result<Vec<u8>, Trouble> {
    Ok(session.sign(&Mechanism::Ecdsa, private, digest)?)
}

/// Asks the token for something that needs it.
pub(super) fn look(session: &Session) -> Result<(), Trouble> {
    session.get_session_info()?;
    Ok(())
}

fn template(class: ObjectClass, id: &[u8]) -> [Attribute; 4] {
    [
        Attribute::Token(true),
        Attribute::Class(class),
        Attribute::KeyType(KeyType::EC),
        Attribute::Id(id.to_vec()),
    ]
}
