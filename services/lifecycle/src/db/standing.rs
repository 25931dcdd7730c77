//! A sequencer with everything that a decision about it looks at, in one look at the tables.

use sea_orm::{ConnectionTrait, FromQueryResult};
use store::{Error, statement};
use uuid::Uuid;

use super::{cursor, position, sequencer};

/// Where a sequencer stands.
#[derive(Debug, Clone)]
pub struct Row {
    pub register: sequencer::Row,
    pub position: position::Row,
    /// The key behind the present owner, if we know one.
    pub owner_key: Option<String>,
    /// The key behind the present signer, if we know one.
    pub signer_key: Option<String>,
    /// Managed operations that are not finished, those that a reorganisation reopened left out.
    pub open: Vec<Uuid>,
    /// Prepared operations that a wallet may still send, or has sent and that are not final.
    pub prepared: Vec<Uuid>,
    /// How far its network was followed; none before the first message.
    pub place: Option<cursor::Row>,
}

#[derive(Debug, FromQueryResult)]
struct Beside {
    owner_key: Option<String>,
    signer_key: Option<String>,
    open: Vec<Uuid>,
    prepared: Vec<Uuid>,
    has_place: bool,
}

/// Of a sequencer of the register; none where it is unknown, or was only observed and its lock taken back.
pub async fn of<C: ConnectionTrait>(db: &C, id: Uuid) -> Result<Option<Row>, Error> {
    let prefixed = |columns: &str, table: &str| {
        let each = columns.split(", ").map(|column| format!("{table}.{column} AS {table}_{column}"));
        each.collect::<Vec<_>>().join(", ")
    };
    let sql = format!(
        "SELECT {}, {}, {}, o.key_id AS owner_key, k.key_id AS signer_key, c.network IS NOT NULL AS has_place, \
         ARRAY(SELECT id FROM lifecycle.operation WHERE sequencer = s.id AND open AND NOT reopened \
         AND mode = 'MANAGED') AS open, \
         ARRAY(SELECT id FROM lifecycle.operation WHERE sequencer = s.id AND open AND NOT reopened \
         AND mode = 'PREPARED' ORDER BY id) AS prepared \
         FROM lifecycle.sequencer s JOIN lifecycle.position p ON p.sequencer = s.id \
         LEFT JOIN lifecycle.account_key o ON o.address = p.owner \
         LEFT JOIN lifecycle.account_key k ON k.address = p.signer \
         LEFT JOIN lifecycle.stream_cursor c ON c.network = s.network WHERE s.id = $1",
        prefixed(sequencer::COLUMNS, "s"),
        prefixed(position::COLUMNS, "p"),
        prefixed(cursor::COLUMNS, "c"),
    );
    let failed = Error::at("reading where a sequencer stands");
    let row = db.query_one_raw(statement(&sql, [id.into()])).await;
    let read = |row: &sea_orm::QueryResult| {
        let Beside { owner_key, signer_key, open, prepared, has_place } = Beside::from_query_result(row, "")?;
        let place = if has_place { Some(cursor::Row::from_query_result(row, "c_")?) } else { None };
        Ok(Row {
            register: sequencer::Row::from_query_result(row, "s_")?,
            position: position::Row::from_query_result(row, "p_")?,
            owner_key,
            signer_key,
            open,
            prepared,
            place,
        })
    };
    row.and_then(|row| row.as_ref().map(read).transpose()).map_err(failed)
}
