//! Listeners keep their sockets over reloads, by their address.

use std::net::SocketAddr;

use crate::harness::{LogLine, RawClient, TestClient, TestGateway, TestUpstream, eventually};

fn config(listeners: &[(&str, &str)], upstream: &TestUpstream) -> String {
    let listeners =
        listeners.iter().map(|(name, address)| format!("[listeners.{name}]\naddress = \"{address}\"\n"));
    let listeners: String = listeners.collect();
    format!(
        "{listeners}[upstreams.app]\nendpoints = [\"{}\"]\n[routes.all]\nto = \"app\"\n",
        upstream.address()
    )
}

fn listens(line: &LogLine) -> bool {
    line.message.starts_with("listening on")
}

/// How often it was said that something listens.
fn told(gateway: &TestGateway) -> usize {
    gateway.log().iter().filter(|line| listens(line)).count()
}

async fn answers(address: SocketAddr) {
    assert_eq!(TestClient::h1(address).await.get("/").await.text(), "app");
}

#[tokio::test]
async fn one_that_is_given_another_name_goes_on() {
    let app = TestUpstream::named("app").await;
    // Two that want any free port, and one that has one.
    let gateway = TestGateway::start(&config(&[("a", "127.0.0.1:0"), ("b", "127.0.0.1:0")], &app)).await;
    let (a, b) = (gateway.address("a"), gateway.address("b"));
    let mut kept = RawClient::connect(a).await;
    let a_text = a.to_string();
    gateway.write_config_and_wait(&config(&[("a", &a_text), ("b", "127.0.0.1:0")], &app)).await;
    assert_eq!((gateway.address("a"), gateway.address("b")), (a, b));
    gateway.write_config_and_wait(&config(&[("public", &a_text), ("b", "127.0.0.1:0")], &app)).await;
    assert_eq!((gateway.address("public"), gateway.address("b")), (a, b));
    answers(a).await;
    answers(b).await;
    // Its connections are those of the listener that has another name now.
    kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(kept.read_response().await.status, 200);
}

#[tokio::test]
async fn two_that_swap_their_addresses_go_on() {
    let app = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&config(&[("a", "127.0.0.1:0"), ("b", "127.0.0.1:0")], &app)).await;
    let (a, b) = (gateway.address("a").to_string(), gateway.address("b").to_string());
    gateway.write_config_and_wait(&config(&[("a", &a), ("b", &b)], &app)).await;
    let before = told(&gateway);
    gateway.write_config_and_wait(&config(&[("a", &b), ("b", &a)], &app)).await;
    assert_eq!(gateway.address("a").to_string(), b);
    assert_eq!(gateway.address("b").to_string(), a);
    assert_eq!(told(&gateway), before + 2);
    answers(gateway.address("a")).await;
    answers(gateway.address("b")).await;
}

#[tokio::test]
async fn one_that_takes_every_address_of_its_port_follows_one_that_took_a_single_one() {
    let app = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&config(&[("web", "127.0.0.1:0")], &app)).await;
    let one = gateway.address("web");
    let (single, every) = (one.to_string(), format!("0.0.0.0:{}", one.port()));
    for address in [&single, &every, &single] {
        gateway.write_config_and_wait(&config(&[("web", address)], &app)).await;
        assert_eq!(gateway.address("web").to_string(), *address);
        // The kernel may have given a connection to the socket that closes.
        eventually("it answers", async || {
            let mut client = RawClient::connect(one).await;
            client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ok()?;
            client.try_read_head().await?.starts_with("HTTP/1.1 200 OK").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn only_what_changed_is_said_to_listen() {
    let (app, other) = (TestUpstream::named("app").await, TestUpstream::named("other").await);
    let two = [("a", "127.0.0.1:0"), ("b", "127.0.0.1:0")];
    let gateway = TestGateway::start(&config(&two, &app)).await;
    assert_eq!(told(&gateway), 2);
    // A limit of one, and another upstream, do not change its address.
    let limited = config(&two, &other).replace("[upstreams", "limits = { connections = 5 }\n[upstreams");
    gateway.write_config_and_wait(&limited).await;
    assert_eq!(told(&gateway), 2);
    gateway.write_config_and_wait(&config(&[("a", "127.0.0.1:0"), ("c", "127.0.0.1:0")], &app)).await;
    assert_eq!(told(&gateway), 3);
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_refused_though_a_listener_moves_there() {
    let app = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&config(&[("web", "127.0.0.1:0")], &app)).await;
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let every = format!("0.0.0.0:{}", busy.local_addr().unwrap().port());
    let refusal = gateway.write_config_and_expect_refusal(&config(&[("web", &every)], &app)).await;
    assert!(refusal.contains("is in use"), "{refusal}");
    answers(gateway.address("web")).await;
}
