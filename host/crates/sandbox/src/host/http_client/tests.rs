use std::time::Duration;

use portcullis_model::{HttpGrant, HttpUrl};

use super::{Error, FieldBytes, Inbound, Outbound, check, left_to_wait};
use crate::host::recorded::Answer;

fn grant(url: &str, path: &str) -> HttpGrant {
    let HttpUrl { tls, host, port, .. } = HttpUrl::parse(url).unwrap();
    HttpGrant { tls, host, port, path: path.to_owned(), private: false, ca: None }
}

fn request(url: &str) -> Outbound {
    Outbound {
        method: "GET".into(),
        url: url.into(),
        headers: Vec::new(),
        body: Vec::new(),
        options: Vec::new(),
    }
}

fn field(name: &str, value: &str) -> FieldBytes {
    (name.into(), value.into())
}

#[test]
fn only_what_a_grant_covers_is_sent_and_in_the_form_that_was_compared() {
    let grants = [grant("https://auth.test", "/check"), grant("http://api.test:8080", "")];
    let target = |url: &str| check(request(url), &grants, 7).map(|request| request.head.target().to_owned());
    assert_eq!(target("https://auth.test/check").unwrap(), "/check");
    assert_eq!(target("https://AUTH.test:443/check/a?b=%2F").unwrap(), "/check/a?b=%2F");
    assert_eq!(target("https://auth.test/x/../check/%61//b").unwrap(), "/check/a/b");
    assert_eq!(target("http://api.test:8080").unwrap(), "/");
    assert_eq!(target("http://api.test:8080?x").unwrap(), "/?x");
    for url in [
        "https://auth.test/",
        "https://auth.test/checkout",
        "https://auth.test/check/../admin",
        "https://auth.test/check/%2e%2e/admin",
        "https://auth.test:8443/check",
        "http://auth.test/check",
        "https://auth.test.evil.test/check",
        "http://127.0.0.1/check",
    ] {
        assert!(matches!(target(url), Err(Error::NotAllowed(_))), "{url}");
    }
    for url in [
        "https://auth.test@evil.test/check",
        "https://auth.test/check/..%2fadmin",
        "https://auth.test/check/../../..",
        "https://auth.test\\/check",
        "https://auth.test/check x",
        "https://auth.test/check#x",
        "/check",
    ] {
        assert!(matches!(target(url), Err(Error::InvalidRequest(_))), "{url}");
    }
}

#[test]
fn what_would_reach_the_servers_framing_is_refused() {
    let grants = [grant("http://a.test", "")];
    let with = |name: &str, value: &str| {
        check(Outbound { headers: vec![field(name, value)], ..request("http://a.test/") }, &grants, 7)
    };
    let accepted = with("X-A", "b").unwrap();
    assert_eq!((accepted.head.fields.get(b"x-a"), &*accepted.head.authority), (Some(&b"b"[..]), "a.test"));
    for name in ["Host", "content-length", "Transfer-Encoding", "connection", "upgrade", "te", ":path"] {
        assert!(matches!(with(name, "1"), Err(Error::InvalidRequest(_))), "{name}");
    }
    for (name, value) in [("a b", "c"), ("", "c"), ("a", "b\r\nc: d"), ("a", "\0"), ("a\n", "b")] {
        assert!(matches!(with(name, value), Err(Error::InvalidRequest(_))), "{name:?} {value:?}");
    }
    assert!(matches!(with("a", &"b".repeat(64 << 10)), Err(Error::InvalidRequest(_))));
    for method in ["CONNECT", "TRACE", "", "G T", "GET\r\n"] {
        let odd = check(Outbound { method: method.into(), ..request("http://a.test/") }, &grants, 7);
        assert!(matches!(odd, Err(Error::InvalidRequest(_))), "{method:?}");
    }
}

#[test]
fn a_wait_is_bounded() {
    let grants = [grant("http://a.test", "")];
    let timeout = |values: &[&str]| {
        let options = values.iter().map(|value| ("timeout-ms".to_owned(), (*value).to_owned())).collect();
        check(Outbound { options, ..request("http://a.test/") }, &grants, 7).map(|request| request.timeout)
    };
    assert_eq!(timeout(&[]).unwrap(), Duration::from_secs(5));
    assert_eq!(timeout(&["1"]).unwrap(), Duration::from_millis(1));
    assert_eq!(timeout(&["30000"]).unwrap(), Duration::from_secs(30));
    for wrong in [&["0"][..], &["30001"], &["-1"], &["1s"], &[""], &["18446744073709551616"], &["1", "2"]] {
        assert!(matches!(timeout(wrong), Err(Error::InvalidRequest(_))), "{wrong:?}");
    }
    let options = vec![("retries".to_owned(), "3".to_owned())];
    let unknown = check(Outbound { options, ..request("http://a.test/") }, &grants, 7).unwrap_err();
    assert!(format!("{unknown:?}").contains("the option `retries`"), "{unknown:?}");
}

#[test]
fn an_answer_reads_back_from_a_record() {
    let details = vec![("name".to_owned(), "value".to_owned())];
    let inbound = Inbound { status: 204, headers: vec![field("a", "b")], body: vec![0, 255], details };
    let read = Inbound::from_json(&inbound.to_json()).unwrap();
    assert_eq!((read.status, &*read.headers[0].0, &*read.body), (204, "a", &[0, 255][..]));
    assert_eq!(read.details, inbound.details);
    for error in [
        Error::InvalidRequest("a".into()),
        Error::NotAllowed("b".into()),
        Error::Busy,
        Error::Timeout,
        Error::Connect("c".into()),
        Error::Protocol("d".into()),
        Error::TooLarge,
        Error::ClientGone,
        Error::Other("e".into()),
    ] {
        let read = Error::from_json(&error.to_json()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{error:?}"));
    }
}

#[test]
fn credentials_are_in_no_notes() {
    let mut asked = request("https://auth.test/check");
    asked.headers = vec![field("Authorization", "Basic YTpi"), field("accept", "*/*")];
    let answer = Inbound {
        status: 200,
        headers: vec![field("set-cookie", "sid=1234")],
        body: Vec::new(),
        details: Vec::new(),
    };
    let headers = serde_json::json!([["Authorization", "[removed:authorization]"], ["accept", "*/*"]]);
    assert_eq!(super::describe(&asked)["headers"], headers);
    assert_eq!(answer.to_json()["headers"], serde_json::json!([["set-cookie", "[removed:set-cookie]"]]));
}

#[test]
fn what_may_be_waited_for_leaves_time_to_answer() {
    let seconds = Duration::from_secs;
    assert_eq!(left_to_wait(seconds(30), seconds(0)), seconds(29));
    assert_eq!(left_to_wait(seconds(30), seconds(28)), seconds(1));
    assert_eq!(left_to_wait(seconds(2), seconds(0)), Duration::from_millis(1800));
    for passed in [29, 30, 31] {
        assert_eq!(left_to_wait(seconds(30), seconds(passed)), seconds(0));
    }
}
