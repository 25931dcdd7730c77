//! Hosts, origins, paths and HTTP methods.

use serde_json::json;

use crate::world::{self, reply, request};

const PAGE: &str = "https://app.example";

fn body() -> String {
    request("chain_networks", &json!({})).to_string()
}

#[tokio::test]
async fn only_hosts_of_the_list_are_served() {
    let world = world::start().await;
    for (host, status) in
        [("localhost", 200), ("127.0.0.1:1", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403)]
    {
        let reply = reply(world.post(body()).header("host", host)).await;
        assert_eq!(reply.status, status, "{host}");
        if status == 403 {
            assert_eq!(reply.json["error"]["data"]["reason"], "HOST_NOT_ALLOWED");
        }
    }
    let probe = world.http.get(format!("{}livez", world.url())).header("host", "10.1.2.3");
    assert_eq!(probe.send().await.expect("an answer").status(), 200, "probes go by address");
}

#[tokio::test]
async fn a_browser_reads_nothing_unless_its_origin_is_configured() {
    let closed = world::start().await;
    let answer = reply(closed.post(body()).header("origin", PAGE)).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let config = gateway::Config { origins: vec![PAGE.to_owned()], ..Default::default() };
    let open = world::start_with(config).await;
    let cases =
        [(PAGE, true), ("https://evil.example", false), ("http://app.example", false), ("null", false)];
    for (origin, allowed) in cases {
        let answer = reply(open.post(body()).header("origin", origin)).await;
        let header =
            answer.headers.get("access-control-allow-origin").map(|value| value.to_str().expect("text"));
        assert_eq!(header, allowed.then_some(origin), "{origin}");
    }
    let refused = reply(open.post("x").header("origin", PAGE)).await;
    assert_eq!(
        (refused.status, &refused.headers["access-control-allow-origin"]),
        (400, &PAGE.parse().expect("a header"))
    );
    let preflight = open.http.request(reqwest::Method::OPTIONS, open.url()).header("origin", PAGE);
    let preflight =
        preflight.header("access-control-request-method", "POST").send().await.expect("an answer");
    assert_eq!(preflight.headers()["access-control-allow-origin"], PAGE);
    assert!(
        preflight.headers()["access-control-allow-headers"].to_str().expect("text").contains("authorization")
    );
}

#[tokio::test]
async fn pages_open_sockets_only_from_origins_of_the_list_or_from_here() {
    let config = gateway::Config { origins: vec![PAGE.to_owned()], ..Default::default() };
    let world = world::start_with(config).await;
    let here = format!("http://{}", world.address);
    for (origin, admitted) in
        [(PAGE, true), (here.as_str(), true), ("https://evil.example", false), ("null", false)]
    {
        let opened = world.socket_with(&[("origin", origin)]).await;
        assert_eq!(opened.err(), (!admitted).then_some(403), "{origin}");
    }
}

#[tokio::test]
async fn whole_requests_are_turned_down_with_a_json_rpc_body() {
    let world = world::start().await;
    let at = |path: &str| format!("{}{path}", world.url());
    let json_post =
        |path: &str| world.http.post(at(path)).header("content-type", "application/json").body(body());
    let cases = [
        (world.http.get(at("")), 405, "HTTP_METHOD_NOT_ALLOWED"),
        (world.http.put(at("rpc")).body(body()), 405, "HTTP_METHOD_NOT_ALLOWED"),
        (world.http.post(at("")).body(body()), 415, "MEDIA_TYPE_UNSUPPORTED"),
        (
            world.http.post(at("")).header("content-type", "text/plain").body(body()),
            415,
            "MEDIA_TYPE_UNSUPPORTED",
        ),
        (json_post("other"), 404, "PATH_NOT_FOUND"),
        (json_post("metrics"), 404, "PATH_NOT_FOUND"),
    ];
    for (request, status, reason) in cases {
        let reply = reply(request).await;
        assert_eq!((reply.status, &reply.json["error"]["data"]["reason"]), (status, &json!(reason)));
        assert_eq!((&reply.json["jsonrpc"], &reply.json["id"]), (&json!("2.0"), &json!(null)));
    }
    let good = reply(json_post("rpc").header("content-type", "application/json; charset=utf-8")).await;
    assert_eq!(good.status, 200);
    assert_eq!(good.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn an_origin_that_means_all_is_refused_at_start() {
    for origin in
        ["*", "https://*", "https://*.example", "app.example", "https://app.example/path", "https://"]
    {
        let config = gateway::Config { origins: vec![origin.to_owned()], ..Default::default() };
        let started = tokio::spawn(world::start_with(config)).await;
        assert!(started.is_err(), "{origin}");
    }
}
