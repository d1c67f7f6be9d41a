use portcullis_sdk::testing::{Configured, MockExchange, MockGateway};

use super::*;

fn configure(config: &str) -> Result<Configured<Headers>, String> {
    MockGateway::new().configure(config)
}

fn exchange() -> MockExchange {
    MockExchange::new("GET", "/v1/a?q=red+fox&r=2").authority("example.com:8443").route("site")
}

/// What a request field is set to by a template.
fn rendered(template: &str, mut exchange: MockExchange) -> Option<String> {
    let config = format!(r#"{{"request": {{"set": {{"x-out": {template:?}}}}}}}"#);
    assert_eq!(exchange.request_head(&mut configure(&config).unwrap()), Decision::Next);
    exchange.request_header("x-out")
}

#[test]
fn edits_requests_in_order() {
    let config = r#"{"request": {
        "remove": ["x-secret", "x-kept"],
        "set": {"x-kept": "new", "x-twice": "once"},
        "append": {"x-list": "b"}
    }}"#;
    let mut exchange = exchange()
        .header("x-secret", "s")
        .header("x-kept", "old")
        .header("x-twice", "1")
        .header("X-Twice", "2")
        .header("x-list", "a");
    exchange.request_head(&mut configure(config).unwrap());
    assert_eq!(exchange.request_header("x-secret"), None);
    assert_eq!(exchange.request_header("x-kept").as_deref(), Some("new"));
    assert_eq!(exchange.request_header("x-twice").as_deref(), Some("once"));
    assert_eq!(exchange.request_header("x-list").as_deref(), Some("a, b"));
}

#[test]
fn edits_responses() {
    let config = r#"{"response": {
        "remove": ["server"],
        "set": {"x-was": "${response.status} ${request.path} ${response.header.etag}"},
        "append": {"vary": "origin"}
    }}"#;
    let mut exchange = exchange()
        .response(404)
        .with_response_header("server", "old/1.0")
        .with_response_header("etag", "\"e\"")
        .with_response_header("vary", "accept");
    let mut policy = configure(config).unwrap();
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.response_head(&mut policy), Decision::Next);
    assert_eq!(exchange.response_header("server"), None);
    assert_eq!(exchange.response_header("x-was").as_deref(), Some("404 /v1/a \"e\""));
    assert_eq!(exchange.response_header("vary").as_deref(), Some("accept, origin"));
}

#[test]
fn each_variable_has_its_value() {
    for (template, expected) in [
        ("${request.method}", "GET"),
        ("${request.scheme}", "https"),
        ("${request.authority}", "example.com:8443"),
        ("${request.host}", "example.com"),
        ("${request.path}?${request.query}", "/v1/a?q=red+fox&r=2"),
        ("${request.header.X-A}", "1"),
        ("${request.query.q}", "red fox"),
        ("${client-address}", "192.0.2.1"),
        ("${tls-server-name}", "example.com"),
        ("${route}/${trace-id}", "site/0af7651916cd43dd8448eb211c80319c"),
        ("<${attribute.api-key.name}>", "<alice>"),
        ("$$5 $$ $${route}", "$5 $ ${route}"),
        ("", ""),
    ] {
        let exchange =
            exchange().header("x-a", "1").tls_server_name("example.com").attribute("api-key.name", "alice");
        assert_eq!(rendered(template, exchange).as_deref(), Some(expected), "{template}");
    }
    let v6 = exchange().authority("[::1]:80");
    assert_eq!(rendered("${request.host}", v6).as_deref(), Some("[::1]"));
}

#[test]
fn a_copy_of_bytes_that_are_not_text_is_what_the_original_was() {
    let config = r#"{
        "request": {"set": {"x-copy": "<${request.header.x-a}>", "x-query": "${request.query.q}"}},
        "response": {"set": {"x-copy": "${response.header.etag}"}}
    }"#;
    let mut exchange =
        MockExchange::new("GET", "/?q=%e9%ff").header("x-a", b"caf\xe9").header("x-a", b"\xff");
    exchange = exchange.with_response_header("etag", b"\"\xe9\"");
    let mut policy = configure(config).unwrap();
    exchange.request_head(&mut policy);
    exchange.response_head(&mut policy);
    assert_eq!(exchange.request_header_bytes("x-copy").as_deref(), Some(&b"<caf\xe9, \xff>"[..]));
    assert_eq!(exchange.request_header_bytes("x-query").as_deref(), Some(&b"\xe9\xff"[..]));
    assert_eq!(exchange.response_header_bytes("x-copy").as_deref(), Some(&b"\"\xe9\""[..]));
}

#[test]
fn a_missing_value_removes_what_the_client_claims() {
    assert_eq!(rendered("user ${attribute.user}", exchange().header("x-out", "forged")), None);

    let mut policy = configure(r#"{"request": {"append": {"x-out": "${attribute.user}"}}}"#).unwrap();
    let mut exchange = exchange().header("x-out", "kept");
    exchange.request_head(&mut policy);
    assert_eq!(exchange.request_header("x-out").as_deref(), Some("kept"));
}

#[test]
fn a_value_cannot_begin_another_field() {
    let injected = exchange().attribute("who", "a\r\nx-admin: yes");
    assert_eq!(rendered("${attribute.who}", injected), None);
    assert_eq!(rendered(" ${attribute.who} ", exchange().attribute("who", " a ")).as_deref(), Some("a"));
    let query = MockExchange::new("GET", "/?q=a%0d%0ax-admin:%20yes");
    assert_eq!(rendered("${request.query.q}", query), None);
}

#[test]
fn a_lone_dollar_is_no_text() {
    for (typed, help) in [
        ("$remote_addr", "write ${client-address}"),
        ("a $host b", "write ${request.host}"),
        ("$http_x_user", "write ${request.header.x-user}"),
        ("$arg_q", "write ${request.query.q}"),
        ("$", "write `$$`"),
        ("$5", "write `$$`"),
        ("x$$$y", "write `$$`"),
    ] {
        let config = format!(r#"{{"request": {{"set": {{"x": "{typed}"}}}}}}"#);
        let refused = configure(&config).unwrap_err();
        assert!(refused.starts_with("/request/set/x: `$") && refused.contains(help), "{typed}: {refused}");
    }
    let config = r#"{"request": {"set": {"x/y": "1", "X-A": "$a"}, "remove": ["a b"]}}"#;
    assert_eq!(configure(config).unwrap_err().lines().count(), 3);
}

#[test]
fn refuses_wrong_settings() {
    for (config, expected) in [
        ("{}", "/: there is nothing to do; write what to set, append or remove under request or response"),
        (r#"{"request": {"remove": ["a b"]}}"#, "/request/remove/0: `a b`: invalid name"),
        (
            r#"{"response": {"set": {"Content-Length": "1"}}}"#,
            "/response/set/Content-Length: `Content-Length`: the gateway alone writes this field",
        ),
        (
            r#"{"request": {"append": {"x": "${route"}}}"#,
            "/request/append/x: `${route` has no `}`; write `$${` for the characters themselves",
        ),
        (
            r#"{"request": {"set": {"x": "${response.status}"}}}"#,
            "/request/set/x: `${response.status}`: there is no response yet when the request is edited",
        ),
        (
            r#"{"request": {"set": {"x": "${request.header.a b}"}}}"#,
            "/request/set/x: `${request.header.a b}`: `a b` is no field name",
        ),
        (
            r#"{"request": {"set": {"x": "a\nb"}}}"#,
            "/request/set/x: a field's value has no control characters",
        ),
    ] {
        assert_eq!(configure(config).unwrap_err(), expected, "{config}");
    }
    let unknown = configure(r#"{"request": {"set": {"x": "${request.hostname}"}}}"#).unwrap_err();
    assert!(
        unknown.starts_with("/request/set/x: `${request.hostname}` is unknown; there are request.method,")
    );
}
