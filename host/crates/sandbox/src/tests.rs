//! Tests with real guests: `tests/guests/examples`.

mod cache;
mod cache_purge;
mod calls;
mod cancellation;
mod capabilities;
mod deadlines;
mod direct;
mod edits;
mod faults;
mod growths;
mod host_calls;
mod http_client;
pub(crate) mod injected;
mod isolation;
mod limits;
mod load;
mod quarantine;
mod recorder;
mod straight;
mod together;
mod virtual_wasi;
mod wiping;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use portcullis_http::Fields;
use portcullis_model::{
    FailureMode, Grants, Isolation, Name, Origin, PluginSource, PolicyConfig, PurgeGrant, RateQuota,
    ResourceLimits, Secret, StoreGrant, TlsVersion, Version,
};
use portcullis_policy::{
    Called, ClientTls, Decision, Exchange, Fault, FaultKind, Hook, Policy, PolicyFactory,
};

use crate::component::ImageSource;
use crate::component::image;
use crate::run::block_on::block_on;
use crate::{ConfigureError, PolicyComponent, Sandbox, SandboxOptions};

portcullis_test_guests::every_guest! {
    all_hooks => calls::calls_every_hook_in_order,
    asks => http_client::other_hooks_wait_as_well,
    caches => cache::what_a_policy_says_is_in_the_exchange_in_its_hook_alone,
    capabilities => capabilities::counts_a_rate_limit_exactly_across_threads,
    edits => edits::reads_the_request,
    every_call => host_calls::one_that_the_host_fails_is_a_fault_in_every_hook,
    every_call_waits => host_calls::every_call_of_the_contract_is_in_these_tests,
    globals => isolation::nothing_that_an_exchange_wrote_is_seen_by_another,
    hook_cost => calls::reuses_one_instance,
    late_edits => edits::edits_the_head_until_the_policy_lets_its_body_go,
    misbehave => faults::tells_every_fault_in_every_hook_by_its_kind,
    plain => load::inspects_a_component,
    purges => cache_purge::a_purge_goes_to_the_caches_that_were_granted_and_is_waited_for,
    renews => capabilities::on_tick_renews_sets_and_keys_and_releases_old_ones,
    tick_asks => http_client::on_tick_waits_on_its_own_thread,
    ticker => calls::ticks_until_the_policy_is_dropped,
    unknown_import => load::refuses_an_import_that_no_gateway_has,
    version_1 => calls::runs_two_versions_side_by_side,
    version_2 => calls::runs_two_versions_side_by_side,
    writes => wiping::whatever_an_exchange_wrote_the_next_finds_all_memory_as_it_was_configured,
    wrong_version => load::refuses_another_version_of_the_contract,
}

/// One engine for all tests, but those that count instances or look at the cache.
static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(SandboxOptions::default()).unwrap());

thread_local! {
    /// What the policies of this test are isolated by.
    static ISOLATION: Cell<Isolation> = const { Cell::new(Isolation::Worker) };
}

thread_local! {
    /// Whether a hook that this thread ran has met its deadline.
    static MET_DEADLINE: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test for either isolation.
fn both(test: impl Fn()) {
    for isolation in [Isolation::Worker, Isolation::Exchange] {
        ISOLATION.set(isolation);
        in_time(&test);
    }
}

/// Runs a test that is not about deadlines. If it fails and a hook has met its deadline, it is run again: a policy on
/// the worker's thread has 10 ms of CPU time at most, and on a machine that is busy enough, touching its memory for the
/// first time can take longer.
fn in_time(test: impl Fn()) {
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        MET_DEADLINE.set(false);
        match catch_unwind(AssertUnwindSafe(&test)) {
            Ok(()) => return,
            Err(panic) if !MET_DEADLINE.get() => resume_unwind(panic),
            Err(_) => {}
        }
    }
    test();
}

/// Each guest is compiled once for each isolation.
fn component(guest: &'static [u8]) -> Arc<PolicyComponent> {
    type Compiled = HashMap<(usize, Isolation), Arc<PolicyComponent>>;
    static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap();
    let isolation = ISOLATION.get();
    let make = || SANDBOX.compile(guest, isolation).unwrap().component;
    compiled.entry((guest.as_ptr() as usize, isolation)).or_insert_with(make).clone()
}

/// A policy that is granted everything. State belongs to the name, so each test has its own.
fn config(name: &str, json: &str) -> PolicyConfig {
    PolicyConfig {
        name: Name::from(name),
        version: Version::Active,
        plugin: PluginSource::File(PathBuf::from("/guest.wasm")),
        digest: [0; 32],
        grants: Grants {
            log: true,
            clock: true,
            random: true,
            rate_limit: Some(RateQuota::default()),
            metrics: true,
            store: Some(StoreGrant::default()),
            secrets: Vec::new(),
            crypto: true,
            matchers: true,
            http: vec![portcullis_model::HttpGrant {
                tls: false,
                host: "a.test".into(),
                port: 80,
                path: String::new(),
                private: false,
                ca: None,
            }],
            cache_purge: Some(PurgeGrant { caches: vec!["c".into()], per_second: PurgeGrant::PER_SECOND }),
        },
        isolation: ISOLATION.get(),
        limits: ResourceLimits::default(),
        on_error: FailureMode::Deny,
        quarantine: None,
        tick: Duration::from_secs(1),
        config_json: json.to_owned(),
        candidate: None,
        origin: Origin::default(),
    }
}

fn factory(guest: &'static [u8], config: &PolicyConfig) -> Result<Arc<dyn PolicyFactory>, ConfigureError> {
    SANDBOX.configure(&component(guest), config, &BTreeMap::<Name, Secret>::new())
}

fn policy(guest: &'static [u8], config: &PolicyConfig) -> Rc<dyn Policy> {
    factory(guest, config).unwrap().worker()
}

/// The same policy with a deadline that puts it on fibers.
fn on_fibers(mut config: PolicyConfig) -> PolicyConfig {
    config.name = format!("{}-on-fibers", config.name).into();
    config.limits.deadline = Duration::from_millis(15);
    config
}

fn exchange() -> Box<Exchange> {
    let mut exchange = Box::<Exchange>::default();
    exchange.request.method.push_str("GET");
    exchange.request.authority.push_str("example.com");
    exchange.request.set_target("/a/b", Some("q=1"));
    exchange.route = Name::from("the-route");
    exchange.trace_id.push_str("0123456789abcdef0123456789abcdef");
    exchange.client.address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    exchange.response.status = 200;
    exchange.response.fields.append(b"content-type", b"text/plain").unwrap();
    exchange
}

/// Runs a hook to its end, in either mode.
fn run(policy: &dyn Policy, hook: Hook, exchange: Box<Exchange>) -> (Box<Exchange>, Result<Decision, Fault>) {
    let (exchange, result) = match policy.call(hook, exchange) {
        Called::Ready(exchange, result) => (exchange, result),
        Called::Waiting(future) => block_on(future),
    };
    if result.as_ref().is_err_and(|fault| fault.kind == FaultKind::Deadline) {
        MET_DEADLINE.set(true);
    }
    (exchange, result)
}

/// Runs a hook that is not about time, and again if it met its deadline: on a busy machine the first touch of some
/// memory alone can take as long.
fn run_in_time(
    policy: &dyn Policy,
    hook: impl Fn() -> Hook,
    mut exchange: Box<Exchange>,
) -> (Box<Exchange>, Result<Decision, Fault>) {
    for _ in 0..10 {
        let (back, result) = run(policy, hook(), exchange);
        exchange = back;
        match result {
            Err(fault) if fault.kind == FaultKind::Deadline => {}
            result => return (exchange, result),
        }
    }
    run(policy, hook(), exchange)
}

/// What only tests ask of a sandbox.
impl Sandbox {
    /// The rate-limit buckets of the policies of that name.
    pub(crate) fn buckets(&self, policy: &Name) -> Option<Arc<portcullis_traffic::RateLimiter>> {
        self.0.policies.get(policy).buckets.table()
    }

    /// Instances that were wiped and wait for an exchange.
    pub(crate) fn spares(&self) -> u32 {
        self.0.spares.taken()
    }

    /// The same component, linked once more.
    pub(crate) fn link_again(&self, component: &PolicyComponent) -> Arc<PolicyComponent> {
        let PolicyComponent { info, linked, direct, image: source } = component;
        assert!(direct.is_none(), "where calls of components fail, no module is called directly");
        let linked = self.0.link_plain(linked.pre.component()).expect("it was linked before");
        let instrument = |source: &ImageSource| image::instrument(source.component.borrow_owner());
        let image = source.as_ref().map_err(Clone::clone).and_then(instrument);
        let image = image.map(|(component, _)| ImageSource::new(component));
        Arc::new(PolicyComponent { info: info.clone(), linked, direct: None, image })
    }
}

/// What is logged while `body` runs on this thread.
fn logged(body: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, body);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// What TLS agreed on with the client, if it speaks TLS.
fn tls() -> ClientTls {
    ClientTls { version: TlsVersion::V1_3, cipher: "TLS_AES_128_GCM_SHA256".into(), alpn: Some("h2".into()) }
}

/// Trailers behind a body.
fn trailers() -> Fields {
    let mut trailers = Fields::new();
    for (name, value) in [("x-some", &b"first"[..]), ("x-some", b"second"), ("x-bytes", b"\xff a")] {
        trailers.append(name.as_bytes(), value).unwrap();
    }
    trailers
}

fn piece(text: &'static str, last: bool) -> Hook {
    Hook::RequestBody { chunk: bytes::Bytes::from_static(text.as_bytes()), last }
}
