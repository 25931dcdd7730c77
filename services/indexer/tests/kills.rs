//! `seqd indexer` as processes of its own that are killed, stopped and continued: the tables stay exact.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chain::config::Network;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sea_orm::ConnectionTrait;
use testkit::proxy::{Faults, LogLimits, Provider};
use testkit::{Proxy, Seqd, wait_until};

use crate::trial::{NEVER_COMPARED, Stand, Tables, same_lines};
use crate::world::{DEADLINE, NETWORK, TRUST_DOMAIN};

/// Kills in `make test`; `make test-long` asks for more.
const KILLS: u64 = 6;
/// Requests to the node from a start to the kill, at most: from the first question to the middle of a backfill.
const REQUESTS_MAX: u64 = 40;
/// Blocks of a range here, so that a backfill is many commits.
const RANGE: u64 = 4;
/// A lease of 6 s is waited for, by a process that looks every 2 s; the stopped one may be in a transaction, which the
/// server ends after 5 s.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(20);

fn start(stand: &Stand, name: &str, network: &Network, tables: &Tables) -> Seqd {
    let folder = stand.folder.path();
    let config = folder.join(format!("{name}.toml"));
    fs::write(&config, configuration(folder, name, network, tables)).expect("the configuration is written");
    stand.pki.identity("indexer").expect("a certificate");
    Seqd::start("indexer", &config, &folder.join(format!("{name}.log")))
}

fn configuration(folder: &Path, name: &str, network: &Network, tables: &Tables) -> String {
    let url = folder.join(format!("{name}.url"));
    fs::write(&url, tables.db.url_for("indexer")).expect("the URL is written");
    let (folder, url) = (folder.display().to_string(), url.display().to_string());
    let text = toml::toml! {
        [listen]
        indexer = "127.0.0.1:0"
        admin = "127.0.0.1:0"
    };
    let mut config = text;
    let table = |pairs: &[(&str, toml::Value)]| {
        toml::Value::Table(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    };
    let network = toml::Value::try_from(network).expect("a network can be written");
    let compared = i64::try_from(NEVER_COMPARED).expect("a few seconds");
    config.insert("tls".to_owned(), table(&[("dir", folder.into()), ("trust_domain", TRUST_DOMAIN.into())]));
    let urls = table(&[("indexer", table(&[("file", url.into())]))]);
    config.insert("database".to_owned(), table(&[("urls", urls), ("connections", 6.into())]));
    config.insert("networks".to_owned(), table(&[(NETWORK, network)]));
    config.insert("indexer".to_owned(), table(&[("reconcile_secs", compared.into())]));
    toml::to_string(&config).expect("a configuration can be written")
}

/// A node that takes its time and gives a few blocks at once.
async fn slow_proxy(stand: &Stand, delay_ms: u64) -> Proxy {
    let proxy = Proxy::start(stand.crowd.anvil.url()).await.expect("a proxy");
    let limits = LogLimits { blocks_max: RANGE, results_max: 10_000, provider: Provider::QuickNode };
    let delay = Duration::from_millis(delay_ms);
    proxy.set(Faults { delay, log_limits: Some(limits), ..Faults::default() });
    proxy
}

/// Kills a backfill at random moments until it is done or enough, lets it end, and compares. Gives the kills.
async fn killed_again_and_again(stand: &Stand, most: u64, rng: &mut StdRng, expected: &[String]) -> u64 {
    let tables = Tables::new().await;
    let proxy = slow_proxy(stand, 3).await;
    let network = stand.network(&[proxy.url()]);
    let finalized = stand.finalized().await;
    let mut kills = 0;
    let mut reached = 0;
    while kills < most {
        let last = proxy.counts().http + rng.random_range(1..=REQUESTS_MAX);
        let process = start(stand, "killed", &network, &tables);
        wait_until("it has asked so many times", DEADLINE, || async {
            proxy.counts().http >= last || tables.tip().await.is_some_and(|(number, _)| number > finalized)
        })
        .await;
        process.kill();
        let tip = tables.tip().await.map_or(0, |(number, _)| number);
        assert!(tip >= reached, "what was committed stays: {tip} after {reached}");
        reached = tip;
        // The dead do not come back: nobody needs to wait until its lease expires.
        let expire = "UPDATE indexer.lease SET expires_at = '-infinity'";
        tables.connection.execute_unprepared(expire).await.expect("the lease expires");
        if tip > finalized {
            break;
        }
        kills += 1;
    }
    let last = start(stand, "killed", &network, &tables);
    tables.settled(&stand.crowd.l1).await;
    same_lines(&tables.rows().await, expected);
    drop(last);
    kills
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_killed_at_random_moments_ends_exact() {
    let (wanted, seed) =
        (testkit::from_environment("INDEX_KILLS", KILLS), testkit::from_environment("INDEX_SEED", 1));
    let stand = Stand::set(7, 150, 20).await;
    let whole = stand.trial(stand.honest(), NEVER_COMPARED).await;
    whole.tables.settled(&stand.crowd.l1).await;
    stand.is_exact(&whole.tables).await;
    let expected = whole.tables.rows().await;
    whole.running.stop().await.expect("it stops");

    let rng = &mut StdRng::seed_from_u64(seed);
    let mut kills = 0;
    while kills < wanted {
        kills += killed_again_and_again(&stand, (wanted - kills).min(KILLS), rng, &expected).await;
    }
}

/// Every move of the checkpoint, in the order of the commits; the lease is locked by each, so they have one.
const RECORDED: &str = "
    CREATE TABLE public.moved (id bigint GENERATED ALWAYS AS IDENTITY, number bigint NOT NULL, epoch bigint NOT NULL);
    CREATE FUNCTION public.record_move() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.moved (number, epoch)
        SELECT coalesce(NEW.number, -1), l.epoch FROM indexer.lease l WHERE l.name = 'l1:devnet';
        RETURN NULL;
    END $$;
    CREATE TRIGGER moved AFTER UPDATE OF number ON indexer.checkpoint
        FOR EACH ROW EXECUTE FUNCTION public.record_move();";

const EPOCH: &str = "SELECT epoch FROM indexer.lease WHERE name = 'l1:devnet'";

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_and_is_continued_writes_nothing() {
    let mut stand = Stand::set(8, 120, 8).await;
    let tables = Tables::new().await;
    tables.connection.execute_unprepared(RECORDED).await.expect("moves are recorded");
    // Slow, so that it is stopped in the middle of its history, with ranges under way.
    let (old_node, new_node) = (slow_proxy(&stand, 400).await, slow_proxy(&stand, 0).await);
    let old = start(&stand, "old", &stand.network(&[old_node.url()]), &tables);
    wait_until("it is in the middle of its history", DEADLINE, || async {
        tables.number("SELECT count(*) FROM public.moved").await > 0
    })
    .await;
    old.signal(Signal::SIGSTOP);
    let held = tables.number(EPOCH).await;
    let stopped_at = tables.tip().await.expect("a block").0;
    assert!(stopped_at < stand.finalized().await, "it was in its history");

    let new = start(&stand, "new", &stand.network(&[new_node.url()]), &tables);
    wait_until("the other takes over and goes on", TAKEN_OVER_MAX, || async {
        tables.number(EPOCH).await == held + 1
            && tables.tip().await.is_some_and(|(number, _)| number > stopped_at)
    })
    .await;
    let asked = old_node.counts().http;
    old.signal(Signal::SIGCONT);
    tables.settled(&stand.crowd.l1).await;
    wait_until("the old leader has seen that it lost the lease", DEADLINE, || async {
        let said = old.said();
        said.contains("is lost") || said.contains("no longer held") || old_node.counts().http > asked
    })
    .await;
    for _ in 0..5 {
        stand.crowd.play(8).await.expect("the crowd acts");
        tables.settled(&stand.crowd.l1).await;
    }
    stand.is_exact(&tables).await;
    assert_eq!(tables.number(EPOCH).await, held + 1, "it was taken over once");
    let back =
        "SELECT count(*) FROM (SELECT number, lag(number) OVER (ORDER BY id) AS before FROM public.moved) m
                 WHERE number < before";
    assert_eq!(tables.number(back).await, 0, "the checkpoint never went back");
    drop((old, new));
}
