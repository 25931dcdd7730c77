//! Rights and repetition of the migrations, on whatever tables the services have.

use migrations::OWNERS;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, FromQueryResult};
use store::statement;
use testkit::TestDb;

const FORBIDDEN: &str = "42501";

#[derive(Debug, FromQueryResult)]
struct Table {
    schema: String,
    name: String,
    /// Any column, to read and to change.
    column: String,
}

/// Every table of every service, as the catalog knows them.
async fn tables(admin: &DatabaseConnection) -> Vec<Table> {
    let schemas = OWNERS.map(|owner| format!("'{}'", owner.schema)).join(", ");
    let sql = format!(
        "SELECT n.nspname::text AS schema, c.relname::text AS name,
                (SELECT a.attname::text FROM pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity = '' LIMIT 1) AS column
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname IN ({schemas}) AND c.relkind IN ('r', 'p')"
    );
    Table::find_by_statement(statement(sql, [])).all(admin).await.expect("tables")
}

fn is_forbidden(result: Result<sea_orm::ExecResult, DbErr>) -> bool {
    result.is_err_and(|error| store::sqlstate(&error).as_deref() == Some(FORBIDDEN))
}

/// Statements that touch no row, so that only the right to make them is asked.
fn statements(table: &Table) -> [(&'static str, String); 5] {
    let Table { schema, name, column } = table;
    let full = format!("{schema}.\"{name}\"");
    [
        ("SELECT", format!("SELECT 1 FROM {full} LIMIT 0")),
        ("INSERT", format!("INSERT INTO {full} (\"{column}\") SELECT \"{column}\" FROM {full} LIMIT 0")),
        ("UPDATE", format!("UPDATE {full} SET \"{column}\" = \"{column}\" WHERE false")),
        ("DELETE", format!("DELETE FROM {full} WHERE false")),
        ("TRUNCATE", format!("TRUNCATE {full}")),
    ]
}

#[tokio::test]
async fn roles_may_use_their_own_schema_and_no_other() {
    let test = testkit::database().await;
    let tables = tables(&test.admin().await).await;
    assert!(tables.len() >= 2 * OWNERS.len(), "every service has its frame");
    for owner in OWNERS {
        let db = test.connect(owner.schema).await;
        for table in &tables {
            let append_only = owner.append_only.contains(&table.name.as_str());
            let read_only = owner.read_only.contains(&table.name.as_str());
            for (verb, sql) in statements(table) {
                let allowed = table.schema == owner.schema
                    && match verb {
                        "SELECT" => true,
                        "INSERT" => !read_only,
                        "UPDATE" | "DELETE" => !append_only && !read_only,
                        _ => false,
                    };
                let result = db.execute_unprepared(&sql).await;
                // Other refusals, as by a trigger, come after the question of rights.
                let verdict = if is_forbidden(result) { "may not" } else { "may" };
                let expected = if allowed { "may" } else { "may not" };
                assert_eq!(verdict, expected, "{} {verdict} {verb} {table:?}", owner.schema);
            }
        }
        db.close().await.expect("closed");
    }
}

#[tokio::test]
async fn roles_may_not_make_or_change_anything_in_any_schema() {
    let test = testkit::database().await;
    for owner in OWNERS {
        let db = test.connect(owner.schema).await;
        for schema in OWNERS.map(|owner| owner.schema).into_iter().chain(["public"]) {
            let made = db.execute_unprepared(&format!("CREATE TABLE {schema}.made (a int)")).await;
            assert!(is_forbidden(made), "{} makes tables in {schema}", owner.schema);
        }
        for sql in [
            "CREATE SCHEMA made",
            "CREATE TEMP TABLE made (a int)",
            "DELETE FROM public.seaql_migrations",
            "CREATE ROLE made",
        ] {
            assert!(is_forbidden(db.execute_unprepared(sql).await), "{} may {sql}", owner.schema);
        }
        db.close().await.expect("closed");
    }
}

#[tokio::test]
async fn strangers_may_not_even_connect() {
    let test = testkit::database().await;
    let admin = test.admin().await;
    let sql = "SELECT has_database_privilege('public', current_database(), 'CONNECT')
                   OR has_schema_privilege('public', 'public', 'USAGE') AS open";
    let row = admin.query_one_raw(statement(sql, [])).await.expect("asked").expect("row");
    assert!(!row.try_get::<bool>("", "open").expect("a truth"));
}

#[tokio::test]
async fn running_twice_changes_nothing() {
    let test = TestDb::empty().await.expect("a database");
    assert_eq!(migrations::pending(&test.admin().await).await.expect("asked"), migrations::expected());
    let first = migrations::run(&test.admin_url, &test.passwords()).await.expect("migrated");
    assert_eq!(first.applied, migrations::expected());
    let before = dump(&test.admin().await).await;
    let second = migrations::run(&test.admin_url, &test.passwords()).await.expect("migrated");
    assert!(second.applied.is_empty());
    assert_eq!(dump(&test.admin().await).await, before);
    for owner in OWNERS {
        let db = test.connect(owner.schema).await;
        assert!(migrations::pending(&db).await.expect("every role may ask").is_empty());
        db.close().await.expect("closed");
    }
}

#[tokio::test]
async fn two_runs_at_once_are_as_good_as_one() {
    let test = TestDb::empty().await.expect("a database");
    let passwords = test.passwords();
    let (one, other) = tokio::join!(
        migrations::run(&test.admin_url, &passwords),
        migrations::run(&test.admin_url, &passwords)
    );
    let applied = one.expect("migrated").applied.len() + other.expect("migrated").applied.len();
    assert_eq!(applied, migrations::expected().len());
}

#[tokio::test]
async fn a_right_that_was_given_by_hand_is_taken_away_again() {
    let test = testkit::database().await;
    let admin = test.admin().await;
    admin.execute_unprepared("GRANT TRUNCATE ON keys.lease TO seq_keys").await.expect("given");
    migrations::run(&test.admin_url, &test.passwords()).await.expect("migrated");
    let db = test.connect("keys").await;
    assert!(is_forbidden(db.execute_unprepared("TRUNCATE keys.lease").await));
}

#[test]
fn names_of_migrations_are_unique_and_in_order_within_each_service() {
    let mut names = migrations::expected();
    for owner in OWNERS {
        let own: Vec<String> =
            (owner.migrations)().iter().map(|migration| migration.name().to_owned()).collect();
        assert!(own.is_sorted(), "{own:?}");
        assert!(own.iter().all(|name| name.contains(owner.schema)), "{own:?}");
    }
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

/// Tables, columns, constraints, indexes and rights of the services.
async fn dump(admin: &DatabaseConnection) -> Vec<String> {
    let sql = "SELECT n.nspname || '.' || c.relname || ' ' || c.relkind::text || ' ' || coalesce(array_to_string(c.relacl, ','), '')
                      || ' ' || coalesce((SELECT string_agg(a.attname || ':' || a.atttypid::regtype, ',' ORDER BY a.attnum)
                                            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0), '') AS line
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
                ORDER BY 1";
    let rows = admin.query_all_raw(statement(sql, [])).await.expect("asked");
    rows.iter().map(|row| row.try_get("", "line").expect("text")).collect()
}
