//! What a hook costs: `cargo run --release -p portcullis-sandbox --example hook_cost`.
//!
//! `on-request-head` of a policy that does nothing, and of one that looks a key up among 1,000 and makes four host
//! calls (two reads, an attribute, a removal): in an instance that is used again, on the spot and on a fiber, and in a
//! fresh one for each exchange, which starts from the configured image and is wiped after the hook.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for whoever runs it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use portcullis_model::{
    FailureMode, Grants, Isolation, Origin, PluginSource, PolicyConfig, QuarantineRule, ResourceLimits,
    Version,
};
use portcullis_policy::{Called, Exchange, Hook, Policy};
use portcullis_sandbox::{Sandbox, SandboxOptions};
use portcullis_test_guests::{HOOK_COST, PLAIN};

const KEYS: usize = 1_000;
const CALLS: u32 = 20_000;
const ROUNDS: usize = 7;

fn main() {
    let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
    let keys: String = (0..KEYS).fold(String::new(), |mut keys, at| {
        write!(keys, "key-{at:012},").unwrap();
        keys
    });
    let (spot, fiber) = (Duration::from_millis(10), Duration::from_millis(50));
    for (name, guest) in [("does nothing", PLAIN), ("1,000 keys, four host calls", HOOK_COST)] {
        for (mode, isolation, deadline) in [
            ("used again, on the spot", Isolation::Worker, spot),
            ("used again, on a fiber", Isolation::Worker, fiber),
            ("fresh for each exchange, on the spot", Isolation::Exchange, spot),
            ("fresh for each exchange, on a fiber", Isolation::Exchange, fiber),
        ] {
            let component = sandbox.compile(guest, isolation).unwrap().component;
            let config = config(isolation, deadline, &keys);
            let policy = sandbox.configure(&component, &config, &BTreeMap::new()).unwrap().worker();
            let best = (0..ROUNDS).map(|_| hook_cost(&policy)).min().unwrap_or_default();
            println!("{name}; {mode}: {:.2} us a hook", best.as_secs_f64() * 1e6);
        }
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

fn config(isolation: Isolation, deadline: Duration, keys: &str) -> PolicyConfig {
    PolicyConfig {
        name: "measured".into(),
        version: Version::Active,
        plugin: PluginSource::File(PathBuf::new()),
        digest: [0; 32],
        grants: Grants::default(),
        isolation,
        limits: ResourceLimits { deadline, ..ResourceLimits::default() },
        on_error: FailureMode::Deny,
        quarantine: Some(QuarantineRule::default()),
        tick: Duration::from_secs(1),
        config_json: format!(r#"{{"keys":"{keys}"}}"#),
        candidate: None,
        origin: Origin::default(),
    }
}
