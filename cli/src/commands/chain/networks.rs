//! Networks with the progress of their index, and their endpoints.

use api::indexer::v1::{EndpointHealth, Network, SourceProgress};
use api::types::v1::Layer;

use crate::output::{Rows, word};

const MINUTE_SECS: u64 = 60;
const HOUR_SECS: u64 = 60 * MINUTE_SECS;

/// One row for each chain.
pub fn rows(networks: &[Network]) -> Rows {
    let mut rows = Rows::new(["NETWORK", "CHAIN", "INDEXED", "HEAD", "FINALIZED", "ENDPOINTS", "STATE"]);
    for (network, source) in sources(networks) {
        let usable = source.endpoints.iter().filter(|endpoint| endpoint.usable).count();
        rows.add([
            &network.name,
            &chain(source),
            &source.indexed.as_ref().map_or(0, |block| block.number).to_string(),
            &source.latest.to_string(),
            &source.finalized.to_string(),
            &format!("{usable} of {}", source.endpoints.len()),
            &state(source),
        ]);
    }
    rows
}

/// One row for each endpoint.
pub fn endpoint_rows(networks: &[Network]) -> Rows {
    let columns = ["NETWORK", "CHAIN", "ENDPOINT", "HEAD", "LATENCY", "FAILED", "REQUESTS", "CALLS", "STATE"];
    let mut rows = Rows::new(columns);
    for (network, source) in sources(networks) {
        for endpoint in &source.endpoints {
            let EndpointHealth { name, usable, problem, head, latency_ms, failure_permille, requests, calls } =
                endpoint;
            rows.add([
                &network.name,
                &chain(source),
                name,
                &head.to_string(),
                &format!("{latency_ms} ms"),
                &format!("{}.{} %", failure_permille / 10, failure_permille % 10),
                &requests.to_string(),
                &calls.to_string(),
                if *usable { "usable" } else { problem },
            ]);
        }
    }
    rows
}

fn sources(networks: &[Network]) -> impl Iterator<Item = (&Network, &SourceProgress)> {
    networks.iter().flat_map(|network| network.sources.iter().map(move |source| (network, source)))
}

fn chain(source: &SourceProgress) -> String {
    let layer = Layer::try_from(source.layer).unwrap_or_default().as_str_name();
    format!("{} {}", word(layer, "LAYER_"), source.chain_id)
}

/// The alarm first: it stops all sending.
fn state(source: &SourceProgress) -> String {
    let mut state = Vec::new();
    if source.unacknowledged_reorg_id != 0 {
        state.push(format!("HELD: reorganisation {} is not acknowledged", source.unacknowledged_reorg_id));
    }
    state.push(match (&*source.problem, source.backfilling) {
        ("", true) => {
            let left = left(source.remaining_seconds);
            format!("backfilling, {} blocks/s, {left} left", source.blocks_per_second)
        }
        ("", false) => "following".to_owned(),
        (problem, _) => problem.to_owned(),
    });
    state.join("; ")
}

/// A duration in its two largest units.
fn left(secs: u64) -> String {
    match secs {
        0..MINUTE_SECS => format!("{secs} s"),
        MINUTE_SECS..HOUR_SECS => format!("{} min {} s", secs / MINUTE_SECS, secs % MINUTE_SECS),
        _ => format!("{} h {} min", secs / HOUR_SECS, secs % HOUR_SECS / MINUTE_SECS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backfill_says_its_rate_and_what_is_left_of_it() {
        let source = SourceProgress {
            backfilling: true,
            blocks_per_second: 1_500,
            remaining_seconds: 3_725,
            ..Default::default()
        };
        assert_eq!(state(&source), "backfilling, 1500 blocks/s, 1 h 2 min left");
        assert_eq!((left(59), left(61)), ("59 s".to_owned(), "1 min 1 s".to_owned()));
    }

    #[test]
    fn a_held_network_says_so_before_anything_else() {
        let source = SourceProgress { unacknowledged_reorg_id: 7, ..Default::default() };
        assert_eq!(state(&source), "HELD: reorganisation 7 is not acknowledged; following");
        let source = SourceProgress { problem: "no endpoint answers".to_owned(), ..source };
        assert!(state(&source).ends_with("; no endpoint answers"));
    }
}
