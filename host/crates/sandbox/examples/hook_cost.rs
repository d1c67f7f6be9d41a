//! What a hook costs: `cargo run --release -p portcullis-sandbox --example hook_cost`.
//!
//! A reused instance's `on-request-head` with four host calls (two reads, an attribute, a removal), on the spot and on a
//! fiber; beside it one that does nothing; and what a fresh instance costs.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for whoever runs it")]

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use portcullis_model::{FailureMode, Grants, Origin, PluginSource, PolicyConfig, ResourceLimits, Version};
use portcullis_policy::{Called, Exchange, Hook, Policy};
use portcullis_sandbox::{Sandbox, SandboxOptions};
use portcullis_test_guests::{HOOK_COST, PLAIN};

const CALLS: u32 = 200_000;
const INSTANCES: u32 = 2_000;
const ROUNDS: usize = 5;

fn main() {
    let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
    for (name, guest) in [("no host call", PLAIN), ("four host calls", HOOK_COST)] {
        let component = sandbox.compile(guest).unwrap().component;
        for (mode, deadline) in
            [("on the spot", Duration::from_millis(10)), ("on a fiber", Duration::from_millis(50))]
        {
            let config = config(deadline);
            let policy = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap().worker();
            let best = (0..ROUNDS).map(|_| hook_cost(&policy)).min().unwrap_or_default();
            println!("{name}, {mode}: {:.2} us a hook", best.as_secs_f64() * 1e6);
        }
        let config = config(Duration::from_millis(10));
        let factory = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap();
        let first = factory.clone().worker();
        let start = Instant::now();
        for _ in 0..INSTANCES {
            // A worker without a spare instance makes one.
            drop(factory.clone().worker());
        }
        println!("{name}: {:.1} us a fresh instance", (start.elapsed() / INSTANCES).as_secs_f64() * 1e6);
        drop(first);
    }
}

fn hook_cost(policy: &Rc<dyn Policy>) -> Duration {
    let mut exchange = Box::<Exchange>::default();
    exchange.request.method.push_str("GET");
    for (name, value) in [
        ("user-agent", "measurement/1.0"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip, br"),
        ("x-api-key", "0123456789abcdef"),
        ("cookie", "session=0123456789abcdef"),
    ] {
        exchange.request.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let start = Instant::now();
    for _ in 0..CALLS {
        exchange = match policy.call(Hook::RequestHead, exchange) {
            Called::Ready(exchange, result) => {
                result.unwrap();
                exchange
            }
            Called::Waiting(future) => {
                let (exchange, result) = ready(future);
                result.unwrap();
                exchange
            }
        };
    }
    start.elapsed() / CALLS
}

fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

fn config(deadline: Duration) -> PolicyConfig {
    PolicyConfig {
        name: "measured".into(),
        version: Version::Active,
        plugin: PluginSource::File(PathBuf::new()),
        digest: [0; 32],
        grants: Grants::default(),
        limits: ResourceLimits { deadline, ..ResourceLimits::default() },
        on_error: FailureMode::Deny,
        tick: Duration::from_secs(1),
        config_json: "{}".to_owned(),
        candidate: None,
        origin: Origin::default(),
    }
}
