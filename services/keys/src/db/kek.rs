//! `keys.kek`: generations of the key-encryption key, without the key.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::statement;

use crate::crypto::kek::{Derivation, Protection};
use crate::error::Failure;

/// One generation.
#[derive(Debug, Clone)]
pub struct Row {
    /// Counted from 1.
    pub generation: i32,
    /// How its key can be had again.
    pub protection: Protection,
    /// What only the right key opens.
    pub check_value: Vec<u8>,
}

/// How many keys are wrapped by which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct Progress {
    /// The newest.
    pub generation: i32,
    /// Keys under an older one.
    pub behind: i64,
}

#[derive(FromQueryResult)]
struct Columns {
    generation: i32,
    source: String,
    salt: Option<Vec<u8>>,
    memory_kib: Option<i32>,
    passes: Option<i32>,
    lanes: Option<i32>,
    wrapped: Option<Vec<u8>>,
    check_value: Vec<u8>,
}

const COLUMNS: &str = "generation, source, salt, memory_kib, passes, lanes, wrapped, check_value";

impl TryFrom<Columns> for Row {
    type Error = Failure;

    fn try_from(columns: Columns) -> Result<Self, Failure> {
        let Columns { generation, source, salt, memory_kib, passes, lanes, wrapped, check_value } = columns;
        let whole = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok());
        let derivation = || {
            Some(Derivation {
                salt: salt?,
                memory_kib: whole(memory_kib)?,
                passes: whole(passes)?,
                lanes: whole(lanes)?,
            })
        };
        let protection = match source.as_str() {
            "KEY" => Some(Protection::Key),
            "ARGON2ID" => derivation().map(Protection::Passphrase),
            "AGE" => wrapped.map(Protection::Age),
            "TRANSIT" => wrapped.map(Protection::Transit),
            "AWS_KMS" => wrapped.map(Protection::AwsKms),
            _ => None,
        };
        let protection = protection.ok_or(Failure::KekRow { generation })?;
        Ok(Self { generation, protection, check_value })
    }
}

/// The newest generation.
pub async fn newest<C: ConnectionTrait>(db: &C) -> Result<Option<Row>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM keys.kek ORDER BY generation DESC LIMIT 1");
    let found = Columns::find_by_statement(statement(sql, []))
        .one(db)
        .await
        .map_err(Failure::at("reading the newest key-encryption key"))?;
    found.map(Row::try_from).transpose()
}

/// The newest generation and each that still wraps a key, oldest first.
pub async fn needed<C: ConnectionTrait>(db: &C) -> Result<Vec<Row>, Failure> {
    let sql = format!(
        "SELECT {COLUMNS} FROM keys.kek AS g
          WHERE g.generation = (SELECT max(n.generation) FROM keys.kek AS n)
             OR EXISTS (SELECT 1 FROM keys.key AS k WHERE k.kek_generation = g.generation)
          ORDER BY generation"
    );
    let found = Columns::find_by_statement(statement(sql, []))
        .all(db)
        .await
        .map_err(Failure::at("reading the key-encryption keys in use"))?;
    found.into_iter().map(Row::try_from).collect()
}

/// How far a rotation is.
pub async fn progress<C: ConnectionTrait>(db: &C) -> Result<Progress, Failure> {
    let sql = "SELECT g.generation, (SELECT count(*) FROM keys.key AS k WHERE k.kek_generation < g.generation) AS behind
                 FROM keys.kek AS g ORDER BY g.generation DESC LIMIT 1";
    Progress::find_by_statement(statement(sql, []))
        .one(db)
        .await
        .map_err(Failure::at("counting keys by generation"))?
        .ok_or(Failure::KekRowMissing)
}

/// Adds a generation; does nothing if another replica was faster. No key is being stored under an
/// older one meanwhile, and none will be afterwards (`hold_newest`).
pub async fn insert<C: ConnectionTrait>(db: &C, row: &Row) -> Result<(), Failure> {
    let Row { generation, protection, check_value } = row.clone();
    let source = protection.kind();
    let (derivation, wrapped) = match protection {
        Protection::Key => (None, None),
        Protection::Passphrase(derivation) => (Some(derivation), None),
        Protection::Age(wrapped) | Protection::Transit(wrapped) | Protection::AwsKms(wrapped) => {
            (None, Some(wrapped))
        }
    };
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
        wrapped.into(),
        check_value.into(),
    ];
    let sql = "SELECT keys.add_kek($1, $2, $3, $4, $5, $6, $7, $8)";
    db.execute_raw(statement(sql, values))
        .await
        .map_err(Failure::at("storing the check value of a key-encryption key"))?;
    Ok(())
}

/// The newest generation, which stays the newest until the transaction ends.
pub async fn hold_newest<C: ConnectionTrait>(tx: &C) -> Result<i32, Failure> {
    #[derive(FromQueryResult)]
    struct Newest {
        generation: Option<i32>,
    }
    let sql = "SELECT keys.hold_kek() AS generation";
    Newest::find_by_statement(statement(sql, []))
        .one(tx)
        .await
        .map_err(Failure::at("holding the newest key-encryption key"))?
        .and_then(|newest| newest.generation)
        .ok_or(Failure::KekRowMissing)
}

/// A data key wrapped anew: id of the key, the wrapping that was read, the one to take its place.
pub type Rewrapped = (String, Vec<u8>, Vec<u8>);

/// Puts new wrappings in the place of those that were read; a key that somebody else was faster with is left
/// alone. Gives how many were replaced.
pub async fn rewrap<C: ConnectionTrait>(
    tx: &C,
    generation: i32,
    rewrapped: &[Rewrapped],
) -> Result<i64, Failure> {
    #[derive(FromQueryResult)]
    struct Count {
        replaced: i64,
    }
    let mut columns: (Vec<String>, Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
    for (id, held, wrapped) in rewrapped.iter().cloned() {
        columns.0.push(id);
        columns.1.push(held);
        columns.2.push(wrapped);
    }
    let values = [generation.into(), columns.0.into(), columns.1.into(), columns.2.into()];
    let sql = "SELECT keys.rewrap($1, $2, $3, $4) AS replaced";
    let count = Count::find_by_statement(statement(sql, values))
        .one(tx)
        .await
        .map_err(Failure::at("storing new envelopes"))?;
    Ok(count.map_or(0, |count| count.replaced))
}
