//! The few messages of `google.cloud.kms.v1` that are needed, with the numbers of their public definition, compared with the
//! crate `googleapis-tonic-google-cloud-kms-v1` 0.46.0. Fields that we neither set nor read are left out: protobuf passes
//! over what it does not know.

/// The service, as it stands in paths.
pub const SERVICE: &str = "/google.cloud.kms.v1.KeyManagementService";

/// `CryptoKeyPurpose.ASYMMETRIC_SIGN`
pub const ASYMMETRIC_SIGN: i32 = 5;
/// `ProtectionLevel.HSM`, the only level with secp256k1.
pub const HSM: i32 = 2;
/// `CryptoKeyVersionAlgorithm.EC_SIGN_SECP256K1_SHA256`
pub const EC_SIGN_SECP256K1_SHA256: i32 = 31;

/// `GetKeyRingRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetKeyRingRequest {
    #[prost(string, tag = "1")]
    pub name: String,
}

/// `KeyRing`
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyRing {
    #[prost(string, tag = "1")]
    pub name: String,
}

/// `CreateCryptoKeyRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateCryptoKeyRequest {
    #[prost(string, tag = "1")]
    pub parent: String,
    #[prost(string, tag = "2")]
    pub crypto_key_id: String,
    #[prost(message, optional, tag = "3")]
    pub crypto_key: Option<CryptoKey>,
}

/// `CryptoKey`
#[derive(Clone, PartialEq, prost::Message)]
pub struct CryptoKey {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int32, tag = "3")]
    pub purpose: i32,
    #[prost(message, optional, tag = "11")]
    pub version_template: Option<CryptoKeyVersionTemplate>,
}

/// `CryptoKeyVersionTemplate`
#[derive(Clone, PartialEq, prost::Message)]
pub struct CryptoKeyVersionTemplate {
    #[prost(int32, tag = "1")]
    pub protection_level: i32,
    #[prost(int32, tag = "3")]
    pub algorithm: i32,
}

/// `GetPublicKeyRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct GetPublicKeyRequest {
    #[prost(string, tag = "1")]
    pub name: String,
}

/// `PublicKey`
#[derive(Clone, PartialEq, prost::Message)]
pub struct PublicKey {
    #[prost(string, tag = "1")]
    pub pem: String,
    #[prost(int32, tag = "2")]
    pub algorithm: i32,
    #[prost(message, optional, tag = "3")]
    pub pem_crc32c: Option<i64>,
    #[prost(string, tag = "4")]
    pub name: String,
}

/// `AsymmetricSignRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct AsymmetricSignRequest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "3")]
    pub digest: Option<Digest>,
    #[prost(message, optional, tag = "4")]
    pub digest_crc32c: Option<i64>,
}

/// `Digest`
#[derive(Clone, PartialEq, prost::Message)]
pub struct Digest {
    #[prost(bytes = "vec", tag = "1")]
    pub sha256: Vec<u8>,
}

/// `AsymmetricSignResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub struct AsymmetricSignResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub signature: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub signature_crc32c: Option<i64>,
    #[prost(bool, tag = "3")]
    pub verified_digest_crc32c: bool,
    #[prost(string, tag = "4")]
    pub name: String,
}
