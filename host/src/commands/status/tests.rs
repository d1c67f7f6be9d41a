use std::collections::BTreeMap;

use portcullis_admin::{
    CheckStatus, EndpointStatus, FaultStatus, HookCount, InstanceStatus, LeftOutStatus, ListenerStatus,
    MemoryStatus, PolicyStatus, QuarantineStatus, RefusedStatus, RouteStatus, Status, UnderWayStatus,
    UnroutedStatus, UpstreamLimitsStatus, UpstreamStatus,
};

use super::{age, cpu, size, text};

fn count(hook: &str, kind: Option<&str>, count: u64) -> HookCount {
    HookCount { hook: hook.to_owned(), kind: kind.map(str::to_owned), count }
}

#[test]
fn shows_everything_in_tables() {
    let status = Status {
        version: "0.1.0".to_owned(),
        pid: 17,
        config: "edge.toml".to_owned(),
        generation: 3,
        uptime_s: 90_000,
        generation_age_s: 61,
        refused: None,
        workers: 2,
        instances: InstanceStatus { alive: 4, max: 1000 },
        memory: MemoryStatus { bytes: 5 << 20, bytes_max: 4 << 30 },
        listeners: vec![ListenerStatus {
            name: "web".to_owned(),
            address: "0.0.0.0:8443".to_owned(),
            tls: true,
            connections: 12,
        }],
        routes: vec![
            RouteStatus {
                name: "api".to_owned(),
                policies: vec!["keys".to_owned(), "limit".to_owned()],
                requests: 5,
                by_status: BTreeMap::from([("2xx".to_owned(), 4), ("5xx".to_owned(), 1)]),
                ..RouteStatus::default()
            },
            RouteStatus {
                name: "site".to_owned(),
                hosts: vec!["*".to_owned()],
                listeners: vec!["web".to_owned()],
                tls_required: true,
                ..RouteStatus::default()
            },
        ],
        unrouted: UnroutedStatus { requests: 7, by_status: BTreeMap::from([("4xx".to_owned(), 7)]) },
        policies: vec![PolicyStatus {
            name: "keys".to_owned(),
            plugin: "builtin:api-key".to_owned(),
            component: Some("api-key".to_owned()),
            version: Some("0.1.0".to_owned()),
            isolation: "exchange".to_owned(),
            instances: 3,
            cpu_s: 0.0123,
            memory_bytes_max: 1_114_112,
            under_way: vec![
                UnderWayStatus {
                    version: "active".to_owned(),
                    hook_calls: 2,
                    hook_calls_max: 250,
                    http_calls: Some(1),
                    http_calls_max: 200,
                },
                UnderWayStatus {
                    version: "canary".to_owned(),
                    hook_calls: 3,
                    hook_calls_max: 20,
                    http_calls: None,
                    http_calls_max: 200,
                },
            ],
            calls: vec![count("on-request-head", None, 5)],
            faults: vec![
                count("on-request-head", Some("trap"), 1),
                count("on-response-head", Some("trap"), 2),
                count("on-request-head", Some("deadline"), 1),
            ],
            last_fault: Some(FaultStatus {
                hook: "on-request-head".to_owned(),
                kind: "trap".to_owned(),
                message: "it reached `unreachable`".to_owned(),
                at: "2026-01-01T00:00:00Z".to_owned(),
                age_s: 61,
            }),
            quarantine: Some(QuarantineStatus { lasted_s: 1.5, next_probe_s: 0.2 }),
            quarantine_completed: None,
        }],
        upstreams: vec![UpstreamStatus {
            name: "app".to_owned(),
            endpoints: vec![
                EndpointStatus {
                    address: "10.0.0.1:80".to_owned(),
                    weight: 1,
                    priority: 0,
                    changed: Some("added".to_owned()),
                    latency_us: Some(2345),
                    healthy: true,
                    in_flight: 2,
                    left_out: None,
                    checks: vec![CheckStatus {
                        check: "GET /healthz".to_owned(),
                        passes: true,
                        lasted_s: 9,
                        error: Some("it answered 503".to_owned()),
                    }],
                },
                EndpointStatus {
                    address: "10.0.0.2:80".to_owned(),
                    weight: 3,
                    priority: 1,
                    changed: None,
                    latency_us: None,
                    healthy: false,
                    in_flight: 0,
                    left_out: Some(LeftOutStatus { lasted_s: 90, reason: "connection refused".to_owned() }),
                    checks: vec![CheckStatus {
                        check: "TCP connect".to_owned(),
                        passes: true,
                        lasted_s: 9,
                        error: None,
                    }],
                },
            ],
            removed: vec!["10.0.0.3:80".to_owned()],
            panic: true,
            limits: Some(UpstreamLimitsStatus {
                under_way: 2,
                requests_max: Some(100),
                endpoint_requests_max: Some(60),
                waiting: 0,
                waiting_max: 10,
            }),
        }],
    };
    let expected = "\
portcullis 0.1.0, process 17, up 1 d 1 h
edge.toml, generation 3 since 1 min 1 s
2 workers, 4 of 1000 policy instances with 5.0 MiB of 4.0 GiB memory

LISTENER  ADDRESS               CONNECTIONS
web       https://0.0.0.0:8443  12

ROUTE       REQUESTS  BY STATUS     LISTENERS       POLICIES
api         5         2xx 4, 5xx 1  *               keys > limit
site        0         -             web (TLS only)  -
(no route)  7         4xx 7         *               -

POLICY  PLUGIN           VERSION        ISOLATION  INSTANCES  CALLS  CPU      MEMORY   FAULTS              STATE
keys    builtin:api-key  api-key 0.1.0  exchange   3          5      12.3 ms  1.1 MiB  deadline 1, trap 3  quarantined for 1 s, probe in 1 s
last fault of keys, 1 min 1 s ago, in on-request-head: trap: it reached `unreachable`
under way in keys: 2 of 250 hook calls, 1 of 200 requests of its own
under way in the canary of keys: 3 of 20 hook calls

UPSTREAM  ENDPOINT     WEIGHT  UNDER WAY  STATE
app       10.0.0.1:80  1       2          healthy, answers in 2.3 ms, last check `GET /healthz` failed: it answered 503, added by command
app       10.0.0.2:80  3       0          backup 1, left out for 1 min 30 s: connection refused
removed from app by `portcullis endpoint`: 10.0.0.3:80
too few endpoints of app are healthy: requests go to all of them
limits of app: 2 of 100 requests under way, at most 60 at an endpoint; 0 of 10 wait
";
    assert_eq!(text(&status), expected);
}

#[test]
fn says_times_in_two_units() {
    for (seconds, said) in [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86_400, "1 d 0 h"),
    ] {
        assert_eq!(age(seconds), said);
    }
}

#[test]
fn says_sizes_and_cpu_times_shortly() {
    for (bytes, said) in [
        (0, "0"),
        (1, "1 KiB"),
        (65_536, "64 KiB"),
        (1 << 20, "1.0 MiB"),
        ((1 << 30) - 1, "1024.0 MiB"),
        (3 << 29, "1.5 GiB"),
    ] {
        assert_eq!(size(bytes), said);
    }
    for (seconds, said) in [(0.0, "-"), (0.0004, "0.4 ms"), (0.9999, "999.9 ms"), (1.0, "1.0 s")] {
        assert_eq!(cpu(seconds), said);
    }
}

#[test]
fn says_that_the_config_on_disk_is_refused() {
    let refused = RefusedStatus { errors: 2, first: "unknown key `bogus` in the file".to_owned(), age_s: 61 };
    let status = Status { refused: Some(refused), ..Status::default() };
    let line = "the config on disk has been refused for 1 min 1 s, and does not run: 2 errors, the first is: unknown key \
                `bogus` in the file\n";
    assert!(text(&status).contains(line), "{}", text(&status));
}
