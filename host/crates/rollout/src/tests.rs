//! Rollouts with versions that are plain functions.

mod canary;
mod choice;
mod shadow;
mod shadow_bodies;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_model::{
    AbortRules, Canary, Candidate, FailureMode, Grants, Isolation, Origin, PluginSource, PolicyConfig,
    ResourceLimits, Selection, Shadow, Share, Version,
};

use portcullis_policy::fake::{Fake, block_on, reply};
use portcullis_policy::{
    Decision, Exchange, FaultKind, HeadOutcome, Hook, HookKind, Hooks, Outcome, Policy, PolicyChain,
    PolicyFactory, Reply,
};

use crate::{Environment, Rollout, RolloutFactory, VersionLabel};

pub(super) const HEADS: Hooks =
    Hooks::of(&[HookKind::RequestHead, HookKind::ResponseHead, HookKind::Completed]);

thread_local! {
    /// The time that has passed for the fakes.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static SPAWNED: RefCell<Vec<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(Vec::new()) };
}

const ENVIRONMENT: Environment = Environment {
    wall: || NOW.get(),
    spawn: |future| SPAWNED.with_borrow_mut(|spawned| spawned.push(future)),
};

/// Uses up CPU time of the policy whose hook runs.
fn work(exchange: &mut Exchange, time: Duration) {
    exchange.slot().cost.cpu += time;
    NOW.set(NOW.get() + time);
}

/// Runs what was spawned.
fn run_spawned() {
    loop {
        let futures = SPAWNED.with_borrow_mut(std::mem::take);
        if futures.is_empty() {
            return;
        }
        futures.into_iter().for_each(block_on);
    }
}

fn version(
    deed: impl Fn(&Hook, &mut Exchange) -> Result<Decision, FaultKind> + Send + Sync + 'static,
) -> Fake {
    Fake::doing("p", HEADS, deed)
}

/// Names itself in an attribute of each hook.
fn named(name: &'static str) -> Fake {
    version(move |hook, exchange| {
        assert!(exchange.attributes.set(hook.name(), name));
        Ok(Decision::Next)
    })
}

fn config(version: Version) -> PolicyConfig {
    PolicyConfig {
        name: "p".into(),
        version,
        plugin: PluginSource::Builtin("p".into()),
        digest: [0; 32],
        grants: Grants::default(),
        isolation: Isolation::Exchange,
        limits: ResourceLimits::default(),
        on_error: FailureMode::Deny,
        quarantine: None,
        tick: Duration::from_secs(1),
        config_json: "{}".to_owned(),
        candidate: None,
        origin: Origin::default(),
    }
}

fn canary(selection: Selection, abort: Option<AbortRules>) -> Candidate {
    Candidate::Canary(Canary { version: config(Version::Canary), selection, abort })
}

fn shadow(share: Share, samples: usize) -> Candidate {
    Candidate::Shadow(Shadow { version: config(Version::Shadow), share, samples })
}

/// Both versions under one rollout.
fn pair(active: Fake, tried: Fake, candidate: &Candidate) -> Arc<RolloutFactory> {
    of_pair(Arc::new(active), Arc::new(tried), candidate)
}

fn of_pair(active: Arc<Fake>, tried: Arc<Fake>, candidate: &Candidate) -> Arc<RolloutFactory> {
    let labels =
        ["one", "two"].map(|plugin| VersionLabel { plugin: plugin.to_owned(), digest: String::new() });
    let rollout = Arc::new(Rollout::new("p".into(), candidate, labels, Default::default()));
    Arc::new(RolloutFactory::new(active, tried, rollout, ENVIRONMENT, true))
}

fn chain(policy: &Rc<dyn Policy>) -> PolicyChain {
    PolicyChain::new(vec![policy.clone()], 1000)
}

fn exchange(trace_id: &str) -> Box<Exchange> {
    let mut exchange = Box::<Exchange>::default();
    exchange.trace_id.push_str(trace_id);
    exchange.request.method.push_str("GET");
    exchange.request.set_target("/a", Some("q"));
    exchange.response.status = 200;
    exchange
}

/// Takes an exchange through the chain. Returns the status of the reply, if a policy replied.
fn drive(chain: &PolicyChain, exchange: Box<Exchange>) -> (Box<Exchange>, Option<u16>) {
    let (exchange, status) = match block_on(chain.request_head(exchange)) {
        HeadOutcome::Permitted(permitted) => {
            let (exchange, ..) = block_on(chain.response_head(permitted.into_inner(), chain.len()));
            (exchange, None)
        }
        HeadOutcome::Replied(replied) => (replied.exchange, Some(replied.reply.status)),
    };
    (block_on(chain.completed(exchange, &Outcome::default())), status)
}
