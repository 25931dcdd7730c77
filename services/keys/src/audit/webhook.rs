//! Heads to a webhook: one POST for each head, tried a few times, then left to the next head, which says more.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use runtime::config::Secret;
use trail::SignedHead;

/// A receiver that is asleep longer gets the next head.
const ATTEMPTS_MAX: u32 = 4;
/// For one attempt, with connecting.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Before the second attempt; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// Where heads are posted to. The address may carry a token and is a secret.
pub struct Webhook {
    url: Secret,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why a head was not taken; never with the address.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    #[error("reading the address of the webhook")]
    Address(#[source] runtime::config::Error),
    #[error("the address of the webhook is no http or https URL")]
    Url,
    #[error("calling the webhook")]
    Call(#[source] hyper_util::client::legacy::Error),
    #[error("the webhook answered {0}")]
    Status(StatusCode),
    #[error("the webhook did not answer in time")]
    Late,
    #[error("the system has no certificate authorities")]
    Roots(#[source] std::io::Error),
}

impl Webhook {
    /// With the certificate authorities of the system.
    pub fn new(url: Secret) -> Result<Self, NotTaken> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(NotTaken::Roots)?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { url, client: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Posts a head until it is taken.
    pub async fn post(&self, head: &SignedHead) -> Result<(), NotTaken> {
        let mut pause = PAUSE_FIRST;
        for _ in 1..ATTEMPTS_MAX {
            if self.attempt(head).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.attempt(head).await
    }

    async fn attempt(&self, head: &SignedHead) -> Result<(), NotTaken> {
        let url = self.url.expose().map_err(NotTaken::Address)?;
        let request = Request::post(url.trim())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(head.line()))
            .map_err(|_| NotTaken::Url)?;
        let answer = tokio::time::timeout(ANSWER_WAIT, self.client.request(request)).await;
        let status = answer.map_err(|_| NotTaken::Late)?.map_err(NotTaken::Call)?.status();
        if status.is_success() { Ok(()) } else { Err(NotTaken::Status(status)) }
    }
}
