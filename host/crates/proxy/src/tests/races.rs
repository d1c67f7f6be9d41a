//! What happens when two sides act at the same moment, or one of them goes away in the midst.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_model::UpstreamProtocol;
use portcullis_policy::{FaultKind, Hook, HookKind, Hooks};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::message::{Peer, Received};
use super::network::Reach;
use super::policy::{Scripted, next};
use super::{World, answering, assert_passed, gateway, simulate};

const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const ONE: &[&str] = &["10.0.0.1:80"];

/// An endpoint each of whose connections answers one request and closes when the next one is there.
fn closes_on_the_second(connections: Rc<Cell<u32>>) -> Reach {
    Reach::accepts(move |stream| {
        connections.set(connections.get() + 1);
        async move {
            let mut peer = Peer::new(stream);
            if peer.request().await.is_some() && peer.send(OK).await {
                // The head of the next one is on its way while this closes.
                let _second = peer.head().await;
            }
        }
    })
}

#[test]
fn a_request_into_a_closing_connection_is_sent_again_if_it_may_be() {
    for (method, status, connections) in [("GET", 200, 2), ("PUT", 200, 2), ("POST", 502, 1)] {
        simulate(async move {
            let opened = Rc::new(Cell::new(0));
            let counted = opened.clone();
            let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), move |_| {
                closes_on_the_second(counted.clone())
            });
            let mut client = Peer::new(world.connect());
            client.send(GET).await;
            assert_eq!(client.response("GET").await.whole().status(), 200);
            client
                .send(format!("{method} / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 4\r\n\r\nbody"))
                .await;
            assert_eq!(client.response(method).await.whole().status(), status, "{method}");
            assert_eq!(opened.get(), connections, "{method}");
            drop(client);
            world.end().await;
        });
    }
}

#[test]
fn a_refused_request_goes_whole_to_the_next_endpoint() {
    simulate(async {
        let endpoints = &["10.0.0.1:80", "10.0.0.2:80"];
        let seen = Rc::new(RefCell::new(Vec::new()));
        let noted = seen.clone();
        let world = World::new(gateway(endpoints, &[], |_| {}), Vec::new(), move |address| {
            if address.ip().to_string() == "10.0.0.1" {
                return Reach::Refuses;
            }
            let noted = noted.clone();
            answering(move |request| {
                noted.borrow_mut().push(request.body.clone());
                OK.into()
            })
        });
        let mut client = Peer::new(world.connect());
        let body = "x".repeat(100_000);
        let head = format!("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: {}\r\n\r\n", body.len());
        client.send(head + &body).await;
        assert_eq!(client.response("POST").await.whole().status(), 200);
        assert_eq!(*seen.borrow(), [body.into_bytes()]);
        drop(client);
        world.end().await.has_no_errors();
    });
}

#[test]
fn a_hook_that_is_under_way_when_a_connection_turns_out_stale_is_finished() {
    simulate(async {
        let hooks = Hooks::of(&[HookKind::RequestBody]);
        let slow = Scripted::factory("slow", hooks, |hook, _| match hook {
            Hook::RequestBody { .. } => (Duration::from_secs(1), next().1),
            _ => next(),
        });
        let (opened, seen) = (Cell::new(0), Rc::new(RefCell::new(Vec::new())));
        let noted = seen.clone();
        let world = World::new(gateway(ONE, &["slow"], |_| {}), vec![slow], move |_| {
            opened.set(opened.get() + 1);
            if opened.get() > 1 {
                let noted = noted.clone();
                return answering(move |request| {
                    noted.borrow_mut().push(request.body.clone());
                    OK.into()
                });
            }
            Reach::accepts(|stream| async move {
                let mut peer = Peer::new(stream);
                if peer.request().await.is_some() && peer.send(OK).await {
                    let _second = peer.head().await;
                    // The second piece is with the policy when this closes.
                    sleep(Duration::from_secs(1)).await;
                }
            })
        });
        let mut client = Peer::new(world.connect());
        client.send(GET).await;
        assert_eq!(client.response("GET").await.whole().status(), 200);
        let head = "PUT / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n";
        client.send(format!("{head}5\r\nfirst\r\n")).await;
        sleep(Duration::from_millis(1500)).await;
        client.send("6\r\nsecond\r\n0\r\n\r\n").await;
        assert_eq!(client.response("PUT").await.whole().status(), 200);
        assert_eq!(*seen.borrow(), [b"firstsecond".to_vec()]);
        drop(client);
        world.end().await.has_no_errors();
    });
}

#[test]
fn a_hook_that_fails_when_its_request_is_sent_again_leaves_no_whole_request() {
    simulate(async {
        let hooks = Hooks::of(&[HookKind::RequestBody]);
        let fails = Scripted::factory("fails", hooks, |hook, _| match hook {
            Hook::RequestBody { chunk, .. } if chunk.starts_with(b"second") => {
                (Duration::from_secs(1), Err(FaultKind::Trap))
            }
            Hook::RequestBody { .. } => (Duration::from_secs(1), next().1),
            _ => next(),
        });
        let (opened, whole) = (Cell::new(0), Rc::new(Cell::new(0)));
        let counted = whole.clone();
        let world = World::new(gateway(ONE, &["fails"], |_| {}), vec![fails], move |_| {
            opened.set(opened.get() + 1);
            let (first, counted) = (opened.get() == 1, counted.clone());
            Reach::accepts(move |stream| {
                let counted = counted.clone();
                async move {
                    let mut peer = Peer::new(stream);
                    if !first {
                        let is_whole = matches!(peer.request().await, Some(Received::Whole(_)));
                        counted.set(counted.get() + u32::from(is_whole));
                    } else if peer.request().await.is_some() && peer.send(OK).await {
                        let _second = peer.head().await;
                        // The second piece is with the policy when this closes.
                        sleep(Duration::from_secs(1)).await;
                    }
                }
            })
        });
        let mut client = Peer::new(world.connect());
        client.send(GET).await;
        assert_eq!(client.response("GET").await.whole().status(), 200);
        let head = "PUT / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n";
        client.send(format!("{head}5\r\nfirst\r\n")).await;
        sleep(Duration::from_millis(1500)).await;
        client.send("6\r\nsecond\r\n").await;
        assert_eq!(client.response("PUT").await.whole().status(), 500);
        drop(client);
        world.end().await.has_errors("policy", 1);
        assert_eq!(whole.get(), 0, "a request that a policy has stopped was taken for whole");
    });
}

#[test]
fn an_early_response_arrives_while_a_hook_runs_and_the_endpoint_has_no_room() {
    simulate(async {
        let hooks = Hooks::of(&[HookKind::RequestBody]);
        let slow = Scripted::factory("slow", hooks, |hook, _| match hook {
            Hook::RequestBody { .. } => (Duration::from_secs(1), next().1),
            _ => next(),
        });
        let config =
            gateway(ONE, &["slow"], |gateway| gateway.upstreams[0].protocol = UpstreamProtocol::Http2);
        let world = World::new(config, vec![slow], |_| {
            Reach::accepts(|stream| async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::task::spawn_local(async move {
                        // Its window is full by then, because it reads nothing.
                        sleep(Duration::from_secs(20)).await;
                        let mut send = respond.send_response(http::Response::new(()), false).unwrap();
                        send.send_data("ok".into(), true).unwrap();
                        pending::<()>().await;
                        drop(request);
                    });
                }
            })
        });
        let Peer { mut reader, mut write } = Peer::new(world.connect());
        // Each chunk is smaller than a frame: the next one is with the policy while it waits for room.
        let chunk = format!("2710\r\n{}\r\n", "x".repeat(10_000));
        let head = "POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n";
        let sending = async {
            // The gateway does not read all of it.
            let _closed = write.write_all((head.to_owned() + &chunk.repeat(20)).as_bytes()).await.is_err();
        };
        let begun = Instant::now();
        let receiving = tokio::time::timeout(Duration::from_secs(60), reader.response("POST"));
        let (response, ()) = tokio::join!(receiving, sending);
        assert_eq!(response.expect("the exchange goes on").whole().body, b"ok");
        assert_passed(begun, Duration::from_secs(21));
        drop((reader, write));
        world.end().await;
    });
}

#[test]
fn an_early_response_arrives_whole_while_the_client_sends() {
    simulate(async {
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), |_| {
            Reach::accepts(|stream| async move {
                let mut peer = Peer::new(stream);
                if peer.head().await.is_some() {
                    peer.send(
                        "HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge",
                    )
                    .await;
                }
            })
        });
        let mut client = Peer::new(world.connect());
        client.send("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 1000000\r\n\r\n").await;
        let mut left = 1_000_000;
        // As clients do that write all before they read.
        while left > 0 && client.send(vec![b'x'; 10_000]).await {
            left -= 10_000;
            sleep(Duration::from_millis(1)).await;
        }
        let response = client.response("POST").await.whole();
        assert_eq!((response.status(), &*response.body), (413, b"large".as_slice()));
        assert!(client.is_at_end().await, "what is left of the request hides where the next one begins");
        drop(client);
        world.end().await;
    });
}

#[test]
fn a_client_that_goes_away_ends_its_exchange_at_once() {
    simulate(async {
        let (ended, noted) = (Rc::new(Cell::new(None)), Arc::new(AtomicU32::new(0)));
        let (ending, noting) = (ended.clone(), noted.clone());
        let hooks = Hooks::of(&[HookKind::Completed]);
        let log = Scripted::factory("log", hooks, move |hook, _| {
            if let Hook::Completed(outcome) = hook {
                noting.store(outcome.status.into(), Ordering::Relaxed);
            }
            next()
        });
        let world = World::new(gateway(ONE, &["log"], |_| {}), vec![log], move |_| {
            let ending = ending.clone();
            Reach::accepts(move |stream| {
                let ending = ending.clone();
                async move {
                    let mut peer = Peer::new(stream);
                    let _request = peer.request().await;
                    assert!(peer.is_at_end().await);
                    ending.set(Some(Instant::now()));
                }
            })
        });
        let mut client = Peer::new(world.connect());
        client.send(GET).await;
        sleep(Duration::from_secs(3)).await;
        let gone = Instant::now();
        drop(client);
        world.end().await.has_errors("client", 1);
        assert_eq!(ended.get().map(|ended| ended.duration_since(gone)), Some(Duration::ZERO));
        assert_eq!(noted.load(Ordering::Relaxed), 499);
    });
}

#[test]
fn what_was_cut_is_never_taken_for_whole() {
    // How the endpoint frames what it cuts, with which version the client asks, and how the endpoint ends.
    let heads = ["content-length: 10\r\n", "transfer-encoding: chunked\r\n", ""];
    for (head, version, resets) in heads
        .into_iter()
        .flat_map(|head| ["1.0", "1.1"].map(|version| (head, version)))
        .flat_map(|(head, version)| [true, false].map(|resets| (head, version, resets)))
    {
        // An orderly end behind a body without a length is the end of that body.
        if head.is_empty() && !resets {
            continue;
        }
        simulate(async move {
            let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), move |_| {
                Reach::accepts(move |stream| async move {
                    let mut peer = Peer::new(stream);
                    let _request = peer.request().await;
                    let body = if head.contains("chunked") { "5\r\n12345\r\n" } else { "12345" };
                    peer.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}")).await;
                    sleep(Duration::from_secs(1)).await;
                    peer.close(resets);
                })
            });
            let mut client = Peer::new(world.connect());
            client.send(format!("GET / HTTP/{version}\r\nhost: a.example\r\n\r\n")).await;
            let Received::Cut(response) = client.response("GET").await else {
                panic!("{head:?} to HTTP/{version} was taken for whole")
            };
            assert_eq!(response.body, b"12345");
            drop(client);
            world.end().await.has_errors("upstream", 1);
        });
    }
}

#[test]
fn a_policy_that_fails_in_a_body_cuts_it_off_and_is_at_fault() {
    simulate(async {
        let hooks = Hooks::of(&[HookKind::ResponseBody]);
        let failing = Scripted::factory("failing", hooks, |hook, _| match hook {
            Hook::ResponseBody { chunk, .. } if chunk.starts_with(b"second") => {
                (Duration::ZERO, Err(FaultKind::Trap))
            }
            _ => next(),
        });
        let world = World::new(gateway(ONE, &["failing"], |_| {}), vec![failing], |_| {
            Reach::accepts(|stream| async move {
                let mut peer = Peer::new(stream);
                let _request = peer.request().await;
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nfirst").await;
                sleep(Duration::from_secs(1)).await;
                peer.send("second").await;
                pending::<()>().await;
            })
        });
        let (mut client, begun) = (Peer::new(world.connect()), Instant::now());
        client.send(GET).await;
        let Received::Cut(response) = client.response("GET").await else { panic!("it was not cut off") };
        assert_eq!(response.body, b"first");
        assert_passed(begun, Duration::from_secs(1));
        drop(client);
        world.end().await.has_errors("policy", 1);
    });
}
