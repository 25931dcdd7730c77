//! The same request twice has one effect and one answer; the same id with another body is refused.

use prost::Message;
use runtime::errors::{Refusal, generic};
use store::idempotency::Begun;

use crate::error::Error;

/// What identifies a request that creates something.
#[derive(Debug, Clone)]
pub struct Once {
    pub request_id: String,
    /// Body and caller: one caller never sees another's answer.
    pub fingerprint: Vec<u8>,
}

impl Once {
    /// Of a request whose id `clear` takes out.
    pub fn of<M: Message + Clone>(
        request_id: String,
        caller: &str,
        request: &M,
        clear: impl FnOnce(&mut M),
    ) -> Self {
        let mut fingerprint = runtime::idempotency::fingerprint(request, clear).to_vec();
        fingerprint.extend_from_slice(caller.as_bytes());
        Self { request_id, fingerprint }
    }

    /// The earlier answer, if there is one.
    pub fn answer<R: Message + Default>(&self, begun: Begun) -> Result<Option<R>, Error> {
        match begun {
            Begun::New => Ok(None),
            Begun::Replay(bytes) => R::decode(bytes.as_slice())
                .map(Some)
                .map_err(|_| Error::Malformed { what: "the stored answer of a request" }),
            Begun::Reused => Err(Refusal::new(
                &generic::IDEMPOTENCY_KEY_REUSED,
                "this request_id was used for another request",
            )
            .field("request_id", "use a new one for a new request")
            .meta("request_id", &self.request_id)
            .into()),
        }
    }
}
