//! One HTTP request with a bounded answer. Deadlines are those of the guard.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;

use super::{Error, Unusable};

/// A list of some thousand public keys fits, and nothing that would fill the memory.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Sends a request and reads the whole answer.
pub async fn ask<C>(
    client: &Client<C, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let (head, body) = client.request(request).await.map_err(Error::away)?.into_parts();
    match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok((head.status, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(Unusable::Long(ANSWER_BYTES_MAX).into()),
        Err(error) => Err(Error::Away(error)),
    }
}
