//! Many exchanges at once, whose clients, endpoints and policy do at random what they should not: go away half-way,
//! fall silent, cut off, refuse, answer early, fail. Whatever they do, no request reaches an endpoint that its policy
//! did not permit, nothing that was cut off is taken for whole, no answer reaches another exchange, and nothing is left
//! at the end.
//!
//! Everything follows from the seed, which a failure names; `PORTCULLIS_SIMULATION_SEED` runs that one alone, and
//! `PORTCULLIS_SIMULATION_RUNS` as many as it says.

mod check;
mod client;
mod endpoint;
mod h2_client;
mod plan;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_model::{Gateway, UpstreamProtocol};
use portcullis_policy::{BodyDecision, Decision, FaultKind, Hook, HookKind, Hooks, PolicyFactory, Reply};

use self::plan::{Fate, Random};
use super::network::Reach;
use super::policy::{Deed, Scripted, next};
use super::{World, forward, gateway, simulate};

/// Runs of the test, each from a seed of its own.
const RUNS: u64 = 24;
/// Clients of a run, and requests of each.
const CLIENTS: u64 = 6;
const REQUESTS: u64 = 8;
/// Every exchange ends within this time: what the sides do takes some minutes at most, and so do all timeouts together.
const ENDS_WITHIN: Duration = Duration::from_secs(3600);

/// What the sides of a run note, for what has to hold at its end.
#[derive(Debug, Default)]
struct Ledger {
    /// Requests that the policy has permitted.
    permitted: HashSet<u64>,
    /// Requests that the policy has met, and of which it has seen the end.
    begun: HashSet<u64>,
    completed: HashSet<u64>,
    /// Requests that an endpoint got whole, and responses that a client got whole from an endpoint.
    arrived: u64,
    answered: u64,
    /// What must not be.
    broken: Vec<String>,
}

type Notes = Arc<Mutex<Ledger>>;

fn note(notes: &Notes, change: impl FnOnce(&mut Ledger)) {
    change(&mut notes.lock().unwrap());
}

fn broken(notes: &Notes, what: String) {
    note(notes, |ledger| ledger.broken.push(what));
}

/// Notes in the set that `of` picks what may happen to a request only once.
fn once(notes: &Notes, id: u64, what: &str, of: fn(&mut Ledger) -> &mut HashSet<u64>) {
    if !of(&mut notes.lock().unwrap()).insert(id) {
        broken(notes, format!("{id}: {what} a second time"));
    }
}

#[test]
fn the_promises_hold_whatever_the_sides_do() {
    let seeds: Vec<u64> = match set("PORTCULLIS_SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => {
            let mut first = Random::from_the_clock();
            (0..set("PORTCULLIS_SIMULATION_RUNS").unwrap_or(RUNS)).map(|_| first.next()).collect()
        }
    };
    let (mut arrived, mut answered) = (0, 0);
    for seed in &seeds {
        match catch_unwind(AssertUnwindSafe(|| run(*seed))) {
            Ok(ledger) => {
                arrived += ledger.arrived;
                answered += ledger.answered;
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
                panic!("PORTCULLIS_SIMULATION_SEED={seed} repeats it: {text}");
            }
        }
    }
    // A run in which nothing gets through would show nothing.
    assert!(
        arrived > 0 && answered > 0,
        "{arrived} requests arrived, {answered} were answered, of {seeds:?}"
    );
}

/// Returns a number that the environment sets.
fn set(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Runs one seed and returns what was noted.
fn run(seed: u64) -> Ledger {
    let notes = Notes::default();
    let noted = notes.clone();
    simulate(async move {
        let mut random = Random::new(seed);
        let world = world(&mut random, &noted);
        let mut clients = Vec::new();
        let mut ids = random.next() >> 1;
        for _ in 0..CLIENTS {
            let (of_client, of_ids) = (Random::new(random.next()), ids..ids + REQUESTS);
            ids += REQUESTS;
            let (connect, notes) = (world.connector(), noted.clone());
            clients.push(match random.one_in(2) {
                true => tokio::task::spawn_local(h2_client::run(connect, of_ids, of_client, notes)),
                false => tokio::task::spawn_local(client::run(connect, of_ids, of_client, notes)),
            });
        }
        for client in clients {
            client.await.expect("a client does not panic");
        }
        assert_eq!(noted.lock().unwrap().broken, Vec::<String>::new(), "what must not be");
        world.end().await;
    });
    let ledger = std::mem::take(&mut *notes.lock().unwrap());
    let unended: Vec<_> = ledger.begun.difference(&ledger.completed).collect();
    assert!(unended.is_empty(), "the policy has not seen the end of {unended:?}");
    ledger
}

fn world(random: &mut Random, notes: &Notes) -> World {
    let endpoints = &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"][..random.below(3) as usize + 1];
    let http2 = random.one_in(2);
    let config = gateway(endpoints, &["guard"], |gateway| vary(gateway, random, http2));
    let guard = guard(random, notes.clone());
    let (seed, notes) = (random.next(), notes.clone());
    let attempts = std::cell::Cell::new(0);
    World::new(config, vec![guard], move |_| {
        attempts.set(attempts.get() + 1);
        let mut random = Random::new(seed ^ attempts.get());
        match random.below(12) {
            0 => Reach::Refuses,
            1 => Reach::Silent,
            _ => {
                let notes = notes.clone();
                Reach::accepts(move |stream| endpoint::serve(stream, http2, random.clone(), notes.clone()))
            }
        }
    })
}

/// Short timeouts, so that what is under test comes about, and bounds that some exchanges exceed.
fn vary(gateway: &mut Gateway, random: &mut Random, http2: bool) {
    let timeouts = &mut gateway.listeners[0].timeouts;
    timeouts.idle = Duration::from_secs(5 + random.below(10));
    timeouts.linger = Duration::from_secs(1);
    let limits = &mut gateway.listeners[0].limits;
    limits.streams = [2, 8, 100][random.below(3) as usize];
    let upstream = &mut gateway.upstreams[0];
    upstream.timeouts.connect = Duration::from_secs(1);
    upstream.timeouts.response_head = Duration::from_secs(5);
    upstream.timeouts.idle = Duration::from_secs(5 + random.below(10));
    upstream.protocol = if http2 { UpstreamProtocol::Http2 } else { UpstreamProtocol::Http1 };
    upstream.replay_bytes_max = random.below(3) as usize * 32 * 1024;
    upstream.idle_connections_max = random.below(3) as usize;
    let route = &mut gateway.routes[0];
    route.action = forward(1 + random.below(3) as u32);
    route.timeout = random.one_in(3).then(|| Duration::from_secs(8));
    route.body_bytes_max = random.one_in(4).then_some(100_000);
}

/// A policy that permits, denies or fails by the request's number, and marks what it permits.
fn guard(random: &mut Random, notes: Notes) -> Arc<dyn PolicyFactory> {
    let (seed, bodies) = (random.next(), random.one_in(2));
    let mut hooks = Hooks::of(&[HookKind::RequestHead, HookKind::Completed]);
    for (kind, may) in
        [(HookKind::RequestBody, bodies), (HookKind::ResponseHead, true), (HookKind::ResponseBody, bodies)]
    {
        if may && random.one_in(2) {
            hooks = hooks.with(kind);
        }
    }
    let calls = std::sync::atomic::AtomicU64::new(0);
    Scripted::factory("guard", hooks, move |hook, exchange| -> Deed {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut random = Random::new(seed ^ call);
        let after = if random.one_in(3) { Duration::from_millis(random.below(3000)) } else { Duration::ZERO };
        let (id, fate) = plan::of(&exchange.request);
        let result = match hook {
            Hook::RequestHead => {
                once(&notes, id, "begun", |ledger| &mut ledger.begun);
                match fate {
                    Fate::Permitted => {
                        note(&notes, |ledger| ledger.permitted.extend([id]));
                        exchange.request.fields.set(b"x-guard", id.to_string().as_bytes()).unwrap();
                        Ok(Decision::Next)
                    }
                    Fate::Denied => Ok(Decision::Reply(Reply { status: 403, ..Reply::default() })),
                    Fate::Faulted => Err(FaultKind::Trap),
                }
            }
            Hook::RequestBody { .. } | Hook::ResponseBody { .. } => match random.below(40) {
                0 => Err(FaultKind::Trap),
                1..=4 => Ok(Decision::Body(BodyDecision::Hold)),
                _ => Ok(Decision::Body(BodyDecision::Forward)),
            },
            Hook::ResponseHead => next().1,
            Hook::Completed(_) => {
                once(&notes, id, "completed", |ledger| &mut ledger.completed);
                next().1
            }
        };
        (after, result)
    })
}
