//! Postgres goes away and comes back: callers are told so in the meantime, and nobody has to restart anything.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use api::lifecycle::v1::ListSequencersRequest;
use dev::stack::NETWORK;
use runtime::config::Secret;
use runtime::errors::refusal_of;
use serde_json::json;
use sqlx::postgres::PgConnectOptions;
use testkit::wait_until;
use tonic::Code;

use crate::cable::Cable;
use crate::stage::{SEEN_MAX, Stage};

/// A configuration whose services reach their database over a cable.
async fn over_a_cable(stage: &Stage) -> Result<(Cable, PathBuf)> {
    let mut config = stage.world.config().clone();
    let any = config.database.urls.values().next().context("a service has a database")?.expose()?;
    let server: PgConnectOptions = any.parse()?;
    let direct = format!("{}:{}", server.get_host(), server.get_port());
    let cable = Cable::lay(direct.parse().context("the server is on this machine")?).await?;
    for (service, url) in &mut config.database.urls {
        let file = stage.path(&format!("{service}.url"));
        fs::write(&file, url.expose()?.replace(&direct, &cable.address().to_string()))?;
        *url = Secret::file(file);
    }
    let file = stage.path("over-a-cable.toml");
    fs::write(&file, toml::to_string_pretty(&config)?)?;
    Ok((cable, file))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_callers_are_told_and_afterwards_all_goes_on() -> Result<()> {
    let stage = Stage::set().await?;
    let (mut cable, config) = over_a_cable(&stage).await?;
    let seqd = stage.seqd_of(&config, &[]).await?;
    let (frontend, _) = stage.frontend().await?;
    let params = json!({ "network": NETWORK });
    frontend.call("sequencer_list", params.clone()).await?;

    cable.cut().await;
    let list = ListSequencersRequest { network: NETWORK.to_owned(), ..Default::default() };
    let status = stage.clients.lifecycle.clone().list_sequencers(list).await.err().context("no database")?;
    let refused = refusal_of(&status).with_context(|| format!("{status:?}"))?;
    assert_eq!((refused.reason.as_str(), refused.code), ("DATABASE_UNAVAILABLE", Code::Unavailable));
    let fault = frontend.ask("sequencer_list", params.clone()).await?.err().context("no database")?;
    assert_eq!((fault.reason(), fault.code()), ("DATABASE_UNAVAILABLE", -32002), "{fault}");
    assert_eq!(fault.0["data"]["retryable"], true);
    seqd.until_unready(SEEN_MAX).await;

    cable.mend().await?;
    wait_until("everything answers again", SEEN_MAX, || async {
        seqd.ready().await == Some(200) && frontend.call("sequencer_list", params.clone()).await.is_ok()
    })
    .await;
    // What happened on the chain meanwhile arrives.
    let head = stage.world.simulator().l1().link.head().await?.number;
    wait_until("the index goes on", SEEN_MAX, || async {
        let answer = frontend.call("chain_head", params.clone()).await.unwrap_or_default();
        let block = answer["asOf"]["block"].as_str().unwrap_or_default().trim_start_matches("0x").to_owned();
        u64::from_str_radix(&block, 16).is_ok_and(|block| block >= head)
    })
    .await;
    seqd.kill()?;
    stage.strike().await
}
