//! A plugin is swapped over and over under load: no request fails, and nothing of a version stays behind.
//!
//! How often is `PORTCULLIS_SWAPS`; docs/rollouts.md has the figures of ten thousand.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Response};
use tokio::task::JoinHandle;

use crate::faults::resident_kib;
use crate::harness::{TestClient, TestGateway, TestUpstream, eventually};
use crate::rollouts::{measured, metric, rollout};
use crate::setup::{config, data, policy, streamed};

const V1: &[u8] = portcullis_test_guests::VERSION_1;
const V2: &[u8] = portcullis_test_guests::VERSION_2;

/// As many as take some seconds: an image of a configured instance is made for each of the second.
const SWAPS: [(&str, usize); 2] = [("worker", 120), ("exchange", 40)];
/// What the process may have grown by from the middle to the end: a version that stays behind is 64 KiB at the very
/// least, and the allocator's own ups and downs are some MiB.
const GROWTH_KIB_MAX: u64 = 16 << 10;

/// Clients that ask all the time, each over one connection that it never makes again.
#[derive(Default)]
struct Load {
    stop: Rc<Cell<bool>>,
    asked: Rc<Cell<u64>>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
}

impl Load {
    fn client(&self, mut client: TestClient) {
        let (stop, asked) = (self.stop.clone(), self.asked.clone());
        self.tasks.borrow_mut().push(tokio::task::spawn_local(async move {
            while !stop.get() {
                let sent = client.try_send(Method::POST, "/", &[], "body").await;
                let reply = sent.expect("a request failed, or its connection was closed");
                assert_eq!((reply.status, reply.text()), (200, "body".into()));
                let version = reply.header("x-version");
                assert!(["v1", "v2"].contains(&version.as_str()), "{reply:?}");
                assert_eq!(version, reply.header("x-request-version"), "one version for both heads");
                asked.set(asked.get() + 1);
                tokio::task::yield_now().await;
            }
        }));
    }

    async fn end(self) -> u64 {
        self.stop.set(true);
        for task in self.tasks.into_inner() {
            task.await.unwrap();
        }
        self.asked.get()
    }
}

/// Answers with the request's body, and with what the policy wrote into its head.
async fn echoing() -> TestUpstream {
    TestUpstream::streaming_h1(|request| async {
        let version = request.headers()["x-version"].clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut response = Response::new(Full::new(body).boxed_unsync());
        response.headers_mut().insert("x-request-version", version);
        response
    })
    .await
}

#[tokio::test]
async fn of_a_plugin_under_load_leave_nothing_behind() {
    let wanted = std::env::var("PORTCULLIS_SWAPS").ok().map(|swaps| swaps.parse().expect("a number"));
    for (isolation, swaps) in SWAPS {
        let swaps = wanted.unwrap_or(swaps);
        tokio::task::LocalSet::new().run_until(swap_over_and_over(isolation, swaps)).await;
    }
}

#[expect(clippy::print_stdout, reason = "figures are for whoever asked for a soak")]
async fn swap_over_and_over(isolation: &str, swaps: usize) {
    let upstream = echoing().await;
    let text = config(
        upstream.address(),
        &["version"],
        // No exchange may fail, and on a busy machine a hook can have much more CPU time counted than it used.
        &policy(
            "version",
            "version",
            &format!("isolation = \"{isolation}\"\nlimits = {{ deadline = \"1s\" }}"),
        ),
    );
    let text = measured(&text.replace("format = \"json\"", "format = \"off\""));
    let gateway = TestGateway::builder().file("version.wasm", V1).start(&text).await;
    let address = gateway.address("web");
    let load = Load::default();
    for _ in 0..2 {
        load.client(TestClient::h1(address).await);
        load.client(TestClient::h2(address).await);
    }

    let began = Instant::now();
    let (mut half_way, mut alive_max) = (0, 0.0_f64);
    let mut watcher = TestClient::h1(address).await;
    let mut long = None;
    for swap in 0..swaps {
        // Every now and then an exchange begins that outlives some swaps.
        if swap % 20 == 0 {
            upstream.forget();
            let (sender, body) = streamed();
            sender.send(data("begun")).await.unwrap();
            let mut client = TestClient::h2(address).await;
            let task = tokio::task::spawn_local(async move {
                let response = client.begin(Method::POST, "/long", &[], body).await.unwrap();
                let (head, body) = response.into_parts();
                (head, body.collect().await.unwrap().to_bytes(), client)
            });
            eventually("it is under way", async || {
                upstream.requests().iter().any(|request| request.path() == "/long").then_some(())
            })
            .await;
            long = Some((sender, task));
        }
        // An even number of them: each round begins with version 1.
        let (plugin, version) = if swap % 2 == 0 { (V2, "v2") } else { (V1, "v1") };
        gateway.write("version.wasm", plugin);
        // Without waiting until the file is quiet, as saving it does. The generation that is heard of may be one that
        // was on its way when the file was written.
        gateway.reload().await;
        eventually("the other version answers", async || {
            let reply = watcher.send(Method::POST, "/", &[], "body").await;
            (reply.header("x-version") == version).then_some(())
        })
        .await;
        if swap % 20 == 19
            && let Some((sender, task)) = long.take()
        {
            // Two workers of the version that runs, two of the one that the long exchange keeps, and what is just
            // going.
            alive_max = alive_max.max(metric(&gateway, "portcullis_policy_instances").await);
            drop(sender);
            let (head, body, _client) = task.await.unwrap();
            // What it began with: the version before this round of swaps.
            for name in ["x-version", "x-request-version"] {
                assert_eq!(head.headers[name], "v1", "{name} after {swap} swaps");
            }
            assert_eq!(body, Bytes::from("begun"));
        }
        if swap == swaps / 2 {
            half_way = resident_kib(gateway.pid());
        }
    }
    let (took, asked) = (began.elapsed(), load.end().await);
    // One for each worker, and none of the versions that are gone.
    eventually("instances of old versions are freed", async || {
        (metric(&gateway, "portcullis_policy_instances").await < 2.5).then_some(())
    })
    .await;
    let end = resident_kib(gateway.pid());
    println!(
        "isolation = \"{isolation}\": {swaps} swaps in {took:.1?}, {asked} requests, none failed; {half_way} KiB half-way, {end} KiB at the end, at most \
         {alive_max} instances"
    );
    assert!(end < half_way + GROWTH_KIB_MAX, "{half_way} KiB half-way, {end} KiB at the end");
    assert!(asked > swaps as u64, "{asked}");
    assert!(alive_max <= 8.0, "{alive_max}");
}

#[tokio::test]
async fn by_the_operator_under_load_go_unnoticed() {
    tokio::task::LocalSet::new().run_until(steer_over_and_over()).await;
}

async fn steer_over_and_over() {
    let upstream = echoing().await;
    let tried = "canary = { plugin = \"v2.wasm\", share = \"50%\" }\nlimits = { deadline = \"1s\" }";
    let text = config(upstream.address(), &["version"], &policy("version", "v1", tried));
    let text = measured(&text.replace("format = \"json\"", "format = \"off\""));
    let gateway = TestGateway::builder().file("v1.wasm", V1).file("v2.wasm", V2).start(&text).await;
    let address = gateway.address("web");
    let load = Load::default();
    for _ in 0..2 {
        load.client(TestClient::h1(address).await);
        load.client(TestClient::h2(address).await);
    }
    let mut watcher = TestClient::h2(address).await;
    for _ in 0..5 {
        for (act, expected) in [("promote", &["v2"][..]), ("abort", &["v1"]), ("resume", &["v1", "v2"])] {
            let ran = rollout(&gateway, &[act, "version"]).await;
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            for _ in 0..10 {
                let version = watcher.send(Method::POST, "/", &[], "body").await.header("x-version");
                assert!(expected.contains(&version.as_str()), "{version} after {act}");
            }
            let asked = load.asked.get();
            eventually("everybody asks on", async || (load.asked.get() >= asked + 20).then_some(())).await;
        }
    }
    assert!(load.end().await > 300);
}
