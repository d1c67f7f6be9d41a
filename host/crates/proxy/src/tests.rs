//! Whole exchanges in simulated time: the real worker, codecs, pools and policy chains, between clients and endpoints
//! that are tasks of the test and connections that are memory.
//!
//! Whenever nothing can go on, the clock jumps to the next timer, so a timeout of a minute costs nothing, and what
//! happens does not depend on the machine. `tests/timeouts.rs` and `races.rs` have single exchanges; `random.rs` has
//! many at once, from a seed.

mod message;
mod network;
mod policy;
mod races;
mod random;
mod timeouts;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_model::{
    Action, Balance, Ejection, Endpoint, Forward, Gateway, HalfClosed, HostHeader, Listener, Name, Origin,
    PathRules, Protocol, Route, RouteMatch, Server, Upstream, UpstreamHttp2, UpstreamProtocol,
    UpstreamTimeouts,
};
use portcullis_net::{
    Accepted, ConnectionCount, Drain, ListenerState, MemoryStream, Stream, SystemRoots, Tasks,
};
use portcullis_policy::PolicyFactory;
use portcullis_telemetry::{AccessLog, Metrics};
use tokio::time::Instant;

use self::message::{Message, Peer, Received};
use self::network::{Network, Reach};
use crate::recording::Recordings;
use crate::serve_connection::serve_connection;
use crate::snapshot::Snapshot;
use crate::worker::{Published, Worker};

/// What each direction of a connection holds that was not read: less than a large body, so that a side that does not
/// read stops the other.
const PIPE_BYTES: usize = 64 * 1024;

/// Runs `test` in simulated time.
fn simulate<F: Future<Output = ()>>(test: F) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(24 * 3600), test).await.expect("the test ends within a day");
    });
}

/// One worker of a gateway and all that it meets.
struct World {
    worker: Rc<Worker>,
    listener: Arc<ListenerState>,
    connections: Arc<ConnectionCount>,
    metrics: Arc<Metrics>,
    drain: Drain,
    tasks: Tasks,
    housekeeping: tokio::task::JoinHandle<()>,
}

impl World {
    /// A worker that runs `gateway` with `policies`; `reach` says what connecting to an endpoint leads to.
    fn new(
        gateway: Gateway,
        policies: Vec<Arc<dyn PolicyFactory>>,
        reach: impl Fn(SocketAddr) -> Reach + 'static,
    ) -> Self {
        let metrics = Arc::new(Metrics::new(1));
        let policies: HashMap<Name, Arc<dyn PolicyFactory>> =
            policies.into_iter().map(|policy| (policy.name().clone(), policy)).collect();
        let roots = SystemRoots::new();
        let snapshot =
            Snapshot::build(gateway, &policies, AccessLog::off(), metrics.clone(), None, 1, &roots).unwrap();
        let listener = snapshot.listeners.values().next().unwrap().clone();
        let published = Published {
            generation: AtomicU64::new(snapshot.generation),
            snapshot: ArcSwap::from_pointee(snapshot),
            recordings: Recordings::default(),
            files: portcullis_files::FilePool::new(1, 1),
        };
        let worker = Rc::new(Worker::new(0, Arc::new(published), Network::start(reach)));
        let kept = worker.clone();
        let housekeeping = tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                kept.housekeeping();
            }
        });
        Self {
            worker,
            listener,
            connections: ConnectionCount::new(),
            metrics,
            drain: Drain::new(),
            tasks: Tasks::new(),
            housekeeping,
        }
    }

    /// A client's new connection.
    fn connect(&self) -> MemoryStream {
        self.connector()()
    }

    /// Returns a function that opens clients' connections.
    fn connector(&self) -> Rc<dyn Fn() -> MemoryStream> {
        let (worker, listener, connections) =
            (self.worker.clone(), self.listener.clone(), self.connections.clone());
        let (drain, tasks) = (self.drain.signal(), self.tasks.clone());
        Rc::new(move || {
            let (client, server) = MemoryStream::pair(PIPE_BYTES);
            let accepted = Accepted {
                stream: Stream::Memory(server),
                peer: "192.0.2.1:4000".parse().unwrap(),
                local: "192.0.2.2:80".parse().unwrap(),
                proxy: None,
                tls: None,
                state: listener.clone(),
                drain: drain.clone(),
                permit: connections.admit(),
            };
            tasks.spawn_local(serve_connection(worker.clone(), accepted));
            client
        })
    }

    /// Ends what is under way at once, as at the end of a drain.
    fn end_drain(&self) {
        self.drain.start();
        self.worker.end_drain();
        self.tasks.wake_all();
    }

    /// Drains the worker and asserts that nothing is left of what it served. Returns what it counted.
    async fn end(self) -> Counted {
        self.drain.start();
        tokio::time::timeout(Duration::from_secs(7200), self.tasks.wait_idle())
            .await
            .expect("every connection ends");
        assert_eq!(self.connections.open(), 0, "connections");
        assert!(self.tasks.is_empty(), "tasks");
        let local = self.worker.current();
        for upstream in local.snapshot.upstreams() {
            for member in upstream.endpoints.members() {
                let endpoint = &member.endpoint;
                let (name, in_flight) = (&upstream.config.name, endpoint.in_flight());
                assert_eq!(in_flight, 0, "exchanges at {} of {name}", endpoint.address());
            }
        }
        self.housekeeping.abort();
        let mut page = String::new();
        self.metrics.render(&mut page);
        Counted(page)
    }
}

/// The page of metrics.
struct Counted(String);

impl Counted {
    /// Asserts that this many exchanges failed, all by the fault of `side`.
    #[track_caller]
    fn has_errors(&self, side: &str, count: u32) {
        let found: Vec<&str> =
            self.0.lines().filter(|line| line.starts_with("portcullis_request_errors_total")).collect();
        let expected = format!("portcullis_request_errors_total{{route=\"all\",side=\"{side}\"}} {count}");
        assert_eq!(found, [expected], "errors by side");
    }

    /// Asserts that nothing went wrong.
    #[track_caller]
    fn has_no_errors(&self) {
        assert!(!self.0.contains("\nportcullis_request_errors_total{"), "{}", self.0);
    }
}

/// Asserts that `expected` has passed since `begun`, and not much more.
#[track_caller]
fn assert_passed(begun: Instant, expected: Duration) {
    let passed = begun.elapsed();
    assert!(
        passed >= expected && passed < expected + Duration::from_millis(200),
        "{passed:?} for {expected:?}"
    );
}

/// Returns an endpoint that reads whole requests and sends what `answer` returns for each, until its peer closes.
fn answering(answer: impl Fn(&Message) -> Vec<u8> + 'static) -> Reach {
    let answer = Rc::new(answer);
    Reach::accepts(move |stream| {
        let answer = answer.clone();
        async move {
            let mut peer = Peer::new(stream);
            while let Some(Received::Whole(request)) = peer.request().await {
                if !peer.send(answer(&request)).await {
                    return;
                }
            }
        }
    })
}

/// Forwards to the upstream `up`, with this many attempts.
fn forward(attempts: u32) -> Action {
    Action::Forward(Forward {
        upstreams: vec!["up".into()],
        tries: portcullis_model::Tries { attempts, retry: None },
        host: None,
        filters: Vec::new(),
        cache: None,
    })
}

/// A gateway with a listener and one route, `all`, to the upstream `up` with `endpoints`; `change` says what is
/// special.
fn gateway(endpoints: &[&str], policies: &[&str], change: impl FnOnce(&mut Gateway)) -> Gateway {
    let listener = Listener {
        name: "web".into(),
        address: "192.0.2.2:80".parse().unwrap(),
        protocols: Protocol::ALL.into_iter().collect(),
        tls: None,
        proxy_protocol: None,
        timeouts: portcullis_model::DownstreamTimeouts::default(),
        limits: portcullis_model::ConnectionLimits::default(),
        half_closed: HalfClosed::default(),
        field_case: portcullis_model::FieldCase::Lower,
        public_port: None,
        origin: Origin::default(),
    };
    let endpoint = |address: &&str| Endpoint { address: Name::from(*address), weight: 1, priority: 0 };
    let upstream = Upstream {
        name: "up".into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        balance: Balance::RoundRobin,
        limits: portcullis_model::UpstreamLimits::default(),
        slow_start: std::time::Duration::ZERO,
        protocol: UpstreamProtocol::Http1,
        tls: None,
        proxy_protocol: None,
        host: HostHeader::Preserve,
        hide_server: false,
        field_case: portcullis_model::FieldCase::Lower,
        timeouts: UpstreamTimeouts::default(),
        ejection: Ejection::default(),
        health_checks: Vec::new(),
        panic: portcullis_model::Panic::default(),
        idle_connections_max: 8,
        head_bytes_max: 32 * 1024,
        replay_bytes_max: 64 * 1024,
        retry_budget: None,
        http2: UpstreamHttp2::default(),
        origin: Origin::default(),
    };
    let route = Route {
        name: "all".into(),
        matches: RouteMatch::default(),
        policies: policies.iter().map(|name| Name::from(*name)).collect(),
        action: forward(2),
        response_edits: portcullis_model::ResponseEdits::default(),
        compress: None,
        decompress: None,
        timeout: None,
        body_bytes_max: None,
        hold_bytes_max: 64 * 1024,
        listeners: Vec::new(),
        tls_required: false,
        path_rules: PathRules::default(),
        origin: Origin::default(),
    };
    let mut gateway = Gateway {
        server: Server { via: None, ..Server::default() },
        listeners: vec![listener],
        upstreams: vec![upstream],
        routes: vec![route],
        ..Gateway::default()
    };
    change(&mut gateway);
    gateway
}
