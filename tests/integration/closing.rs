//! How connections of HTTP/1 clients end: an answer that was sent arrives, one that was cut off does not look whole,
//! and nothing that was meant for something else is read as a request.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use crate::edge::{Edge, pattern};
use crate::harness::{Answer, RawClient, RawUpstream, TestUpstream, eventually, within};
use crate::setup::record;

/// The number of bytes that come until the other side ends in order; panics if it is a reset.
async fn read_to_an_orderly_end(stream: &mut tokio::net::TcpStream) -> usize {
    let (mut sum, mut piece) = (0, vec![0; 64 * 1024]);
    loop {
        match within("bytes are read", stream.read(&mut piece)).await.expect("no reset") {
            0 => return sum,
            read => sum += read,
        }
    }
}

/// A client whose kernel takes little ahead, so that most of an answer is on its way while it does something else.
async fn narrow(address: std::net::SocketAddr) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 * 1024).unwrap();
    within("a connection", socket.connect(address)).await.unwrap()
}

#[tokio::test]
async fn an_answer_arrives_although_the_client_sends_on_behind_its_last_request() {
    const LENGTH: usize = 3_000_000;
    let upstream = TestUpstream::h1(|_| Answer::default().body(pattern(LENGTH))).await;
    let gateway = Edge::to(upstream.address()).start().await;
    for last in ["HTTP/1.1\r\nHost: a\r\nConnection: close", "HTTP/1.0"] {
        let mut client = narrow(gateway.address("web")).await;
        client.write_all(format!("GET / {last}\r\n\r\n").as_bytes()).await.unwrap();
        let mut first = vec![0; 100_000];
        within("the answer begins", client.read_exact(&mut first)).await.unwrap();
        client.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(first.len() + read_to_an_orderly_end(&mut client).await > LENGTH, "{last}");
    }
    assert!(upstream.requests().iter().all(|request| request.path() == "/"), "the last one was the last");
}

/// As the standard clients of Python and Java do, which do not look for an answer before they have written all.
#[tokio::test]
async fn an_early_answer_reaches_a_client_that_writes_its_whole_body_first() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).route("limits = { body = \"100KiB\" }").start().await;
    let body = vec![b'x'; 20_000_000];
    let chunk = format!("{:x}\r\n", body.len());
    for (framing, start) in
        [(format!("Content-Length: {}", body.len()), ""), ("Transfer-Encoding: chunked".to_owned(), &*chunk)]
    {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{start}")).await;
        assert!(client.send_for_long(&body).await, "{framing}: all of it is taken");
        assert_eq!(client.read_response().await.status, 413, "{framing}");
        assert_eq!(client.read_to_end().await, b"");
    }
}

#[tokio::test]
async fn a_client_that_is_too_late_is_told_so_although_it_sends_on() {
    let upstream = TestUpstream::named("app").await;
    let gateway =
        Edge::to(upstream.address()).listener("timeouts = { request-head = \"300ms\" }").start().await;
    let mut client = narrow(gateway.address("web")).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let mut first = [0; 12];
    within("the answer begins", client.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 408");
    for _ in 0..20 {
        client.write_all(&[b'x'; 1000]).await.unwrap();
    }
    client.shutdown().await.unwrap();
    assert!(read_to_an_orderly_end(&mut client).await > 0);
}

#[tokio::test]
async fn lingering_has_its_bounds() {
    let upstream = TestUpstream::named("app").await;
    // Nothing comes: `linger`. Something comes all the time: `idle`. Much comes: the bytes.
    let quiet = Edge::to(upstream.address()).listener("timeouts = { linger = \"200ms\" }").start().await;
    let mut client = RawClient::connect(quiet.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 200);
    eventually("the connection is closed", async || {
        // Longer than it is listened to, for what is sent is something.
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.try_send("x").await.err()
    })
    .await;
    for bounds in ["timeouts = { idle = \"300ms\" }", "limits = { linger = \"1KiB\" }"] {
        let gateway = Edge::to(upstream.address()).listener(bounds).start().await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.read_response().await.status, 200);
        eventually("the connection is closed", async || client.try_send("0123456789").await.err()).await;
    }
}

/// For HTTP/1.0 the end of the connection is the end of the body.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test's own upstream sends a few bytes")]
async fn what_is_cut_off_ends_with_a_reset_if_its_end_would_look_whole() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        let (head, _) = connection.read_request().await.unwrap();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        if head.starts_with("GET /whole") {
            connection.send("0\r\n\r\n").await;
        }
        // Then it closes.
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = narrow(gateway.address("web")).await;
    client.write_all(b"GET /cut HTTP/1.0\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    let ended = within("the answer", client.read_to_end(&mut all)).await;
    assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    let mut client = narrow(gateway.address("web")).await;
    client.write_all(b"GET /whole HTTP/1.0\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    within("the answer", client.read_to_end(&mut all)).await.unwrap();
    assert!(all.ends_with(b"\r\n\r\nabc"));
}

/// `printf … | nc -N`, probes, some appliances.
#[tokio::test]
async fn a_client_that_sends_nothing_more_gets_the_answer_to_its_last_request() {
    // The end of what the client sends is there before the answer. Who has gone is not answered.
    let answers = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&answers);
    let upstream = RawUpstream::start(move |mut connection, _| {
        let gate = Arc::clone(&gate);
        async move {
            let Some((head, body)) = connection.read_request().await else { return };
            if head.contains("gone") {
                std::future::pending::<()>().await;
            }
            gate.acquire().await.unwrap().forget();
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", body.len())).await;
        }
    })
    .await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n";
    let requests = [
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(), "0"),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "0"),
        (format!("{post}Connection: close\r\n\r\nfour"), "4"),
    ];
    let gateway = Edge::to(upstream.address()).start().await;
    for (request, body) in &requests {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(request).await;
        client.finish().await;
        answers.add_permits(1);
        assert_eq!(client.read_response().await.text(), *body, "{request}");
        assert_eq!(client.read_to_end().await, b"");
    }
    // One that did not say so has gone, for all that the gateway can know; so has one whose request is not whole.
    let gone = [format!("{post}\r\nfour"), format!("{post}Connection: close\r\n\r\nfo")];
    for (request, path) in gone.iter().zip(["/gone", "/gone/half"]) {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(request.replacen('/', path, 1)).await;
        client.finish().await;
        client.read_to_end().await;
        // Who notices that the body is cut off, what reads it or what waits for the endpoint, is chance.
        let status = record(&gateway, path).await["status"].clone();
        assert!(status == 499 || (path == "/gone/half" && status == 400), "{request}: {status}");
    }
    // The listener can say that all are answered, or none.
    let gateway = Edge::to(upstream.address()).listener("half-closed = \"answer\"").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(&gone[0]).await;
    client.finish().await;
    answers.add_permits(1);
    assert_eq!(client.read_response().await.text(), "4");
    let gateway = Edge::to(upstream.address()).listener("half-closed = \"cancel\"").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(requests[0].0.replacen('/', "/gone", 1)).await;
    client.finish().await;
    assert_eq!(client.read_to_end().await, b"");
    gateway.wait_for_access_line("it has gone", |line| line.contains("\"status\":499")).await;
}

#[tokio::test]
async fn a_half_closed_client_that_takes_nothing_is_noticed() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        if connection.read_request().await.is_some() {
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while connection.try_send("5\r\nevent\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET /events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    client.finish().await;
    client.read_until(b"event").await;
    drop(client);
    let record = record(&gateway, "/events").await;
    assert!(record["error"].as_str().unwrap().contains("client went away"), "{record}");
}

/// Old clients send CR LF behind a body (RFC 9112, 2.2).
#[tokio::test]
async fn an_empty_line_behind_a_body_is_no_late_head() {
    let upstream = TestUpstream::named("app").await;
    let timeouts = "timeouts = { request-head = \"300ms\", idle = \"1500ms\" }";
    let gateway = Edge::to(upstream.address()).listener(timeouts).start().await;
    for empty in ["\r\n", "\r"] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi{empty}")).await;
        assert_eq!(client.read_response().await.status, 200);
        assert_eq!(client.read_to_end().await, b"", "no 408 that was not asked for");
    }
    // It stands before the next request as well as it did before.
    let mut client = RawClient::connect(gateway.address("web")).await;
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r").await;
        assert_eq!(client.read_response().await.status, 200);
        client.send("\n").await;
    }
    client.send("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 400, "one such line is tolerated");
}

#[tokio::test]
async fn what_follows_connect_is_no_request() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET /inside HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let reply = client.read_response().await;
    assert_eq!((reply.status, reply.header("connection").as_str()), (501, "close"));
    assert_eq!(client.read_to_end().await, b"");
    assert!(upstream.requests().is_empty());
}

/// A client may speak the other protocol at once. If the offer is not accepted, that is no request of HTTP.
#[tokio::test]
async fn what_follows_a_refused_upgrade_is_no_request() {
    let offer = "GET /offer HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
    let inside = "GET /inside HTTP/1.1\r\nHost: a\r\n\r\n";
    // What the client sends behind its offer is there before the answer.
    let answers = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&answers);
    let upstream = RawUpstream::start(move |mut connection, _| {
        let gate = Arc::clone(&gate);
        async move {
            while let Some((head, _)) = connection.read_request().await {
                gate.acquire().await.unwrap().forget();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let length = path.len();
                connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}")).await;
            }
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    for pieces in [vec![format!("{offer}{inside}")], vec![offer.to_owned(), inside.to_owned()]] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        for piece in pieces {
            client.send(piece).await;
        }
        answers.add_permits(1);
        let reply = client.read_response().await;
        assert_eq!((reply.text().as_str(), reply.header("connection").as_str()), ("/offer", "close"));
        assert_eq!(client.read_to_end().await, b"");
    }
    // One that waits for the answer first may ask again.
    answers.add_permits(2);
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(offer).await;
    assert_eq!(client.read_response().await.text(), "/offer");
    client.send(inside).await;
    assert_eq!(client.read_response().await.text(), "/inside");
}

#[tokio::test]
async fn another_version_is_answered_at_once() {
    let upstream = TestUpstream::named("app").await;
    for protocols in ["[\"h1\", \"h2\"]", "[\"h1\"]"] {
        let gateway =
            Edge::to(upstream.address()).listener(&format!("protocols = {protocols}")).start().await;
        for (line, status) in [
            ("GET /\r\n", 400),
            ("GET / HTTP/0.9\r\n", 505),
            ("GET / HTTP/2.0\r\n", 505),
            ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 505),
        ] {
            let mut client = RawClient::connect(gateway.address("web")).await;
            client.send(line).await;
            assert_eq!(client.read_response().await.status, status, "{line:?}");
            assert_eq!(client.read_to_end().await, b"");
        }
    }
    // A number that no body can have is answered as soon as it is read, not when the body ends.
    let gateway = Edge::to(upstream.address()).start().await;
    for request in [
        "Content-Length: 9223372036854775808\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n8000000000000000",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nffffffffffffffff\r\n",
    ] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{request}")).await;
        assert_eq!(client.read_response().await.status, 400, "{request:?}");
    }
}

/// What an idle connection costs after a large answer is what it cost before.
#[tokio::test]
async fn an_idle_connection_keeps_no_buffers() {
    const CLIENTS: usize = 400;
    let upstream = TestUpstream::h1(|_| Answer::default().body(pattern(15_000))).await;
    let gateway = Edge::to(upstream.address()).server("").start().await;
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().to_owned();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let mut clients = Vec::new();
    for at in 0..CLIENTS {
        let mut client = RawClient::connect(gateway.address("web")).await;
        if at % 100 == 0 {
            // What the first exchanges of each worker need is not what connections cost.
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            client.read_response().await;
        }
        clients.push(client);
    }
    let fresh = resident();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_response().await.body.len(), 15_000);
    }
    let grown = resident().saturating_sub(fresh);
    assert!(grown / CLIENTS < 8, "{} KiB for each idle connection", grown / CLIENTS);
}
