//! That the order of routes leaves no route without requests, but for those that are reported.

use portcullis_model::{Condition, HostPattern, PathRules, RouteMatch, Subject, Test};

use super::order::{covers, tied};

/// Rules of every kind.
fn rules() -> Vec<RouteMatch> {
    let (exact, suffix) = (HostPattern::Exact("a.b".into()), HostPattern::Suffix(".b".into()));
    let hosts = [
        vec![],
        vec![exact.clone()],
        vec![suffix.clone()],
        vec![HostPattern::Suffix(".a.b".into())],
        vec![suffix, exact.clone()],
        vec![exact, HostPattern::Exact("d".into())],
    ];
    let paths = ["/", "/*", "/a", "/a/", "/a/*", "/{x}", "/{x}/*", "/a/{y}", "/{x}/a", "/a/a"];
    let methods: [&[&str]; 4] = [&[], &["GET"], &["HEAD"], &["GET", "POST"]];
    let fields: [&[(&str, Option<&str>)]; 5] =
        [&[], &[("x", None)], &[("x", Some("1"))], &[("x", Some("2"))], &[("x", None), ("y", None)]];
    let mut rules = Vec::new();
    for hosts in hosts {
        for path in paths {
            for methods in methods {
                rules.extend(fields.map(|fields| RouteMatch {
                    hosts: hosts.clone(),
                    path: crate::syntax::pattern::path(path, PathRules::default()).unwrap(),
                    methods: methods.iter().map(|method| (*method).to_owned()).collect(),
                    conditions: fields.iter().map(|(name, value)| condition(name, *value)).collect(),
                    ..RouteMatch::default()
                }));
            }
        }
    }
    rules
}

fn condition(name: &str, value: Option<&str>) -> Condition {
    let test = value.map_or(Test::Present, |value| Test::Exact(value.to_owned()));
    Condition { on: Subject::Field(name.to_owned()), test }
}

/// Host, path, method, and the fields `x` and `y`.
type Request = (&'static str, &'static str, &'static str, Option<&'static str>, Option<&'static str>);

/// Whether `rule` takes a request.
fn takes(rule: &RouteMatch, (host, path, method, x, y): Request) -> bool {
    let methods = rule.methods.is_empty()
        || rule.methods.iter().any(|other| other == method || (method == "HEAD" && other == "GET"));
    let holds = |condition: &Condition| {
        let value = if condition.on.name() == "x" { x } else { y };
        condition.test.holds(value.into_iter())
    };
    rule.host_for(host).is_some() && rule.path.matches(path) && methods && rule.conditions.iter().all(holds)
}

const HOSTS: [&str; 4] = ["a.b", "c.b", "c.a.b", "d"];

/// Requests of every kind that the rules tell apart, as many for each host.
fn requests() -> Vec<Request> {
    let mut all = Vec::new();
    for host in HOSTS {
        for path in ["/", "/a", "/a/", "/b", "/a/a", "/a/b", "/b/a", "/b/c/d"] {
            for method in ["GET", "HEAD", "POST", "PUT"] {
                for y in [None, Some("")] {
                    all.extend([None, Some("1"), Some("2"), Some("3")].map(|x| (host, path, method, x, y)));
                }
            }
        }
    }
    all
}

#[test]
fn the_order_leaves_every_route_something_or_it_is_reported() {
    let requests = requests();
    // One bit for each request; each host has whole words.
    let words = requests.len() / HOSTS.len() / 64;
    assert_eq!(requests.len(), words * 64 * HOSTS.len());
    let rules: Vec<_> = rules()
        .into_iter()
        .map(|rule| {
            let mut taken = vec![0_u64; requests.len() / 64];
            for (at, request) in requests.iter().enumerate() {
                taken[at / 64] |= u64::from(takes(&rule, *request)) << (at % 64);
            }
            let by = HOSTS.map(|host| rule.host_for(host).map(|host| rule.specificity_by(host)));
            (by, taken, rule)
        })
        .collect();
    for (a_by, a_takes, a) in &rules {
        for (b_by, b_takes, b) in &rules {
            let pairs = || a_takes.iter().zip(b_takes).enumerate().map(|(at, (a, b))| (at / words, a, b));
            let shared = pairs().any(|(host, a, b)| a_by[host] == b_by[host] && a & b != 0);
            let left =
                pairs().any(|(host, a, b)| b & if a_by[host] >= b_by[host] { !a } else { u64::MAX } != 0);
            assert_eq!(tied(a, b), shared, "{a:?} and {b:?}");
            assert!(left || shared, "{b:?} has nothing left beside {a:?}");
            assert!(!shared || covers(a, b) != left, "{a:?} and {b:?}");
        }
    }
}

/// With priorities and with every kind of test, on one host.
#[test]
fn priorities_and_tests_leave_every_route_something_or_it_is_reported() {
    let tests = [
        None,
        Some(Test::Present),
        Some(Test::Absent),
        Some(Test::Exact("ab".into())),
        Some(Test::Exact("b".into())),
        Some(Test::Prefix("a".into())),
        Some(Test::Prefix("ab".into())),
        Some(Test::Prefix("b".into())),
    ];
    let mut rules = Vec::new();
    for path in ["/*", "/a/*", "/{x}", "/a", "/{x}/b"] {
        for priority in [0, 1] {
            rules.extend(tests.iter().map(|test| {
                let on = Subject::Field("x".to_owned());
                RouteMatch {
                    priority,
                    path: crate::syntax::pattern::path(path, PathRules::default()).unwrap(),
                    conditions: test
                        .iter()
                        .map(|test| Condition { on: on.clone(), test: test.clone() })
                        .collect(),
                    ..RouteMatch::default()
                }
            }));
        }
    }
    let paths = ["/", "/a", "/a/", "/b", "/a/b", "/b/b", "/a/c", "/b/c/d"];
    let values = [None, Some(""), Some("a"), Some("ab"), Some("abc"), Some("b"), Some("bc"), Some("c")];
    let requests: Vec<Request> =
        paths.into_iter().flat_map(|path| values.map(|x| ("h", path, "GET", x, None))).collect();
    for a in &rules {
        for b in &rules {
            let shared = requests.iter().any(|request| takes(a, *request) && takes(b, *request));
            let left = requests.iter().any(|request| takes(b, *request) && !takes(a, *request));
            let (by, other) = (a.specificity(), b.specificity());
            assert_eq!(tied(a, b), by == other && shared, "{a:?} and {b:?}");
            assert_eq!(covers(a, b), !left, "{a:?} and {b:?}");
            let reported = tied(a, b) || (a.priority > b.priority && covers(a, b));
            assert!(left || by < other || reported, "{b:?} has nothing left beside {a:?}");
        }
    }
}
