//! A random key-encryption key, stored encrypted by a symmetric key of AWS KMS. KMS is asked at start
//! and at a rotation, never for a signature.

use std::collections::HashMap;

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use zeroize::Zeroize;

use super::{AwsKmsConfig, KeyEncryptionKey, Unusable};
use crate::aws::{self, Access, Unfit};

/// Bound to each ciphertext, and visible in the trail of KMS.
const CONTEXT: (&str, &str) = ("purpose", "metis.sequencer.keys.kek");

/// Has the key encrypted.
pub async fn wrap(config: &AwsKmsConfig, kek: &KeyEncryptionKey) -> Result<Vec<u8>, Unusable> {
    let failed = |source| Unusable::AwsKms { step: "encrypt", source };
    let answer = client(config)
        .await?
        .encrypt()
        .key_id(&config.key)
        .plaintext(Blob::new(kek.expose().as_slice()))
        .set_encryption_context(Some(context()))
        .send()
        .await
        .map_err(|error| failed(Box::new(error.into_service_error())))?;
    answer.ciphertext_blob.map(Blob::into_inner).ok_or(Unusable::Foreign)
}

/// Has the key decrypted.
pub async fn unwrap(config: &AwsKmsConfig, wrapped: &[u8]) -> Result<KeyEncryptionKey, Unusable> {
    let failed = |source| Unusable::AwsKms { step: "decrypt", source };
    let answer = client(config)
        .await?
        .decrypt()
        .key_id(&config.key)
        .ciphertext_blob(Blob::new(wrapped))
        .set_encryption_context(Some(context()))
        .send()
        .await
        .map_err(|error| failed(Box::new(error.into_service_error())))?;
    let mut bytes = answer.plaintext.map(Blob::into_inner).unwrap_or_default();
    let kek = KeyEncryptionKey::from_slice(&bytes).ok_or(Unusable::Foreign);
    bytes.zeroize();
    kek
}

fn context() -> HashMap<String, String> {
    HashMap::from([(CONTEXT.0.to_owned(), CONTEXT.1.to_owned())])
}

async fn client(config: &AwsKmsConfig) -> Result<Client, Unfit> {
    let AwsKmsConfig { key: _, region, endpoint, access_key_id, secret_access_key } = config;
    let access = Access {
        region: region.as_deref(),
        endpoint: endpoint.as_deref(),
        access_key_id: access_key_id.as_deref(),
        secret_access_key: secret_access_key.as_ref(),
    };
    aws::client(access).await
}
