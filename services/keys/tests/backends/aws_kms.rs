//! The backend for AWS on moto.

use api::keys::v1::{KeyRole, RotateKekRequest};
use keys::Config;
use keys::backend::{Error, Settings, settings};
use keys::config::Previous;
use keys::crypto::kek::AwsKmsConfig;
use keys::policy::call::approveCall;
use runtime::config::Secret;
use testkit::Moto;

use super::contract;
use super::gate::Gate;
use crate::stand::{INFO, KEK, METIS, Stand, metis, request};

const SECRET: &str = "canary-aws-secret";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_aws_hold_the_contract_and_an_outage() {
    let moto = Moto::start().await.unwrap();
    let gate = Gate::before(moto.address()).await;
    let settings = settings::AwsKms {
        region: "eu-central-1".to_owned(),
        endpoint: Some(format!("http://{}", gate.address)),
        access_key_id: Some("AKIATEST".to_owned()),
        secret_access_key: Some(Secret::new(SECRET.to_owned())),
        limits: contract::limits(),
    };
    let backend = contract::open(Settings::AwsKms(settings)).await;
    let key = contract::generate(backend.as_ref()).await;
    let reference = key.place.reference().unwrap();
    assert!(reference.starts_with("arn:aws:kms:eu-central-1:"), "{reference}");
    let unknown = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000";
    contract::holds(backend.clone(), &key, unknown).await;
    contract::survives(backend.as_ref(), &key, &gate).await;
    assert!(!format!("{backend:?}").contains(SECRET));

    // A key for something else is not taken.
    let client = client_of(&gate).await;
    let made = client.create_key().send().await.unwrap();
    let symmetric = made.key_metadata().unwrap().arn().unwrap().to_owned();
    assert!(matches!(
        backend.find(&symmetric).await,
        Err(Error::Refused(_) | Error::Unusable(_) | Error::UnknownKey(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_encryption_key_moves_to_aws_and_away_again() {
    let (db, moto) = (testkit::database().await, Moto::start().await.unwrap());
    let gate = Gate::before(moto.address()).await;
    let made = client_of(&gate).await.create_key().send().await.unwrap();
    let of_aws = AwsKmsConfig {
        key: made.key_metadata().unwrap().key_id().to_owned(),
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(format!("http://{}", gate.address)),
        access_key_id: Some("AKIATEST".to_owned()),
        secret_access_key: Some(Secret::new(SECRET.to_owned())),
    };
    let of_file = || Secret::new(KEK.to_owned());
    let by_aws = || Config { kek_aws_kms: Some(of_aws.clone()), ..Config::default() };
    let from_aws = || Previous { aws_kms: Some(of_aws.clone()), ..Previous::default() };
    let from_file = Previous { key: Some(of_file()), ..Previous::default() };
    let another = Secret::new("ab".repeat(32));
    let steps = [
        (Config { kek_previous: Some(from_file), ..by_aws() }, "AWS_KMS"),
        (by_aws(), "AWS_KMS"),
        (Config { kek: Some(another), kek_previous: Some(from_aws()), ..Config::default() }, "KEY"),
    ];
    let first = Stand::with(&db, Config { kek: Some(of_file()), ..Config::default() }).await;
    let key = first.create("alpha", KeyRole::Owner).await;
    first.stop().await;
    for (generation, (config, source)) in (1..).zip(steps) {
        let stand = Stand::with(&db, config).await;
        let rotate = RotateKekRequest { from_generation: generation, validate_only: false };
        let answer = stand.operator.clone().rotate_kek(rotate).await.unwrap().into_inner();
        assert_eq!((answer.remaining, answer.source.as_str()), (0, source));
        let call = approveCall { spender: INFO, value: metis(1) };
        stand.sign(request(&key, METIS, &call, u64::from(generation))).await.unwrap();
        stand.stop().await;
        if source == "AWS_KMS" {
            // Away: sealed, with a reason that repeats no secret; back: open by itself.
            gate.close();
            let sealed = Stand::with(&db, by_aws()).await;
            let reason = sealed.health.snapshot().checks["keys.unsealed"].clone().unwrap_err();
            assert!(reason.contains("AWS KMS") && !reason.contains(SECRET), "{reason}");
            gate.open();
            let soon = std::time::Duration::from_secs(60);
            testkit::wait_until("it opens by itself", soon, || async { sealed.health.is_ready() }).await;
            sealed.stop().await;
        }
    }
}

async fn client_of(gate: &Gate) -> aws_sdk_kms::Client {
    use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(format!("http://{}", gate.address))
        .credentials_provider(Credentials::new("AKIATEST", SECRET, None, None, "test"))
        .build();
    aws_sdk_kms::Client::from_conf(config)
}
