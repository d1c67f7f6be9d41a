//! Connections that are kept for later: for how long, and by whose word.

use std::sync::Arc;

use hyper::Method;
use tokio::sync::Semaphore;

use crate::edge::{Edge, Http};
use crate::harness::{Answer, RawClient, RawUpstream, TestUpstream, eventually, within};

/// Requests of one client, one after the other. Returns how many connections they took.
async fn connections_for(fields: &'static str, requests: usize) -> usize {
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok");
    let upstream = RawUpstream::answering(response).await;
    let gateway = Edge::to(upstream.address()).upstream("timeouts = { pool-idle = \"1h\" }").start().await;
    let mut client = Http::One.client(&gateway).await;
    for _ in 0..requests {
        assert_eq!(client.get("/").await.status, 200);
    }
    upstream.connections()
}

#[tokio::test]
async fn an_endpoint_that_closes_soon_says_so_and_is_believed() {
    for (fields, expected) in [
        ("", 1),
        ("Keep-Alive: timeout=600\r\n", 1),
        ("Keep-Alive: timeout=600, max=100\r\n", 1),
        ("Keep-Alive: nonsense, =, timeout=, timeout=x\r\n", 1),
        // A second is left for the way, so these are none.
        ("Keep-Alive: timeout=1\r\n", 4),
        ("Keep-Alive: timeout=0\r\n", 4),
        ("KEEP-ALIVE: max=5, Timeout=\"1\"\r\n", 4),
        ("Keep-Alive: timeout=600, max=0\r\n", 4),
    ] {
        assert_eq!(connections_for(fields, 4).await, expected, "{fields:?}");
    }
}

#[tokio::test]
async fn a_connection_is_closed_before_the_endpoint_would() {
    let closed = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&closed);
    let upstream = RawUpstream::start(move |mut connection, _| {
        let gate = Arc::clone(&gate);
        async move {
            while connection.read_request().await.is_some() {
                connection
                    .send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
            gate.add_permits(1);
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("timeouts = { pool-idle = \"1h\" }").start().await;
    assert_eq!(Http::One.client(&gateway).await.get("/").await.status, 200);
    // After a second, not after an hour.
    crate::harness::within("it is closed", closed.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn a_put_that_meets_a_closing_connection_is_sent_again() {
    let upstream = RawUpstream::start(|mut connection, number| async move {
        // The first connection serves once and is closed when the next request has been sent on it.
        while let Some((_, body)) = connection.read_request().await {
            if number == 0 && body == b"second" {
                return;
            }
            let length = body.len();
            let text = String::from_utf8(body).unwrap();
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}")).await;
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.send(Method::PUT, "/", &[], "first").await.text(), "first");
    let reply = client.send(Method::PUT, "/", &[], "second").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "second"));
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_post_that_meets_one_is_not() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        if let Some((_, body)) = connection.read_request().await {
            let length = body.len();
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
            connection.send(body).await;
        }
        // The second request may have been acted on.
        connection.read_request().await;
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("ejection = { failures = 0 }").start().await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.send(Method::POST, "/", &[], "first").await.status, 200);
    assert_eq!(client.send(Method::POST, "/", &[], "second").await.status, 502);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn endpoints_that_a_reload_removed_are_left_while_a_tunnel_of_that_time_lives() {
    for version in [Http::One, Http::Two] {
        let old = version.server(|_| Answer::text("old")).await;
        let new = version.server(|_| Answer::text("new")).await;
        let echo = TestUpstream::echo().await;
        let config = |endpoint: std::net::SocketAddr| {
            format!(
                "[listeners.web]\naddress = \"127.0.0.1:0\"\n[upstreams.app]\nendpoints = [\"{endpoint}\"]\n{}\n\
                 timeouts = {{ pool-idle = \"1h\" }}\n[upstreams.ws]\nendpoints = [\"{}\"]\n\
                 [routes.all]\nto = \"app\"\n[routes.ws]\nmatch = {{ path = \"/ws\" }}\nto = \"ws\"\n",
                version.line(),
                echo.address(),
            )
        };
        let gateway = crate::harness::TestGateway::start(&config(old.address())).await;
        let mut tunnel = RawClient::connect(gateway.address("web")).await;
        tunnel.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await;
        assert_eq!(tunnel.read_response_head().await.status, 101);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let mut client = Http::One.client(&gateway).await;
            tasks.spawn(async move { client.get("/").await.text() });
        }
        while let Some(text) = tasks.join_next().await {
            assert_eq!(text.unwrap(), "old");
        }
        assert!(old.open_connections() > 0);
        gateway.write_config_and_wait(&config(new.address())).await;
        eventually("its connections are closed", async || (old.open_connections() == 0).then_some(())).await;
        assert_eq!(Http::One.client(&gateway).await.get("/").await.text(), "new");
        // The tunnel goes on.
        tunnel.send("still here").await;
        assert_eq!(tunnel.read_exact(10).await, b"still here");
    }
}

#[tokio::test]
async fn bytes_that_come_while_a_connection_is_idle_answer_nothing() {
    let (speaks, spoken) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (gate, said) = (Arc::clone(&speaks), Arc::clone(&spoken));
    let upstream = RawUpstream::start(move |mut connection, number| {
        let (gate, said) = (Arc::clone(&gate), Arc::clone(&said));
        async move {
            while connection.read_request().await.is_some() {
                connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}")).await;
                if number == 0 {
                    gate.acquire().await.unwrap().forget();
                    drop(connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged").await);
                    said.add_permits(1);
                    gate.acquire().await.unwrap().forget();
                }
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).upstream("timeouts = { pool-idle = \"1h\" }").start().await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/").await.text(), "0");
    speaks.add_permits(1);
    // The forged answer is in the gateway's socket by now.
    within("the forged answer is sent", spoken.acquire()).await.unwrap().forget();
    assert_eq!(client.get("/").await.text(), "1");
}

#[tokio::test]
async fn a_client_that_asks_for_what_fails_leaves_no_endpoint_out() {
    let handler = |name: &'static str| {
        move |mut connection: RawClient, _| async move {
            while let Some((head, _)) = connection.read_request().await {
                let large = "x".repeat(70_000);
                let answer = match head.split(' ').nth(1).unwrap_or_default() {
                    "/slow" => continue,
                    "/large" => format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nLocation: /{large}\r\n\r\n"),
                    _ => format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}"),
                };
                if connection.try_send(answer).await.is_err() {
                    return;
                }
            }
        }
    };
    let (a, b) = (RawUpstream::start(handler("a")).await, RawUpstream::start(handler("b")).await);
    let gateway = Edge::to_all([a.address().to_string(), b.address().to_string()])
        .upstream("timeouts = { response-head = \"2s\" }")
        .start()
        .await;
    let mut attacker = Http::One.client(&gateway).await;
    for _ in 0..2 {
        // Its answer is over the limit, because of what was asked.
        assert_eq!(attacker.get("/large").await.status, 502);
    }
    // While these wait in vain, others are answered.
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = Http::One.client(&gateway).await;
        slow.spawn(async move { client.get("/slow").await.status });
    }
    let mut others = Http::One.client(&gateway).await;
    let asking = async {
        loop {
            assert_eq!(others.get("/").await.status, 200);
        }
    };
    let waiting = async {
        while let Some(status) = slow.join_next().await {
            assert_eq!(status.unwrap(), 504);
        }
    };
    tokio::select! { () = asking => {}, () = waiting => {} }
    let left_out = gateway.log().into_iter().filter(|line| line.message.contains("left out")).count();
    assert_eq!(left_out, 0);
}
