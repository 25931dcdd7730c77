//! The alert rules and the metrics that they stand on.

use std::collections::BTreeSet;

use domain::amount::Eth;
use indexer::nodes::watch::{Chain, Watched};
use runtime::telemetry::{self, TelemetryConfig, metrics_text};
use testkit::contracts::{account, node_key};
use testkit::simulator::{NodeMode, Signing};
use testkit::wait_until;

use crate::nodes::{register, simulator};
use crate::world::{DEADLINE, NETWORK, World};

const RULES: &str = include_str!("../../../deploy/prometheus/alerts.yml");
/// What is no metric: words of PromQL, labels by which series are matched, and what Prometheus has by itself.
const WORDS: &[&str] = &[
    "absent", "and", "at", "backend", "by", "changes", "ignoring", "increase", "key", "layer", "max",
    "network", "node", "on", "process", "sum", "time", "unless", "up", "vector",
];

/// Name and expression of every rule; the file is YAML of one shape only, which is checked line by line. An error is
/// the line that has another.
fn rules() -> Result<Vec<(&'static str, &'static str)>, &'static str> {
    let mut lines = RULES.lines().filter(|line| !line.trim_start().starts_with('#'));
    assert_eq!(lines.next(), Some("groups:"));
    let mut rules = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("  - name: ") {
            assert_eq!(lines.next(), Some("    rules:"), "after {line}");
            continue;
        }
        let name = line.strip_prefix("      - alert: ").ok_or(line)?;
        let mut field = |start: &str, end: &str| {
            let line = lines.next().unwrap_or_default();
            let rest = line.strip_prefix("        ").and_then(|rest| rest.strip_prefix(start));
            rest.and_then(|rest| rest.strip_suffix(end)).ok_or(line)
        };
        let expression = field("expr: ", "")?;
        let wait = field("for: ", "")?;
        let severity = field("labels: {severity: ", "}")?;
        let summary = field("annotations: {summary: \"", "\"}")?;
        assert!(!expression.contains(": ") && !expression.contains(" #"), "{name} is no plain YAML text");
        assert!(wait.trim_end_matches(['s', 'm']).parse::<u32>().is_ok(), "{name}: {wait}");
        assert!(["critical", "high", "medium", "none"].contains(&severity), "{name}: {severity}");
        assert!(!summary.contains(['"', '\\']), "{name}: {summary}");
        rules.push((name, expression));
    }
    Ok(rules)
}

/// The names in an expression outside of matchers and ranges.
fn names(expression: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let mut depth = 0_u32;
    for c in expression.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.checked_sub(1).expect("brackets are balanced"),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    assert_eq!(depth, 0, "{expression}");
    assert_eq!(plain.matches('(').count(), plain.matches(')').count(), "{expression}");
    let words = plain.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic())).map(str::to_owned).collect()
}

#[test]
fn every_rule_has_a_name_of_its_own_and_uses_only_known_words() {
    let rules = rules().expect("every line has its shape");
    let unique: BTreeSet<&str> = rules.iter().map(|(name, _)| *name).collect();
    assert_eq!(unique.len(), rules.len());
    for (rule, expression) in rules {
        for name in names(expression) {
            // Those of other services are held to what they export by tests of their own.
            let ours = ["indexer_", "keys_", "lifecycle_"].iter().any(|service| name.starts_with(service));
            assert!(ours || WORDS.contains(&name.as_str()), "{rule}: {name}");
        }
    }
}

#[tokio::test]
async fn every_metric_of_a_rule_is_exported_while_there_is_something_to_tell() {
    let quiet = TelemetryConfig { log_filter: "error".to_owned(), ..TelemetryConfig::default() };
    let telemetry = telemetry::init("indexer", &quiet).expect("it starts");
    let world = World::new().await;
    let simulator = simulator(&world).await;
    let signer = node_key("ida").address();
    world.lock("ida", 20_000).await;
    let watched = Watched {
        network: NETWORK.to_owned(),
        layer: Chain::L1,
        address: account("treasury"),
        name: "treasury".to_owned(),
        min_wei: Eth::whole(1_000_000),
    };
    let networks = [(NETWORK.to_owned(), world.network.clone())].into();
    let indexer = world.start_watching(networks, vec![watched]).await;
    register(&simulator, &indexer, "alerted").await;
    simulator.set_signing(signer, Signing::Failed).expect("it asks in vain");
    simulator.produce_epochs(2).await.expect("it is her turn");
    simulator.set_node(signer, NodeMode::Down).await.expect("it falls silent");
    let shows = |what: &str| metrics_text().expect("it is text").lines().any(|line| line.starts_with(what));
    wait_until("she loses her turn", DEADLINE, || async {
        let start = "indexer_node_missed_turn_timestamp_seconds{";
        shows(start)
    })
    .await;
    simulator.set_node(signer, NodeMode::Synced).await.expect("it comes back");

    let metrics: BTreeSet<String> = rules()
        .expect("every line has its shape")
        .into_iter()
        .flat_map(|(_, expression)| names(expression))
        .filter(|name| name.starts_with("indexer_"))
        .collect();
    assert!(metrics.len() > 15, "{metrics:?}");
    for metric in metrics {
        wait_until(&format!("{metric} is exported"), DEADLINE, || async { shows(&format!("{metric}{{")) })
            .await;
    }
    let low = |line: &str| line.contains("name=\"treasury\"") && line.ends_with(" 1");
    let text = metrics_text().expect("it is text");
    assert!(text.lines().any(|line| line.starts_with("indexer_watched_balance_low{") && low(line)), "{text}");
    indexer.stop().await.expect("it stops");
    let left = metrics_text().expect("it is text");
    assert!(!left.contains("node=\"alerted\""), "what nobody looks at any more is unknown");
    simulator.stop().await;
    drop(telemetry);
}
