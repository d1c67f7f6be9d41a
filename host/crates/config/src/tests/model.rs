//! That what is typed arrives in the model.

use std::path::Path;
use std::time::Duration;

use portcullis_model::{
    Action, Balance, Ejection, FieldChange, FieldEdit, Gateway, HashKey, HealthCheck, HealthProbe,
    HostHeader, HostPattern, LogTarget, Outliers, Panic, PluginSource, PurgeGrant, RequestFilter, Retry,
    Share, TlsVersion, UpstreamLimits, UpstreamProtocol,
};

use super::cases::cases_folder;
use super::fake::FakePlugins;

fn right(name: &str) -> Gateway {
    crate::load(&cases_folder().join("right").join(name), &FakePlugins).unwrap().gateway
}

#[test]
fn routes_are_in_match_order() {
    let gateway = right("routes.toml");
    let names: Vec<&str> = gateway.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(
        names,
        [
            "host",
            "ipv6",
            "further-below",
            "below",
            "slash",
            "encoded",
            "new",
            "by-id",
            "v1",
            "root",
            "post-beta",
            "post",
            "put",
            "tenant-a",
            "tenant-b",
            "rest"
        ]
    );
    let exact = [HostPattern::Exact("example.com".into())];
    assert!(gateway.routes.iter().any(|route| route.matches.hosts == exact));
    let origin = &gateway.routes.iter().find(|route| &*route.name == "root").unwrap().origin;
    assert!(origin.file.ends_with("routes.toml"));
    assert_eq!(origin.line, 7);
}

#[test]
fn a_retry_arrives_as_it_was_typed() {
    let Some(Action::Forward(forward)) = right("route-retry.toml").routes.pop().map(|route| route.action)
    else {
        panic!("it forwards")
    };
    let retry = Retry {
        on_reset: false,
        on_timeout: true,
        on_statuses: vec![502, 503],
        try_timeout: Some(Duration::from_secs(2)),
        delay: Duration::from_millis(100),
        delay_max: Duration::from_millis(250),
        non_idempotent: true,
    };
    assert_eq!((forward.tries.attempts, forward.tries.retry.as_deref()), (5, Some(&retry)));
}

#[test]
fn the_ways_to_balance_arrive_as_they_were_typed() {
    let gateway = right("upstream-balance.toml");
    let [any, quick, session, small] = &gateway.upstreams[..] else { panic!("{:?}", gateway.upstreams) };
    assert_eq!((&any.balance, any.slow_start), (&Balance::Random, Duration::ZERO));
    assert_eq!((&quick.balance, quick.slow_start), (&Balance::PeakEwma, Duration::from_secs(30)));
    let endpoints = quick.endpoints.iter().map(|endpoint| (endpoint.weight, endpoint.priority));
    assert_eq!(endpoints.collect::<Vec<_>>(), [(1, 0), (2, 0), (1, 1)]);
    let hashed = Balance::Hash {
        key: HashKey::Cookie("Session".into()),
        load_max: Some(Share::of_hundredths(12_500)),
    };
    assert_eq!(session.balance, hashed);
    let limits = UpstreamLimits {
        requests_max: Some(500),
        endpoint_requests_max: Some(100),
        waiting_max: 50,
        wait: Duration::from_secs(5),
    };
    assert_eq!((small.limits, any.limits), (limits, UpstreamLimits::default()));
}

#[test]
fn what_leaves_endpoints_out_arrives_as_it_was_typed() {
    let gateway = right("outliers.toml");
    let [app, strict] = &gateway.upstreams[..] else { panic!("{gateway:?}") };
    let share = |percent: u32| Share::of_hundredths(percent * 100);
    let expected = Ejection {
        failures: 0,
        duration: Duration::from_secs(5),
        duration_max: Duration::from_secs(60),
        share_max: share(50),
        outliers: Some(Outliers {
            failures: Some(share(20)),
            latency: Some(share(250)),
            window: Duration::from_secs(30),
            requests_min: 10,
        }),
    };
    assert_eq!((&app.ejection, app.panic), (&expected, Panic::Below(share(40))));
    assert_eq!((&strict.ejection, strict.panic), (&Ejection::default(), Panic::Off));
}

#[test]
fn health_checks_arrive_as_they_were_typed() {
    let gateway = right("health-checks.toml");
    let [page, grpc, tcp, text] = &gateway.upstreams[0].health_checks[..] else { panic!("{gateway:?}") };
    let probe = HealthProbe::Http {
        method: "HEAD".into(),
        path: "/healthz?deep=1".into(),
        host: Some("app.test".into()),
        statuses: vec![200, 401],
        body: None,
    };
    assert_eq!((&page.probe, page.port, page.rise, page.fall), (&probe, Some(9000), 2, 1));
    let expected = HealthCheck {
        probe: HealthProbe::Grpc { service: "shop.v1.Orders".into() },
        port: None,
        interval: Duration::from_secs(1),
        jitter: Share::of_hundredths(0),
        timeout: Duration::from_millis(300),
        rise: 4,
        fall: 3,
    };
    assert_eq!(**grpc, expected);
    assert_eq!(
        (&tcp.probe, tcp.interval, tcp.timeout),
        (&HealthProbe::Tcp, Duration::from_secs(10), Duration::from_secs(2))
    );
    assert_eq!(tcp.jitter, Share::of_hundredths(1000));
    let names = [page, grpc, tcp, text].map(|check| check.to_string());
    assert_eq!(
        names,
        ["HEAD /healthz?deep=1 at port 9000", "gRPC health of shop.v1.Orders", "TCP connect", "GET /"]
    );
}

#[test]
fn an_upstream_arrives_as_it_was_typed() {
    let gateway = right("upstream.toml");
    let upstream = gateway.upstreams.first().unwrap();
    let endpoints: Vec<(&str, u32)> =
        upstream.endpoints.iter().map(|endpoint| (&*endpoint.address, endpoint.weight)).collect();
    assert_eq!(endpoints, [("10.0.0.1:80", 1), ("app.internal:8080", 3), ("[2001:db8::7]:80", 1)]);
    assert_eq!(upstream.balance, Balance::LeastRequests);
    assert_eq!(upstream.retry_budget, Some(Share::of_hundredths(1250)));
    let hashed = gateway.upstreams.iter().filter_map(|upstream| match &upstream.balance {
        Balance::Hash { key, load_max: None } => Some(key.clone()),
        _ => None,
    });
    assert_eq!(hashed.collect::<Vec<_>>(), [HashKey::Path, HashKey::Field("x-user".into())]);
    assert_eq!(upstream.protocol, UpstreamProtocol::Http2);
    assert_eq!(upstream.host, HostHeader::Fixed("app.internal:8443".into()));
    assert_eq!(
        (upstream.hide_server, upstream.idle_connections_max, upstream.head_bytes_max),
        (true, 0, 128 << 10)
    );
    assert_eq!(upstream.timeouts.idle, Duration::from_secs(300));
    assert_eq!((upstream.ejection.failures, upstream.ejection.duration), (3, Duration::from_secs(30)));
    let tls = upstream.tls.as_ref().unwrap();
    assert!(tls.verify && tls.ca.is_some());
    assert_eq!(tls.server_name.as_deref(), Some("app.internal"));
}

#[test]
fn policies_get_their_files_and_secrets() {
    let gateway = right("policies.toml");
    let config = |name: &str| {
        let policy = gateway.policies.iter().find(|policy| &*policy.name == name).unwrap();
        serde_json::from_str::<serde_json::Value>(&policy.config_json).unwrap()
    };
    assert_eq!(config("keys-from-file"), serde_json::json!({ "keys-file": "keys:alice\n" }));
    assert_eq!(config("limit")["weight"], serde_json::json!(0.5));
    assert_eq!(gateway.policies.first().unwrap().plugin, PluginSource::Builtin("api-key".into()));
    let route = gateway.routes.first().unwrap();
    assert_eq!(
        route.policies.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["keys", "keys-from-file", "limit"]
    );
    // The upstream has one endpoint, so that there is nothing to try twice.
    let Action::Forward(forward) = &route.action else { panic!("{:?}", route.action) };
    assert_eq!(
        (forward.tries.attempts, route.body_bytes_max, route.hold_bytes_max),
        (1, Some(10 << 20), 64 << 10)
    );

    let gateway = right("grants-and-secrets.toml");
    let secret = |name: &str| gateway.secrets.get(name).unwrap().expose().to_vec();
    assert_eq!(secret("token"), b"s3cr3t-value");
    assert_eq!(secret("from-env"), b"portcullis-config");
    assert!(!format!("{gateway:?}").contains("s3cr3t"));
}

#[test]
fn a_grant_to_purge_is_a_list_or_a_table() {
    let gateway = right("purge-grants.toml");
    let grants: Vec<_> = gateway.policies.iter().map(|policy| policy.grants.cache_purge.clone()).collect();
    let grant = |caches: &[&str], per_second| {
        let caches = caches.iter().map(|cache| (*cache).into()).collect();
        Some(PurgeGrant { caches, per_second })
    };
    // 100 is the documented default.
    assert_eq!(grants, [grant(&["pages", "assets"], 100), grant(&["assets"], 10)]);
}

#[test]
fn a_listener_and_the_server_arrive_as_they_were_typed() {
    let gateway = right("tls.toml");
    let listener = gateway.listeners.first().unwrap();
    assert!(listener.protocols.iter().eq([portcullis_model::Protocol::Http2]));
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(tls.min_version, TlsVersion::V1_3);
    let certificate = tls.certificates.first().unwrap();
    assert!(certificate.cert_pem.starts_with(b"-----BEGIN CERTIFICATE-----"));
    assert!(certificate.cert_path.is_absolute());
    assert_eq!(listener.timeouts.tunnel_idle, Duration::from_secs(7200));

    let server = right("server.toml").server;
    assert_eq!((server.workers, server.policy_instances_max), (Some(4), 50));
    assert_eq!(server.trusted_proxies.len(), 3);
    let folder = cases_folder().join("right");
    assert_eq!(server.cache_dir, Some(folder.join("cache")));
    assert_eq!(server.access_log.target, LogTarget::File(folder.join("access.log")));
}

#[test]
fn every_file_that_was_read_is_listed() {
    let folder = cases_folder().join("right/include");
    let gateway = right("include/main.toml");
    let expected = [
        "main.toml",
        "conf.d",
        "conf.d/10-app.toml",
        "conf.d/20-route.toml",
        "conf.d/keys.txt",
        "conf.d/nested/app.toml",
        "listeners.toml",
        "more",
        "more/a.toml",
        "none",
    ];
    let mut expected: Vec<_> = expected.iter().map(|name| folder.join(name)).collect();
    expected.sort();
    assert_eq!(gateway.files, expected);
    assert!(gateway.policies.first().unwrap().origin.file.ends_with("conf.d/10-app.toml"));
}

#[test]
fn what_would_mend_a_broken_configuration_is_listed() {
    let path = cases_folder().join("wrong/tls-file-missing.toml");
    let diagnostics = crate::load(&path, &FakePlugins).unwrap_err();
    assert!(diagnostics.files().iter().any(|file| file.ends_with("files/nothing.pem")));
    assert!(diagnostics.files().contains(&path));
    assert_eq!(diagnostics.count(), 2);
    let first = diagnostics.iter().next().unwrap();
    assert_eq!(first.position(), Some((3, 34)));
    assert!(
        first.message().contains("nothing.pem") && first.help().is_some() && first.file().ends_with(".toml")
    );
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let diagnostics = crate::load(Path::new("nowhere/edge.toml"), &FakePlugins).unwrap_err();
    let text = diagnostics.to_string();
    assert!(
        text.starts_with(
            "error: the config file cannot be read: there is no such file\n --> nowhere/edge.toml\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("\n1 error"));
}

#[test]
fn bounds_hold() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, "x = 1\n".repeat(1 << 18)).unwrap();
    assert!(crate::load(&path, &FakePlugins).unwrap_err().to_string().contains("larger than 1MiB"));

    let many: String = (0..300).map(|at| format!("unknown-{at} = 1\n")).collect();
    std::fs::write(&path, many).unwrap();
    let diagnostics = crate::load(&path, &FakePlugins).unwrap_err();
    assert_eq!(diagnostics.count(), 302);
    assert!(diagnostics.to_string().ends_with("102 more are not shown\n302 errors"));

    std::fs::write(&path, format!("x = {}", "[".repeat(100_000))).unwrap();
    assert!(crate::load(&path, &FakePlugins).is_err());

    std::fs::write(&path, [b'a', 0xff]).unwrap();
    assert!(crate::load(&path, &FakePlugins).unwrap_err().to_string().contains("not UTF-8"));

    for at in 0..300 {
        std::fs::write(folder.path().join(format!("{at}.conf")), "").unwrap();
    }
    std::fs::write(&path, "include = [\"*.conf\"]").unwrap();
    assert!(
        crate::load(&path, &FakePlugins).unwrap_err().to_string().contains("too many files are included")
    );
}

#[test]
fn versions_that_are_tried_have_of_their_policy_what_they_do_not_say() {
    use portcullis_model::{
        AbortRules, Candidate, CostRule, FaultRule, FieldMatch, Selection, Share, Version,
    };

    let gateway = right("rollouts.toml");
    let policy = |name: &str| gateway.policies.iter().find(|policy| &*policy.name == name).unwrap();
    let limit = policy("limit");
    let Some(Candidate::Canary(canary)) = limit.candidate.as_deref() else { panic!("{limit:?}") };
    assert_eq!(canary.selection, Selection::Share(Share::of_hundredths(1250)));
    let abort = AbortRules {
        faults: FaultRule::Count(3),
        cpu: CostRule::Mean(Duration::from_micros(500)),
        latency: CostRule::Ratio(Share::of_hundredths(25_000)),
        window: 1000,
    };
    assert_eq!(canary.abort, Some(abort));
    let version = &canary.version;
    assert_eq!((&*version.name, version.version), ("limit", Version::Canary));
    assert_eq!((version.limits.deadline, version.limits.memory_bytes), (Duration::from_millis(5), 8 << 20));
    assert_eq!(version.config_json, r#"{"anything":1}"#);
    assert!(version.grants.store.is_some() && limit.grants.store.is_none());
    assert_eq!(version.origin.line, limit.origin.line + 6);

    let Some(Candidate::Canary(canary)) = policy("limit-2").candidate.as_deref() else { panic!() };
    let field =
        |name: &str, value: Option<&str>| FieldMatch { name: name.into(), value: value.map(Into::into) };
    assert_eq!(
        canary.selection,
        Selection::Match(vec![field("x-canary", None), field("x-tenant", Some("a"))])
    );
    assert_eq!((canary.abort, canary.version.grants.rate_limit.is_some()), (None, true));

    let Some(Candidate::Shadow(shadow)) = policy("edits").candidate.as_deref() else { panic!() };
    assert_eq!((shadow.share, shadow.samples), (Share::of_hundredths(1), 0));
    assert_eq!(shadow.version.config_json, "{}");

    let same = policy("same-config");
    let Some(Candidate::Shadow(shadow)) = same.candidate.as_deref() else { panic!() };
    assert_eq!((shadow.share, shadow.samples, shadow.version.version), (Share::ALL, 20, Version::Shadow));
    assert_eq!((&shadow.version.grants, shadow.version.tick), (&same.grants, Duration::from_secs(60)));
}

#[test]
fn the_bytes_that_were_inspected_are_handed_on() {
    use sha2::{Digest as _, Sha256};
    let loaded = crate::load(&cases_folder().join("right/rollouts.toml"), &FakePlugins).unwrap();
    assert!(!loaded.gateway.policies.is_empty());
    let tried = |policy: &portcullis_model::PolicyConfig| {
        policy.candidate.as_deref().map(|tried| tried.version().digest)
    };
    for digest in
        loaded.gateway.policies.iter().flat_map(|policy| [Some(policy.digest), tried(policy)]).flatten()
    {
        let component = loaded.components.get(&digest).unwrap();
        assert_eq!(<[u8; 32]>::from(Sha256::digest(component)), digest);
    }
}

#[test]
fn what_a_route_changes_arrives_in_order() {
    let gateway = right("route-headers.toml");
    let route = gateway.routes.iter().find(|route| &*route.name == "api").unwrap();
    let Action::Forward(forward) = &route.action else { panic!("{route:?}") };
    assert_eq!(forward.host, Some(HostHeader::Fixed("inner.example.com:8080".into())));
    fn shown<V: ToString>(edit: &FieldEdit<V>) -> String {
        match &edit.change {
            FieldChange::Remove => format!("- {}", edit.name),
            FieldChange::Set(value) => format!("{} = {}", edit.name, value.to_string()),
            FieldChange::Add(value) => format!("{} + {}", edit.name, value.to_string()),
        }
    }
    let filters: Vec<String> = forward
        .filters
        .iter()
        .map(|filter| match filter {
            RequestFilter::Field(edit) => shown(edit),
            RequestFilter::Path(path) => format!("path {path}"),
        })
        .collect();
    assert_eq!(
        filters,
        [
            "- cookie",
            "- authorization",
            "x-original-path = {path}{query}",
            "x-version = v{version}",
            "x-json = {\"a\":{}}",
            "x-passed + edge",
            "x-passed + {scheme}://{host}",
            "path /{version}{rest}",
        ]
    );
    let edits: Vec<String> = route.response_edits.fields.iter().map(shown).collect();
    let expected = [
        "- x-powered-by",
        "- server",
        "strict-transport-security = max-age=31536000",
        "nel = {\"report_to\":\"x\"}",
        "vary + accept",
    ];
    assert_eq!(
        (edits.as_slice(), route.response_edits.always),
        (expected.map(String::from).as_slice(), true)
    );
    let host = |name: &str| {
        let route = gateway.routes.iter().find(|route| &*route.name == name).unwrap();
        let Action::Forward(forward) = &route.action else { panic!("{route:?}") };
        forward.host.clone()
    };
    assert_eq!((host("keep"), host("name")), (Some(HostHeader::Preserve), Some(HostHeader::Endpoint)));
}
