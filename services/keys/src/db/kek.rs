//! `keys.kek`: generations of the key-encryption key, without the key.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::statement;

use crate::crypto::kek::Derivation;
use crate::error::Failure;

/// One generation.
#[derive(Debug, Clone)]
pub struct Row {
    pub source: String,
    /// Only for keys made from a passphrase.
    pub derivation: Option<Derivation>,
    pub check_value: Vec<u8>,
}

#[derive(FromQueryResult)]
struct Columns {
    source: String,
    salt: Option<Vec<u8>>,
    memory_kib: Option<i32>,
    passes: Option<i32>,
    lanes: Option<i32>,
    check_value: Vec<u8>,
}

pub async fn of_generation<C: ConnectionTrait>(db: &C, generation: i32) -> Result<Option<Row>, Failure> {
    let sql =
        "SELECT source, salt, memory_kib, passes, lanes, check_value FROM keys.kek WHERE generation = $1";
    let found = Columns::find_by_statement(statement(sql, [generation.into()]))
        .one(db)
        .await
        .map_err(Failure::at("reading the check value of the key-encryption key"))?;
    Ok(found.map(|columns| {
        let Columns { source, salt, memory_kib, passes, lanes, check_value } = columns;
        let whole = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let derivation = salt.map(|salt| Derivation {
            salt,
            memory_kib: whole(memory_kib),
            passes: whole(passes),
            lanes: whole(lanes),
        });
        Row { source, derivation, check_value }
    }))
}

/// Stores the first key of an installation; does nothing if another replica was faster.
pub async fn insert_first<C: ConnectionTrait>(db: &C, generation: i32, row: &Row) -> Result<(), Failure> {
    let Row { source, derivation, check_value } = row.clone();
    let number = |pick: fn(&Derivation) -> u32| {
        derivation.as_ref().map(|d| i32::try_from(pick(d)).unwrap_or(i32::MAX))
    };
    let values = [
        generation.into(),
        source.into(),
        derivation.as_ref().map(|d| d.salt.clone()).into(),
        number(|d| d.memory_kib).into(),
        number(|d| d.passes).into(),
        number(|d| d.lanes).into(),
        check_value.into(),
    ];
    let sql = "INSERT INTO keys.kek (generation, source, salt, memory_kib, passes, lanes, check_value)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (generation) DO NOTHING";
    db.execute_raw(statement(sql, values))
        .await
        .map_err(Failure::at("storing the check value of the key-encryption key"))?;
    Ok(())
}
