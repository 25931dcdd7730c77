//! Notifications: told with the change, signed, retried, replayable.

use std::collections::BTreeSet;

use api::lifecycle::v1::*;
use lifecycle::{Config, Webhooks};
use runtime::config::Secret;
use runtime::errors::refusal_of;
use runtime::telemetry::{self, TelemetryConfig, metrics_text};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::statement;
use testkit::{wait_for, wait_until};

use crate::fakes::receiver::{Receiver, Say};
use crate::world::{DEADLINE, NETWORK, World, address, owner_name, quick, request_id};

const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yml");

fn notifying() -> Config {
    let webhooks = Webhooks {
        secret_key: Some(Secret::new("5a".repeat(32))),
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        http: true,
        ..Webhooks::default()
    };
    Config { webhooks, ..quick() }
}

fn asked(receiver: &Receiver, types: &[&str]) -> CreateWebhookRequest {
    CreateWebhookRequest {
        request_id: request_id(),
        url: receiver.url(),
        types: types.iter().map(|kind| (*kind).to_owned()).collect(),
        ..Default::default()
    }
}

async fn create(world: &World, receiver: &Receiver, types: &[&str]) -> (Webhook, String) {
    let answer = world.webhooks().create_webhook(asked(receiver, types)).await.expect("created");
    let CreateWebhookResponse { webhook, secret } = answer.into_inner();
    (webhook.unwrap(), secret)
}

async fn webhook(world: &World, id: &str) -> Webhook {
    let all = world.webhooks().list_webhooks(ListWebhooksRequest {}).await.unwrap().into_inner().webhooks;
    all.into_iter().find(|one| one.id == id).expect("it is there")
}

async fn deliveries(world: &World, webhook: &str, state: DeliveryState) -> Vec<Delivery> {
    let request =
        ListDeliveriesRequest { webhook: webhook.to_owned(), state: state.into(), ..Default::default() };
    world.webhooks().list_deliveries(request).await.unwrap().into_inner().deliveries
}

async fn test(world: &World, id: &str) {
    world.webhooks().test_webhook(TestWebhookRequest { id: id.to_owned() }).await.expect("told");
}

/// As the role of the service.
async fn database(world: &World) -> DatabaseConnection {
    store::connect(&world.db.url_for("lifecycle"), 1).await.unwrap()
}

async fn run(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_once_signed_and_in_order() {
    let mut world = World::with(notifying()).await;
    let (receiver, picky) = (Receiver::start().await, Receiver::start().await);
    let (_, secret) = create(&world, &receiver, &[]).await;
    create(&world, &picky, &["operation.state"]).await;
    let sequencer = world.whitelisted("alpha").await;
    let moved = receiver.until("the transition", |got| got.json["data"]["to"] == "WHITELISTED").await;
    assert_eq!(moved.kind(), "sequencer.transition");
    assert_eq!(moved.json["data"]["sequencer"], sequencer.id.as_str());
    assert_eq!(moved.json["network"], NETWORK);
    world.done(&sequencer.id, crate::world::lock(20_000)).await;
    receiver.until("the end", |got| got.json["data"]["state"] == "CONFIRMED").await;
    picky.until("the end", |got| got.json["data"]["state"] == "CONFIRMED").await;
    let got = receiver.got();
    for pair in got.windows(2) {
        assert!(pair[0].cursor() < pair[1].cursor() && pair[0].id != pair[1].id, "in order, each once");
    }
    for one in &got {
        assert!(one.is_signed_with(&secret) && one.id.starts_with("msg_"), "{one:?}");
    }
    assert!(picky.got().iter().all(|got| got.kind() == "operation.state"));
    let states: Vec<_> =
        picky.got().iter().map(|got| got.json["data"]["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!((states.first().unwrap().as_str(), states.last().unwrap().as_str()), ("QUEUED", "CONFIRMED"));
    // The history and the feed agree: nothing was forgotten.
    let transitions = world.transitions(&sequencer.id, true).await.len();
    let of_this = |got: &&crate::fakes::receiver::Got| {
        got.kind() == "sequencer.transition" && got.json["data"]["sequencer"] == sequencer.id.as_str()
    };
    wait_until("all are told", DEADLINE, || async {
        receiver.got().iter().filter(of_this).count() == transitions
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_couriers_at_once_deliver_each_message_once() {
    const MESSAGES: usize = 20;
    let mut world = World::with(notifying()).await;
    world.second_replica(notifying()).await;
    let receivers = [Receiver::start().await, Receiver::start().await];
    let mut ids = Vec::new();
    for receiver in &receivers {
        ids.push(create(&world, receiver, &["webhook.test"]).await.0.id);
    }
    for _ in 0..MESSAGES {
        for id in &ids {
            test(&world, id).await;
        }
    }
    for (receiver, id) in receivers.iter().zip(&ids) {
        wait_until("all are delivered", DEADLINE, || async {
            deliveries(&world, id, DeliveryState::Delivered).await.len() == MESSAGES
        })
        .await;
        let got = receiver.got();
        assert_eq!(got.len(), MESSAGES, "each once");
        for pair in got.windows(2) {
            assert!(pair[0].cursor() < pair[1].cursor() && pair[0].id != pair[1].id, "in order");
        }
    }
    // The lease goes to the other while the first is waiting for an answer: what it may write is nothing, and the message
    // comes once more, with its id.
    receivers[0].say(Say::Nothing);
    test(&world, &ids[0]).await;
    let waiting = receivers[0].until("an attempt", |got| got.cursor() > 2 * MESSAGES as u64).await;
    receivers[0].status(204);
    let moved = "UPDATE lifecycle.lease SET epoch = epoch + 1, expires_at = now() WHERE name = 'notify'";
    let moved = world.db.admin().await.execute_unprepared(moved).await.unwrap();
    assert_eq!(moved.rows_affected(), 1);
    let last = wait_for("it is delivered", DEADLINE, || async {
        let delivered = deliveries(&world, &ids[0], DeliveryState::Delivered).await;
        delivered.into_iter().next().filter(|one| one.message_id == waiting.id)
    })
    .await;
    assert_eq!(last.attempts, 1, "the first one is nobody's any more");
    let again = receivers[0].got().into_iter().filter(|got| got.id == waiting.id).count();
    assert_eq!((again, receivers[0].got().len()), (2, MESSAGES + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_change_and_delivery_loses_nothing() {
    let mut world = World::with(notifying()).await;
    let receiver = Receiver::start().await;
    create(&world, &receiver, &["sequencer.transition"]).await;
    receiver.say(Say::Nothing);
    let sequencer = world.register("alpha").await;
    let in_the_air = receiver.until("an attempt", |_| true).await;
    world.l1.whitelist(address(&owner_name("alpha")), true).await.unwrap();
    world.until_phase(&sequencer.id, Phase::Whitelisted).await;
    world.kill();
    receiver.status(200);
    let before = receiver.got().len();
    world.restart(notifying()).await;
    receiver.until("the change", |got| got.json["data"]["to"] == "WHITELISTED").await;
    let after = receiver.got().split_off(before);
    assert_eq!(after.iter().filter(|got| got.id == in_the_air.id).count(), 1, "again with the same id");
    assert_eq!(after[0].body, in_the_air.body, "and the same body");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_down_for_a_day_gets_a_dead_letter_that_can_be_replayed() {
    let mut world = World::with(notifying()).await;
    let (receiver, healthy) = (Receiver::start().await, Receiver::start().await);
    let (down, _) = create(&world, &receiver, &["sequencer.transition"]).await;
    create(&world, &healthy, &["sequencer.transition"]).await;
    receiver.status(500);
    world.register("alpha").await;
    let db = database(&world).await;
    let mut waits = 0;
    let dead = wait_for("the dead letter", DEADLINE, || async {
        // Time passes: what waits for its hour is due.
        run(
            &db,
            "UPDATE lifecycle.delivery SET next_attempt_time = clock_timestamp() WHERE state = 'PENDING'",
        )
        .await;
        deliveries(&world, &down.id, DeliveryState::Dead).await.pop()
    })
    .await;
    waits += receiver.got().len();
    assert_eq!((waits, dead.attempts, dead.last_status), (11, 11, 500));
    assert!(receiver.got().windows(2).all(|pair| pair[0].id == pair[1].id), "one message all the time");
    assert_eq!(webhook(&world, &down.id).await.dead, 1);
    healthy.until("its own", |got| got.id == dead.message_id).await;
    receiver.status(200);
    let request = ReplayNotificationsRequest { id: down.id.clone(), after_cursor: "0".to_owned() };
    world.webhooks().replay_notifications(request).await.expect("replayed");
    wait_until("it is delivered", DEADLINE, || async {
        deliveries(&world, &down.id, DeliveryState::Delivered).await.len() == 1
    })
    .await;
    assert_eq!(receiver.got().last().unwrap().id, dead.message_id);
    assert_eq!(webhook(&world, &down.id).await.dead, 0);
    let beyond = ReplayNotificationsRequest { id: down.id.clone(), after_cursor: "999999".to_owned() };
    let refused = world.webhooks().replay_notifications(beyond).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "CURSOR_MALFORMED");
    // What was removed by its age cannot be replayed from its place.
    world.webhooks().delete_webhook(DeleteWebhookRequest { id: down.id.clone() }).await.expect("removed");
    let (young, _) = create(&world, &receiver, &[]).await;
    run(&db, "DELETE FROM lifecycle.notification").await;
    run(&db, "UPDATE lifecycle.notification_feed SET position = 50").await;
    let old = ReplayNotificationsRequest { id: young.id, after_cursor: "2".to_owned() };
    let refused = world.webhooks().replay_notifications(old).await.unwrap_err();
    assert_eq!(refusal_of(&refused).unwrap().reason, "CURSOR_TOO_OLD");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_secret_signs_beside_the_old_one_until_that_ends() {
    let world = World::with(notifying()).await;
    let receiver = Receiver::start().await;
    let request = asked(&receiver, &[]);
    let first = world.webhooks().create_webhook(request.clone()).await.unwrap().into_inner();
    let again = world.webhooks().create_webhook(request).await.unwrap().into_inner();
    assert_eq!(
        (&first.secret, &first.webhook),
        (&again.secret, &again.webhook),
        "the same request, the same answer"
    );
    let (id, old) = (first.webhook.unwrap().id, first.secret);
    let rotate = |overlap| RotateWebhookSecretRequest { request_id: request_id(), id: id.clone(), overlap };
    let request = rotate(None);
    let new = world.webhooks().rotate_webhook_secret(request.clone()).await.unwrap().into_inner().secret;
    let repeated = world.webhooks().rotate_webhook_secret(request).await.unwrap().into_inner().secret;
    assert!(new == repeated && new != old);
    test(&world, &id).await;
    let both = receiver.until("a message", |_| true).await;
    assert!(both.is_signed_with(&old) && both.is_signed_with(&new) && both.signatures.len() == 2);
    let now = Some(prost_types::Duration::default());
    let last = world.webhooks().rotate_webhook_secret(rotate(now)).await.unwrap().into_inner().secret;
    test(&world, &id).await;
    let alone = receiver.until("the next", |got| got.id != both.id).await;
    assert!(alone.is_signed_with(&last) && alone.signatures.len() == 1);
    // What the database holds is of no use to who reads it.
    let db = database(&world).await;
    let sql = "SELECT string_agg(t::text, ' ') AS all FROM (SELECT encode(sealed, 'escape') AS t FROM lifecycle.webhook_secret \
               UNION ALL SELECT encode(response, 'escape') FROM lifecycle.request WHERE response IS NOT NULL) x";
    let row = db.query_one_raw(statement(sql, [])).await.unwrap().unwrap();
    let all: String = row.try_get("", "all").unwrap();
    for secret in [&old, &new, &last] {
        assert!(!all.contains(secret.strip_prefix("whsec_").unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_misbehave_hold_up_nobody_and_lead_nowhere() {
    let world = World::with(notifying()).await;
    let [inside, redirecting, slow, tired, gone, healthy] = [
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    ];
    redirecting.say(Say::Status(307, vec![("location", inside.url())]));
    slow.say(Say::Nothing);
    tired.say(Say::Status(429, vec![("retry-after", "3600".to_owned())]));
    gone.status(410);
    let mut ids = Vec::new();
    for receiver in [&slow, &redirecting, &tired, &gone, &healthy] {
        ids.push(create(&world, receiver, &["webhook.test"]).await.0.id);
    }
    for id in &ids {
        test(&world, id).await;
    }
    healthy.until("its message", |_| true).await;
    slow.until("an attempt", |_| true).await;
    redirecting.until("an attempt", |_| true).await;
    let failed = wait_for("the redirect is a failure", DEADLINE, || async {
        deliveries(&world, &ids[1], DeliveryState::Pending).await.pop().filter(|one| one.attempts > 0)
    })
    .await;
    assert_eq!((failed.last_status, inside.got().len()), (307, 0), "it is not followed");
    let resting = wait_for("the tired one rests", DEADLINE, || async {
        Some(webhook(&world, &ids[2]).await).filter(|one| one.resume_time.is_some())
    })
    .await;
    test(&world, &resting.id).await;
    let ended = wait_for("the gone one is disabled", DEADLINE, || async {
        Some(webhook(&world, &ids[3]).await).filter(|one| !one.enabled)
    })
    .await;
    assert!(ended.disabled_reason.contains("410") && ended.dead == 1);
    // Each has one message of its own; the healthy one is not asked to wait for the others'.
    test(&world, &ids[4]).await;
    wait_until("the second", DEADLINE, || async { healthy.got().len() == 2 }).await;
    assert_eq!(
        (tired.got().len(), slow.got().len()),
        (1, 1),
        "rest is kept, and one is in the air at a time"
    );
    // Enabled again, it goes on.
    gone.status(200);
    let dead = deliveries(&world, &ended.id, DeliveryState::Dead).await.pop().unwrap();
    let request = UpdateWebhookRequest {
        id: ended.id.clone(),
        etag: ended.etag.clone(),
        enabled: Some(true),
        ..Default::default()
    };
    world.webhooks().update_webhook(request.clone()).await.expect("enabled");
    let stale = world.webhooks().update_webhook(request).await.unwrap_err();
    assert_eq!(refusal_of(&stale).unwrap().reason, "ETAG_MISMATCH");
    world.webhooks().retry_delivery(RetryDeliveryRequest { id: dead.id }).await.expect("again");
    wait_until("it is delivered", DEADLINE, || async { gone.got().len() == 2 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_raised_and_cleared_and_a_held_network_is_told() {
    let mut world = World::with(notifying()).await;
    let receiver = Receiver::start().await;
    create(&world, &receiver, &["alert.raised", "alert.cleared", "network.held", "network.released"]).await;
    let sequencer = world.whitelisted("alpha").await;
    world.indexer.node(address("alpha"), false, false);
    let raised = receiver.until("the alert", |got| got.json["data"]["alert"] == "NODE_NOT_READY").await;
    assert_eq!((raised.kind(), &raised.json["data"]["sequencer"]), ("alert.raised", &sequencer.id.into()));
    world.indexer.node(address("alpha"), true, false);
    receiver
        .until("its end", |got| {
            got.kind() == "alert.cleared" && got.json["data"]["alert"] == "NODE_NOT_READY"
        })
        .await;
    let db = database(&world).await;
    run(&db, "UPDATE lifecycle.stream_cursor SET held_l1 = 7").await;
    receiver.until("the hold", |got| got.kind() == "network.held").await;
    run(&db, "UPDATE lifecycle.stream_cursor SET held_l1 = NULL").await;
    let released = receiver.until("its end", |got| got.kind() == "network.released").await;
    assert_eq!(released.json["network"], NETWORK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_rolled_back_is_told_to_nobody() {
    let mut world = World::with(notifying()).await;
    let receiver = Receiver::start().await;
    create(&world, &receiver, &["operation.state"]).await;
    let sequencer = world.whitelisted("alpha").await;
    let done = world.done(&sequencer.id, crate::world::lock(20_000)).await;
    receiver.until("the end", |got| got.json["data"]["state"] == "CONFIRMED").await;
    let db = database(&world).await;
    let step = |reason: &str| {
        format!(
            "INSERT INTO lifecycle.operation_step (operation, state, reason) VALUES ('{}', 'MINED', '{reason}')",
            done.id
        )
    };
    run(&db, &format!("BEGIN; {}; ROLLBACK", step("never was"))).await;
    run(&db, &step("the next one")).await;
    receiver.until("the next one", |got| got.body.contains("the next one")).await;
    assert!(receiver.got().iter().all(|got| !got.body.contains("never was")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_raises_the_alert_and_every_alert_stands_on_a_metric_that_is_there() {
    let telemetry = telemetry::init("lifecycle", &TelemetryConfig::default()).ok();
    let world = World::with(notifying()).await;
    let value = |start: &str| {
        let text = metrics_text().unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let named: BTreeSet<&str> = ALERTS
        .split(|c: char| !c.is_ascii_lowercase() && c != '_')
        .filter(|word| word.starts_with("lifecycle_"))
        .collect();
    assert!(named.len() >= 3, "{named:?}");
    for metric in named {
        let what = format!("{metric}, which stands in an alert, is exported before anything has happened");
        let is_there =
            |line: &str| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(['{', ' ']));
        wait_until(&what, DEADLINE, || async { metrics_text().is_ok_and(|text| text.lines().any(is_there)) })
            .await;
    }
    let dead = || value("lifecycle_webhook_deliveries_total{outcome=\"dead\"").expect("it is exported");
    let before = dead();
    let gone = Receiver::start().await;
    gone.status(410);
    let (webhook, _) = create(&world, &gone, &["webhook.test"]).await;
    test(&world, &webhook.id).await;
    wait_until("it is counted", DEADLINE, || async { dead() > before }).await;
    drop(telemetry);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_webhooks_are_refused_with_their_reason() {
    let mut world = World::with(notifying()).await;
    let receiver = Receiver::start().await;
    let good = || asked(&receiver, &[]);
    let cases = [
        (CreateWebhookRequest { url: String::new(), ..good() }, "FIELD_REQUIRED"),
        (CreateWebhookRequest { url: "ftp://a.b".to_owned(), ..good() }, "WEBHOOK_URL_FORBIDDEN"),
        (CreateWebhookRequest { url: "https://10.0.0.1/".to_owned(), ..good() }, "WEBHOOK_URL_FORBIDDEN"),
        (
            CreateWebhookRequest { url: "http://169.254.169.254/x".to_owned(), ..good() },
            "WEBHOOK_URL_FORBIDDEN",
        ),
        (CreateWebhookRequest { types: vec!["everything".to_owned()], ..good() }, "EVENT_TYPE_UNKNOWN"),
        (CreateWebhookRequest { network: "nowhere".to_owned(), ..good() }, "NETWORK_NOT_FOUND"),
        (CreateWebhookRequest { after_cursor: "-1".to_owned(), ..good() }, "CURSOR_MALFORMED"),
        (CreateWebhookRequest { description: "x".repeat(201), ..good() }, "INVALID_ARGUMENT"),
        (CreateWebhookRequest { request_id: "1".to_owned(), ..good() }, "REQUEST_ID_MALFORMED"),
    ];
    for (request, reason) in cases {
        let status = world.webhooks().create_webhook(request).await.unwrap_err();
        assert_eq!(refusal_of(&status).unwrap().reason, reason);
    }
    let id = request_id();
    let status = world.webhooks().delete_webhook(DeleteWebhookRequest { id: id.clone() }).await.unwrap_err();
    assert_eq!(refusal_of(&status).unwrap().reason, "WEBHOOK_NOT_FOUND");
    let status = world.webhooks().retry_delivery(RetryDeliveryRequest { id }).await.unwrap_err();
    assert_eq!(refusal_of(&status).unwrap().reason, "DELIVERY_NOT_FOUND");
    let all = world.webhooks().list_webhooks(ListWebhooksRequest {}).await.unwrap().into_inner();
    assert_eq!(all.webhooks, [], "nothing was stored");
    let db = database(&world).await;
    run(
        &db,
        "INSERT INTO lifecycle.webhook (id, url, description, types, position, caller, enabled) \
              SELECT gen_random_uuid(), 'https://a.b', '', '{}', 0, 'x', false FROM generate_series(1, 64)",
    )
    .await;
    let status = world.webhooks().create_webhook(good()).await.unwrap_err();
    assert_eq!(refusal_of(&status).unwrap().reason, "WEBHOOK_LIMIT");
    world.restart(quick()).await;
    let closed = CreateWebhookRequest { url: "https://hooks.example/".to_owned(), ..good() };
    let status = world.webhooks().create_webhook(closed).await.unwrap_err();
    assert_eq!(refusal_of(&status).unwrap().reason, "WEBHOOKS_CLOSED");
}
