//! Notifications: transitions, operations and alerts as webhooks by the Standard Webhooks scheme.
//!
//! ```text
//!  change ──trigger──> notification ──number──> feed ──fan out──> delivery ──attempt──> DELIVERED
//!  (one transaction)   no position yet          position          PENDING  <─backoff─┘ └─a day─> DEAD
//! ```
//!
//! At least once: an attempt whose outcome could not be stored is made again, with the same `webhook-id`. To one endpoint
//! one message at a time, in the order of the feed; a message that the endpoint did not take comes later, and the others
//! do not wait for it, so that receivers who care compare `cursor`. What is told is decided by the triggers of migration
//! 8; who may be told by `operations::webhooks`.

pub mod attempt;
pub mod courier;
pub mod endpoint;
pub mod schedule;
pub mod seal;
pub mod signature;

use std::fmt;

use chain::outbound::{Client, Policy};

use crate::config::Webhooks;
use seal::{KeyUnusable, Sealer};

/// The setting that opens networks to endpoints.
pub const ALLOW: &str = "lifecycle.webhooks.allow";

/// Everything that is told.
pub const TYPES: [&str; 9] = [
    "sequencer.transition",
    "sequencer.transition_undone",
    "operation.state",
    "operation.progress",
    "alert.raised",
    "alert.cleared",
    "network.held",
    "network.released",
    TEST,
];
/// What `TestWebhook` sends, to one endpoint alone.
pub const TEST: &str = "webhook.test";

/// What notifications need of the process: how they are sent, and the key of their secrets.
pub struct Desk {
    pub client: Client,
    /// None where no key is configured: then there are no webhooks.
    pub sealer: Option<Sealer>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("client", &self.client).finish_non_exhaustive()
    }
}

/// Why this process cannot send notifications.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("reading the key of webhook secrets")]
    Key(#[source] KeyUnusable),
    #[error("making an HTTP client")]
    Client(#[source] reqwest::Error),
}

impl Desk {
    /// As configured.
    pub fn open(config: &Webhooks) -> Result<Self, Unusable> {
        let policy = Policy::new(ALLOW, config.allow.clone());
        let client = Client::new(policy, attempt::ANSWER_WAIT).map_err(Unusable::Client)?;
        Ok(Self { client, sealer: Sealer::open(config).map_err(Unusable::Key)? })
    }
}
