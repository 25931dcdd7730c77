//! A rotation of the key-encryption key whose process is killed, again and again.

use std::fs;
use std::time::Duration;

use api::keys::v1::{CreateKeyRequest, KeyRole, RotateKekRequest, RotateKekResponse};
use futures::StreamExt;
use testkit::wait_for;
use tonic::Status;

use super::process::{Client, Place, SOON, keys, sign};

const OLD: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const NEW: &str = "feedbeefc0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0dec0de0001";
/// Several batches.
const KEYS: u32 = 1_000;
/// Later ones come after the end.
const KILLS: u32 = 20;

async fn rotate(operator: &Client, validate_only: bool) -> Result<RotateKekResponse, Status> {
    let request = RotateKekRequest { from_generation: 1, validate_only };
    Ok(operator.clone().rotate_kek(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_killed_at_any_moment_goes_on_and_every_key_signs_throughout() {
    let db = testkit::database().await;
    let place = Place::new(&db);
    fs::write(place.path("old"), OLD).unwrap();
    fs::write(place.path("new"), NEW).unwrap();
    place.configure(&format!("kek = {{ file = {:?} }}", place.path("old")));
    let first = place.start().await;
    let (operator, lifecycle) = (place.client("operator/alice"), place.client("lifecycle"));
    let made = (0..KEYS).map(|number| {
        let operator = operator.clone();
        let request = CreateKeyRequest {
            request_id: uuid::Uuid::now_v7().to_string(),
            name: format!("key-{number}"),
            role: KeyRole::Owner.into(),
            ..CreateKeyRequest::default()
        };
        async move {
            // The shared server may be full for a moment; the request has an id and may be repeated.
            let made = async || operator.clone().create_key(request.clone()).await.ok();
            wait_for("a key is made", SOON, made).await
        }
    });
    // Some beside each other, so that commits are shared.
    futures::stream::iter(made).buffer_unordered(4).collect::<Vec<_>>().await;
    let all = keys(&operator).await;
    first.kill();

    let both = format!(
        "kek = {{ file = {:?} }}\nkek_previous = {{ key = {{ file = {:?} }} }}",
        place.path("new"),
        place.path("old")
    );
    place.configure(&both);
    let (mut seen, mut nonce) = (Vec::new(), 0);
    for kill in 0..KILLS {
        let process = place.start().await;
        // Each kill a little later: before the generation, between batches, after the last.
        let moment = Duration::from_millis(u64::from(kill) * 25);
        let _ = tokio::time::timeout(moment, rotate(&operator, false)).await;
        process.kill();

        let process = place.start().await;
        // The call that was cut off may leave the client with a connection that failed: the next call is told so.
        let asked = async || rotate(&operator, true).await.ok();
        seen.push(wait_for("the service answers", SOON, asked).await.remaining);
        for key in [&all[0], &all[KEYS as usize / 2], &all[KEYS as usize - 1]] {
            sign(&lifecycle, key, nonce).await.unwrap();
        }
        nonce += 1;
        process.kill();
    }
    let process = place.start().await;
    let mut last = rotate(&operator, false).await.unwrap();
    while last.remaining > 0 {
        last = rotate(&operator, false).await.unwrap();
    }
    let between = |remaining: &u64| (1..u64::from(KEYS)).contains(remaining);
    assert!(seen.iter().any(between), "no kill came between two batches: {seen:?}");
    assert_eq!(last.generation, 2, "no kill began another generation: {seen:?}");
    process.kill();

    place.configure(&format!("kek = {{ file = {:?} }}", place.path("new")));
    let _process = place.start().await;
    for key in &all {
        sign(&lifecycle, key, 1_000).await.unwrap();
    }
}
