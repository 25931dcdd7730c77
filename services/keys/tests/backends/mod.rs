//! Each kind of backend against the real thing or a stub of it, by one contract; and the service with them.

// What only remote backends need is here in every build.
#![cfg_attr(not(feature = "web3signer"), allow(dead_code))]

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod contract;
mod der;
mod gate;
#[cfg(feature = "gcp-kms")]
mod gcp_kms;
#[cfg(feature = "gcp-kms")]
mod gcp_stub;
mod local;
#[cfg(feature = "pkcs11")]
mod pkcs11;
#[cfg(all(feature = "pkcs11", feature = "web3signer"))]
mod service;
#[cfg(feature = "web3signer")]
pub mod web3signer;
#[cfg(feature = "web3signer")]
mod web3signer_stub;
