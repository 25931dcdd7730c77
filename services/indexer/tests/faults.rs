//! Endpoints that are slow, break, limit, lag, lose logs or lie: the index ends exact, or it stops and says why.
//!
//! Every case meets its faults twice: while history is fetched, and at the head as blocks come. What a case ends with
//! is compared row by row with an index of the same chain through an honest endpoint, and that one with the chain.

use std::time::{Duration, Instant};

use alloy_sol_types::SolEvent;
use chain::abi::{LockingInfo, LockingPool};
use domain::amount::{Eth, Metis};
use futures::future::join_all;
use indexer::Config;
use indexer::db::reorg::Cause;
use testkit::contracts::{account, node_key};
use testkit::proxy::{
    Chance, Faults, HttpStatus, Lie, LogLimits, Lost, NodeError, Provider, Stall, TruncateLogs,
};
use testkit::{Proxy, wait_for, wait_until};

use crate::trial::{COMPARED, NEVER_COMPARED, Stand, Tables, Trial, has_every_log, same_lines};
use crate::world::{NETWORK, serve};

/// Blocks of history, and events in each: more than 64 blocks are not final.
const HISTORY: u64 = 137;
const EVENTS: u64 = 8;
/// Blocks that come while the faults last.
const LIVE: u64 = 4;
/// Cases beside each other: more would only wait for each other.
const AT_ONCE: usize = 4;
/// Faults cost retries; the machine may be busy.
const EXACT_MAX: Duration = Duration::from_secs(60);
/// What says why it stands still after this long is taken to have stopped.
const STOPPED_AFTER: Duration = Duration::from_secs(5);

/// One way to be served badly.
struct Case {
    name: String,
    faults: Faults,
    /// Faults of a second endpoint, where there is one.
    company: Option<Faults>,
}

/// How a case may end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Exact,
    ExactOrSaysWhy,
}

/// A case under way.
struct Run<'a> {
    case: &'a Case,
    trial: Trial,
    proxy: Proxy,
    /// The second one, kept while it runs.
    _company: Option<Proxy>,
}

/// What the tables of an index look like.
struct Expected {
    place: String,
    rows: String,
}

impl Expected {
    async fn from(tables: &Tables) -> Self {
        Self { place: tables.place().await, rows: tables.fingerprint().await }
    }

    /// Rows are only looked at where the checkpoint is right: that is much work.
    async fn is_met_by(&self, tables: &Tables) -> bool {
        tables.place().await == self.place && tables.fingerprint().await == self.rows
    }
}

fn alone(name: impl Into<String>, faults: Faults) -> Case {
    Case { name: name.into(), faults, company: None }
}

fn in_company(name: impl Into<String>, faults: Faults) -> Case {
    Case { name: name.into(), faults, company: Some(Faults::default()) }
}

impl<'a> Run<'a> {
    async fn start(stand: &Stand, case: &'a Case) -> Self {
        let served = async |faults: &Faults| {
            let proxy = Proxy::start(stand.crowd.anvil.url()).await.expect("a proxy");
            proxy.set(faults.clone());
            proxy
        };
        let proxy = served(&case.faults).await;
        let company = match &case.company {
            Some(faults) => Some(served(faults).await),
            None => None,
        };
        let endpoints: Vec<_> = [&proxy].into_iter().chain(&company).map(Proxy::url).collect();
        let trial = stand.trial(stand.network(&endpoints), COMPARED).await;
        Self { case, trial, proxy, _company: company }
    }

    /// Waits until the tables are like these, or until it is clear that they will not be.
    async fn ends(&self, ends: Ends, expected: &Expected, reference: &Tables) {
        let begun = Instant::now();
        let name = &self.case.name;
        let outcome = wait_for(&format!("{name}: it ends"), EXACT_MAX * 2, || async {
            if expected.is_met_by(&self.trial.tables).await {
                return Some(Ok(()));
            }
            let patience = if ends == Ends::Exact { EXACT_MAX } else { STOPPED_AFTER };
            let problem = self.trial.problem().await;
            let may_stop = begun.elapsed() > EXACT_MAX || !problem.is_empty();
            (begun.elapsed() > patience && may_stop).then_some(Err(problem))
        })
        .await;
        let Err(problem) = outcome else { return };
        println!("{name}: {problem:?} with {:?}", self.proxy.counts().faults);
        if ends == Ends::ExactOrSaysWhy && !problem.is_empty() {
            return;
        }
        // Names the row that is wrong, unless it was mended this very moment.
        same_lines(&self.trial.tables.rows().await, &reference.rows().await);
    }
}

/// All cases end as they should, from nothing to the head and then block by block.
async fn endure(seed: u64, ends: Ends, cases: Vec<Case>) {
    let mut stand = Stand::set(seed, HISTORY, EVENTS).await;
    let honest = stand.trial(stand.honest(), COMPARED).await;
    for cases in cases.chunks(AT_ONCE) {
        honest.tables.settled(&stand.crowd.l1).await;
        let runs = join_all(cases.iter().map(|case| Run::start(&stand, case))).await;
        let expected = Expected::from(&honest.tables).await;
        join_all(runs.iter().map(|run| run.ends(ends, &expected, &honest.tables))).await;
        for _ in 0..LIVE {
            stand.crowd.play(EVENTS).await.expect("the crowd acts");
            honest.tables.settled(&stand.crowd.l1).await;
        }
        let expected = Expected::from(&honest.tables).await;
        join_all(runs.iter().map(|run| run.ends(ends, &expected, &honest.tables))).await;
        for Run { case, trial, .. } in runs {
            assert_eq!(trial.tables.reorgs(Cause::Chain).await, 0, "{}: the chain never changed", case.name);
            trial.running.stop().await.expect("it stops");
        }
    }
    stand.is_exact(&honest.tables).await;
    honest.running.stop().await.expect("it stops");
}

fn status(percent: u32, status: u16, retry_after_secs: Option<u64>) -> Faults {
    let chance = Chance::percent(percent);
    Faults { http_status: vec![HttpStatus { chance, status, retry_after_secs }], ..Faults::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_on_the_way_costs_time_and_no_log() {
    let refused = NodeError {
        // Of each call: a batch of forty fails as a whole.
        chance: Chance::percent(1),
        code: -32603,
        message: "internal error".to_owned(),
        methods: vec![],
    };
    let stall = Stall { chance: Chance::percent(3), duration: Duration::from_secs(2) };
    let cases = vec![
        alone(
            "delay",
            Faults {
                delay: Duration::from_millis(20),
                jitter: Duration::from_millis(40),
                ..Faults::default()
            },
        ),
        alone("stall", Faults { stall: Some(stall), ..Faults::default() }),
        alone("drop", Faults { drop: Chance::percent(20), ..Faults::default() }),
        alone("cut", Faults { cut: Chance::percent(20), ..Faults::default() }),
        alone("reorder", Faults { reorder: true, ..Faults::default() }),
        alone("429", status(10, 429, Some(1))),
        alone("500", status(10, 500, None)),
        alone("503", status(10, 503, Some(0))),
        alone("internal error", Faults { node_error: Some(refused), ..Faults::default() }),
        alone("no times in logs", Faults { strip_block_timestamp: true, ..Faults::default() }),
        alone("no traces", Faults { strip_methods: vec!["debug_traceTransaction"], ..Faults::default() }),
        alone("no archive", Faults { no_archive: Some(4), ..Faults::default() }),
    ];
    endure(1, Ends::Exact, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_every_provider_are_learned() {
    let providers = [
        Provider::Infura,
        Provider::Alchemy,
        Provider::QuickNode,
        Provider::Ankr,
        Provider::Erigon,
        Provider::Reth,
        Provider::Plain413,
        Provider::TooLarge,
    ];
    let limited = |provider| {
        let limits = LogLimits { blocks_max: 20, results_max: 150, provider };
        alone(format!("{provider:?}"), Faults { log_limits: Some(limits), ..Faults::default() })
    };
    endure(2, Ends::Exact, providers.map(limited).into()).await;
}

/// Answers that lack logs in every way, so many in a hundred.
fn truncations(percents: &[u32]) -> impl Iterator<Item = (String, Faults)> {
    let kinds = [
        ("the last", Lost::Last(1)),
        ("the end", Lost::Suffix),
        ("any", Lost::Random),
        ("counted ones", Lost::Kind(topic(LockingInfo::LockUpdate::SIGNATURE_HASH))),
        ("recipients", Lost::Kind(topic(LockingPool::SequencerRewardRecipientChanged::SIGNATURE_HASH))),
        ("the whitelist", Lost::Kind(topic(LockingPool::SetWhitelist::SIGNATURE_HASH))),
    ];
    kinds.into_iter().flat_map(|(name, lost)| {
        percents.iter().map(move |&percent| {
            let truncate_logs = Some(TruncateLogs { chance: Chance::percent(percent), lost });
            let seed = u64::from(percent);
            (format!("{percent} % lack {name}"), Faults { seed, truncate_logs, ..Faults::default() })
        })
    })
}

/// The proxy wants its topics for ever.
fn topic(topic: alloy_primitives::B256) -> &'static str {
    topic.to_string().leak()
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_answers_of_the_only_endpoint_are_found_and_mended() {
    let cases = truncations(&[1, 20]).map(|(name, faults)| alone(name, faults)).collect();
    endure(3, Ends::Exact, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_answers_are_made_good_by_an_honest_endpoint() {
    let cases = truncations(&[20]).map(|(name, faults)| in_company(name, faults)).collect();
    endure(4, Ends::Exact, cases).await;
}

fn lies() -> [(&'static str, Faults); 2] {
    let chance = Chance::percent(20);
    [("altered data", Lie::AlterLogData(chance)), ("invented logs", Lie::InventLog(chance))]
        .map(|(name, lie)| (name, Faults { lie: Some(lie), ..Faults::default() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lags_or_lies_does_no_harm_beside_an_honest_one() {
    let mut cases: Vec<Case> = lies().map(|(name, faults)| in_company(name, faults)).into();
    cases.push(in_company("lagging", Faults { stale: Some(5), ..Faults::default() }));
    // The one does not have the end of a range of final blocks yet, and goes first because the other fails so often.
    cases.push(Case {
        company: Some(status(40, 500, None)),
        ..in_company("lagging beside one that fails", Faults { stale: Some(100), ..Faults::default() })
    });
    cases.push(alone(
        "lagging now and then",
        Faults { stale: Some(3), alternate_stale: true, ..Faults::default() },
    ));
    cases.push(in_company("another chain", Faults { lie: Some(Lie::WrongChainId(5)), ..Faults::default() }));
    endure(5, Ends::Exact, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_endpoint_that_lies_is_found_out() {
    endure(6, Ends::ExactOrSaysWhy, lies().map(|(name, faults)| alone(name, faults)).into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_chain_alone_stops_the_service_which_says_why() {
    let stand = Stand::set(7, 1, 1).await;
    let proxy = Proxy::start(stand.crowd.anvil.url()).await.expect("a proxy");
    proxy.set(Faults { lie: Some(Lie::WrongChainId(5)), ..Faults::default() });
    let trial = stand.trial(stand.network(&[proxy.url()]), COMPARED).await;
    let error = runtime::report(&trial.running.ended().await.expect_err("it stops"));
    assert!(error.contains("serves chain 5 instead of 31337"), "{error}");
    assert_eq!(trial.tables.tip().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_with_more_logs_than_the_endpoint_gives_is_named() {
    let stand = Stand::set(8, HISTORY, EVENTS).await;
    let proxy = Proxy::start(stand.crowd.anvil.url()).await.expect("a proxy");
    let limits = LogLimits { blocks_max: 1_000, results_max: 40, provider: Provider::Infura };
    proxy.set(Faults { log_limits: Some(limits), ..Faults::default() });
    let trial = stand.trial(stand.network(&[proxy.url()]), COMPARED).await;
    wait_until("it says why it stops", EXACT_MAX, || async {
        trial.problem().await.contains("query returned more than 40 results")
    })
    .await;
    proxy.set(Faults::default());
    trial.tables.settled(&stand.crowd.l1).await;
    stand.is_exact(&trial.tables).await;
    assert_eq!(trial.problem().await, "");
    trial.running.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_lags_is_followed_as_far_as_it_goes() {
    let stand = Stand::set(9, HISTORY, EVENTS).await;
    let proxy = Proxy::start(stand.crowd.anvil.url()).await.expect("a proxy");
    proxy.set(Faults { stale: Some(5), ..Faults::default() });
    let trial = stand.trial(stand.network(&[proxy.url()]), COMPARED).await;
    let end = stand.head().await.number - 5;
    wait_until("it is at the endpoint's head", EXACT_MAX, || async {
        trial.tables.tip().await.is_some_and(|(number, _)| number == end)
    })
    .await;
    let (number, hash) = trial.tables.tip().await.expect("a tip");
    has_every_log(&stand.crowd.l1, &trial.tables, number, &hash).await;
    proxy.set(Faults::default());
    trial.tables.settled(&stand.crowd.l1).await;
    stand.is_exact(&trial.tables).await;
    assert_eq!(trial.tables.reorgs(Cause::Chain).await, 0);
    trial.running.stop().await.expect("it stops");
}

/// A network of proxies in front of the one node; the first lies.
async fn quorum(stand: &Stand, quorum: usize, endpoints: usize) -> (Trial, Vec<Proxy>) {
    let mut proxies = Vec::new();
    for _ in 0..endpoints {
        proxies.push(Proxy::start(stand.crowd.anvil.url()).await.expect("a proxy"));
    }
    proxies[0].set(Faults { lie: Some(Lie::AlterLogData(Chance::ALWAYS)), ..Faults::default() });
    let mut network = stand.network(&proxies.iter().map(Proxy::url).collect::<Vec<_>>());
    network.l1.quorum = Some(quorum);
    (stand.trial(network, COMPARED).await, proxies)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_endpoints_that_must_agree_and_do_not_stop_the_index_with_a_reason() {
    let stand = Stand::set(10, HISTORY, EVENTS).await;
    let (trial, proxies) = quorum(&stand, 2, 2).await;
    let named = |problem: &str| {
        proxies.iter().all(|proxy| problem.contains(proxy.url().trim_start_matches("http://")))
    };
    // One that contradicts itself is not counted; else both are named.
    wait_until("the reason is told", EXACT_MAX, || async {
        let problem = trial.problem().await;
        let disagree = problem.contains("disagree about the logs of blocks") && named(&problem);
        disagree || problem.contains("only 1 of 2 endpoints answered")
    })
    .await;
    let tip = trial.tables.tip().await;
    if let Some((number, hash)) = tip {
        has_every_log(&stand.crowd.l1, &trial.tables, number, &hash).await;
    }
    trial.running.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_endpoints_that_agree_outvote_the_one_that_lies() {
    let stand = Stand::set(11, HISTORY, EVENTS).await;
    let (trial, _proxies) = quorum(&stand, 2, 3).await;
    trial.tables.settled(&stand.crowd.l1).await;
    stand.is_exact(&trial.tables).await;
    trial.running.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_on_a_fork_of_its_own_is_shut_out_and_no_block_taken_back() {
    let mut stand = Stand::set(12, HISTORY, EVENTS).await;
    let node = stand.crowd.anvil.url();
    let (forked, honest) =
        (Proxy::start(&node).await.expect("a proxy"), Proxy::start(&node).await.expect("a proxy"));
    // The one that will fork is asked first.
    honest.set(Faults { delay: Duration::from_millis(40), ..Faults::default() });
    let trial = stand.trial(stand.network(&[forked.url(), honest.url()]), COMPARED).await;
    trial.tables.settled(&stand.crowd.l1).await;
    let above = stand.finalized().await - 10;
    forked.set(Faults { lie: Some(Lie::ForkAbove(above)), ..Faults::default() });
    for _ in 0..LIVE {
        stand.crowd.play(EVENTS).await.expect("the crowd acts");
        trial.tables.settled(&stand.crowd.l1).await;
    }
    stand.is_exact(&trial.tables).await;
    assert!(forked.counts().faults.contains_key("fork_above"), "it was asked");
    assert_eq!(trial.tables.number("SELECT count(*) FROM indexer.reorg").await, 0);
    trial.running.stop().await.expect("it stops");
}

/// A proxy that loses all logs of a kind, in front of a chain on which the only one of them is final and long ago.
async fn lost_long_ago(stand: &mut Stand, topic: &'static str) -> Proxy {
    let proxy = Proxy::start(stand.crowd.anvil.url()).await.expect("a proxy");
    let truncate_logs = Some(TruncateLogs { chance: Chance::ALWAYS, lost: Lost::Kind(topic) });
    proxy.set(Faults { truncate_logs, ..Faults::default() });
    stand.crowd.skip(2 * 64).await.expect("blocks come");
    proxy
}

/// While the index is repaired, readers see every row that they saw before.
async fn repaired_for_readers(stand: &Stand, trial: &Trial, before: &[String]) {
    let all = "SELECT count(*) FROM indexer.log";
    let least = trial.tables.number(all).await;
    wait_until("the index is repaired", EXACT_MAX, || async {
        assert!(trial.tables.number(all).await >= least, "rows were missing for a moment");
        trial.tables.reorgs(Cause::Repair).await > 0
    })
    .await;
    trial.tables.settled(&stand.crowd.l1).await;
    stand.is_exact(&trial.tables).await;
    assert_eq!(trial.tables.reorgs(Cause::Chain).await, 0);
    let after = trial.tables.logs().await;
    assert!(before.iter().all(|log| after.binary_search(log).is_ok()), "what was there stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_missing_among_stored_blocks_are_fetched_again_while_readers_keep_their_rows() {
    let mut stand = Stand::set(13, 2, EVENTS).await;
    let (l1, owner) = (stand.crowd.l1.clone(), account("ida"));
    let (key, next) = (node_key("ida"), node_key("ida next"));
    l1.whitelist(owner, true).await.expect("whitelisted");
    l1.fund(owner, Metis::whole(200_000), Eth::whole(10)).await.expect("funded");
    l1.lock(owner, &key, owner, Metis::whole(20_000)).await.expect("locked");
    let id = l1.sequencer_of(owner).await.expect("the chain answers").expect("it has a sequencer");
    l1.set_signer_throttle(1).await.expect("throttle");
    l1.submit_batch(&[(key.address(), 1)]).await.expect("batch");
    l1.update_signer(key.address(), id, &next).await.expect("a new key");
    let proxy = lost_long_ago(&mut stand, topic(LockingInfo::SignerChange::SIGNATURE_HASH)).await;
    // Only the counters are to find it.
    let trial = stand.trial(stand.network(&[proxy.url()]), NEVER_COMPARED).await;
    trial.tables.settled(&l1).await;
    assert_eq!(trial.problem().await, "", "nothing can be known yet");
    let before = trial.tables.logs().await;

    proxy.set(Faults { delay: Duration::from_millis(20), ..Faults::default() });
    l1.relock(owner, id, Metis::whole(5), false).await.expect("relocked");
    repaired_for_readers(&stand, &trial, &before).await;
    trial.running.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_that_nothing_counts_is_found_by_the_state_and_fetched_again() {
    let mut stand = Stand::set(14, 2, EVENTS).await;
    stand.crowd.l1.set_exit_delay(77).await.expect("delay");
    let lost = topic(LockingPool::WithrawDelayTimeChange::SIGNATURE_HASH);
    let proxy = lost_long_ago(&mut stand, lost).await;
    let trial = stand.trial(stand.network(&[proxy.url()]), COMPARED).await;
    wait_until("the comparison finds it", EXACT_MAX, || async {
        trial.tables.number("SELECT drift FROM indexer.reconciliation").await > 0
    })
    .await;
    let before = trial.tables.logs().await;
    proxy.set(Faults::default());
    stand.crowd.play(EVENTS).await.expect("the crowd acts");
    repaired_for_readers(&stand, &trial, &before).await;
    trial.running.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_behind_a_stalled_endpoint_does_not_hold_another() {
    let mut stand = Stand::set(15, HISTORY, EVENTS).await;
    let stalled = Proxy::start(stand.crowd.anvil.url()).await.expect("a proxy");
    let stall = Stall { chance: Chance::ALWAYS, duration: Duration::from_secs(600) };
    let tables = Tables::new().await;
    let networks =
        [(NETWORK.to_owned(), stand.honest()), ("stalled".to_owned(), stand.network(&[stalled.url()]))];
    stalled.set(Faults { stall: Some(stall), ..Faults::default() });
    let config = Config { reconcile_secs: COMPARED, ..Config::default() };
    let running = serve(config, networks.into(), &tables.db, &stand.pki).await;
    tables.settled(&stand.crowd.l1).await;
    for _ in 0..LIVE {
        stand.crowd.play(EVENTS).await.expect("the crowd acts");
        tables.settled(&stand.crowd.l1).await;
    }
    stand.is_exact(&tables).await;
    assert!(stalled.counts().http > 0, "the other is tried");
    let other = "SELECT count(*) FROM indexer.checkpoint WHERE network = 'stalled' AND number IS NOT NULL";
    assert_eq!(tables.number(other).await, 0);
    running.stop().await.expect("it stops");
}
