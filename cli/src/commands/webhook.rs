//! Endpoints that are told what happens.

use anyhow::{Context, Result};
use api::lifecycle::v1::webhooks_service_client::WebhooksServiceClient;
use api::lifecycle::v1::{
    CreateWebhookRequest, DeleteWebhookRequest, DeliveryState, ListDeliveriesRequest, ListWebhooksRequest,
    ReplayNotificationsRequest, RetryDeliveryRequest, RotateWebhookSecretRequest, TestWebhookRequest,
    UpdateWebhookRequest, Webhook,
};
use clap::Subcommand;
use runtime::client::Peer;

use super::request_id;
use crate::connect::Session;
use crate::output::{Printer, Rows, utc, word};

/// Endpoints that are told what happens.
#[derive(Subcommand)]
pub enum Command {
    /// Adds an endpoint and shows its secret, once.
    Create {
        /// An https URL.
        url: String,
        /// What for.
        #[arg(long, default_value = "")]
        description: String,
        /// Type to send; repeat it for several, leave it out for all.
        #[arg(long = "type")]
        types: Vec<String>,
        /// Begin after this cursor instead of now.
        #[arg(long, default_value = "")]
        after: String,
    },
    /// All endpoints.
    List,
    /// Goes on sending.
    Enable {
        /// Id.
        id: String,
    },
    /// Sends nothing more; what happens meanwhile is sent when it is enabled again.
    Disable {
        /// Id.
        id: String,
    },
    /// Removes an endpoint with its deliveries.
    Delete {
        /// Id.
        id: String,
    },
    /// Makes a new secret and shows it, once.
    Rotate {
        /// Id.
        id: String,
        /// Seconds for which the secret before goes on signing.
        #[arg(long)]
        overlap: Option<i64>,
    },
    /// Sends a message of type webhook.test.
    Test {
        /// Id.
        id: String,
    },
    /// Deliveries that were given up, newest first.
    Deliveries {
        /// Id of an endpoint; all without it.
        id: Option<String>,
        /// All of them, not only the dead.
        #[arg(long)]
        all: bool,
    },
    /// Begins a delivery anew.
    Retry {
        /// Id of the delivery.
        id: String,
    },
    /// Delivers everything after a cursor again.
    Replay {
        /// Id of the endpoint.
        id: String,
        /// The cursor; 0 for all that is kept.
        #[arg(long)]
        after: String,
    },
}

/// Endpoints.
pub async fn run(command: Command, session: &Session, out: &Printer) -> Result<()> {
    let mut service = session.webhooks();
    match command {
        Command::Create { url, description, types, after } => {
            let request = CreateWebhookRequest {
                request_id: request_id(),
                url,
                description,
                types,
                // Of all networks, like the messages of a fleet.
                network: String::new(),
                after_cursor: after,
            };
            let answer = service.create_webhook(request).await?.into_inner();
            out.print("sequencer.lifecycle.v1.CreateWebhookResponse", &answer, || {
                let mut rows = Rows::properties();
                rows.add(["id", answer.webhook.as_ref().map_or("", |webhook| &webhook.id)])
                    .add(["secret", &answer.secret]);
                rows
            })
        }
        Command::List => {
            let answer = service.list_webhooks(ListWebhooksRequest {}).await?.into_inner();
            out.print("sequencer.lifecycle.v1.ListWebhooksResponse", &answer, || {
                let mut rows = Rows::new(["ID", "URL", "TYPES", "CURSOR", "WAITING", "DEAD", "STATE"]);
                for one in &answer.webhooks {
                    let types = if one.types.is_empty() { "all".to_owned() } else { one.types.join(" ") };
                    let state = if one.enabled { "enabled" } else { &one.disabled_reason };
                    let (waiting, dead) = (one.pending.to_string(), one.dead.to_string());
                    rows.add([&one.id, &one.url, &types, &one.cursor, &waiting, &dead, state]);
                }
                rows
            })
        }
        Command::Enable { id } => enable(&mut service, out, &id, true).await,
        Command::Disable { id } => enable(&mut service, out, &id, false).await,
        Command::Delete { id } => {
            service.delete_webhook(DeleteWebhookRequest { id }).await?;
            out.note("removed");
            Ok(())
        }
        Command::Rotate { id, overlap } => {
            let overlap = overlap.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
            let request = RotateWebhookSecretRequest { request_id: request_id(), id, overlap };
            let answer = service.rotate_webhook_secret(request).await?.into_inner();
            out.print("sequencer.lifecycle.v1.RotateWebhookSecretResponse", &answer, || {
                let mut rows = Rows::properties();
                rows.add(["secret", &answer.secret]);
                rows
            })
        }
        Command::Test { id } => {
            service.test_webhook(TestWebhookRequest { id }).await?;
            out.note("told; see `seqctl webhook deliveries --all`");
            Ok(())
        }
        Command::Deliveries { id, all } => deliveries(&mut service, out, id.unwrap_or_default(), all).await,
        Command::Retry { id } => {
            service.retry_delivery(RetryDeliveryRequest { id }).await?;
            out.note("it is attempted again");
            Ok(())
        }
        Command::Replay { id, after } => {
            let request = ReplayNotificationsRequest { id, after_cursor: after };
            let answer = service.replay_notifications(request).await?.into_inner();
            print(out, &answer.webhook.context("lifecycle answered without a webhook")?)
        }
    }
}

async fn enable(
    service: &mut WebhooksServiceClient<Peer>,
    out: &Printer,
    id: &str,
    enabled: bool,
) -> Result<()> {
    let all = service.list_webhooks(ListWebhooksRequest {}).await?.into_inner().webhooks;
    let found = all.into_iter().find(|one| one.id == id).context("there is no such webhook")?;
    let request = UpdateWebhookRequest {
        id: found.id,
        etag: found.etag,
        enabled: Some(enabled),
        ..UpdateWebhookRequest::default()
    };
    let answer = service.update_webhook(request).await?.into_inner();
    print(out, &answer.webhook.context("lifecycle answered without a webhook")?)
}

async fn deliveries(
    service: &mut WebhooksServiceClient<Peer>,
    out: &Printer,
    webhook: String,
    all: bool,
) -> Result<()> {
    let state = if all { DeliveryState::Unspecified } else { DeliveryState::Dead };
    let request = ListDeliveriesRequest {
        webhook,
        state: state.into(),
        page_size: 500,
        ..ListDeliveriesRequest::default()
    };
    let answer = service.list_deliveries(request).await?.into_inner();
    out.cut(&answer.next_page_token);
    out.print("sequencer.lifecycle.v1.ListDeliveriesResponse", &answer, || {
        let mut rows = Rows::new(["ID", "HAPPENED", "TYPE", "CURSOR", "STATE", "ATTEMPTS", "WHY"]);
        for one in &answer.deliveries {
            let state = word(one.state().as_str_name(), "DELIVERY_STATE_");
            let (at, attempts) = (utc(one.event_time.as_ref()), one.attempts.to_string());
            rows.add([&one.id, &at, &one.r#type, &one.cursor, &state, &attempts, &one.last_error]);
        }
        rows
    })
}

fn print(out: &Printer, webhook: &Webhook) -> Result<()> {
    out.print("sequencer.lifecycle.v1.Webhook", webhook, || {
        let mut rows = Rows::properties();
        let state = if webhook.enabled { "enabled" } else { &webhook.disabled_reason };
        rows.add(["id", &webhook.id]).add(["url", &webhook.url]).add(["state", state]);
        rows.add(["cursor", &webhook.cursor]);
        rows
    })
}
