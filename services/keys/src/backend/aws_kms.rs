//! Key Management Service of AWS: keys of the spec `ECC_SECG_P256K1`, made there; their reference is the ARN.

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec, Tag};

use super::settings;
use super::{Backend, Error, Held, Numbers, Payload, Place, Unusable, Wanted, der, reference_of};
use crate::aws::{self, Access, Unfit};
use crate::db::key::Key;

/// By which an operator finds in AWS what belongs to which key here.
const TAG: &str = "metis-key-id";

/// See the module.
#[derive(Debug)]
pub struct AwsKms {
    name: String,
    client: Client,
}

impl AwsKms {
    /// Takes the settings; nothing is asked yet.
    pub async fn open(name: &str, settings: &settings::AwsKms) -> Result<Self, Unfit> {
        let settings::AwsKms { region, endpoint, access_key_id, secret_access_key, limits: _ } = settings;
        let access = Access {
            region: Some(region),
            endpoint: endpoint.as_deref(),
            access_key_id: access_key_id.as_deref(),
            secret_access_key: secret_access_key.as_ref(),
        };
        Ok(Self { name: name.to_owned(), client: aws::client(access).await? })
    }

    /// `id` is an ARN, or something that AWS turns into one.
    async fn held(&self, id: &str) -> Result<Held, Error> {
        let answer = self.client.get_public_key().key_id(id).send().await.map_err(|e| error(e, id))?;
        // The curve stands in the public key too; what the key is for stands only here.
        if answer.key_usage().is_some_and(|usage| *usage != KeyUsageType::SignVerify) {
            return Err(Unusable::Field("KeyUsage SIGN_VERIFY").into());
        }
        let der = answer.public_key().ok_or(Unusable::Field("PublicKey"))?;
        // An alias may come to mean another key; the ARN of a key never does. Emulators answer with the bare id.
        let is_key = |id: &&str| id.starts_with("arn:") && id.contains(":key/");
        let arn = [answer.key_id(), Some(id)].into_iter().flatten().find(is_key);
        let arn = arn.ok_or(Unusable::Field("the ARN"))?;
        let place = Place::Remote { backend: self.name.clone(), reference: arn.to_owned() };
        Ok(Held { public_key: der::public_key(der.as_ref())?, place })
    }
}

#[async_trait]
impl Backend for AwsKms {
    fn kind(&self) -> &'static str {
        "aws-kms"
    }

    async fn generate(&self, wanted: &Wanted<'_>) -> Result<Held, Error> {
        let tag = Tag::builder().tag_key(TAG).tag_value(wanted.key_id).build();
        let made = self
            .client
            .create_key()
            .key_spec(KeySpec::EccSecgP256K1)
            .key_usage(KeyUsageType::SignVerify)
            .description(format!("metis {} key {}", wanted.role.as_str().to_lowercase(), wanted.name))
            .tags(tag.map_err(|_| Unusable::Field("tag"))?)
            .send()
            .await
            .map_err(|fault| error(fault, wanted.name))?;
        let arn = made.key_metadata().and_then(|about| about.arn()).ok_or(Unusable::Field("the ARN"))?;
        self.held(arn).await
    }

    async fn find(&self, reference: &str) -> Result<Held, Error> {
        self.held(reference).await
    }

    async fn sign(&self, key: &Key, payload: &Payload) -> Result<Numbers, Error> {
        let reference = reference_of(key)?;
        let answer = self
            .client
            .sign()
            .key_id(reference)
            .message(Blob::new(payload.digest().as_slice()))
            // The 32 bytes are signed as they are, whatever made them; AWS hashes nothing.
            .message_type(MessageType::Digest)
            .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256)
            .send()
            .await
            .map_err(|fault| error(fault, reference))?;
        let signature = answer.signature().ok_or(Unusable::Field("Signature"))?;
        Ok(der::signature(signature.as_ref())?)
    }

    async fn health(&self) -> Result<(), Error> {
        match self.client.list_keys().limit(1).send().await {
            Ok(_) => Ok(()),
            // A signer need not be allowed to list keys; that it was told so shows that it is known there.
            Err(fault) if fault.code() == Some("AccessDeniedException") => Ok(()),
            Err(fault) => Err(error(fault, "")),
        }
    }
}

fn error<E>(fault: SdkError<E>, reference: &str) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let SdkError::ServiceError(answer) = &fault else { return Error::Away(fault.into()) };
    let status = answer.raw().status().as_u16();
    match fault.code().unwrap_or_default() {
        "NotFoundException" => Error::UnknownKey(reference.to_owned()),
        "ThrottlingException" | "LimitExceededException" | "TooManyRequestsException" => {
            Error::Throttled(fault.into())
        }
        "DependencyTimeoutException" | "KeyUnavailableException" | "KMSInternalException" => {
            Error::Away(fault.into())
        }
        _ if status >= 500 => Error::Away(fault.into()),
        _ => Error::Refused(fault.into()),
    }
}
