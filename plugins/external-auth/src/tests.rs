use portcullis_sdk::http_client::Error;
use portcullis_sdk::testing::{Configured, MockGateway};

use super::*;

const URL: &str = "https://auth.internal/check";
const CONFIG: &str = r#"{"url": "https://auth.internal/check", "upstream-fields": ["X-User"]}"#;

/// A gateway whose service answers like that.
fn gateway(answer: Result<Inbound, Error>) -> (MockGateway, Configured<ExternalAuth>) {
    let gateway = MockGateway::new().http("GET", URL, answer);
    let policy = gateway.configure(CONFIG).unwrap();
    (gateway, policy)
}

#[test]
fn lets_through_what_the_service_lets_through_with_its_fields() {
    let answer = Inbound::new(204).with_header("x-user", "alice").with_header("x-other", "no");
    let (gateway, mut policy) = gateway(Ok(answer));
    let mut exchange = gateway
        .exchange("POST", "/a?b=c")
        .authority("shop.example")
        .client_address("192.0.2.7")
        .header("authorization", "Bearer t")
        .header("x-user", "mallory")
        .header("x-secret", "s");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.request_header("x-user").as_deref(), Some("alice"), "and not the client's");
    assert_eq!(exchange.request_header("x-other"), None);
    let asked = gateway.http_requests().remove(0);
    assert_eq!(asked.header_value("authorization"), Some("Bearer t"));
    assert_eq!(asked.header_value("x-secret"), None, "which it is not shown");
    for (name, value) in [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-uri", "/a?b=c"),
        ("x-forwarded-for", "192.0.2.7"),
    ] {
        assert_eq!(asked.header_value(name), Some(value), "{name}");
    }
    assert_eq!(asked.option_value("timeout-ms"), Some("1000"));
}

/// The service must judge the bytes that the upstream gets.
#[test]
fn bytes_that_are_not_text_are_passed_on_as_they_are() {
    let (gateway, mut policy) = gateway(Ok(Inbound::new(204).with_header("x-user", b"zo\xeb")));
    let mut exchange = gateway.exchange("GET", "/").header("cookie", b"session=\xff\xfe");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.request_header_bytes("x-user").as_deref(), Some(&b"zo\xeb"[..]));
    let asked = gateway.http_requests().remove(0);
    let cookie = asked.headers.iter().find(|field| field.name == "cookie");
    assert_eq!(cookie.map(|field| &*field.value), Some(&b"session=\xff\xfe"[..]));

    let refusal = Inbound::new(401).with_header("www-authenticate", b"Basic realm=\"\xe9\"");
    let gateway = MockGateway::new().http("GET", URL, Ok(refusal));
    let mut policy = gateway.configure::<ExternalAuth>(CONFIG).unwrap();
    match gateway.exchange("GET", "/").request_head(&mut policy) {
        Decision::Reply(reply) => assert_eq!(reply.headers[0].value, b"Basic realm=\"\xe9\""),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_client_says_in_the_services_name_is_dropped_even_where_it_says_nothing() {
    let (gateway, mut policy) = gateway(Ok(Inbound::new(200)));
    let mut exchange = gateway.exchange("GET", "/").header("x-user", "mallory");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.request_header("x-user"), None);
}

#[test]
fn a_refusal_is_the_services_own() {
    let answer = Inbound::new(302)
        .with_header("location", "https://login.example/")
        .with_header("x-internal", "1")
        .with_header("set-cookie", "a=1")
        .with_header("set-cookie", "b=2")
        .with_body("log in");
    let (gateway, mut policy) = gateway(Ok(answer));
    let Decision::Reply(reply) = gateway.exchange("GET", "/").request_head(&mut policy) else {
        panic!("it was let through")
    };
    assert_eq!((reply.status, &*reply.body), (302, &b"log in"[..]));
    let names: Vec<&str> = reply.headers.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["location", "set-cookie", "set-cookie"]);
}

#[test]
fn without_a_sound_answer_nobody_gets_in() {
    for answer in [Err(Error::Timeout), Err(Error::Busy), Ok(Inbound::new(500)), Ok(Inbound::new(304))] {
        let told = format!("{answer:?}");
        let (gateway, mut policy) = gateway(answer);
        let Decision::Reply(reply) = gateway.exchange("GET", "/").request_head(&mut policy) else {
            panic!("{told}: it was let through")
        };
        assert_eq!(reply.status, 503, "{told}");
        assert_eq!(gateway.log_lines().len(), 1, "{told}");
    }
}

#[test]
fn refuses_settings_that_cannot_work() {
    let refused = |config: &str| MockGateway::new().configure::<ExternalAuth>(config).unwrap_err();
    assert!(refused(r#"{"url": "auth.internal"}"#).contains("http://"));
    assert!(refused(r#"{"url": "http://a", "upstream-fields": ["host"]}"#).contains("`host`"));
    assert!(refused(r#"{"url": "http://a", "request-fields": ["a b"]}"#).contains("`a b`"));
    let two =
        refused(r#"{"url": "http://a", "upstream-fields": ["x", "Set-Cookie"], "reply-fields": ["a b"]}"#);
    assert_eq!(two.lines().count(), 2, "{two}");
    assert!(
        two.starts_with("/upstream-fields/1: ") && two.contains("client-fields = [\"set-cookie\"]"),
        "{two}"
    );
}

#[test]
fn the_client_gets_chosen_fields_with_what_is_let_through() {
    let answer = Inbound::new(200)
        .with_header("set-cookie", "session=1; Path=/")
        .with_header("Set-Cookie", "csrf=2")
        .with_header("x-plan", "gold")
        .with_header("x-other", "no");
    let gateway = MockGateway::new().http("GET", URL, Ok(answer));
    let config = r#"{"url": "https://auth.internal/check", "client-fields": ["set-cookie", "X-Plan"]}"#;
    let mut policy = gateway.configure::<ExternalAuth>(config).unwrap();
    let mut exchange = gateway
        .exchange("GET", "/")
        .with_response_header("set-cookie", "app=3")
        .with_response_header("x-plan", "none");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.response_head(&mut policy), Decision::Next);
    let cookies = exchange.response_header("set-cookie");
    assert_eq!(cookies.as_deref(), Some("app=3, session=1; Path=/, csrf=2"));
    assert_eq!(exchange.response_header("x-plan").as_deref(), Some("gold"));
    assert_eq!(exchange.response_header("x-other"), None);
    assert_eq!(exchange.request_header("x-plan"), None, "the upstream is told nothing");
}
