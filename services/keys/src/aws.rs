//! A client of AWS KMS with the credentials that are configured, or those that the AWS tools find.

use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use runtime::config::Secret;

/// Where to ask, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// Without it, as the AWS tools find it.
    pub region: Option<&'a str>,
    /// Another endpoint than that of the region.
    pub endpoint: Option<&'a str>,
    /// Both or none; without them, as the AWS tools find them.
    pub access_key_id: Option<&'a str>,
    pub secret_access_key: Option<&'a Secret>,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error("access_key_id and secret_access_key go together")]
    HalfCredentials,
    #[error("reading the secret access key")]
    Secret(#[source] runtime::config::Error),
}

/// Takes the settings; nothing is asked yet. The client tries each request once: whoever uses it counts attempts.
pub async fn client(access: Access<'_>) -> Result<Client, Unfit> {
    let Access { region, endpoint, access_key_id, secret_access_key } = access;
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).retry_config(RetryConfig::disabled());
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    loader = match (access_key_id, secret_access_key) {
        (None, None) => loader,
        (Some(id), Some(secret)) => {
            let secret = secret.expose().map_err(Unfit::Secret)?;
            loader.credentials_provider(Credentials::new(id, secret.as_str(), None, None, "seqd.toml"))
        }
        _ => return Err(Unfit::HalfCredentials),
    };
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    Ok(Client::new(&loader.load().await))
}
