//! The access token that Google's APIs ask for: from a file or variable that something else keeps fresh, or from the
//! metadata server of the machine (GCE, and GKE with workload identity).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use runtime::config::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::backend::{Error, Unusable, http};

/// Where every machine of Google's finds it.
const METADATA: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
/// A token that ends sooner is not used: the request with it must still arrive.
const SPARE: Duration = Duration::from_secs(60);

/// Where tokens come from.
#[derive(Debug)]
pub enum Tokens {
    /// Read anew for each request.
    Given(Secret),
    /// Asked for, and kept until shortly before its end.
    Metadata { client: Client<HttpConnector, Full<Bytes>>, url: String, kept: Mutex<Option<Kept>> },
}

/// A token until its end.
pub struct Kept {
    text: Zeroizing<String>,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u64,
}

impl Tokens {
    /// The one that is given, else the metadata server.
    pub fn new(given: Option<Secret>) -> Self {
        match given {
            Some(secret) => Self::Given(secret),
            None => Self::metadata(METADATA.to_owned()),
        }
    }

    /// From a metadata server.
    pub fn metadata(url: String) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self::Metadata { client, url, kept: Mutex::default() }
    }

    /// A token that is good for a while.
    pub async fn token(&self) -> Result<Zeroizing<String>, Error> {
        let (client, url, kept) = match self {
            Self::Given(secret) => {
                let exposed = secret.expose().map_err(|error| Error::Refused(error.into()))?;
                return Ok(Zeroizing::new(exposed.to_string()));
            }
            Self::Metadata { client, url, kept } => (client, url, kept),
        };
        {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(kept) = kept.as_ref().filter(|kept| kept.until > Instant::now()) {
                return Ok(kept.text.clone());
            }
        }
        let request = Request::get(url.as_str()).header("Metadata-Flavor", "Google").body(Full::default());
        let (status, body) = http::ask(client, request.map_err(Error::away)?).await?;
        if status != StatusCode::OK {
            return Err(Error::away(format!("the metadata server answered {status}")));
        }
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| Unusable::Field("access_token"))?;
        let text = Zeroizing::new(answer.access_token);
        let until = Instant::now() + Duration::from_secs(answer.expires_in).saturating_sub(SPARE);
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept { text: text.clone(), until });
        Ok(text)
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept(<redacted>)")
    }
}
