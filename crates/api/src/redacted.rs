//! Debug of the messages that carry a secret: what they are about, never what they hold.

use std::fmt::{Debug, Formatter, Result};

use crate::keys::v1::import_key_request::Material;
use crate::keys::v1::{
    ExportKeystoreRequest, ExportNodeKeyRequest, ImportKeyRequest, KeystoreV3, RestoreKeysRequest,
    VerifyBackupRequest,
};
use crate::lifecycle::v1::{CreateWebhookResponse, RotateWebhookSecretResponse};

/// Stands for the secret.
const REDACTED: &str = "<redacted>";

impl Debug for ImportKeyRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { request_id, name, role, labels, material, expected_address, validate_only } = self;
        f.debug_struct("ImportKeyRequest")
            .field("request_id", request_id)
            .field("name", name)
            .field("role", role)
            .field("labels", labels)
            .field("material", material)
            .field("expected_address", expected_address)
            .field("validate_only", validate_only)
            .finish()
    }
}

impl Debug for Material {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let form = match self {
            Self::Raw(_) => "Raw",
            Self::KeystoreV3(_) => "KeystoreV3",
            Self::PrivValidatorKeyJson(_) => "PrivValidatorKeyJson",
        };
        f.debug_tuple(form).field(&REDACTED).finish()
    }
}

impl Debug for KeystoreV3 {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_tuple("KeystoreV3").field(&REDACTED).finish()
    }
}

impl Debug for VerifyBackupRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { archive, identity: _ } = self;
        f.debug_struct("VerifyBackupRequest")
            .field("archive_bytes", &archive.len())
            .field("identity", &REDACTED)
            .finish()
    }
}

impl Debug for RestoreKeysRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { request_id, archive, identity: _, validate_only } = self;
        f.debug_struct("RestoreKeysRequest")
            .field("request_id", request_id)
            .field("archive_bytes", &archive.len())
            .field("identity", &REDACTED)
            .field("validate_only", validate_only)
            .finish()
    }
}

impl Debug for ExportNodeKeyRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { id, recipient, node_key_json: _ } = self;
        f.debug_struct("ExportNodeKeyRequest")
            .field("id", id)
            .field("recipient", recipient)
            .field("node_key_json", &REDACTED)
            .finish()
    }
}

impl Debug for ExportKeystoreRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { id, passphrase: _, reason } = self;
        f.debug_struct("ExportKeystoreRequest")
            .field("id", id)
            .field("passphrase", &REDACTED)
            .field("reason", reason)
            .finish()
    }
}

impl Debug for CreateWebhookResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { webhook, secret: _ } = self;
        f.debug_struct("CreateWebhookResponse").field("webhook", webhook).field("secret", &REDACTED).finish()
    }
}

impl Debug for RotateWebhookSecretResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { secret: _ } = self;
        f.debug_struct("RotateWebhookSecretResponse").field("secret", &REDACTED).finish()
    }
}
