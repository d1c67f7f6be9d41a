//! `http-client` as a guest sees it, with servers that the test makes up.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use portcullis_model::{Name, PolicyConfig, Secret};
use portcullis_policy::outbound::{Outbound, OutboundError, OutboundRequest, OutboundResponse, Outgoing};
use portcullis_policy::{Called, Decision, Exchange, Fault, FaultKind, Hook, Outcome, Policy};
use portcullis_test_guests::{ASKS, CAPABILITIES, TICK_ASKS};

use super::calls::until;
use super::{both, config, exchange, in_time, piece, run};
use crate::{ConfigureError, Sandbox, SandboxOptions};

/// Answers with what it was asked, after a wait. With the path `/never` it is polled for
/// ever, with `/silent` never woken, and with `/here` it tells the thread.
#[derive(Debug, Default)]
struct Servers {
    /// Whether none of them ever answers, whatever the path.
    silent: bool,
    asked: AtomicUsize,
    given_up: Arc<AtomicUsize>,
}

struct Answer {
    silent: bool,
    request: Option<OutboundRequest>,
    polls: u32,
    given_up: Arc<AtomicUsize>,
}

impl Future for Answer {
    type Output = Result<OutboundResponse, OutboundError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls += 1;
        let request = self.request.as_ref().expect("it is polled after its end");
        if self.silent || request.head.path() == "/silent" {
            return Poll::Pending;
        }
        if self.polls < 3 || request.head.path() == "/never" {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let request = self.request.take().expect("it is there");
        if request.head.path() == "/here" {
            let mut answer = OutboundResponse::default();
            answer.head.status = 201;
            answer.body = format!("{:?}", std::thread::current().id()).into();
            return Poll::Ready(Ok(answer));
        }
        if request.head.path() == "/broken" {
            return Poll::Ready(Err(OutboundError::Protocol("no HTTP".to_owned())));
        }
        let mut answer = OutboundResponse::default();
        answer.head.status = 201;
        answer.head.fields.append(b"x-to", b"guest").unwrap();
        if let Some(bytes) = request.head.fields.get(b"x-bytes") {
            answer.head.fields.append(b"x-bytes", bytes).unwrap();
        }
        let from =
            String::from_utf8_lossy(request.head.fields.get(b"x-from").unwrap_or_default()).into_owned();
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        let told = format!("{} {} {from} {body}", request.head.method, request.head.target());
        answer.body = told.into();
        Poll::Ready(Ok(answer))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.request.is_some() {
            self.given_up.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Outbound for Servers {
    fn send(&self, request: OutboundRequest) -> Outgoing {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (silent, given_up) = (self.silent, self.given_up.clone());
        Box::pin(Answer { silent, request: Some(request), polls: 0, given_up })
    }
}

/// A sandbox of its own, and its servers.
fn sandbox() -> (Sandbox, Arc<Servers>) {
    let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
    let servers = Arc::new(Servers::default());
    sandbox.send_by(servers.clone());
    (sandbox, servers)
}

fn configured(
    sandbox: &Sandbox,
    guest: &[u8],
    config: &PolicyConfig,
) -> Result<Arc<dyn portcullis_policy::PolicyFactory>, ConfigureError> {
    let mut config = config.clone();
    config.grants.secrets.push("key".into());
    let secrets: BTreeMap<Name, Secret> = BTreeMap::from([("key".into(), Secret::new(&b"x"[..]))]);
    sandbox.configure(&sandbox.compile(guest, config.isolation).unwrap().component, &config, &secrets)
}

fn does(policy: &dyn Policy, deed: &str) -> String {
    let mut exchange = exchange();
    exchange.request.fields.append(b"x-do", deed.as_bytes()).unwrap();
    let (exchange, result) = run(policy, Hook::RequestHead, exchange);
    result.unwrap();
    exchange.attributes.get("result").unwrap().to_owned()
}

#[test]
fn bytes_that_are_not_text_are_sent_and_answered_as_they_are() {
    in_time(|| {
        let (sandbox, _servers) = sandbox();
        let policy = configured(&sandbox, CAPABILITIES, &config("asking with bytes", "{}")).unwrap().worker();
        let mut exchange = exchange();
        exchange.request.fields.append(b"x-do", b"ask-bytes http://a.test/x").unwrap();
        exchange.request.fields.append(b"x-bytes", b"caf\xe9\xff").unwrap();
        let (exchange, result) = run(&*policy, Hook::RequestHead, exchange);
        result.unwrap();
        assert_eq!(exchange.attributes.get("result"), Some(r"caf\xe9\xff caf\xe9\xff"));
    });
}

#[test]
fn a_hook_waits_for_an_answer_and_gets_failures_as_values() {
    in_time(|| {
        let (sandbox, servers) = sandbox();
        let policy = configured(&sandbox, CAPABILITIES, &config("asking", "{}")).unwrap().worker();
        assert_eq!(does(&*policy, "ask http://a.test/x?y"), r#"201 ["x-to"] POST /x?y guest hello"#);
        assert_eq!(does(&*policy, "ask http://a.test/broken"), r#"Error::Protocol("no HTTP")"#);
        assert_eq!(servers.asked.load(Ordering::SeqCst), 2);
        assert!(does(&*policy, "ask http://b.test/").starts_with("Error::NotAllowed("), "not granted");
        assert!(does(&*policy, "ask nonsense").starts_with("Error::InvalidRequest("));
        assert_eq!(servers.asked.load(Ordering::SeqCst), 2, "and nobody was asked");
        assert_eq!(does(&*policy, "secret key"), "x", "the other capabilities are as they were");
    });
}

#[test]
fn other_exchanges_go_on_while_a_hook_waits_and_a_call_ends_with_its_exchange() {
    in_time(|| {
        let (sandbox, servers) = sandbox();
        let policy = configured(&sandbox, CAPABILITIES, &config("waiting", "{}")).unwrap().worker();
        let mut asking = exchange();
        asking.request.fields.append(b"x-do", b"ask http://a.test/never").unwrap();
        let Called::Waiting(mut waiting) = policy.call(Hook::RequestHead, asking) else {
            panic!("a hook that may wait runs on a fiber")
        };
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(does(&*policy, "ask http://a.test/x").split(' ').next(), Some("201"), "another exchange");
        assert_eq!(servers.given_up.load(Ordering::SeqCst), 0);
        drop(waiting);
        assert_eq!(servers.given_up.load(Ordering::SeqCst), 1);
        assert_eq!(does(&*policy, "ask http://a.test/x").split(' ').next(), Some("201"), "and others go on");
    });
}

#[test]
fn bounds_the_requests_that_are_outstanding() {
    both(|| {
        let (sandbox, servers) = sandbox();
        let mut config = config("bounded", "{}");
        config.limits.http_calls = 2;
        let factory = configured(&sandbox, CAPABILITIES, &config).unwrap();
        // They count together.
        let (policy, other) = (factory.clone().worker(), factory.worker());
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = Vec::new();
        for at in 1..=2 {
            let mut asking = exchange();
            asking.request.fields.append(b"x-do", b"ask http://a.test/never").unwrap();
            let Called::Waiting(mut call) = policy.call(Hook::RequestHead, asking) else {
                panic!("a hook that may wait runs on a fiber")
            };
            // A tick may have it yield before it asks.
            while servers.asked.load(Ordering::SeqCst) < at {
                assert!(call.as_mut().poll(&mut context).is_pending());
            }
            waiting.push(call);
        }
        assert_eq!(does(&*other, "ask http://a.test/x"), "Error::Busy");
        assert_eq!(servers.asked.load(Ordering::SeqCst), 2, "nobody else was asked");
        let told = || sandbox.metrics().policies[0].under_way[0];
        assert_eq!((told().http_calls, told().http_calls_max, told().hook_calls), (Some(2), 2, 2));
        waiting.pop();
        assert_eq!((told().http_calls, told().hook_calls), (Some(1), 1));
        for _ in 0..3 {
            let told = does(&*other, "ask http://a.test/x");
            assert_eq!(told.split(' ').next(), Some("201"), "one after the other");
        }
    });
}

#[test]
fn several_requests_are_under_way_at_once_and_answered_in_their_order() {
    both(|| {
        let (sandbox, servers) = sandbox();
        let mut config = config("asking all", "{}");
        config.limits.http_calls = 3;
        let policy = configured(&sandbox, CAPABILITIES, &config).unwrap().worker();
        let told =
            does(&*policy, "ask-all http://a.test/x http://b.test/ http://a.test/broken http://a.test/y");
        let told: Vec<&str> = told.split(" | ").collect();
        assert_eq!(told[0], r#"201 ["x-to"] POST /x guest hello"#);
        assert!(told[1].starts_with("Error::NotAllowed("), "{told:?}");
        assert_eq!(told[2..], [r#"Error::Protocol("no HTTP")"#, r#"201 ["x-to"] POST /y guest hello"#]);
        assert_eq!(servers.asked.load(Ordering::SeqCst), 3);
        let told = does(&*policy, "ask-all http://a.test/1 http://a.test/2 http://a.test/3 http://a.test/4");
        assert_eq!(told.matches("201").count(), 3, "{told}");
        assert!(told.ends_with(" | Error::Busy"), "{told}");
        assert_eq!(does(&*policy, "ask-many http://a.test/x 0"), "0 true none");
        let asked = servers.asked.load(Ordering::SeqCst);
        let told = does(&*policy, "ask-many http://a.test/x 33");
        assert_eq!(told, r#"33 true Error::InvalidRequest("more than 32 requests at once")"#);
        assert_eq!(servers.asked.load(Ordering::SeqCst), asked, "none was sent");
        let under_way = || sandbox.metrics().policies[0].under_way[0].http_calls;
        assert_eq!(under_way(), Some(0), "each gave its place back");
    });
}

#[test]
fn requests_that_wait_together_are_given_up_together() {
    both(|| {
        let (sandbox, servers) = sandbox();
        let policy = configured(&sandbox, CAPABILITIES, &config("all abandoned", "{}")).unwrap().worker();
        let mut asking = exchange();
        let deed = b"ask-all http://a.test/silent http://a.test/here http://a.test/silent";
        asking.request.fields.append(b"x-do", deed).unwrap();
        let gone = asking.gone.clone();
        let Called::Waiting(mut waiting) = policy.call(Hook::RequestHead, asking) else {
            panic!("a hook that may wait runs on a fiber")
        };
        let mut context = Context::from_waker(Waker::noop());
        while servers.asked.load(Ordering::SeqCst) < 3 {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        // One of them is answered at its third look.
        for _ in 0..5 {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        gone.notify();
        let (exchange, result) = super::block_on(waiting);
        assert!(result.is_ok());
        let told = exchange.attributes.get("result").unwrap();
        assert_eq!(told, format!("Error::ClientGone | {} | Error::ClientGone", here()));
        assert_eq!(servers.given_up.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn an_option_that_is_wrong_or_unknown_refuses_the_request() {
    in_time(|| {
        let (sandbox, servers) = sandbox();
        let policy = configured(&sandbox, CAPABILITIES, &config("optional", "{}")).unwrap().worker();
        for wrong in ["timeout-ms=0", "timeout-ms=1s", "retries=3", "timeout-ms=1 timeout-ms=1"] {
            let told = does(&*policy, &format!("ask http://a.test/x {wrong}"));
            assert!(told.starts_with("Error::InvalidRequest(") && told.contains("the option"), "{told}");
        }
        assert_eq!(servers.asked.load(Ordering::SeqCst), 0);
        assert!(does(&*policy, "ask http://a.test/x timeout-ms=30000").starts_with("201"));
    });
}

#[test]
fn a_client_that_goes_away_ends_what_a_hook_waits_for_and_the_exchange_comes_back() {
    in_time(|| {
        let (sandbox, servers) = sandbox();
        let policy = configured(&sandbox, CAPABILITIES, &config("abandoned", "{}")).unwrap().worker();
        let mut asking = exchange();
        asking.request.fields.append(b"x-do", b"ask http://a.test/never").unwrap();
        let gone = asking.gone.clone();
        let Called::Waiting(mut waiting) = policy.call(Hook::RequestHead, asking) else {
            panic!("a hook that may wait runs on a fiber")
        };
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        gone.notify();
        // A tick that meets the guest on its way out has it yield once more, and no more than that.
        let begun = std::time::Instant::now();
        let (exchange, result) = loop {
            match waiting.as_mut().poll(&mut context) {
                Poll::Ready(done) => break done,
                Poll::Pending => {
                    assert!(begun.elapsed() < Duration::from_secs(10), "there is nothing left to wait for")
                }
            }
        };
        assert!(result.is_ok());
        assert_eq!(exchange.attributes.get("result"), Some("Error::ClientGone"));
        assert_eq!(servers.given_up.load(Ordering::SeqCst), 1);
    });
}

#[test]
pub(super) fn other_hooks_wait_as_well() {
    both(|| {
        let response_body = Hook::ResponseBody { chunk: Bytes::from_static(b"x"), last: true };
        for (name, hook) in [
            ("request-body", piece("x", true)),
            ("response-head", Hook::ResponseHead),
            ("response-body", response_body),
        ] {
            let (sandbox, servers) = sandbox();
            let config = config(name, &format!(r#"{{"hook":"{name}","url":"http://a.test/silent"}}"#));
            let policy = configured(&sandbox, ASKS, &config).unwrap().worker();
            let exchange = exchange();
            let gone = exchange.gone.clone();
            let Called::Waiting(mut waiting) = policy.call(hook, exchange) else {
                panic!("a hook that may wait runs on a fiber")
            };
            let mut context = Context::from_waker(Waker::noop());
            while servers.asked.load(Ordering::SeqCst) == 0 {
                assert!(waiting.as_mut().poll(&mut context).is_pending());
            }
            gone.notify();
            let (exchange, result) = super::block_on(waiting);
            assert!(result.is_ok());
            assert_eq!(exchange.attributes.get("result"), Some("Error::ClientGone"), "{name}");
        }
    });
}

#[test]
fn what_is_asked_at_the_end_is_not_asked_for_the_client() {
    both(|| {
        let (sandbox, _) = sandbox();
        let config = config("reporting", r#"{"hook":"completed","url":"http://a.test/here"}"#);
        let policy = configured(&sandbox, ASKS, &config).unwrap().worker();
        let exchange = exchange();
        exchange.gone.notify();
        let (exchange, result) = run(&*policy, Hook::Completed(Outcome::default()), exchange);
        assert!(result.is_ok());
        assert_eq!(exchange.attributes.get("result"), Some("201"));
    });
}

#[test]
pub(super) fn on_tick_waits_on_its_own_thread() {
    in_time(|| {
        let (sandbox, _) = sandbox();
        let mut config = config("ticking and asking", "{}");
        config.tick = Duration::from_millis(10);
        let policy = configured(&sandbox, TICK_ASKS, &config).unwrap().worker();
        until(|| does(&*policy, "").contains("GET /tick tick"));
    });
}

#[test]
fn an_on_tick_that_waits_for_too_long_is_given_up_and_the_next_one_comes() {
    both(|| {
        let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
        let servers = Arc::new(Servers { silent: true, ..Servers::default() });
        sandbox.send_by(servers.clone());
        let mut config = config("ticking and waiting", "{}");
        config.tick = Duration::from_millis(10);
        config.limits.wall = Duration::from_millis(50);
        let _policy = configured(&sandbox, TICK_ASKS, &config).unwrap().worker();
        until(|| servers.given_up.load(Ordering::SeqCst) >= 2);
        // The fault is counted after the call was given up.
        let faults = || sandbox.metrics().policies[0].faults.clone();
        until(|| faults().iter().any(|fault| fault.2 >= 2));
        assert!(faults().iter().all(|(hook, kind, _)| (*hook, *kind) == ("on-tick", FaultKind::Timeout)));
        let last = sandbox.metrics().policies[0].last_fault.clone().unwrap();
        assert!(last.message.contains("longer than the 50ms"), "{last:?}");
    });
}

/// Runs a call as a worker does, with a runtime that rings alarms.
fn in_runtime(policy: &dyn Policy, deed: &str) -> (Box<Exchange>, Result<Decision, Fault>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut exchange = exchange();
    exchange.request.fields.append(b"x-do", deed.as_bytes()).unwrap();
    match policy.call(Hook::RequestHead, exchange) {
        Called::Ready(..) => panic!("a hook that may wait runs on a fiber"),
        Called::Waiting(call) => runtime.block_on(call),
    }
}

#[test]
fn one_that_waits_for_too_long_is_given_up_and_others_are_served() {
    both(|| {
        let (sandbox, servers) = sandbox();
        let mut config = config("patient", "{}");
        config.limits.wall = Duration::from_millis(50);
        let policy = configured(&sandbox, CAPABILITIES, &config).unwrap().worker();
        for given_up in 1..=2 {
            // The call itself might take five seconds.
            let (exchange, result) = in_runtime(&*policy, "ask http://a.test/silent");
            let fault = result.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Timeout);
            assert!(fault.message.contains("longer than the 50ms"), "{fault}");
            assert_eq!(exchange.request.target(), "/a/b?q=1", "the exchange came back whole");
            assert_eq!(servers.given_up.load(Ordering::SeqCst), given_up);
            assert_eq!(does(&*policy, "ask http://a.test/x").split(' ').next(), Some("201"));
        }
    });
}

/// Returns the answer that this thread gives.
fn here() -> String {
    format!("201 [] {:?}", std::thread::current().id())
}

/// A policy that may run long, and has: it is called beside the worker from now on.
fn run_long(sandbox: &Sandbox, name: &str, wall: Duration) -> Rc<dyn Policy> {
    let mut config = config(name, "{}");
    config.limits.deadline = Duration::from_secs(10);
    config.limits.wall = wall;
    let policy = configured(sandbox, CAPABILITIES, &config).unwrap().worker();
    assert_eq!(does(&*policy, "ask http://a.test/here"), here());
    until(|| {
        assert_eq!(does(&*policy, "series 5000"), "256");
        does(&*policy, "ask http://a.test/here") != here()
    });
    policy
}

#[test]
fn one_that_runs_long_waits_beside_the_worker_and_holds_up_none_of_its_own() {
    both(|| {
        let (sandbox, servers) = sandbox();
        let policy = run_long(&sandbox, "long and waiting", Duration::from_secs(30));
        let asked = servers.asked.load(Ordering::SeqCst);
        let mut context = Context::from_waker(Waker::noop());
        let mut asking = exchange();
        asking.request.fields.append(b"x-do", b"ask http://a.test/silent").unwrap();
        let gone = asking.gone.clone();
        let Called::Waiting(mut waiting) = policy.call(Hook::RequestHead, asking) else {
            panic!("on the worker's thread")
        };
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        until(|| servers.asked.load(Ordering::SeqCst) == asked + 1);
        for _ in 0..3 {
            let told = does(&*policy, "ask http://a.test/here");
            assert!(told.starts_with("201 ") && told != here(), "on a thread of its own: {told}");
        }
        // It hears of its client there,
        gone.notify();
        let (exchange, result) = super::block_on(waiting);
        assert!(result.is_ok());
        assert_eq!(exchange.attributes.get("result"), Some("Error::ClientGone"));
        assert_eq!(servers.given_up.load(Ordering::SeqCst), 1);
        // and is given up with its exchange.
        let mut asking = self::exchange();
        asking.request.fields.append(b"x-do", b"ask http://a.test/silent").unwrap();
        let Called::Waiting(mut waiting) = policy.call(Hook::RequestHead, asking) else {
            panic!("on the worker's thread")
        };
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        until(|| servers.asked.load(Ordering::SeqCst) == asked + 5);
        drop(waiting);
        until(|| servers.given_up.load(Ordering::SeqCst) == 2);
    });
}

#[test]
fn one_that_waits_for_too_long_beside_the_worker_is_given_up() {
    both(|| {
        let (sandbox, servers) = sandbox();
        let policy = run_long(&sandbox, "long and patient", Duration::from_secs(1));
        let (_, result) = in_runtime(&*policy, "ask http://a.test/silent");
        assert_eq!(result.unwrap_err().kind, FaultKind::Timeout);
        until(|| servers.given_up.load(Ordering::SeqCst) == 1);
        assert_eq!(does(&*policy, "ask http://a.test/x").split(' ').next(), Some("201"));
    });
}

#[test]
fn configure_asks_nobody() {
    let (sandbox, servers) = sandbox();
    let refused = configured(&sandbox, CAPABILITIES, &config("early", "ask http://a.test/")).unwrap_err();
    let told = refused.to_string();
    assert!(told.contains("NotAllowed") && told.contains("`configure` must not wait"), "{told}");
    assert_eq!(servers.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn without_anybody_who_sends_it_is_busy() {
    in_time(|| {
        let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
        let policy = configured(&sandbox, CAPABILITIES, &config("alone", "{}")).unwrap().worker();
        assert_eq!(does(&*policy, "ask http://a.test/"), "Error::Busy");
    });
}

#[test]
fn a_shadow_asks_nobody() {
    in_time(|| {
        let (sandbox, servers) = sandbox();
        let config = PolicyConfig { version: portcullis_model::Version::Shadow, ..config("shadowing", "{}") };
        let factory = configured(&sandbox, CAPABILITIES, &config).unwrap();
        let answer = does(&*factory.clone().worker(), "ask http://a.test/x");
        assert!(answer.starts_with("Error::NotAllowed(") && answer.contains("shadow"), "{answer}");
        assert_eq!(factory.refused_requests().unwrap().load(Ordering::SeqCst), 1);
        assert_eq!(servers.asked.load(Ordering::SeqCst), 0);
    });
}
