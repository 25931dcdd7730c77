//! A thin JSON-RPC client of our own: exact control over batches, limits, errors and time-outs.
//!
//! A question is a value ([`Ask`]): one [`Call`], a `Vec` of questions, or a tuple of them. What is
//! asked together travels in one JSON-RPC batch. An [`Endpoint`] asks exactly once; retrying,
//! choosing among endpoints and broadcasting belong to [`crate::pool`].

pub mod call;

mod ask;
mod budget;
mod endpoint;
mod error;
mod hex;
mod refusal;
mod subscription;
mod types;
mod wire;

pub use ask::{Answers, Ask, Attempt, Converted, Request};
pub use call::Call;
pub use endpoint::{Endpoint, EndpointUrl, InvalidUrl};
pub use error::{NodeError, NodeErrorKind, RpcError};
pub use refusal::LogRefusal;
pub use types::{
    BlockId, CallFrame, CallRequest, FeeHistory, Header, Log, LogFilter, Receipt, Simulated, TooManyTopics,
    Topics, Transaction,
};

pub(crate) use subscription::{SubscribeError, Subscription};
