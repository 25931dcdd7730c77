//! The backend for AWS on moto.

use keys::backend::{Error, Settings, settings};
use runtime::config::Secret;
use testkit::Moto;

use super::contract;
use super::gate::Gate;

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
