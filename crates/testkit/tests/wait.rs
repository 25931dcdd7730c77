use std::time::Duration;

use testkit::{wait_for, wait_until};

#[tokio::test]
async fn waiting_ends_when_it_is_true() {
    let mut left = 3;
    let found = wait_for("it counts down", Duration::from_secs(5), || {
        left -= 1;
        std::future::ready((left == 0).then_some("down"))
    })
    .await;
    assert_eq!(found, "down");
}

#[tokio::test]
#[should_panic(expected = "in vain until pigs fly")]
async fn waiting_names_what_did_not_come() {
    wait_until("pigs fly", Duration::from_millis(50), || async { false }).await;
}

#[tokio::test]
#[should_panic(expected = "in vain until it answers")]
async fn a_look_that_never_returns_is_bounded_too() {
    wait_until("it answers", Duration::from_millis(50), std::future::pending).await;
}
