use alloy_primitives::{Address, B256, U256};
use proptest::{prelude::*, test_runner::TestRunner};
use sea_orm::{ConnectionTrait, DatabaseConnection, FromQueryResult, Value, sea_query::Nullable};
use store::{
    column::{Addr, Hash, Wei},
    statement,
};

#[derive(Debug, PartialEq, FromQueryResult)]
struct Row {
    wei: Wei,
    addr: Addr,
    hash: Hash,
    nothing: Option<Wei>,
}

#[derive(Debug, FromQueryResult)]
struct Amount {
    wei: Wei,
    text: String,
}

async fn through(db: &DatabaseConnection, amounts: &[U256]) -> Vec<Amount> {
    let amounts: Vec<Wei> = amounts.iter().copied().map(Wei).collect();
    let sql = "SELECT wei::numeric(78,0) AS wei, wei::numeric(78,0)::text AS text
                 FROM unnest($1::numeric[]) WITH ORDINALITY AS t(wei, place) ORDER BY place";
    Amount::find_by_statement(statement(sql, [amounts.into()])).all(db).await.expect("amounts")
}

#[tokio::test]
async fn amounts_are_exact_at_their_limits() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let ten = U256::from(10);
    let mut amounts = vec![U256::ZERO, U256::ONE, U256::MAX, U256::MAX - U256::ONE, U256::from(u128::MAX)];
    amounts.extend((1..78).map(|power| ten.pow(U256::from(power))));
    let read = through(&db, &amounts).await;
    for (amount, row) in amounts.iter().zip(&read) {
        assert_eq!((row.wei, row.text.as_str()), (Wei(*amount), amount.to_string().as_str()));
    }
    assert_eq!(read.len(), amounts.len());
}

#[test]
fn amounts_survive_the_database_to_the_wei() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let test = runtime.block_on(testkit::database());
    let db = runtime.block_on(test.connect("indexer"));
    let amount =
        (any::<[u64; 4]>(), 0_usize..256).prop_map(|(limbs, shift)| U256::from_limbs(limbs) >> shift);
    TestRunner::default()
        .run(&prop::collection::vec(amount, 1..200), |amounts| {
            let read = runtime.block_on(through(&db, &amounts));
            prop_assert_eq!(read.iter().map(|row| row.wei.0).collect::<Vec<_>>(), amounts.clone());
            for (row, amount) in read.iter().zip(&amounts) {
                prop_assert_eq!(&row.text, &amount.to_string());
            }
            Ok(())
        })
        .expect("every amount comes back as it was");
}

#[tokio::test]
async fn columns_are_bound_and_read_as_what_they_are() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    let row = Row {
        wei: Wei(U256::from(7)),
        addr: Addr(Address::repeat_byte(0xab)),
        hash: Hash(B256::repeat_byte(0xcd)),
        nothing: None,
    };
    let sql = "SELECT $1::numeric(78,0) AS wei, $2::bytea AS addr, $3::bytea AS hash, $4::numeric AS nothing";
    let values = [row.wei.into(), row.addr.into(), row.hash.into(), Wei::null()];
    let read = Row::find_by_statement(statement(sql, values)).one(&db).await.expect("query").expect("row");
    assert_eq!(read, row);
    assert_eq!(Value::from(Some(row.wei)), Value::from(row.wei));
}

#[tokio::test]
async fn values_that_no_amount_or_address_has_are_not_read() {
    let test = testkit::database().await;
    let db = test.connect("indexer").await;
    for wei in [
        "-1",
        "0.5",
        "1e78",
        "115792089237316195423570985008687907853269984665640564039457584007913129639936",
    ] {
        let sql = format!("SELECT {wei}::numeric AS wei");
        let row = db.query_one_raw(statement(sql, [])).await.expect("query").expect("row");
        assert!(row.try_get::<Wei>("", "wei").is_err(), "{wei}");
    }
    let sql = r"SELECT '\x00'::bytea AS short";
    let row = db.query_one_raw(statement(sql, [])).await.expect("query").expect("row");
    assert!(row.try_get::<Addr>("", "short").is_err());
    assert!(row.try_get::<Hash>("", "short").is_err());
}
