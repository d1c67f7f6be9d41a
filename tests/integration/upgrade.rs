//! Connections that become something else: WebSocket, other upgrades, extended CONNECT.

use bytes::Bytes;
use hyper::Request;

use crate::edge::{Edge, Http};
use crate::harness::{
    H2Client, H2Frame, H2Frames, RawClient, RawUpstream, TestGateway, TestUpstream, eventually, within,
};
use crate::setup::{config, policy, record};

/// The example of RFC 6455, 1.3.
const HANDSHAKE: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: site.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Protocol: chat\r\nOrigin: https://site.test\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A text frame of a server, or with a mask of zeros, of a client.
fn text_frame(text: &str, masked: bool) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    let mut frame = vec![0x81, if masked { length | 0x80 } else { length }];
    if masked {
        frame.extend([0; 4]);
    }
    frame.extend(text.bytes());
    frame
}

/// Accepts WebSockets and sends back the text of every frame. Speaks first.
async fn echo() -> RawUpstream {
    RawUpstream::start(|mut connection, _| async move {
        let head = connection.read_head().await.to_lowercase();
        if !head.contains("upgrade: websocket") || !head.contains("connection: upgrade") {
            connection.send("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n").await;
            return;
        }
        let greeting = text_frame("hello", false);
        let accepted = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        );
        // The first frame in the same write as the head.
        connection.send([accepted.as_bytes(), &greeting].concat()).await;
        while let Some(head) = connection.try_read_exact(6).await {
            let text = connection.read_exact(usize::from(head[1] & 0x7f)).await;
            connection.send(text_frame(&String::from_utf8(text).unwrap(), false)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_shadow_with_body_hooks_is_shown_no_tunnel() {
    let upstream = echo().await;
    let shadow = "shadow = { plugin = \"misbehave.wasm\", config = { request-body = \"replace 3\", response-body = \"replace 3\" } }";
    let gateway = TestGateway::builder()
        .file("plain.wasm", portcullis_test_guests::PLAIN)
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .start(&config(upstream.address(), &["tried"], &policy("tried", "plain", shadow)))
        .await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(HANDSHAKE).await;
    assert_eq!(client.read_response_head().await.status, 101);
    expect_frame(&mut client, "hello").await;
    client.send(text_frame("again", true)).await;
    expect_frame(&mut client, "again").await;
}

async fn expect_frame(client: &mut RawClient, text: &str) {
    let frame = text_frame(text, false);
    assert_eq!(client.read_exact(frame.len()).await, frame);
}

#[tokio::test]
async fn websockets_pass() {
    let upstream = echo().await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(HANDSHAKE).await;
    let reply = client.read_response_head().await;
    assert_eq!(reply.status, 101);
    assert_eq!(reply.header("upgrade").to_lowercase(), "websocket");
    assert_eq!(reply.header("connection").to_lowercase(), "upgrade");
    assert_eq!(reply.header("sec-websocket-accept"), ACCEPT);
    assert_eq!(reply.header("sec-websocket-protocol"), "chat");
    assert_eq!(
        (reply.header("content-length"), reply.header("transfer-encoding")),
        (String::new(), String::new())
    );
    expect_frame(&mut client, "hello").await;
    for text in ["one", "two"] {
        client.send(text_frame(text, true)).await;
        expect_frame(&mut client, text).await;
    }
    drop(client);
    let noted = record(&gateway, "/chat").await;
    assert_eq!((noted["status"].as_u64(), noted["request_bytes"].as_u64()), (Some(101), Some(18)));
    assert_eq!(noted["response_bytes"], 17);
}

#[tokio::test]
async fn what_a_client_sends_before_the_answer_is_not_lost() {
    let upstream = echo().await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send([HANDSHAKE.as_bytes(), &text_frame("early", true)].concat()).await;
    assert_eq!(client.read_response_head().await.status, 101);
    expect_frame(&mut client, "hello").await;
    expect_frame(&mut client, "early").await;
}

#[tokio::test]
async fn any_protocol_may_be_upgraded_to() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        let head = connection.read_head().await.to_lowercase();
        assert!(
            head.contains("\r\nupgrade: x-lines/1") && head.contains("\r\nconnection: upgrade"),
            "{head}"
        );
        connection
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x-lines/1\r\n\r\n")
            .await;
        loop {
            let line = connection.read_until(b"\n").await;
            connection.send(line.to_ascii_uppercase()).await;
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x-lines/1\r\n\r\n").await;
    assert_eq!(client.read_response_head().await.status, 101);
    // What is no HTTP any more is not looked at.
    client.send("get / http/1.1\n").await;
    assert_eq!(client.read_until(b"\n").await, b"GET / HTTP/1.1\n");
}

#[tokio::test]
async fn an_upstream_may_refuse_or_ignore_an_upgrade() {
    let upstream = RawUpstream::start(|mut connection, _| async move {
        while let Some((head, _)) = connection.read_request().await {
            let status = if head.contains("/refused") { "403 Forbidden" } else { "200 OK" };
            connection.send(format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nplain")).await;
        }
    })
    .await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    for (path, status) in [("/refused", 403), ("/ignored", 200)] {
        client.send(HANDSHAKE.replace("/chat?room=1", path)).await;
        let reply = client.read_response().await;
        assert_eq!((reply.status, reply.text().as_str()), (status, "plain"));
    }
    // It is an ordinary connection still.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 200);
}

#[tokio::test]
async fn an_upgrade_to_another_http_is_passed_over() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    for protocol in ["h2c", "h2", "HTTP/2.0", "TLS/1.0, h2c\x01"] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n\
                 HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
            ))
            .await;
        let reply = client.read_response().await;
        assert!(matches!(reply.status, 200 | 400), "{protocol}: {}", reply.head);
    }
    for received in upstream.requests() {
        assert_eq!(
            (received.header("upgrade"), received.header("http2-settings")),
            (String::new(), String::new())
        );
    }
}

#[tokio::test]
async fn either_side_may_close_a_tunnel() {
    for client_closes in [true, false] {
        let (told, mut heard) = tokio::sync::mpsc::channel(1);
        let upstream = RawUpstream::start(move |mut connection, _| {
            let told = told.clone();
            async move {
                connection.read_head().await;
                connection
                    .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
                    .await;
                if client_closes {
                    // An orderly end in one direction leaves the other one open.
                    let all = connection.read_to_end().await;
                    connection.send("the last word").await;
                    told.send(all).await.unwrap();
                } else {
                    connection.send("goodbye").await;
                    connection.finish().await;
                    told.send(connection.read_to_end().await).await.unwrap();
                }
            }
        })
        .await;
        let gateway = Edge::to(upstream.address()).start().await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
        assert_eq!(client.read_response_head().await.status, 101);
        if client_closes {
            client.send("question").await;
            client.finish().await;
            assert_eq!(client.read_to_end().await, b"the last word");
        } else {
            assert_eq!(client.read_to_end().await, b"goodbye");
            client.send("answer").await;
            client.finish().await;
        }
        let expected: &[u8] = if client_closes { b"question" } else { b"answer" };
        assert_eq!(within("the upstream hears it", heard.recv()).await.unwrap(), expected);
        let noted = record(&gateway, "/").await;
        assert!(noted["error"].is_null(), "{noted}");
    }
}

#[tokio::test]
async fn a_tunnel_that_is_reset_ends_on_the_other_side() {
    let upstream = echo().await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(HANDSHAKE).await;
    client.read_response_head().await;
    client.reset();
    let noted = record(&gateway, "/chat").await;
    assert_eq!(noted["status"], 101);
}

#[tokio::test]
async fn a_silent_tunnel_is_closed() {
    let upstream = echo().await;
    let gateway = Edge::to(upstream.address())
        .listener("timeouts = { tunnel-idle = \"300ms\", idle = \"100ms\" }")
        .start()
        .await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(HANDSHAKE).await;
    client.read_response_head().await;
    expect_frame(&mut client, "hello").await;
    assert_eq!(client.read_to_end().await, b"");
    let noted = record(&gateway, "/chat").await;
    assert!(noted["error"].as_str().unwrap().contains("idle"), "{noted}");
}

#[tokio::test]
async fn a_tunnel_lives_no_longer_than_its_route_allows() {
    let upstream = echo().await;
    let gateway = Edge::to(upstream.address()).route("timeout = \"2s\"").start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send(HANDSHAKE).await;
    client.read_response_head().await;
    // However much is said on it.
    loop {
        if client.try_send(text_frame("again", true)).await.is_err()
            || client.try_read_exact(7).await.is_none()
        {
            break;
        }
    }
    let noted = record(&gateway, "/chat").await;
    assert_eq!(noted["error"], "the exchange took longer than the route allows", "{noted}");
    let (_client, response, _send) = extended(&gateway).await;
    let mut body = within("a response", response).await.unwrap().into_body();
    while let Some(Ok(_)) = within("the tunnel's end", body.data()).await {}
}

/// An extended CONNECT (RFC 8441) to a gateway.
async fn extended(gateway: &TestGateway) -> (H2Client, h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let mut client = H2Client::connect(gateway.address("web")).await;
    assert!(client.send.is_extended_connect_protocol_enabled());
    let request = Request::builder()
        .method("CONNECT")
        .uri("http://site.test/chat?room=1")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    let (response, send) = client.send.send_request(request, false).unwrap();
    (client, response, send)
}

#[tokio::test]
async fn websockets_over_http2_reach_an_http1_upstream() {
    let upstream = echo().await;
    let gateway = Edge::to(upstream.address()).start().await;
    let (mut client, response, mut send) = extended(&gateway).await;
    let response = within("a response", response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    let mut body = response.into_body();
    assert_eq!(within("a greeting", body.data()).await.unwrap().unwrap(), text_frame("hello", false));
    send.send_data(text_frame("over", true).into(), false).unwrap();
    assert_eq!(within("an echo", body.data()).await.unwrap().unwrap(), text_frame("over", false));
    // Beside it other streams go on.
    let (other, _) = client.send.send_request(H2Client::get("/plain"), true).unwrap();
    assert_eq!(within("another stream", other).await.unwrap().status(), 426);
    send.send_data(Bytes::new(), true).unwrap();
    let end = within("the end", body.data()).await;
    assert!(end.as_ref().is_none_or(|end| end.as_ref().is_ok_and(Bytes::is_empty)), "{end:?}");
    assert!(body.is_end_stream());
    let noted = record(&gateway, "/chat").await;
    assert_eq!((noted["status"].as_u64(), noted["method"].as_str()), (Some(200), Some("GET")));
}

/// Asks for `/api/doc` by an extended CONNECT with these fields. Gives the answer's status.
async fn ask_extended(gateway: &TestGateway, protocol: &'static str, fields: &[(&str, &str)]) -> u16 {
    let mut client = H2Client::connect(gateway.address("web")).await;
    let mut request = Request::builder().method("CONNECT").uri("http://site.test/api/doc");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.extension(h2::ext::Protocol::from_static(protocol)).body(()).unwrap();
    let (response, _send) = client.send.send_request(request, false).unwrap();
    within("a response", response).await.unwrap().status().as_u16()
}

/// A policy of a route that names GET decides about all that reads like a GET. An extended CONNECT was matched by its
/// own method once, took the next route, and reached the upstream as the GET that the policy refuses.
#[tokio::test]
async fn an_extended_connect_is_matched_and_refused_as_the_get_that_it_stands_for() {
    let h1 = TestUpstream::echo().await;
    let (h2, server) = echo_h2(true, 100).await;
    for (address, line) in [(h1.address(), ""), (h2, "protocol = \"h2\"")] {
        let gateway = Edge::to(address)
            .upstream(line)
            .more(
                "[policies.keys]\nplugin = \"builtin:api-key\"\n\
                 config = { header = \"x-api-key\", keys = [{ name = \"a\", \
                 sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\" }] }\n\
                 [routes.read]\nmatch = { path = \"/api/*\", method = \"GET\" }\nuse = [\"keys\"]\nto = \"app\"\n",
            )
            .start()
            .await;
        for protocol in ["websocket", "foo", "GET"] {
            assert_eq!(ask_extended(&gateway, protocol, &[]).await, 401, "{protocol}, {line}");
        }
        let noted = record(&gateway, "/api/doc").await;
        assert_eq!(
            (noted["method"].as_str(), noted["route"].as_str()),
            (Some("GET"), Some("read")),
            "{line}"
        );
        assert_eq!(ask_extended(&gateway, "websocket", &[("x-api-key", "key")]).await, 200, "{line}");
    }
    // What the client of HTTP/1 asks in this way is refused by the same policy.
    assert!(h1.requests().iter().all(|request| request.method == "GET"), "{:?}", h1.requests());
    assert_eq!(h1.requests().len(), 1);
    server.abort();
}

#[tokio::test]
async fn an_upstream_may_refuse_a_websocket_over_http2() {
    let upstream = RawUpstream::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let (_client, response, _send) = extended(&gateway).await;
    let response = within("a response", response).await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(within("its body", response.into_body().data()).await.unwrap().unwrap(), "no");
}

/// An HTTP/2 upstream that takes extended CONNECT and sends back what it is sent. It takes so many `streams` at once.
async fn echo_h2(enable: bool, streams: u32) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut builder = h2::server::Builder::new();
                builder.max_concurrent_streams(streams);
                if enable {
                    builder.enable_connect_protocol();
                }
                let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let protocol =
                        request.extensions().get::<h2::ext::Protocol>().map(|name| name.as_str().to_owned());
                    let mut body = request.into_body();
                    tokio::spawn(async move {
                        let response = hyper::Response::builder()
                            .header("x-protocol", protocol.as_deref().unwrap_or("none"));
                        let mut send =
                            respond.send_response(response.body(()).unwrap(), protocol.is_none()).unwrap();
                        while let Some(Ok(piece)) = body.data().await {
                            send.send_data(piece, false).unwrap();
                        }
                        drop(send.send_data(Bytes::new(), true));
                    });
                }
            });
        }
    });
    (address, task)
}

#[tokio::test]
async fn websockets_over_http2_reach_an_http2_upstream() {
    let (address, server) = echo_h2(true, 100).await;
    let gateway = Edge::to(address).upstream("protocol = \"h2\"").start().await;
    // The first one goes over a fresh connection, the second over a pooled one.
    for _ in 0..2 {
        let (_client, response, mut send) = extended(&gateway).await;
        let response = within("a response", response).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["x-protocol"].as_bytes()),
            (200, &b"websocket"[..])
        );
        let mut body = response.into_body();
        send.send_data(Bytes::from_static(b"across"), false).unwrap();
        assert_eq!(within("an echo", body.data()).await.unwrap().unwrap(), "across");
        send.send_data(Bytes::new(), true).unwrap();
        while let Some(piece) = within("the end", body.data()).await {
            assert!(piece.unwrap().is_empty());
        }
    }
    server.abort();

    let (address, server) = echo_h2(false, 100).await;
    let gateway = Edge::to(address).upstream("protocol = \"h2\"").start().await;
    let (_client, response, _send) = extended(&gateway).await;
    assert_eq!(within("a response", response).await.unwrap().status(), 502);
    let noted = record(&gateway, "/chat").await;
    assert!(noted["error"].as_str().unwrap().contains("extended CONNECT"), "{noted}");
    server.abort();
}

#[tokio::test]
async fn tunnels_take_room_on_an_http2_connection() {
    let (address, server) = echo_h2(true, 1).await;
    let gateway = Edge::to(address).upstream("protocol = \"h2\"").start().await;
    let (mut client, response, mut send) = extended(&gateway).await;
    let mut body = within("a response", response).await.unwrap().into_body();
    // A further request must not wait for the end of the tunnel, which may be weeks away: it goes over another
    // connection.
    for _ in 0..2 {
        let (other, _) = client.send.send_request(H2Client::get("/plain"), true).unwrap();
        assert_eq!(within("another stream", other).await.unwrap().headers()["x-protocol"], "none");
    }
    send.send_data(Bytes::from_static(b"across"), false).unwrap();
    assert_eq!(within("an echo", body.data()).await.unwrap().unwrap(), "across");
    server.abort();
}

#[tokio::test]
async fn connect_is_not_served() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("CONNECT inside.test:22 HTTP/1.1\r\nHost: inside.test:22\r\n\r\n").await;
    assert_eq!(client.read_response().await.status, 501);
    // Upgrade does not make it something else.
    let mut client = RawClient::connect(gateway.address("web")).await;
    client
        .send("CONNECT inside.test:22 HTTP/1.1\r\nHost: inside.test:22\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(client.read_response().await.status, 501);

    let mut client = H2Frames::connect(gateway.address("web")).await;
    client.send(&H2Frame::headers(1, &[(":method", "CONNECT"), (":authority", "inside.test:22")])).await;
    let answer = client.find(|frame| matches!(frame.kind, 1 | 3 | 7)).await.unwrap();
    // No index of the static table stands for 501, so it is a literal.
    assert!(answer.kind != 1 || answer.payload[0] != 0x88, "{answer:?}");
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn an_upgrade_needs_both_fields_and_no_body() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address()).start().await;
    for (head, what) in [
        ("Upgrade: websocket\r\n", "no Connection"),
        ("Connection: upgrade\r\n", "no Upgrade"),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n", "a body"),
    ] {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n")).await;
        if what == "a body" {
            client.send("ab").await;
        }
        assert_eq!(client.read_response().await.status, 200, "{what}");
        assert_eq!(upstream.last_request().header("upgrade"), "", "{what}");
    }
    eventually("the gateway is well", async || {
        (Http::Two.client(&gateway).await.get("/").await.status == 200).then_some(())
    })
    .await;
}
