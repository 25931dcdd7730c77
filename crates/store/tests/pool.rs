use sea_orm::ConnectionTrait;
use store::statement;

#[tokio::test]
async fn unusable_url_is_refused_without_quoting_its_password() {
    for url in ["mysql://u:hunter2@localhost/x", "postgres://u:hunter2@localhost:port/x", "hunter2"] {
        let error = store::connect(url, 1).await.expect_err("no pool");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn connections_carry_limits_and_a_name() {
    let test = testkit::database().await;
    let db = test.connect("keys").await;
    store::ping(&db).await.expect("ping");
    let sql = "SELECT current_setting('statement_timeout') AS a, current_setting('lock_timeout') AS b, current_setting('application_name') AS c";
    let row = db.query_one_raw(statement(sql, [])).await.expect("query").expect("row");
    let read = |column| row.try_get::<String>("", column).expect("text");
    assert_eq!([read("a"), read("b"), read("c")], ["30s", "10s", "seqd"]);
}

#[tokio::test]
async fn ping_fails_when_the_server_is_gone() {
    let cluster = testkit::Cluster::start(Default::default()).await.expect("a server");
    let db = store::connect(cluster.url(), 1).await.expect("a pool");
    drop(cluster);
    store::ping(&db).await.expect_err("nobody answers");
}
