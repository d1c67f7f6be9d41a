//! Which endpoint an exchange goes to, and what happens when one fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Method, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::edge::{Edge, Http};
use crate::harness::{Answer, Pieces, RawUpstream, TestGateway, TestUpstream, eventually, portcullis_in};
use crate::setup::{config, policy, record};

/// Returns an address without a listener. The socket keeps the port from others, and refuses.
async fn refusing() -> (SocketAddr, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// How many of `count` requests each upstream answered, over connections that land on all workers.
async fn spread(gateway: &TestGateway, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for at in 0..count {
        let version = if at % 2 == 0 { Http::One } else { Http::Two };
        let reply = version.client(gateway).await.get("/").await;
        *answers.entry(reply.text()).or_default() += 1;
    }
    answers
}

#[tokio::test]
async fn round_robin_keeps_to_the_weights_over_all_workers() {
    let (a, b, c) =
        (TestUpstream::named("a").await, TestUpstream::named("b").await, TestUpstream::named("c").await);
    let gateway = Edge::to_all([
        format!("{{ address = \"{}\", weight = 3 }}", a.address()),
        format!("{{ address = \"{}\", weight = 2 }}", b.address()),
        c.address().to_string(),
    ])
    .start()
    .await;
    for _ in 0..3 {
        let expected = [("a", 6), ("b", 4), ("c", 2)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(spread(&gateway, 12).await, BTreeMap::from(expected));
    }
}

#[tokio::test]
async fn round_robin_is_exact_under_load() {
    let (a, b) = (TestUpstream::named("a").await, TestUpstream::named("b").await);
    let gateway =
        Edge::to_all([format!("{{ address = \"{}\", weight = 3 }}", a.address()), b.address().to_string()])
            .start()
            .await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let mut client = Http::One.client(&gateway).await;
        tasks.spawn(async move {
            for _ in 0..50 {
                assert_eq!(client.get("/").await.status, 200);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!((a.requests().len(), b.requests().len()), (300, 100));
}

#[tokio::test]
async fn requests_with_the_same_key_go_to_the_same_endpoint() {
    let upstreams =
        [TestUpstream::named("a").await, TestUpstream::named("b").await, TestUpstream::named("c").await];
    let endpoints: Vec<String> = upstreams.iter().map(|upstream| upstream.address().to_string()).collect();
    let gateway = Edge::to_all(endpoints.clone())
        .upstream("balance = { hash = { header = \"X-User\" } }")
        .start()
        .await;
    let mut homes = BTreeMap::new();
    for turn in 0..3 {
        for user in 0..30 {
            // Over new connections, which land on any worker.
            let mut client = if user % 2 == 0 { Http::One } else { Http::Two }.client(&gateway).await;
            let name = user.to_string();
            let reply = client.send(Method::GET, "/", &[("x-user", name.as_str())], "").await;
            let home = homes.entry(user).or_insert_with(|| reply.text());
            assert_eq!((reply.status, &reply.text()), (200, &*home), "turn {turn} of user {user}");
        }
    }
    let used: std::collections::BTreeSet<&String> = homes.values().collect();
    assert_eq!(used.len(), 3, "{homes:?}");

    // A reload that removes one moves its users only.
    let config = std::fs::read_to_string(gateway.dir().join("portcullis.toml")).unwrap();
    gateway.write_config_and_wait(&config.replace(&format!("\"{}\", ", endpoints[0]), "")).await;
    for (user, home) in &homes {
        let name = user.to_string();
        let mut client = Http::One.client(&gateway).await;
        let reply = client.send(Method::GET, "/", &[("x-user", name.as_str())], "").await.text();
        assert!(reply != "a" && (reply == *home || home == "a"), "user {user}: from {home} to {reply}");
    }
}

/// Answers with a name; a POST is held until a permit is there.
async fn holding(name: &'static str, open: &Arc<Semaphore>) -> TestUpstream {
    let open = Arc::clone(open);
    TestUpstream::streaming_h1(move |request| {
        let open = Arc::clone(&open);
        async move {
            if request.method() == Method::POST {
                open.acquire().await.unwrap().forget();
            }
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move { pieces.send(name).await });
            Response::new(body.boxed())
        }
    })
    .await
}

#[tokio::test]
async fn least_requests_prefers_the_endpoint_with_less_to_do() {
    let open = Arc::new(Semaphore::new(0));
    let (a, b) = (holding("a", &open).await, holding("b", &open).await);
    let gateway = Edge::to_all([a.address().to_string(), b.address().to_string()])
        .upstream("balance = \"least-requests\"")
        .start()
        .await;
    let mut busy = Http::One.client(&gateway).await;
    let held = tokio::spawn(async move { busy.send(Method::POST, "/", &[], "").await.text() });
    let posts = |upstream: &TestUpstream| {
        upstream.requests().iter().filter(|request| request.method == Method::POST).count()
    };
    eventually("a request is held", async || (posts(&a) + posts(&b) == 1).then_some(())).await;
    let idle = if posts(&a) == 1 { "b" } else { "a" };
    // One connection: its next request comes when the last one counts no more.
    let mut client = Http::One.client(&gateway).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), idle);
    }
    open.add_permits(1);
    assert_ne!(held.await.unwrap(), idle);
    // Both are idle again: both are used.
    assert_eq!(spread(&gateway, 20).await.len(), 2);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over_left_out_and_let_back_in() {
    let (address, socket) = refusing().await;
    let other = TestUpstream::named("other").await;
    let gateway = Edge::to_all([address.to_string(), other.address().to_string()])
        .upstream("ejection = { duration = \"5s\" }")
        .start()
        .await;
    let mut client = Http::One.client(&gateway).await;
    for _ in 0..4 {
        assert_eq!(client.get("/tried").await.text(), "other");
    }
    let line =
        gateway.wait_for_log("the endpoint is left out", |line| line.message.contains("left out")).await;
    assert_eq!(line.text("endpoint"), Some(address.to_string().as_str()));
    assert_eq!((line.text("upstream"), line.level.as_str()), (Some("app"), "WARN"));
    let expected =
        format!("endpoint {address} of upstream `app` left out for 5s: connection refused; 1 of 2 left");
    assert_eq!(line.message, expected);
    let status = portcullis_in(gateway.dir(), ["status", "-c", "portcullis.toml"]).await;
    let row = status.stdout.lines().find(|line| line.contains(&address.to_string())).unwrap_or_default();
    assert!(row.contains("left out for") && row.ends_with(": connection refused"), "{}", status.stdout);
    // A body that nothing was sent of goes along.
    let body = client.send(Method::POST, "/", &[], "body").await;
    assert_eq!((body.status, &*other.last_request().body), (200, &b"body"[..]));

    // It comes back at the same address.
    let listener = socket.listen(16).unwrap();
    let server = tokio::spawn(serve(listener));
    eventually("it is used again", async || (client.get("/").await.text() == "back").then_some(())).await;
    gateway.wait_for_log("the endpoint is back", |line| line.message.ends_with("is back")).await;
    server.abort();
}

async fn serve(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Full::new(
                    bytes::Bytes::from("back"),
                )))
            });
            let stream = hyper_util::rt::TokioIo::new(stream);
            drop(hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await);
        });
    }
}

#[tokio::test]
async fn attempts_are_counted_and_bounded() {
    let (a, _a) = refusing().await;
    let (b, _b) = refusing().await;
    let good = TestUpstream::named("good").await;
    let all = [a.to_string(), b.to_string(), good.address().to_string()];
    // Weights send the first request to the two that refuse.
    let weighted = [
        format!("{{ address = \"{a}\", weight = 100 }}"),
        format!("{{ address = \"{b}\", weight = 90 }}"),
        good.address().to_string(),
    ];
    let gateway = Edge::to_all(weighted.clone()).start().await;
    assert_eq!(Http::One.client(&gateway).await.get("/three").await.text(), "good");
    let noted = record(&gateway, "/three").await;
    assert_eq!((noted["attempts"].as_u64(), noted["endpoint"].as_str()), (Some(3), Some(all[2].as_str())));

    let gateway = Edge::to_all(weighted).route("attempts = 1").start().await;
    assert_eq!(Http::One.client(&gateway).await.get("/one").await.status, 502);
    assert_eq!(record(&gateway, "/one").await["attempts"], 1);
}

#[tokio::test]
async fn a_retry_budget_bounds_what_is_tried_again() {
    let (down, _down) = refusing().await;
    let good = TestUpstream::named("good").await;
    let gateway = Edge::to_all([down.to_string(), good.address().to_string()])
        .server("metrics = \"127.0.0.1:0\"")
        .upstream("ejection = { failures = 0 }\nretry-budget = \"1%\"")
        .start()
        .await;
    let mut client = Http::One.client(&gateway).await;
    // A request takes one turn and its retry the other, so that each meets the endpoint that refuses first. A hundred
    // retries at once are always allowed.
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status, 200);
    }
    eventually("the budget is used up", async || (client.get("/refused").await.status == 502).then_some(()))
        .await;
    let refused = |line: &str| line.contains("\"status\":502");
    let line = gateway.wait_for_access_line("a record of the refused retry", refused).await;
    assert!(line.contains("\"attempts\":1"), "{line}");
    let page = crate::metrics::page(&gateway).await;
    assert!(page.contains("portcullis_upstream_retries_refused_total{upstream=\"app\"} 1\n"), "{page}");
    // First attempts are not retries, so the endpoint that answers has its turn.
    let statuses = [client.get("/").await.status, client.get("/").await.status];
    assert!(statuses.contains(&200), "{statuses:?}");
}

#[tokio::test]
async fn with_every_endpoint_down_clients_are_told_so() {
    let (a, _a) = refusing().await;
    let (b, _b) = refusing().await;
    let gateway = Edge::to_all([a.to_string(), b.to_string()]).start().await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for _ in 0..2 {
            // All are left out by now. Asking one of them is better than a refusal that is certain.
            let reply = client.get("/").await;
            assert_eq!((reply.status, reply.text().is_empty()), (502, false));
        }
    }
    let reply = Http::One.client(&gateway).await.get("/left-out").await;
    assert_eq!(reply.status, 502);
    assert!(record(&gateway, "/left-out").await["error"].is_string());
}

#[tokio::test]
async fn a_failure_behind_the_head_is_not_tried_again() {
    let cut = RawUpstream::start(|mut connection, _| async move {
        connection.read_request().await;
    })
    .await;
    let good = TestUpstream::h1(|_| Answer::text("good")).await;
    let gateway = Edge::to_all([
        format!("{{ address = \"{}\", weight = 100 }}", cut.address()),
        good.address().to_string(),
    ])
    .upstream("ejection = { failures = 0 }")
    .start()
    .await;
    // The request was sent: it may have been acted on.
    assert_eq!(Http::One.client(&gateway).await.send(Method::POST, "/", &[], "pay").await.status, 502);
    assert!(good.requests().is_empty());
}

#[tokio::test]
async fn an_endpoint_whose_name_moves_is_followed_while_requests_flow() {
    for version in [Http::One, Http::Two] {
        let [before, after] = TestUpstream::named_pair(["before", "after"]).await;
        let endpoint = format!("app.test:{}", before.address().port());
        let gateway = Edge::to_all([endpoint])
            .one_worker()
            .upstream("timeouts = { pool-idle = \"1h\" }")
            .hosts("127.0.0.1 localhost app.test\n")
            .start()
            .await;
        let mut client = version.client(&gateway).await;
        assert_eq!(client.get("/").await.text(), "before");
        assert_eq!(client.get("/").await.text(), "before");
        assert_eq!(before.connections(), 1, "the connection is kept");

        gateway.set_hosts("127.0.0.1 localhost\n127.0.0.2 app.test\n");
        eventually("requests go to the new address", async || {
            let reply = client.get("/").await;
            assert_eq!(reply.status, 200, "no request is lost on the way");
            (reply.text() == "after").then_some(())
        })
        .await;
        eventually("the connection to the old address is closed", async || {
            (before.open_connections() == 0).then_some(())
        })
        .await;
        for _ in 0..5 {
            assert_eq!(client.get("/").await.text(), "after");
        }
        assert_eq!(after.connections(), 1);
    }
}

/// Answers with a name, after as long as `slow` says.
async fn paced(name: &'static str, slow: &Arc<AtomicU64>) -> TestUpstream {
    let slow = Arc::clone(slow);
    TestUpstream::streaming_h1(move |_| {
        let slow = Duration::from_millis(slow.load(Ordering::SeqCst));
        async move {
            tokio::time::sleep(slow).await;
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move { pieces.send(name).await });
            Response::new(body.boxed())
        }
    })
    .await
}

#[tokio::test]
async fn peak_ewma_prefers_the_endpoint_that_answers_sooner() {
    let (slow, quick) = (Arc::new(AtomicU64::new(300)), Arc::new(AtomicU64::new(0)));
    let (a, b) = (paced("slow", &slow).await, paced("quick", &quick).await);
    let gateway = Edge::to_all([a.address().to_string(), b.address().to_string()])
        .upstream("balance = \"peak-ewma\"")
        .start()
        .await;
    let answers = spread(&gateway, 40).await;
    // Each is tried once; from then on the time of the slow one is known.
    assert!(answers["slow"] <= 3 && answers["quick"] >= 37, "{answers:?}");
    let status = portcullis_in(gateway.dir(), ["status", "-c", "portcullis.toml"]).await;
    let row = status.stdout.lines().find(|line| line.contains(&a.address().to_string())).unwrap_or_default();
    assert!(row.contains("healthy, answers in "), "{}", status.stdout);
}

#[tokio::test]
async fn a_backup_is_used_while_the_others_are_left_out() {
    let (down, _down) = refusing().await;
    let (spare, main) = (TestUpstream::named("spare").await, TestUpstream::named("main").await);
    let backup = format!("{{ address = \"{}\", priority = 1 }}", spare.address());
    let gateway = Edge::to_all([backup.clone(), down.to_string()]).start().await;
    let mut client = Http::One.client(&gateway).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "spare");
    }
    let arguments = ["explain", "-c", "portcullis.toml", "GET", "/", "--live"];
    let explained = portcullis_in(gateway.dir(), arguments).await.stdout;
    assert!(explained.contains(&format!("> {}  weight 1, backup 1, host", spare.address())), "{explained}");
    let status = portcullis_in(gateway.dir(), ["status", "-c", "portcullis.toml"]).await.stdout;
    assert!(status.contains("backup 1, healthy"), "{status}");

    let config = std::fs::read_to_string(gateway.dir().join("portcullis.toml")).unwrap();
    let config = config.replace(&down.to_string(), &main.address().to_string());
    gateway.write_config_and_wait(&config).await;
    assert_eq!(spread(&gateway, 10).await, BTreeMap::from([("main".to_owned(), 10)]));
}

#[tokio::test]
async fn a_cookie_decides_until_its_endpoint_is_busy() {
    let open = Arc::new(Semaphore::new(0));
    let (a, b) = (holding("a", &open).await, holding("b", &open).await);
    let gateway = Edge::to_all([a.address().to_string(), b.address().to_string()])
        .upstream("balance = { hash = { cookie = \"session\" }, load-max = \"125%\" }")
        .start()
        .await;
    let cookie = [("cookie", "theme=dark; session=42")];
    let mut client = Http::One.client(&gateway).await;
    let home = client.get_with("/", &cookie).await.text();
    for _ in 0..10 {
        assert_eq!(client.get_with("/", &cookie).await.text(), home);
    }
    let mut held = JoinSet::new();
    for count in 1..=4 {
        let mut busy = Http::Two.client(&gateway).await;
        held.spawn(async move { busy.send(Method::POST, "/", &cookie, "").await.text() });
        let posts = || {
            let of = |upstream: &TestUpstream| {
                upstream.requests().iter().filter(|request| request.method == Method::POST).count()
            };
            of(&a) + of(&b)
        };
        eventually("the request is held", async || (posts() == count).then_some(())).await;
    }
    open.add_permits(4);
    let mut answers = BTreeMap::new();
    while let Some(answer) = held.join_next().await {
        *answers.entry(answer.unwrap()).or_insert(0) += 1;
    }
    // Of three a share is 1.5 and a quarter more is less than 2, so the third goes to the other one; of four it is 2.5.
    assert_eq!((answers.len(), answers[&home]), (2, 3), "{answers:?}");
}

#[tokio::test]
async fn an_endpoint_that_a_reload_adds_starts_slowly() {
    let (a, b) = (TestUpstream::named("a").await, TestUpstream::named("b").await);
    let gateway = Edge::to_all([a.address().to_string()]).upstream("slow-start = \"1h\"").start().await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/").await.text(), "a");
    let config = std::fs::read_to_string(gateway.dir().join("portcullis.toml")).unwrap();
    let both = format!("\"{}\", \"{}\"", a.address(), b.address());
    gateway.write_config_and_wait(&config.replace(&format!("\"{}\"", a.address()), &both)).await;
    let mut new = 0;
    for _ in 0..400 {
        new += usize::from(client.get("/").await.text() == "b");
    }
    // A tenth of its share is 20.
    assert!((1..80).contains(&new), "{new}");
}

#[tokio::test]
async fn the_key_of_a_policy_decides_whatever_the_upstream_balances_by() {
    let upstreams =
        [TestUpstream::named("a").await, TestUpstream::named("b").await, TestUpstream::named("c").await];
    let endpoints = upstreams.each_ref().map(|upstream| upstream.address().to_string());
    for balance in ["\"round-robin\"", "\"least-requests\"", "{ hash = \"path\" }"] {
        let policies = policy("edits", "edits", "")
            + &policy("late", "late_edits", "config = { request-body = \"collect; if alice; key alice\" }");
        let text = config(upstreams[0].address(), &["edits", "late"], &policies)
            .replace(&format!("[\"{}\"]", endpoints[0]), &format!("{endpoints:?}\nbalance = {balance}"));
        let gateway = TestGateway::builder()
            .file("edits.wasm", portcullis_test_guests::EDITS)
            .file("late_edits.wasm", portcullis_test_guests::LATE_EDITS)
            .start(&text)
            .await;
        let mut owners = BTreeMap::new();
        for key in ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"] {
            let edit = format!("request.set-endpoint-key {key}");
            for at in 0..6 {
                let version = if at % 2 == 0 { Http::One } else { Http::Two };
                let path = format!("/{at}");
                let reply = version.client(&gateway).await.get_with(&path, &[("x-edit", &edit)]).await;
                let owner = owners.entry(key).or_insert_with(|| reply.text());
                assert_eq!(*owner, reply.text(), "{key} by {balance}");
            }
        }
        let used: std::collections::BTreeSet<&String> = owners.values().collect();
        assert!(used.len() > 1, "{owners:?}");
        // What is in a body can be the key too.
        for at in 0..4 {
            let version = if at % 2 == 0 { Http::One } else { Http::Two };
            let reply = version
                .client(&gateway)
                .await
                .send(Method::POST, &format!("/b{at}"), &[], "I am alice")
                .await;
            assert_eq!(reply.text(), owners["alice"]);
        }
    }
}

#[tokio::test]
async fn the_requests_of_a_key_whose_endpoint_is_gone_go_to_another() {
    let (a, (gone, _socket)) = (TestUpstream::named("a").await, refusing().await);
    let text = config(a.address(), &["edits"], &policy("edits", "edits", ""))
        .replace(&format!("[\"{}\"]", a.address()), &format!("[\"{}\", \"{gone}\"]", a.address()));
    let gateway = TestGateway::builder().file("edits.wasm", portcullis_test_guests::EDITS).start(&text).await;
    let mut client = Http::One.client(&gateway).await;
    for key in 0..20 {
        let reply = client.get_with("/", &[("x-edit", &format!("request.set-endpoint-key {key}"))]).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "a"), "{key}");
    }
}
