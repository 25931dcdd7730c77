//! The same `request_id` twice has one effect and one answer.

use prost::Message;
use runtime::errors::{Refusal, generic};
use sea_orm::ConnectionTrait;
use sha2::{Digest, Sha256};
use store::idempotency::{self, Begun};

use crate::error::{Declined, Failure};

const SCHEMA: &str = "keys";

/// A request that may come twice.
#[derive(Debug)]
pub struct Once {
    request_id: String,
    method: &'static str,
    fingerprint: [u8; 32],
}

impl Once {
    /// `bare` is the request without its id and without any secret; callers do not share answers.
    pub fn new<M: Message>(
        request_id: &str,
        method: &'static str,
        caller: &str,
        bare: &M,
    ) -> Result<Self, Refusal> {
        let request_id = api::convert::request_id("request_id", request_id)?;
        let body = Sha256::digest(bare.encode_to_vec());
        let fingerprint = Sha256::new().chain_update(body).chain_update(caller).finalize().into();
        Ok(Self { request_id, method, fingerprint })
    }

    /// The answer of before, or `None`: do it, then `finish` in the same transaction.
    pub async fn begin<C: ConnectionTrait, M: Message + Default>(
        &self,
        tx: &C,
    ) -> Result<Option<M>, Declined> {
        match idempotency::begin(tx, SCHEMA, &self.request_id, self.method, &self.fingerprint).await? {
            Begun::New => Ok(None),
            Begun::Replay(answer) => Ok(Some(M::decode(answer.as_slice()).map_err(Failure::from)?)),
            Begun::Reused => Err(Refusal::new(
                &generic::IDEMPOTENCY_KEY_REUSED,
                "this request_id was used for another request",
            )
            .field("request_id", "was used with another body")
            .into()),
        }
    }

    pub async fn finish<C: ConnectionTrait, M: Message>(&self, tx: &C, answer: &M) -> Result<(), Declined> {
        let answer = answer.encode_to_vec();
        Ok(idempotency::finish(tx, SCHEMA, &self.request_id, self.method, &answer).await?)
    }
}
