//! What is waited for, for how long, and who is at fault when the time is over.

use std::future::{Future, pending};
use std::time::Duration;

use portcullis_policy::{Hook, HookKind, Hooks};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use super::message::{Peer, Received};
use super::network::Reach;
use super::policy::{Scripted, next};
use super::{World, answering, assert_passed, gateway, simulate};

const GET: &str = "GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";
const ONE: &[&str] = &["10.0.0.1:80"];

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An endpoint that reads a request and then does as `serve` says.
fn then<F: Future<Output = ()> + 'static>(serve: impl Fn(Peer) -> F + Copy + 'static) -> Reach {
    Reach::accepts(move |stream| async move {
        let mut peer = Peer::new(stream);
        if peer.request().await.is_some() {
            serve(peer).await;
        }
    })
}

/// Holds the connection open without doing anything.
async fn hold(peer: Peer) {
    pending::<()>().await;
    drop(peer);
}

#[test]
fn an_endpoint_without_an_answer_is_given_up() {
    simulate(async {
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), |_| then(hold));
        let (mut client, begun) = (Peer::new(world.connect()), Instant::now());
        client.send(GET).await;
        assert_eq!(client.response("GET").await.whole().status(), 504);
        assert_passed(begun, seconds(60));
        drop(client);
        world.end().await.has_errors("upstream", 1);
    });
}

#[test]
fn a_response_is_cut_off_when_its_endpoint_falls_silent() {
    simulate(async {
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), |_| {
            then(|mut peer| async move {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
                hold(peer).await;
            })
        });
        let (mut client, begun) = (Peer::new(world.connect()), Instant::now());
        client.send(GET).await;
        let Received::Cut(response) = client.response("GET").await else { panic!("it was not cut off") };
        assert_eq!((response.status(), &*response.body), (200, b"12345".as_slice()));
        assert_passed(begun, seconds(60));
        drop(client);
        world.end().await.has_errors("upstream", 1);
    });
}

#[test]
fn a_response_lives_for_as_long_as_anything_comes() {
    simulate(async {
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), |_| {
            then(|mut peer| async move {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await;
                for _ in 0..5 {
                    sleep(seconds(59)).await;
                    peer.send("x").await;
                }
            })
        });
        let (mut client, begun) = (Peer::new(world.connect()), Instant::now());
        client.send(GET).await;
        assert_eq!(client.response("GET").await.whole().body, b"xxxxx");
        assert_passed(begun, seconds(5 * 59));
        drop(client);
        world.end().await.has_no_errors();
    });
}

#[test]
fn a_route_bounds_the_whole_exchange() {
    simulate(async {
        let config = gateway(ONE, &[], |gateway| gateway.routes[0].timeout = Some(seconds(10)));
        let world = World::new(config, Vec::new(), |_| {
            then(|mut peer| async move {
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                while peer.send("1\r\nx\r\n").await {
                    sleep(seconds(1)).await;
                }
            })
        });
        let (mut client, begun) = (Peer::new(world.connect()), Instant::now());
        client.send(GET).await;
        let Received::Cut(response) = client.response("GET").await else { panic!("it was not cut off") };
        assert!((9..=10).contains(&response.body.len()), "{}", response.body.len());
        assert_passed(begun, seconds(10));
        drop(client);
        world.end().await.has_errors("upstream", 1);
    });
}

/// An endpoint with a response larger than all buffers on its way.
fn large(_: std::net::SocketAddr) -> Reach {
    answering(|_| {
        let mut response = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec();
        response.resize(response.len() + 1_000_000, b'x');
        response
    })
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    simulate(async {
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), large);
        let mut client = Peer::new(world.connect());
        client.send(GET).await;
        sleep(seconds(61)).await;
        let Received::Cut(response) = client.response("GET").await else { panic!("it was not cut off") };
        assert!(response.body.len() < 1_000_000);
        drop(client);
        world.end().await.has_errors("client", 1);
    });
}

#[test]
fn a_client_that_takes_single_bytes_is_cut_off() {
    simulate(async {
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), large);
        let mut client = Peer::new(world.connect());
        client.send(GET).await;
        let (begun, mut byte) = (Instant::now(), [0]);
        // Each piece that is written to its end begins the time anew, and one may lack a few bytes alone.
        while begun.elapsed() < seconds(3 * 60) {
            client.read.read_exact(&mut byte).await.unwrap();
            sleep(seconds(1)).await;
        }
        let (mut rest, mut buffer) = (0, [0; 4096]);
        while let Ok(read @ 1..) = client.read.read(&mut buffer).await {
            rest += read;
        }
        assert!(rest < 1_000_000);
        drop(client);
        world.end().await.has_errors("client", 1);
    });
}

#[test]
fn a_slow_client_that_takes_enough_gets_all() {
    simulate(async {
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), large);
        let mut client = Peer::new(world.connect());
        client.send(GET).await;
        let (mut buffer, mut left) = (vec![0; 8192], 1_000_000);
        let mut head = client.head().await.unwrap();
        left -= client.take_unread(&mut head.body);
        while left > 0 {
            sleep(seconds(50)).await;
            let read = client.read.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{left} bytes are missing");
            left -= read;
        }
        drop(client);
        world.end().await.has_no_errors();
    });
}

#[test]
fn a_client_that_stops_in_its_body_gets_408() {
    simulate(async {
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), |_| then(hold));
        let (mut client, begun) = (Peer::new(world.connect()), Instant::now());
        client.send("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10\r\n\r\n12345").await;
        assert_eq!(client.response("POST").await.whole().status(), 408);
        assert_passed(begun, seconds(60));
        drop(client);
        world.end().await.has_errors("client", 1);
    });
}

#[test]
fn a_head_has_ten_seconds_and_an_idle_connection_a_minute() {
    simulate(async {
        let ok = |_| answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec());
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), ok);
        let (mut slow, begun) = (Peer::new(world.connect()), Instant::now());
        slow.send("GET / HT").await;
        assert_eq!(slow.response("GET").await.whole().status(), 408);
        assert_passed(begun, seconds(10));
        let mut idle = Peer::new(world.connect());
        idle.send(GET).await;
        assert_eq!(idle.response("GET").await.whole().status(), 200);
        let begun = Instant::now();
        assert!(idle.is_at_end().await);
        assert_passed(begun, seconds(60));
        drop((slow, idle));
        world.end().await;
    });
}

#[test]
fn an_endpoint_that_does_not_connect_costs_its_timeout_and_another_is_asked() {
    simulate(async {
        let endpoints = &["10.0.0.1:80", "10.0.0.2:80"];
        let world = World::new(gateway(endpoints, &[], |_| {}), Vec::new(), |address| {
            if address.ip().to_string() == "10.0.0.1" {
                return Reach::Silent;
            }
            answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec())
        });
        let (mut client, begun) = (Peer::new(world.connect()), Instant::now());
        client.send(GET).await;
        assert_eq!(client.response("GET").await.whole().status(), 200);
        assert_passed(begun, seconds(5));
        // The one that is silent is left out now.
        let begun = Instant::now();
        client.send(GET).await;
        assert_eq!(client.response("GET").await.whole().status(), 200);
        assert_passed(begun, Duration::ZERO);
        drop(client);
        world.end().await.has_no_errors();
    });
}

#[test]
fn the_time_of_a_hook_is_not_the_peers() {
    simulate(async {
        let hooks = Hooks::of(&[HookKind::RequestBody, HookKind::ResponseBody]);
        let slow = Scripted::factory("slow", hooks, |hook, _| match hook {
            Hook::RequestBody { .. } | Hook::ResponseBody { .. } => (seconds(90), next().1),
            _ => next(),
        });
        let world = World::new(gateway(ONE, &["slow"], |_| {}), vec![slow], |_| {
            answering(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
        });
        let mut client = Peer::new(world.connect());
        client.send("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\n12345").await;
        assert_eq!(client.response("POST").await.whole().body, b"ok");
        drop(client);
        world.end().await.has_no_errors();
    });
}

#[test]
fn the_end_of_a_drain_is_the_gateways_doing() {
    simulate(async {
        let world = World::new(gateway(ONE, &[], |_| {}), Vec::new(), |_| {
            then(|mut peer| async move {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
                hold(peer).await;
            })
        });
        let mut client = Peer::new(world.connect());
        client.send(GET).await;
        sleep(seconds(1)).await;
        world.end_drain();
        assert!(matches!(client.response("GET").await, Received::Cut(_)));
        drop(client);
        world.end().await.has_errors("gateway", 1);
    });
}
