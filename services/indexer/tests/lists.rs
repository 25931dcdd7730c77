//! Lists of events, straight from the tables: what a filter lets through, in pages, whichever code wrote the rows.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use indexer::db::log::{self, Filter};
use indexer::db::{Layer, block, time, transaction};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use store::bulk::Bulk;
use store::column::Hash;
use store::statement;

const NETWORK: &str = "devnet";
/// Of each chain, with this many logs each: more than any plan would read without need.
const BLOCKS: i64 = 300;
const LOGS: i32 = 40;
/// Rows up to this block are as older code wrote them.
const OLD: i64 = 100;
/// A common one, one in a few blocks, evidence, and one that is nowhere.
const COMMON: &str = "LockUpdate";
const RARE: &str = "ClaimRewards";
const NOWHERE: &str = "Unlocked";
const IDLE_MAX: Duration = Duration::from_secs(30);

type Place = (i16, i64, i32);

/// The logs of a block; each chain has its own.
fn logs(layer: Layer, number: i64) -> Vec<log::Row<'static>> {
    let log = |log_index: i32| {
        let mixed = number * 31 + i64::from(log_index) * 7 + i64::from(layer.column());
        let kind = match mixed % 97 {
            0 => RARE,
            1..40 => COMMON,
            40..60 => log::EVIDENCE,
            _ => "Relocked",
        };
        let sequencer_id = (kind != log::EVIDENCE).then_some(mixed % 11).filter(|id| *id > 0);
        log::Row {
            number,
            log_index,
            transaction_index: log_index / 10,
            address: Address::repeat_byte(7),
            topics: &[],
            data: &[],
            kind,
            sequencer_id,
            from_reward: None,
        }
    };
    (0..LOGS).map(log).collect()
}

fn transaction_hash(layer: Layer, number: i64, transaction_index: i32) -> B256 {
    let [a, b] = [layer.column().to_be_bytes(), number.to_be_bytes()[6..].try_into().expect("two bytes")];
    B256::left_padding_from(
        &[a, b, transaction_index.to_be_bytes()[2..].try_into().expect("two bytes")].concat(),
    )
}

async fn filled() -> (testkit::TestDb, DatabaseConnection) {
    let database = testkit::database().await;
    let db = database.connect("indexer").await;
    let tx = Bulk::begin(&db, IDLE_MAX).await.expect("begun");
    for layer in [Layer::L1, Layer::L2] {
        let numbers = || (1..=BLOCKS).filter(|number| number % 5 != 0);
        let header = |number| block::Row {
            number,
            hash: B256::ZERO.into(),
            parent: None,
            time: time(1),
            digest: None,
        };
        let blocks: Vec<block::Row> = numbers().map(header).collect();
        let in_block = |number| {
            (0..LOGS / 10).map(move |transaction_index| transaction::Row {
                number,
                transaction_index,
                hash: transaction_hash(layer, number, transaction_index),
                sender: None,
            })
        };
        let transactions: Vec<transaction::Row> = numbers().flat_map(in_block).collect();
        let all: Vec<log::Row<'_>> = numbers().flat_map(|number| logs(layer, number)).collect();
        tx.insert(&block::rows(NETWORK, layer, &blocks)).await.expect("blocks");
        tx.insert(&transaction::rows(NETWORK, layer, &transactions)).await.expect("transactions");
        tx.insert(&log::rows(NETWORK, layer, &all)).await.expect("logs");
    }
    let old =
        "UPDATE indexer.log SET first_of_sequencer = DEFAULT, first_of_kind = DEFAULT WHERE number <= $1";
    tx.execute_raw(statement(old, [OLD.into()])).await.expect("as older code wrote them");
    tx.commit().await.expect("committed");
    (database, db)
}

/// What a filter must give, found by looking at every log.
fn expected(filter: &Filter) -> Vec<Place> {
    let Filter { layer, sequencer_id, kinds, from_number, to_number, transaction_hash: hash } = filter;
    let mut found = Vec::new();
    for of in [Layer::L1, Layer::L2] {
        for number in (1..=BLOCKS).filter(|number| number % 5 != 0) {
            for log in logs(of, number) {
                let is_in = layer.is_none_or(|layer| layer == of)
                    && number >= *from_number
                    && to_number.is_none_or(|to| number <= to)
                    && sequencer_id.is_none_or(|id| log.sequencer_id == Some(id))
                    && (kinds.is_empty() || kinds.iter().any(|kind| kind == log.kind))
                    && hash.is_none_or(|hash| hash.0 == transaction_hash(of, number, log.transaction_index))
                    && log.kind != log::EVIDENCE;
                if is_in {
                    found.push((of.column(), number, log.log_index));
                }
            }
        }
    }
    found
}

async fn in_pages(db: &DatabaseConnection, filter: &Filter, size: u32) -> Vec<Place> {
    let mut found: Vec<Place> = Vec::new();
    loop {
        let after = found.last().copied().unwrap_or((0, -1, -1));
        let page = log::page(db, NETWORK, filter, after, size).await.expect("a page");
        let full = page.len() == size as usize;
        found.extend(page.iter().map(|row| (row.layer, row.number, row.log_index)));
        if !full {
            return found;
        }
    }
}

fn kinds(kinds: &[&str]) -> Filter {
    Filter { kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(), ..Filter::default() }
}

#[tokio::test]
async fn every_filter_gives_the_same_in_pages_of_any_size_as_a_look_at_every_log() {
    let (_database, db) = filled().await;
    let of_sequencer = Filter { sequencer_id: Some(3), ..Filter::default() };
    let hash: Hash = transaction_hash(Layer::L2, 77, 2).into();
    let filters = [
        Filter::default(),
        of_sequencer.clone(),
        kinds(&[COMMON]),
        kinds(&[RARE]),
        kinds(&[RARE, COMMON, NOWHERE]),
        kinds(&[NOWHERE]),
        Filter { sequencer_id: Some(3), ..kinds(&[RARE, NOWHERE]) },
        Filter { layer: Some(Layer::L2), from_number: 90, to_number: Some(110), ..of_sequencer.clone() },
        Filter { layer: Some(Layer::L1), from_number: 90, to_number: Some(110), ..kinds(&[COMMON]) },
        Filter { transaction_hash: Some(hash), ..Filter::default() },
        Filter { transaction_hash: Some(hash), ..kinds(&[COMMON]) },
        Filter { sequencer_id: Some(12), ..Filter::default() },
    ];
    for filter in &filters {
        let whole = expected(filter);
        for size in [3, 50, 1_000] {
            // Pages of three are enough for what has few rows.
            if size > 3 || whole.len() < 2_000 {
                assert_eq!(in_pages(&db, filter, size).await, whole, "{filter:?} in pages of {size}");
            }
        }
    }
    let some = filters.iter().filter(|filter| !expected(filter).is_empty()).count();
    assert_eq!(some, filters.len() - 2, "only what is nowhere has no rows");
}

#[tokio::test]
async fn a_page_by_sequencer_or_kind_reads_its_blocks_in_order_and_stops_when_it_is_full() {
    let (database, db) = filled().await;
    let cases = [
        (Filter { sequencer_id: Some(3), ..Filter::default() }, "log_first_of_sequencer"),
        (Filter { sequencer_id: Some(3), ..kinds(&[COMMON]) }, "log_first_of_sequencer"),
        (kinds(&[COMMON]), "log_first_of_kind"),
    ];
    // With and without what the server knows of the rows: after a backfill it knows nothing for a while. A sequencer and a
    // kind together have no bound of blocks of their own; as long as it knows nothing, it looks into all of the sequencer.
    for known in [false, true] {
        if known {
            let admin = database.admin().await;
            admin.execute_unprepared("ANALYZE indexer.log").await.expect("analyzed");
        }
        let bounded = |filter: &Filter| filter.sequencer_id.is_none() || filter.kinds.is_empty();
        for (filter, index) in cases.iter().filter(|(filter, _)| known || bounded(filter)) {
            let (sql, values) = log::page_statement(NETWORK, filter, (1, OLD + 50, 3), 20);
            let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}");
            let rows = db.query_all_raw(statement(explain, values)).await.expect("explained");
            let plan: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0).expect("a line")).collect();
            let plan = plan.join("\n");
            assert!(plan.contains(index), "{plan}");
            assert!(!plan.contains("Seq Scan on log"), "{plan}");
            // Each of these blocks has some such logs: a page of twenty takes a few of the hundreds of blocks.
            let looked =
                plan.lines().find(|line| line.contains("using log_pkey")).expect("a look at a block");
            let (_, loops) = looked.split_once("loops=").expect("how many");
            let loops: u64 = loops.trim_end_matches(')').parse().expect("a number");
            assert!((2..=21).contains(&loops), "{loops} blocks were read:\n{plan}");
        }
    }
}
