//! The dashboard's entry over gRPC: built from the register, and checked as upstream and the chain see it.

use api::lifecycle::v1::*;
use api::types::v1::{Check, Verdict};
use runtime::errors::refusal_of;
use serde_json::{Value, json};
use testkit::wait_until;

use crate::world::{DEADLINE, NETWORK, World, address, owner_name};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x80\0\0\0\x80";

/// The entry that is built for a sequencer, with what only its operator knows.
async fn entry(world: &World, sequencer: &str, name: &str) -> Value {
    let request = BuildListingRequest { sequencer: sequencer.to_owned() };
    let built = world.client.clone().build_listing(request).await.expect("built").into_inner();
    let mut entry: Value = serde_json::from_str(&built.json).expect("JSON");
    entry["name"] = json!(name);
    entry["avatar"] = json!(format!("{{BASEDIR}}/assets/{name}.png"));
    entry["desc"] = json!("A sequencer");
    entry["url"] = json!("https://sequencer.example");
    entry
}

fn asked(json: String) -> ValidateListingRequest {
    ValidateListingRequest { network: NETWORK.to_owned(), json, ..ValidateListingRequest::default() }
}

async fn validate(world: &World, request: ValidateListingRequest) -> ValidateListingResponse {
    world.client.clone().validate_listing(request).await.expect("checked").into_inner()
}

/// What does not hold, by name.
fn broken(checks: &[Check]) -> Vec<(&str, Verdict)> {
    let broken = checks.iter().filter(|check| check.verdict() != Verdict::Pass);
    broken.map(|check| (check.name.as_str(), check.verdict())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_checked_as_upstream_and_the_chain_see_it() {
    let mut world = World::start().await;
    let alpha = world.whitelisted("alpha").await;
    let beta = world.register("beta").await;
    let (alpha, beta) = (entry(&world, &alpha.id, "alpha").await, entry(&world, &beta.id, "beta").await);
    let image = |name: &str| ListingImage { name: format!("{name}.png"), content: PNG.into() };

    let file = json!([alpha, beta]).to_string();
    let all = ValidateListingRequest {
        images: vec![image("alpha"), image("beta")],
        images_complete: true,
        ..asked(file.clone())
    };
    let ValidateListingResponse { ok, checks, entries, formatted_json } = validate(&world, all.clone()).await;
    assert_eq!((ok, broken(&checks)), (false, vec![("LISTING_FORMAT", Verdict::Fail)]));
    assert_eq!(entries.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["alpha", "beta"]);
    assert_eq!(broken(&entries[0].checks), []);
    assert_eq!(broken(&entries[1].checks), [("LISTING_WHITELISTED", Verdict::Warn)], "not yet");

    // As it comes back, upstream takes it; below those that were there, and with its image.
    let base_json = json!([alpha]).to_string();
    let formatted = ValidateListingRequest { json: formatted_json.clone(), base_json, ..all };
    let taken = validate(&world, formatted.clone()).await;
    assert_eq!((taken.ok, broken(&taken.checks), taken.formatted_json), (true, vec![], formatted_json));
    let base_json = json!([beta]).to_string();
    let moved = validate(&world, ValidateListingRequest { base_json, ..formatted.clone() }).await;
    assert_eq!((moved.ok, broken(&moved.checks)), (true, vec![("LISTING_APPENDED", Verdict::Warn)]));
    let alone = ValidateListingRequest { images: vec![image("alpha")], ..formatted.clone() };
    let missing = validate(&world, alone.clone()).await;
    assert!(!missing.ok);
    assert!(broken(&missing.entries[1].checks).contains(&("LISTING_AVATAR_FILE", Verdict::Fail)));
    let unseen = validate(&world, ValidateListingRequest { images_complete: false, ..alone }).await;
    assert!(unseen.ok, "nobody looked");

    // One entry alone, by somebody else who names alpha's signer.
    let mut stolen = alpha.clone();
    stolen["address"] = json!(address("stranger").to_string());
    let warned = validate(&world, asked(stolen.to_string())).await;
    let on_chain: Vec<_> = broken(&warned.entries[0].checks)
        .into_iter()
        .filter(|(_, verdict)| *verdict == Verdict::Warn)
        .collect();
    assert_eq!(on_chain, [("LISTING_WHITELISTED", Verdict::Warn), ("LISTING_SIGNER_OWN", Verdict::Warn)]);
    world.l1.whitelist(address(&owner_name("beta")), true).await.expect("whitelisted");
    wait_until("the register follows", DEADLINE, || async {
        let now = validate(&world, formatted.clone()).await;
        broken(&now.entries[1].checks).is_empty()
    })
    .await;
    let elsewhere = ValidateListingRequest { network: String::new(), ..asked(stolen.to_string()) };
    let names = validate(&world, elsewhere).await.entries[0].checks.clone();
    assert!(!names.iter().any(|check| check.name == "LISTING_WHITELISTED"), "no network is named");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_listing_is_refused_or_told() {
    let world = World::start().await;
    let nowhere = ValidateListingRequest { network: "nowhere".to_owned(), ..asked("[]".to_owned()) };
    for (request, reason) in [(asked(String::new()), "FIELD_REQUIRED"), (nowhere, "NETWORK_NOT_FOUND")] {
        let status = world.client.clone().validate_listing(request).await.unwrap_err();
        assert_eq!(refusal_of(&status).unwrap().reason, reason);
    }
    let many = format!("[{}]", vec!["{}"; 100_000].join(","));
    for (text, name) in [
        ("[".to_owned(), "LISTING_FILE_JSON"),
        ("7".to_owned(), "LISTING_FILE_LIST"),
        ("{".to_owned(), "LISTING_FILE_JSON"),
        (many, "LISTING_FILE_ENTRIES"),
    ] {
        let told = validate(&world, asked(text)).await;
        assert_eq!((told.ok, broken(&told.checks)), (false, vec![(name, Verdict::Fail)]));
        assert!(told.entries.is_empty() && told.formatted_json.is_empty());
    }
}
