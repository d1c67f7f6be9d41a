use super::*;
use portcullis_model::{Action, Forward, HostPattern, Name, Origin, PathRules, PathSegment, Subject, Test};
use proptest::prelude::*;

fn pattern(text: &str) -> PathPattern {
    let (text, rest) = match text.strip_suffix("/*") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let segments = text.strip_prefix('/').filter(|text| !text.is_empty()).map_or_else(Vec::new, |text| {
        text.split('/')
            .map(|segment| match segment.strip_prefix('{') {
                Some(name) => PathSegment::Parameter(name.trim_end_matches('}').to_owned()),
                None => PathSegment::Literal(segment.to_owned()),
            })
            .collect()
    });
    PathPattern { segments, rest }
}

fn route(host: HostPattern, path: &str, methods: &[&str]) -> Route {
    Route {
        name: Name::from(format!("{host}{path}")),
        matches: RouteMatch {
            hosts: if host == HostPattern::Any { Vec::new() } else { vec![host] },
            path: pattern(path),
            methods: methods.iter().map(ToString::to_string).collect(),
            ..RouteMatch::default()
        },
        policies: Vec::new(),
        action: Action::Forward(Forward {
            upstreams: vec![Name::from("u")],
            tries: portcullis_model::Tries { attempts: 1, retry: None },
            host: None,
            filters: Vec::new(),
            cache: None,
        }),
        response_edits: portcullis_model::ResponseEdits::default(),
        compress: None,
        decompress: None,
        timeout: None,
        body_bytes_max: None,
        hold_bytes_max: 0,
        listeners: Vec::new(),
        tls_required: false,
        path_rules: PathRules::default(),
        origin: Origin::default(),
    }
}

fn sorted(mut routes: Vec<Route>) -> Vec<Route> {
    routes.sort_by_key(|route| std::cmp::Reverse(route.matches.specificity()));
    routes
}

fn find(routes: &[Route], method: &str, host: &str, path: &str) -> Option<String> {
    let mut head = RequestHead::default();
    head.method.push_str(method);
    head.authority.push_str(host);
    head.set_target(path, None);
    find_on(routes, "web", &head)
}

/// A request that comes to `listener` from 10.0.0.7.
fn at(listener: &str) -> Sender<'_> {
    Sender { listener, client: IpAddr::from([10, 0, 0, 7]) }
}

fn find_on(routes: &[Route], listener: &str, head: &RequestHead) -> Option<String> {
    let table = RouteTable::new(routes);
    let found = table.find(at(listener), head);
    let reasons = table.reasons(at(listener), head);
    assert_eq!(reasons.len(), routes.len());
    let first = reasons.iter().find(|(_, reason)| reason.is_none()).map(|(at, _)| *at);
    assert_eq!(first, found, "{head:?}");
    found.map(|at| routes[at].name.to_string())
}

#[test]
fn the_most_specific_route_wins() {
    let exact = || HostPattern::Exact("a.example".to_owned());
    let routes = sorted(vec![
        route(HostPattern::Any, "/*", &[]),
        route(HostPattern::Suffix(".example".to_owned()), "/*", &[]),
        route(exact(), "/v1/*", &[]),
        route(exact(), "/v1/users", &[]),
        route(exact(), "/v1/{id}", &[]),
        route(exact(), "/v1/post", &["POST"]),
    ]);
    let check = |method: &str, host: &str, path: &str, expected: &str| {
        assert_eq!(find(&routes, method, host, path).as_deref(), Some(expected), "{method} {host}{path}");
    };
    check("GET", "a.example", "/v1/users", "a.example/v1/users");
    check("GET", "A.Example:8443", "/v1/users", "a.example/v1/users");
    check("GET", "a.example.", "/v1/7", "a.example/v1/{id}");
    check("GET", "a.example", "/v1", "a.example/v1/*");
    check("GET", "a.example", "/v1/", "a.example/v1/*");
    check("GET", "a.example", "/v1/a/b", "a.example/v1/*");
    // The narrowest path is for POST only: the next one takes GET.
    check("POST", "a.example", "/v1/post", "a.example/v1/post");
    check("GET", "a.example", "/v1/post", "a.example/v1/{id}");
    // Nothing of the exact host fits: the wildcard takes it, then any host.
    check("GET", "a.example", "/other", "*.example/*");
    check("GET", "b.example", "/v1/users", "*.example/*");
    check("GET", "example", "/", "*/*");
}

#[test]
fn connect_and_asterisk_belong_to_the_root() {
    let routes = vec![route(HostPattern::Any, "/*", &[])];
    assert!(find(&routes, "CONNECT", "a", "").is_some());
    assert!(find(&routes, "OPTIONS", "a", "*").is_some());
}

#[test]
fn no_route_is_none() {
    let routes = vec![route(HostPattern::Any, "/only", &[])];
    assert_eq!(find(&routes, "GET", "a", "/other"), None);
    assert_eq!(find(&routes, "GET", "a", "/only/"), None);
}

proptest! {
    /// The index is only a short cut: it must find what trying every route in order finds.
    #[test]
    fn agrees_with_trying_every_route(
        patterns in proptest::collection::vec("(/(a|b|\\{x\\})){0,3}(/\\*)?", 1..8),
        path in "(/(a|b|c)?){1,4}",
    ) {
        let routes: Vec<Route> = patterns
            .iter()
            .map(|path| route(HostPattern::Any, if path.is_empty() { "/" } else { path }, &[]))
            .collect();
        let routes = sorted(routes);
        let naive = routes.iter().find(|route| route.matches.path.matches(&path));
        // Two patterns of one shape are a tie, which the config refuses; either may win here.
        prop_assert_eq!(
            find(&routes, "GET", "h", &path).map(|name| shape(&name)),
            naive.map(|route| shape(&route.name))
        );
    }
}

/// Hosts that routes name and that requests ask for.
fn some_hosts() -> impl Strategy<Value = Vec<HostPattern>> {
    let host = proptest::sample::select(vec![
        HostPattern::Exact("a.b".to_owned()),
        HostPattern::Exact("c.b".to_owned()),
        HostPattern::Suffix(".b".to_owned()),
        HostPattern::Suffix(".c.b".to_owned()),
        HostPattern::Regex(Pattern::new("^[ad]").unwrap()),
        HostPattern::Regex(Pattern::new("b$").unwrap()),
    ]);
    proptest::collection::vec(host, 0..3)
}

proptest! {
    /// With several hosts, listeners, priorities and regular expressions as well.
    #[test]
    fn a_route_wins_by_its_narrowest_host_on_its_listeners(
        rules in proptest::collection::vec(
            (
                some_hosts(),
                "(/(a|\\{x\\})){0,2}(/\\*)?",
                proptest::collection::vec("web|admin", 0..2),
                0..3,
                proptest::option::of(proptest::sample::select(vec!["a$", "^/b?"])),
            ),
            1..8,
        ),
        host in "a\\.b|c\\.b|d\\.b|d\\.c\\.b|e",
        path in "(/(a|b)?){1,3}",
        listener in "web|admin|other",
    ) {
        let routes = rules.into_iter().enumerate().map(|(at, (hosts, path, listeners, priority, regex))| {
            let mut route = route(HostPattern::Any, if path.is_empty() { "/" } else { &path }, &[]);
            route.name = Name::from(format!("r{at}"));
            route.matches.hosts = hosts;
            route.matches.priority = priority;
            route.matches.path_regex = regex.map(|regex| Pattern::new(regex).unwrap());
            route.listeners = listeners.iter().map(|name| Name::from(&**name)).collect();
            route
        });
        let routes = sorted(routes.collect());
        let mut head = RequestHead::default();
        head.method.push_str("GET");
        head.authority.push_str(&host);
        head.set_target(&path, None);
        let taking = routes.iter().filter(|route| route.is_on(&listener) && route.matches.takes_path(&path));
        let by = |route: &Route| Some(route.matches.specificity_by(route.matches.host_for(&host)?));
        let best = taking.filter(|route| by(route).is_some()).max_by_key(|route| (by(route), Reverse(&route.name)));
        let found = find_on(&routes, &listener, &head);
        // Of routes that are tied, which the config refuses, either may win.
        let of = |name: &str| routes.iter().find(|route| *route.name == *name).and_then(by);
        prop_assert_eq!(found.as_deref().and_then(of), best.and_then(by));
        prop_assert_eq!(found.is_some(), best.is_some());
    }
}

#[test]
fn a_route_is_not_there_on_another_listener() {
    let mut internal = route(HostPattern::Any, "/admin/*", &[]);
    internal.listeners = vec![Name::from("internal")];
    let routes = sorted(vec![internal, route(HostPattern::Any, "/*", &[])]);
    let mut head = RequestHead::default();
    head.method.push_str("GET");
    head.set_target("/admin/x", None);
    assert_eq!(find_on(&routes, "internal", &head).as_deref(), Some("*/admin/*"));
    assert_eq!(find_on(&routes, "web", &head).as_deref(), Some("*/*"));
    // A connection may outlive its listener.
    assert_eq!(find_on(&routes, "gone", &head).as_deref(), Some("*/*"));
}

fn shape(name: &str) -> String {
    name.replace("{x}", "{}")
}

#[test]
fn each_route_tells_the_first_condition_that_fails() {
    let exact = || HostPattern::Exact("a.example".to_owned());
    let mut with_field = route(HostPattern::Any, "/v1/*", &["POST"]);
    with_field.matches.conditions =
        vec![Condition { on: Subject::Field("x-beta".to_owned()), test: Test::Exact("yes".to_owned()) }];
    let routes = sorted(vec![
        route(exact(), "/v1/*", &[]),
        with_field,
        route(HostPattern::Any, "/v2", &[]),
        route(HostPattern::Any, "/*", &[]),
    ]);
    let table = RouteTable::new(&routes);
    let mut head = RequestHead::default();
    head.method.push_str("POST");
    head.authority.push_str("B.example.:80");
    head.set_target("/v1/x", None);
    let shown = |head: &RequestHead| -> Vec<String> {
        let told = |reason: Option<Mismatch<'_>>| match reason {
            None => "takes".to_owned(),
            Some(Mismatch::Listener(names)) => format!("listener {}", names.join(",")),
            Some(Mismatch::Host(hosts)) => {
                format!("host {}", hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            Some(Mismatch::Path(path)) => format!("path {path}"),
            Some(Mismatch::Method(methods)) => format!("method {}", methods.join(",")),
            Some(Mismatch::PathRegex(regex)) => format!("path ~{regex}"),
            Some(Mismatch::Condition(condition)) => format!("{} {condition}", condition.on.kind()),
            Some(Mismatch::Client(_)) => "client".to_owned(),
        };
        table.reasons(at("web"), head).into_iter().map(|(_, reason)| told(reason)).collect()
    };
    assert_eq!(shown(&head), ["host a.example", "path /v2", "header x-beta=yes", "takes"]);
    head.fields.append(b"x-beta", b"yes").unwrap();
    assert_eq!(shown(&head), ["host a.example", "path /v2", "takes", "takes"]);
    head.method = "GET".to_owned();
    assert_eq!(shown(&head), ["host a.example", "path /v2", "method POST", "takes"]);
    head.authority = "A.example".to_owned();
    assert_eq!(shown(&head), ["takes", "path /v2", "method POST", "takes"]);
}

/// Routes on any host: name and path, what they keep (`/` and `e`), their policies.
fn guarded(routes: &[(&str, &str, &[&str])]) -> Vec<Route> {
    let make = |(path, keeps, policies): &(&str, &str, &[&str])| {
        let mut route = route(HostPattern::Any, path, &[]);
        route.path_rules =
            PathRules { keeps_encoded_slash: keeps.contains('/'), keeps_empty_segments: keeps.contains('e') };
        route.policies = policies.iter().map(|name| Name::from(*name)).collect();
        route
    };
    sorted(routes.iter().map(make).collect())
}

/// The pattern of the route that is chosen and the path that is forwarded, or why it is refused.
fn choose(routes: &[Route], path: &str) -> Result<Option<(String, String)>, String> {
    let mut head = RequestHead::default();
    head.method.push_str("GET");
    portcullis_http::set_client_target(&mut head, path).map_err(|error| error.to_string())?;
    let table = RouteTable::new(routes);
    let tried = table.tried(at("web"), &head);
    let chosen = table.choose(at("web"), &mut head).map_err(|error| error.to_string())?;
    // What explains it says the same.
    let first = tried.iter().find(|(_, reason, _)| reason.is_none()).map(|(at, ..)| *at);
    assert_eq!(first, chosen, "{path}");
    Ok(chosen.map(|at| (routes[at].matches.path.to_string(), head.target().to_owned())))
}

#[track_caller]
fn chosen(routes: &[Route], path: &str, route: &str, forwarded: &str) {
    let found = choose(routes, path);
    assert_eq!(found, Ok(Some((route.to_owned(), forwarded.to_owned()))), "{path}");
}

#[test]
fn a_route_that_keeps_takes_paths_in_its_own_form() {
    let routes = guarded(&[
        ("/npm/*", "/", &[]),
        ("/npm/{package}", "/", &[]),
        ("/s3/*", "e", &[]),
        ("/both/*", "/e", &[]),
        ("/*", "", &[]),
    ]);
    chosen(&routes, "/npm/@scope%2fname", "/npm/{package}", "/npm/@scope%2Fname");
    chosen(&routes, "/npm/@scope%2Fname/-/x.tgz", "/npm/*", "/npm/@scope%2Fname/-/x.tgz");
    chosen(&routes, "/npm//%2f//x?q=%2f//", "/npm/*", "/npm/%2F/x?q=%2f//");
    chosen(&routes, "/s3/bucket//a//b", "/s3/*", "/s3/bucket//a//b");
    chosen(&routes, "/both/a%2F//b", "/both/*", "/both/a%2F//b");
    chosen(&routes, "/other//a", "/*", "/other/a");
    // `//s3/…` is no path of `/s3/*`, which does not merge.
    chosen(&routes, "//s3//a", "/*", "/s3/a");
    for path in ["/a%2Fb", "/s3/a%2Fb", "/npm%2Fa", "/%2Fnpm/a"] {
        assert_eq!(
            choose(&routes, path),
            Err("invalid request target: encoded slash or backslash in path".to_owned())
        );
    }
}

/// Whatever the upstream makes of a path, it is one that the policies of that path have seen.
#[test]
fn no_form_of_a_path_leads_past_the_policies_of_another() {
    let routes = guarded(&[
        ("/admin/*", "", &["keys"]),
        ("/files/private/*", "/e", &["keys"]),
        ("/files/*", "/e", &[]),
        ("/open/*", "/", &[]),
        ("/*", "e", &[]),
    ]);
    for path in [
        // To a server that decodes the slashes, or merges them.
        "/files/private%2Fx",
        "/files/private%2fx/y",
        "/files//private/x",
        "/files/%2Fprivate/x",
        "/files%2Fprivate/x",
        "/files/private%2F",
        "/%2Fadmin",
        "/admin%2Fx",
        "/%2F/admin/x",
        // By dot segments.
        "/files/..%2Fadmin",
        "/files/..%2f..%2fadmin",
        "/files/a%2F..%2F..%2Fadmin",
        "/files/%2e%2e%2fadmin",
        "/files%2F..%2Fadmin",
        "/open/..%2Fadmin/x",
        "/open/%2F..%2Fadmin",
        "/files//../../admin",
        // By parameters.
        "/admin;x",
        "/admin;x=1/y",
        "/;/admin",
        "/;x/admin;y/z",
        "/files/private;x/y",
        "/open/..;/admin",
        "/files/..;%2Fadmin",
    ] {
        assert!(choose(&routes, path).is_err(), "{path}: {:?}", choose(&routes, path));
    }
    // What merges reaches the route itself.
    chosen(&routes, "//admin//x", "/admin/*", "/admin/x");
    // A dot segment that an empty one hides is resolved before, or refused.
    chosen(&guarded(&[("/*", "", &[])]), "/files//../x", "/*", "/x");
}

#[test]
fn a_reading_that_no_other_policy_guards_is_no_reason_to_refuse() {
    let routes = guarded(&[
        ("/api/*", "/", &["keys", "limit"]),
        ("/api/queues/*", "", &["limit"]),
        ("/pages/*", "", &[]),
        ("/*", "", &[]),
    ]);
    chosen(&routes, "/api/a%2Fb", "/api/*", "/api/a%2Fb");
    chosen(&routes, "/pages;jsessionid=1/a", "/*", "/pages;jsessionid=1/a");
    chosen(&routes, "/pages/a;v=1,2/b", "/pages/*", "/pages/a;v=1,2/b");
    // The other route's policies are all among its own.
    chosen(&routes, "/api/queues;x/a", "/api/*", "/api/queues;x/a");
}

proptest! {
    /// If a path is forwarded, then each path that a server could read it as, sent as it stands, meets no policy that
    /// the forwarded one has not met.
    #[test]
    fn readings_meet_no_more_policies(
        path in "(/|%2F|%2f|//|\\.|\\.\\.|a|b|;|;a|%2e){1,10}".prop_map(|path| format!("/{path}")),
        kept in prop::collection::vec(0..4usize, 5),
    ) {
        let keeps = ["", "/", "e", "/e"];
        let policies: [&[&str]; 5] = [&["p"], &["q"], &[], &["p"], &[]];
        let paths = ["/a/*", "/a/b", "/b/*", "/b/a/*", "/*"];
        let routes: Vec<_> = (0..5).map(|at| (paths[at], keeps[kept[at]], policies[at])).collect();
        let routes = guarded(&routes);
        let met = |pattern: &str| -> Vec<Name> {
            let route = routes.iter().find(|route| route.matches.path.to_string() == pattern);
            route.unwrap().policies.clone()
        };
        if let Ok(Some((route, forwarded))) = choose(&routes, &path) {
            let split = forwarded.replace("%2F", "/");
            prop_assert!(split.split('/').all(|part| part != "." && part != ".."), "{}", forwarded);
            let bare: Vec<&str> = split.split('/').map(|part| part.split(';').next().unwrap_or_default()).collect();
            let bare = bare.join("/");
            for reading in [&split, &bare] {
                let mut merged = String::new();
                portcullis_http::normalize_path(reading, &mut merged).unwrap();
                if let Ok(Some((other, _))) = choose(&routes, &merged) {
                    let (mine, others) = (met(&route), met(&other));
                    prop_assert!(others.iter().all(|policy| mine.contains(policy)), "{} as {}", forwarded, merged);
                }
            }
        }
    }
}
