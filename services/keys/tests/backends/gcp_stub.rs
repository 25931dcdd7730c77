//! Google's KMS as far as our backend sees it, over real gRPC. It checks what Google checks (checksums, purpose,
//! protection level, routing header, token), keeps a new version pending for one look, and gives high s half of the time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k256::ecdsa::{Signature, SigningKey};
use k256::pkcs8::EncodePublicKey;
use keys::backend::crc32c::checksum;
use keys::backend::gcp_kms::wire;
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

pub const TOKEN: &str = "canary-google-token";
pub const RING: &str = "projects/p/locations/l/keyRings/r";

#[derive(Default)]
struct Version {
    key: Option<SigningKey>,
    looks: u32,
}

#[derive(Clone, Default)]
struct Kms {
    versions: Arc<Mutex<BTreeMap<String, Version>>>,
    spoil: Arc<Mutex<Option<Spoil>>>,
}

/// What is wrong with the next signatures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    Checksum,
    Name,
    Der,
}

pub struct Stub {
    pub address: SocketAddr,
    kms: Kms,
}

impl Stub {
    pub async fn start() -> Self {
        let kms = Kms::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(kms.clone());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, kms }
    }

    pub fn spoil(&self, how: Option<Spoil>) {
        *self.kms.spoil.lock().unwrap() = how;
    }
}

impl Kms {
    fn ring(&self, request: wire::GetKeyRingRequest) -> Result<wire::KeyRing, Status> {
        Ok(wire::KeyRing { name: request.name })
    }

    fn create(&self, request: wire::CreateCryptoKeyRequest) -> Result<wire::CryptoKey, Status> {
        let wire::CreateCryptoKeyRequest { parent, crypto_key_id, crypto_key } = request;
        let asked = crypto_key.ok_or_else(|| Status::invalid_argument("crypto_key"))?;
        let template =
            asked.version_template.clone().ok_or_else(|| Status::invalid_argument("version_template"))?;
        if parent != RING
            || asked.purpose != wire::ASYMMETRIC_SIGN
            || template.protection_level != wire::HSM
            || template.algorithm != wire::EC_SIGN_SECP256K1_SHA256
        {
            return Err(Status::invalid_argument("the algorithm is there for HSM keys only"));
        }
        let secret: [u8; 32] = rand::random();
        let version = Version { key: Some(SigningKey::from_slice(&secret).unwrap()), looks: 0 };
        let name = format!("{parent}/cryptoKeys/{crypto_key_id}");
        self.versions.lock().unwrap().insert(format!("{name}/cryptoKeyVersions/1"), version);
        Ok(wire::CryptoKey { name, ..asked })
    }

    fn public_key(&self, request: wire::GetPublicKeyRequest) -> Result<wire::PublicKey, Status> {
        let mut versions = self.versions.lock().unwrap();
        let version = versions.get_mut(&request.name).ok_or_else(|| Status::not_found("no such version"))?;
        version.looks += 1;
        if version.looks == 1 {
            return Err(Status::failed_precondition("PENDING_GENERATION"));
        }
        let der =
            k256::PublicKey::from(version.key.as_ref().unwrap().verifying_key()).to_public_key_der().unwrap();
        let body = STANDARD.encode(der.as_bytes());
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
        Ok(wire::PublicKey {
            algorithm: wire::EC_SIGN_SECP256K1_SHA256,
            pem_crc32c: Some(checksum(pem.as_bytes()).into()),
            name: request.name,
            pem,
        })
    }

    fn sign(&self, request: wire::AsymmetricSignRequest) -> Result<wire::AsymmetricSignResponse, Status> {
        let wire::AsymmetricSignRequest { name, digest, digest_crc32c } = request;
        let digest = digest.ok_or_else(|| Status::invalid_argument("digest"))?.sha256;
        if digest_crc32c != Some(checksum(&digest).into()) {
            return Err(Status::invalid_argument("digest_crc32c"));
        }
        let versions = self.versions.lock().unwrap();
        let version = versions.get(&name).ok_or_else(|| Status::not_found("no such version"))?;
        let key = version.key.as_ref().unwrap();
        let (signature, _) = key.sign_prehash_recoverable(&digest).unwrap();
        // An HSM does not care which of the two it gives.
        let signature = if rand::random() { high(signature) } else { signature };
        let mut der = signature.to_der().as_bytes().to_vec();
        let spoil = *self.spoil.lock().unwrap();
        if spoil == Some(Spoil::Der) {
            der.push(0);
        }
        let sum = i64::from(checksum(&der)) + i64::from(spoil == Some(Spoil::Checksum));
        Ok(wire::AsymmetricSignResponse {
            signature: der,
            signature_crc32c: Some(sum),
            verified_digest_crc32c: true,
            name: if spoil == Some(Spoil::Name) { format!("{name}0") } else { name },
        })
    }
}

/// The same signature with the other s.
pub fn high(signature: Signature) -> Signature {
    let (r, s) = signature.split_scalars();
    Signature::from_scalars(r.to_bytes(), (-s).to_bytes()).unwrap()
}

impl NamedService for Kms {
    const NAME: &'static str = "google.cloud.kms.v1.KeyManagementService";
}

impl Service<http::Request<Body>> for Kms {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let kms = self.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "GetKeyRing" => unary(request, "name", move |asked| kms.ring(asked)).await,
                "CreateCryptoKey" => unary(request, "parent", move |asked| kms.create(asked)).await,
                "GetPublicKey" => unary(request, "name", move |asked| kms.public_key(asked)).await,
                "AsymmetricSign" => unary(request, "name", move |asked| kms.sign(asked)).await,
                _ => Status::unimplemented(method).into_http(),
            })
        })
    }
}

async fn unary<Q, A>(
    request: http::Request<Body>,
    routed_by: &'static str,
    answer: impl Fn(Q) -> Result<A, Status>,
) -> http::Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let handler = tower::service_fn(|request: Request<Q>| -> Ready<Result<Response<A>, Status>> {
        let header = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let route = header("x-goog-request-params").and_then(|route| route.split_once('='));
        if !route.is_some_and(|(field, name)| field == routed_by && name.starts_with(RING)) {
            return ready(Err(Status::invalid_argument("x-goog-request-params")));
        }
        let token = header("authorization");
        if token != Some(&format!("Bearer {TOKEN}")) {
            return ready(Err(Status::unauthenticated("the token is wrong")));
        }
        ready(answer(request.into_inner()).map(Response::new))
    });
    Grpc::new(ProstCodec::<A, Q>::default()).unary(handler, request).await
}
