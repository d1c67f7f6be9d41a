//! Policies that fail in every way, on every request, and a reload each second: routes that have nothing to do with
//! them notice nothing, and memory stays at its level.
//!
//! How long is `PORTCULLIS_SOAK_SECONDS`; bench/README.md has the figures of a longer one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::faults::resident_kib;
use crate::harness::{TestClient, TestGateway, TestUpstream};
use crate::setup::misbehave;

/// As long as shows that it works at all.
const SECONDS: u64 = 8;
/// What the process may have grown by, in percent of what it took at first.
const GROWTH_PERCENT_MAX: u64 = 5;
/// In a run of some seconds not all of it is settled, the compiler's own memory is a tenth of all, and on a busy
/// machine there are few values.
const GROWTH_PERCENT_MAX_SHORT: u64 = 30;

/// The ways to fail, each with a route of its own.
const DEEDS: [(&str, &str, &str); 6] = [
    ("trap", "request-head", "trap"),
    ("panic", "response-head", "panic"),
    ("loop", "request-head", "loop"),
    ("memory", "request-head", "memory"),
    ("stack", "request-head", "recurse"),
    ("invalid", "request-head", "bad-name"),
];

fn config(upstream: &TestUpstream, generation: u64) -> String {
    let endpoint = upstream.address();
    let mut text = format!(
        "[server]\nworkers = 2\nsettle = \"100ms\"\naccess-log = {{ format = \"off\" }}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [upstreams.app]\nendpoints = [\"{endpoint}\"]\n\
         [policies.fields]\nplugin = \"builtin:headers\"\nlimits = {{ deadline = \"1s\" }}\n\
         config = {{ response = {{ set = {{ x-generation = \"{generation}\" }} }} }}\n\
         [routes.healthy]\nuse = [\"fields\"]\nto = \"app\"\n"
    );
    for (at, (name, hook, deed)) in DEEDS.into_iter().enumerate() {
        // Each kind in both isolations, some of them called again and again and some of them quarantined.
        for isolation in ["exchange", "worker"] {
            let name = format!("{name}-{isolation}");
            let quarantine = if at % 2 == 0 { "quarantine = false\n" } else { "" };
            let settings =
                format!("isolation = \"{isolation}\"\nlimits = {{ deadline = \"2ms\" }}\n{quarantine}");
            text += &misbehave(&name, hook, deed, &settings);
            text += &format!(
                "[routes.{name}]\nmatch = {{ path = \"/{name}\" }}\nuse = [\"{name}\"]\nto = \"app\"\n"
            );
        }
    }
    text
}

/// Clients that ask all the time, each over one connection that it never makes again.
#[derive(Default)]
struct Load {
    stop: Rc<Cell<bool>>,
    asked: Rc<Cell<u64>>,
    faults: Rc<Cell<u64>>,
    tasks: RefCell<Vec<JoinHandle<()>>>,
}

impl Load {
    /// Asks the route that has nothing to do with what fails.
    fn healthy(&self, gateway: &Rc<TestGateway>, mut client: TestClient) {
        let (stop, asked, gateway) = (self.stop.clone(), self.asked.clone(), gateway.clone());
        self.tasks.borrow_mut().push(tokio::task::spawn_local(async move {
            while !stop.get() {
                let reply = client.get("/healthy").await;
                let lines = || gateway.log().into_iter().filter(|line| line.text("policy") == Some("fields"));
                let faults = || lines().map(|line| line.message).collect::<Vec<_>>();
                assert_eq!((reply.status, reply.text()), (200, "app".into()), "{:?}", faults());
                assert!(reply.header("x-generation").parse::<u64>().is_ok(), "{reply:?}");
                asked.set(asked.get() + 1);
                tokio::task::yield_now().await;
            }
        }));
    }

    /// Asks the others in turn.
    fn failing(&self, mut client: TestClient, first: usize) {
        let (stop, faults) = (self.stop.clone(), self.faults.clone());
        self.tasks.borrow_mut().push(tokio::task::spawn_local(async move {
            for at in first.. {
                if stop.get() {
                    break;
                }
                let (name, ..) = DEEDS[at % DEEDS.len()];
                let isolation = if at % 4 < 2 { "exchange" } else { "worker" };
                let reply = client.get(&format!("/{name}-{isolation}")).await;
                assert_eq!(reply.status, 500, "{name} with {isolation}: {reply:?}");
                faults.set(faults.get() + 1);
                tokio::task::yield_now().await;
            }
        }));
    }

    async fn end(self) -> (u64, u64) {
        self.stop.set(true);
        for task in self.tasks.into_inner() {
            task.await.unwrap();
        }
        (self.asked.get(), self.faults.get())
    }
}

#[tokio::test]
async fn faults_and_reloads_leave_other_routes_and_memory_alone() {
    let seconds = std::env::var("PORTCULLIS_SOAK_SECONDS").ok().map(|text| text.parse().expect("a number"));
    tokio::task::LocalSet::new().run_until(soak(Duration::from_secs(seconds.unwrap_or(SECONDS)))).await;
}

#[expect(clippy::print_stdout, reason = "figures are for whoever asked for a soak")]
async fn soak(time: Duration) {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::builder()
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .start(&config(&upstream, 1))
        .await;
    let gateway = Rc::new(gateway);
    let address = gateway.address("web");
    let load = Load::default();
    for at in 0..2 {
        load.healthy(&gateway, TestClient::h1(address).await);
        load.healthy(&gateway, TestClient::h2(address).await);
        load.failing(TestClient::h1(address).await, at);
        load.failing(TestClient::h2(address).await, at + 3);
    }

    let began = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    let mut generation = 1;
    let mut resident = Vec::new();
    // A machine that is very busy needs longer for the five values of which medians are taken.
    while began.elapsed() < time || resident.len() < 5 {
        pace.tick().await;
        generation += 1;
        gateway.write_config_and_wait(&config(&upstream, generation)).await;
        resident.push(resident_kib(gateway.pid()));
    }
    let (asked, faults) = load.end().await;
    // After a fifth of the time all is settled; what the compiler has at a moment is up and down from second to second.
    let (settled, end) = (median(&resident, 1), median(&resident, 4));
    println!(
        "{:.0?}: {generation} generations, {asked} requests of the healthy route, none failed; {faults} faults; {settled} KiB in \
         the second fifth of the time, {end} KiB in the last",
        began.elapsed()
    );
    let percent = if time > Duration::from_secs(60) { GROWTH_PERCENT_MAX } else { GROWTH_PERCENT_MAX_SHORT };
    assert!(
        end * 100 < settled * (100 + percent),
        "{settled} KiB at first, {end} KiB at the end: {resident:?}"
    );
    assert!(asked > 20 && faults > 20, "{asked} requests, {faults} faults");
}

/// The median of one fifth of them.
fn median(values: &[u64], fifth: usize) -> u64 {
    let mut some = values[values.len() * fifth / 5..values.len() * (fifth + 1) / 5].to_vec();
    some.sort_unstable();
    some[some.len() / 2]
}
