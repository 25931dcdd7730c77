//! Cloud Key Management Service of Google over gRPC: keys of `EC_SIGN_SECP256K1_SHA256` in an HSM, made there; their
//! reference is the resource name of the version. Checksums go both ways, as Google asks for.

mod token;
pub mod wire;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::{InvalidUri, PathAndQuery};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::crc32c::checksum;
use super::settings;
use super::{Backend, Error, Held, Numbers, Payload, Place, Unusable, Wanted, der, reference_of};
use crate::db::key::Key;
use token::Tokens;

const ENDPOINT: &str = "https://cloudkms.googleapis.com";
/// The request is bounded as a whole; a connection that does not come up gives its time to the second attempt.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// An HSM makes a key in a second or two; until then the version is pending.
const PENDING_PAUSE: Duration = Duration::from_millis(300);

/// See the module.
#[derive(Debug)]
pub struct GcpKms {
    name: String,
    key_ring: String,
    channel: Channel,
    tokens: Tokens,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("the endpoint is no URL")]
    Endpoint(#[source] InvalidUri),
    #[error("the endpoint is neither https nor on loopback")]
    Plain,
    #[error("key_ring is not projects/P/locations/L/keyRings/R")]
    KeyRing,
    #[error("setting up TLS")]
    Tls(#[source] tonic::transport::Error),
    #[error("reading the authorities in {path}")]
    Authorities {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl GcpKms {
    /// Takes the settings; nothing is asked yet.
    pub fn open(name: &str, settings: &settings::GcpKms) -> Result<Self, Unfit> {
        let settings::GcpKms { key_ring, token, ca, endpoint, limits: _ } = settings;
        let parts: Vec<&str> = key_ring.split('/').collect();
        if !matches!(parts.as_slice(), ["projects", _, "locations", _, "keyRings", _]) {
            return Err(Unfit::KeyRing);
        }
        let url = endpoint.as_deref().unwrap_or(ENDPOINT);
        let uri: tonic::transport::Uri = url.parse().map_err(Unfit::Endpoint)?;
        let mut endpoint = Endpoint::from(uri.clone()).connect_timeout(CONNECT_MAX);
        match (uri.scheme_str(), uri.host()) {
            (Some("https"), _) => endpoint = endpoint.tls_config(tls(ca.as_ref())?).map_err(Unfit::Tls)?,
            (Some("http"), Some("127.0.0.1" | "localhost")) => {}
            _ => return Err(Unfit::Plain),
        }
        let (name, key_ring) = (name.to_owned(), key_ring.clone());
        Ok(Self { name, key_ring, channel: endpoint.connect_lazy(), tokens: Tokens::new(token.clone()) })
    }

    /// `field` is where the request names the resource that it is about.
    async fn call<Q, A>(&self, method: &str, (field, about): (&str, &str), question: Q) -> Result<A, Error>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut request = Request::new(question);
        let bearer = format!("Bearer {}", self.tokens.token().await?.as_str());
        let mut bearer: tonic::metadata::MetadataValue<_> =
            bearer.parse().map_err(|_| Unusable::Field("access token"))?;
        bearer.set_sensitive(true);
        request.metadata_mut().insert("authorization", bearer);
        // Google routes by that resource (AIP-4222).
        if let Ok(route) = format!("{field}={about}").parse() {
            request.metadata_mut().insert("x-goog-request-params", route);
        }
        let path = PathAndQuery::try_from(format!("{}/{method}", wire::SERVICE)).map_err(Error::away)?;
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(Error::away)?;
        let answer = grpc.unary(request, path, ProstCodec::<Q, A>::default()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| error(status, about))
    }

    async fn held(&self, version: &str) -> Result<Held, Error> {
        let question = wire::GetPublicKeyRequest { name: version.to_owned() };
        let answer: wire::PublicKey = self.call("GetPublicKey", ("name", version), question).await?;
        let wire::PublicKey { pem, algorithm, pem_crc32c, name } = answer;
        if pem_crc32c != Some(checksum(pem.as_bytes()).into()) {
            return Err(Unusable::Checksum.into());
        }
        if algorithm != wire::EC_SIGN_SECP256K1_SHA256 {
            return Err(Unusable::Field("a key of EC_SIGN_SECP256K1_SHA256").into());
        }
        same(version, name)?;
        let place = Place::Remote { backend: self.name.clone(), reference: version.to_owned() };
        Ok(Held { public_key: der::public_key_of_pem(&pem)?, place })
    }
}

#[async_trait]
impl Backend for GcpKms {
    fn kind(&self) -> &'static str {
        "gcp-kms"
    }

    async fn generate(&self, wanted: &Wanted<'_>) -> Result<Held, Error> {
        let template = wire::CryptoKeyVersionTemplate {
            protection_level: wire::HSM,
            algorithm: wire::EC_SIGN_SECP256K1_SHA256,
        };
        let question = wire::CreateCryptoKeyRequest {
            parent: self.key_ring.clone(),
            crypto_key_id: format!("metis-{}", wanted.key_id),
            crypto_key: Some(wire::CryptoKey {
                name: String::new(),
                purpose: wire::ASYMMETRIC_SIGN,
                version_template: Some(template),
            }),
        };
        let made: wire::CryptoKey =
            self.call("CreateCryptoKey", ("parent", &self.key_ring), question).await?;
        let version = format!("{}/cryptoKeyVersions/1", made.name);
        // Ended by the deadline of the guard.
        loop {
            match self.held(&version).await {
                Err(Error::Refused(_) | Error::UnknownKey(_)) => tokio::time::sleep(PENDING_PAUSE).await,
                done => return done,
            }
        }
    }

    async fn find(&self, reference: &str) -> Result<Held, Error> {
        self.held(reference).await
    }

    async fn sign(&self, key: &Key, payload: &Payload) -> Result<Numbers, Error> {
        let reference = reference_of(key)?;
        let question = wire::AsymmetricSignRequest {
            name: reference.to_owned(),
            // The field is named for the algorithm; the 32 bytes are signed as they are.
            digest: Some(wire::Digest { sha256: payload.digest().to_vec() }),
            digest_crc32c: Some(digest_checksum(payload)),
        };
        let answer: wire::AsymmetricSignResponse =
            self.call("AsymmetricSign", ("name", reference), question).await?;
        let wire::AsymmetricSignResponse { signature, signature_crc32c, verified_digest_crc32c, name } =
            answer;
        if !verified_digest_crc32c || signature_crc32c != Some(checksum(&signature).into()) {
            return Err(Unusable::Checksum.into());
        }
        same(reference, name)?;
        Ok(der::signature(&signature)?)
    }

    async fn health(&self) -> Result<(), Error> {
        let question = wire::GetKeyRingRequest { name: self.key_ring.clone() };
        match self.call::<_, wire::KeyRing>("GetKeyRing", ("name", &self.key_ring), question).await {
            // A signer need not be allowed to look at the ring; that it was told so shows that it is known there.
            Err(Error::Refused(source)) if is(&source, Code::PermissionDenied) => Ok(()),
            done => done.map(drop),
        }
    }
}

/// The checksum is over the bytes of the digest, as in Google's own examples.
fn digest_checksum(payload: &Payload) -> i64 {
    checksum(payload.digest().as_slice()).into()
}

fn same(asked: &str, answered: String) -> Result<(), Unusable> {
    if asked == answered { Ok(()) } else { Err(Unusable::OtherKey(answered)) }
}

fn is(source: &super::Source, code: Code) -> bool {
    source.downcast_ref::<Status>().is_some_and(|status| status.code() == code)
}

fn error(status: Status, about: &str) -> Error {
    match status.code() {
        Code::NotFound => Error::UnknownKey(about.to_owned()),
        Code::ResourceExhausted => Error::Throttled(status.into()),
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unknown
        | Code::Aborted
        | Code::Cancelled => Error::Away(status.into()),
        _ => Error::Refused(status.into()),
    }
}

fn tls(ca: Option<&PathBuf>) -> Result<ClientTlsConfig, Unfit> {
    let authorities = match ca {
        Some(path) => {
            let pem =
                std::fs::read(path).map_err(|source| Unfit::Authorities { path: path.clone(), source })?;
            vec![Certificate::from_pem(pem)]
        }
        None => rustls_native_certs::load_native_certs().certs.iter().map(|der| pem_of(der)).collect(),
    };
    Ok(ClientTlsConfig::new().ca_certificates(authorities))
}

fn pem_of(der: &[u8]) -> Certificate {
    let body = STANDARD.encode(der);
    Certificate::from_pem(format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"))
}
