use portcullis_model::{Collapse, StaleRules, VaryRule};
use portcullis_policy::Exchange;
use proptest::prelude::*;

use super::*;

/// Writes the key of a request.
fn write(rules: &KeyRules, exchange: &Exchange, key: &mut Vec<u8>) -> Range<usize> {
    let upstream = &exchange.upstreams[exchange.upstream];
    rules.write(&exchange.request, upstream, &exchange.attributes, &exchange.cache, key)
}

/// A route's cache with these key rules.
fn route_cache(key: CacheKey) -> RouteCache {
    RouteCache {
        store: "c".into(),
        ttl: Vec::new(),
        heuristic: false,
        cookies: CookieRule::Skip,
        targeted: Vec::new(),
        lifetime_max: None,
        object_bytes_max: None,
        vary: VaryRule::Case,
        heeds_clients: false,
        stale: StaleRules::default(),
        key,
        bypass: Vec::new(),
        collapse: Collapse {
            wait: std::time::Duration::ZERO,
            waiting_max: 1,
            pass: std::time::Duration::ZERO,
        },
        reports: true,
    }
}

fn exchange(authority: &str, target: &str, fields: &[(&str, &str)]) -> Exchange {
    let mut exchange = Exchange::default();
    exchange.request.method = "GET".to_owned();
    exchange.request.authority = authority.to_owned();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    exchange.request.set_target(path, query);
    for (name, value) in fields {
        exchange.request.fields.append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    exchange.request.fields.mark_edits();
    exchange.upstreams = ["up".into(), "other".into()].into();
    exchange
}

fn key_of(rules: CacheKey, exchange: &Exchange) -> (String, String) {
    let mut key = vec![1, 2, 3];
    let url = write(&KeyRules::new("r", &route_cache(rules)), exchange, &mut key);
    let text = String::from_utf8(key).unwrap();
    (text[url.clone()].to_owned(), text[url.end..].to_owned())
}

fn key(exchange: &Exchange) -> (String, String) {
    key_of(CacheKey::default(), exchange)
}

#[test]
fn spellings_of_a_host_share_the_url_and_not_the_key() {
    let plain = key(&exchange("a.test", "/x?q", &[]));
    assert_eq!(plain.0, "http://a.test/x?q");
    for other in ["A.test", "a.test.", "a.test:80", "a.test:"] {
        let other = key(&exchange(other, "/x?q", &[]));
        assert_eq!(other.0, plain.0);
        assert_ne!(other.1, plain.1, "{other:?}");
    }
    assert_eq!(key(&exchange("a.test:8080", "/x", &[])).0, "http://a.test:8080/x");
    assert_eq!(key(&exchange("[::1]:80", "/x", &[])).0, "http://[::1]/x");
    // A host that another one begins with is not taken for it.
    assert_ne!(key(&exchange("a.test", "/", &[])).1, key(&exchange("a.test.", "/", &[])).1);
}

#[test]
fn each_part_that_an_upstream_may_answer_by_makes_another_key() {
    let plain = exchange("a.test", "/x", &[("accept", "a")]);
    let mut https = exchange("a.test", "/x", &[]);
    https.request.scheme = Scheme::Https;
    let mut upstream = exchange("a.test", "/x", &[]);
    upstream.upstream = 1;
    let mut set = exchange("a.test", "/x", &[]);
    set.request.fields.set(b"x-user", b"alice").unwrap();
    let mut forged = exchange("a.test", "/x", &[("x-user", "bob")]);
    forged.request.fields.set(b"x-user", b"bob").unwrap();
    let others = [
        https,
        upstream,
        set,
        forged,
        exchange("a.test", "/x?", &[]),
        exchange("a.test", "/X", &[]),
        exchange("a.test", "/x", &[("x-original-url", "/admin")]),
        exchange("a.test", "/x", &[("x-forwarded-host", "evil.test")]),
        exchange("a.test", "/x", &[("x-http-method-override", "POST")]),
    ];
    let mut keys: Vec<_> = others.iter().chain([&plain]).map(key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), others.len() + 1);
    // What clients may send, and no server reads as part of the URL, makes none.
    assert_eq!(key(&exchange("a.test", "/x", &[("x-user", "eve"), ("user-agent", "u")])), key(&plain));
}

#[test]
fn what_a_policy_sets_counts_even_if_the_client_sent_the_same() {
    let mut alice = exchange("a.test", "/x", &[("x-user", "alice")]);
    let unset = key(&alice);
    alice.request.fields.set(b"x-user", b"alice").unwrap();
    assert_ne!(key(&alice), unset);
    let irrelevant = CacheKey { irrelevant: vec!["x-user".to_owned()], ..CacheKey::default() };
    let plain = exchange("a.test", "/x", &[]);
    assert_eq!(key_of(irrelevant.clone(), &alice), key_of(irrelevant, &plain));
}

#[test]
fn fields_cookies_and_attributes_count_if_they_are_named() {
    let rules = || CacheKey {
        fields: vec!["accept".to_owned()],
        cookies: vec!["lang".to_owned()],
        attributes: vec!["tenant".to_owned()],
        ..CacheKey::default()
    };
    let of = |accept: &str, cookie: &str, tenant: &str| {
        let mut exchange = exchange("a.test", "/", &[("accept", accept), ("cookie", cookie)]);
        assert!(exchange.attributes.set("tenant", tenant));
        key_of(rules(), &exchange).1
    };
    let first = of("a", "id=1; lang=de", "t");
    assert_eq!(first, of("a", "lang=de; id=2", "t"));
    assert_ne!(first, of("b", "id=1; lang=de", "t"));
    assert_ne!(first, of("a", "id=1; lang=fr", "t"));
    assert_ne!(first, of("a", "id=1; lang=de", "u"));
    // An attribute cannot pass for another part.
    assert_ne!(of("a", "", "t\ncx:1"), of("a", "", "t"));
}

#[test]
fn what_policies_add_counts_and_passes_for_nothing_else() {
    let added = |parts: &[(&str, &str)]| {
        let mut exchange = exchange("a.test", "/x", &[]);
        parts.iter().for_each(|(name, value)| exchange.cache.vary_by(name, value).unwrap());
        key(&exchange).1
    };
    let mut set = exchange("a.test", "/x", &[]);
    set.request.fields.append(b"x", b"1").unwrap();
    let mut keys = vec![
        added(&[]),
        key(&set).1,
        added(&[("a", "")]),
        added(&[("a", "b")]),
        added(&[("ab", "")]),
        added(&[("a", "b"), ("a", "c")]),
        added(&[("a", "c"), ("a", "b")]),
        added(&[("a", "b"), ("c", "d")]),
        // Values that look like parts of other kinds, or of this one.
        added(&[("a", "\nex:1")]),
        added(&[("a", "b\np1:1:cd")]),
        added(&[("a", "b\np1:1:c"), ("d", "")]),
        added(&[("1:1:a", "b")]),
        added(&[("1", "1:ab")]),
    ];
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

proptest! {
    /// Requests have the same key only if the same was added in the same order, whatever that is made of.
    #[test]
    fn what_policies_add_never_collides(
        one in prop::collection::vec(("[1:p\na]{1,4}", "[1:pe\na]{0,8}"), 0..4),
        other in prop::collection::vec(("[1:p\na]{1,4}", "[1:pe\na]{0,8}"), 0..4),
    ) {
        let added = |parts: &[(String, String)]| {
            let mut exchange = exchange("a.test", "/x", &[]);
            for (name, value) in parts {
                // A name with a line break is refused.
                let _refused = exchange.cache.vary_by(name, value);
            }
            let parts: Vec<_> = exchange.cache.parts().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
            (key(&exchange).1, parts)
        };
        let (one, other) = (added(&one), added(&other));
        prop_assert_eq!(one.0 == other.0, one.1 == other.1);
        let (_, _, read) = read(one.0.as_bytes()).unwrap();
        let read = read.iter().filter(|part| part.kind == b'p');
        prop_assert!(read.map(|part| (part.name, part.value)).eq(
            one.1.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        ));
    }
}

#[test]
fn only_what_certainly_does_not_count_is_left_out_of_a_query() {
    let url = |query: QueryRule, target: &str| {
        key_of(CacheKey { query, ..CacheKey::default() }, &exchange("a.test", target, &[])).0
    };
    let only = |target: &str| url(QueryRule::Only(vec!["v".to_owned()]), target);
    assert_eq!(only("/x?a=1&v=2&b"), "http://a.test/x?v=2");
    assert_eq!(only("/x?a=1"), "http://a.test/x");
    // Each of these is `v` for some server.
    for hidden in ["%76=2", "V=2", "v[]=2", "a=1;v=2", ".v=2", "+v=2"] {
        assert_eq!(only(&format!("/x?{hidden}")), format!("http://a.test/x?{hidden}"));
    }
    let except = |target: &str| url(QueryRule::Except(vec!["utm".to_owned()]), target);
    assert_eq!(except("/x?utm=1&v=2&utm"), "http://a.test/x?v=2");
    assert_eq!(except("/x?utm=1;v=2&UTM=3"), "http://a.test/x?utm=1;v=2&UTM=3");
    assert_eq!(url(QueryRule::Only(Vec::new()), "/x?a=1&b=2"), "http://a.test/x");
}

#[test]
fn other_rules_and_another_route_have_other_keys() {
    let exchange = exchange("a.test", "/x", &[]);
    let with = |route: &str, cache: &RouteCache| {
        let mut key = Vec::new();
        write(&KeyRules::new(route, cache), &exchange, &mut key);
        key
    };
    let plain = route_cache(CacheKey::default());
    let named = route_cache(CacheKey { cookies: vec!["lang".to_owned()], ..CacheKey::default() });
    let cookies = RouteCache { cookies: CookieRule::Rfc, ..plain.clone() };
    let keys = [with("r", &plain), with("s", &plain), with("r", &named), with("r", &cookies)];
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(keys.iter().position(|other| other == key), Some(at));
    }
    assert!(with("r", &plain).windows(3).any(|part| part == b"\nr "));
}

#[test]
fn a_key_is_read_as_it_was_written() {
    let rules = CacheKey {
        attributes: vec!["tier".to_owned(), "user".to_owned()],
        cookies: vec!["lang".to_owned()],
        ..CacheKey::default()
    };
    let mut exchange = exchange("A.test", "/x", &[("cookie", "lang=de; other=1"), ("x-host", "evil:1")]);
    exchange.request.fields.append(b"x-tenant", b"a: b").unwrap();
    assert!(exchange.attributes.set("tier", "1\nhA\n"));
    assert!(exchange.attributes.set("user", ""));
    exchange.cache.vary_by("pl:an", "go\nld").unwrap();
    let (_, rest) = key_of(rules, &exchange);
    let (space, upstream, parts) = read(rest.as_bytes()).unwrap();
    assert!(space.starts_with(b"r ") && upstream == b"up");
    let parts: Vec<_> = parts
        .iter()
        .map(|part| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (char::from(part.kind), text(part.name), text(part.value))
        })
        .collect();
    let expected = [
        ('h', "", "A.test"),
        ('e', "x-tenant", "a: b"),
        ('o', "x-host", "evil:1"),
        ('c', "lang", "de"),
        ('a', "tier", "1\nhA\n"),
        ('a', "user", ""),
        ('p', "pl:an", "go\nld"),
    ];
    let expected = expected.map(|(kind, name, value)| (kind, name.to_owned(), value.to_owned()));
    assert_eq!(parts, expected);
    for cut in 0..rest.len() {
        // What is not whole is not taken for something else, and nothing panics.
        let _ = read(&rest.as_bytes()[cut..]);
    }
}
