use std::net::{IpAddr, Ipv4Addr};

use portcullis_model::Name;
use portcullis_policy::Exchange;

use super::{RECORDINGS_MAX, RecordingRequest, Recordings};

fn request() -> RecordingRequest {
    RecordingRequest {
        route: Name::from("api"),
        method: None,
        path: None,
        fields: Vec::new(),
        client: None,
        count: 1,
        bytes_max: 1000,
    }
}

fn exchange() -> Exchange {
    let mut exchange = Exchange { route: Name::from("api"), ..Exchange::default() };
    exchange.request.method.push_str("GET");
    exchange.request.set_target("/v1/a", Some("b"));
    exchange.request.fields.append(b"x-a", b"1").unwrap();
    exchange.client.address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    exchange
}

#[test]
fn only_what_was_asked_for_fits() {
    let text = |text: &str| Some(text.to_owned());
    let field = |value: Option<&str>| vec![("x-a".to_owned(), value.map(str::to_owned))];
    for (fits, wanted) in [
        (true, request()),
        (false, RecordingRequest { route: Name::from("other"), ..request() }),
        (true, RecordingRequest { method: text("GET"), path: text("/v1/a"), ..request() }),
        (false, RecordingRequest { method: text("POST"), ..request() }),
        (false, RecordingRequest { path: text("/v1"), ..request() }),
        (true, RecordingRequest { path: text("/v1/*"), ..request() }),
        (true, RecordingRequest { fields: field(None), ..request() }),
        (true, RecordingRequest { fields: field(Some("1")), ..request() }),
        (false, RecordingRequest { fields: field(Some("2")), ..request() }),
        (true, RecordingRequest { client: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), ..request() }),
        (false, RecordingRequest { client: Some(IpAddr::V4(Ipv4Addr::BROADCAST)), ..request() }),
    ] {
        assert_eq!(wanted.fits(&exchange()), fits, "{wanted:?}");
    }
}

#[test]
fn nothing_is_looked_at_while_nobody_asks() {
    let recordings = Recordings::default();
    assert!(!recordings.is_active());
    let (first, second) = (recordings.start(request()).unwrap(), recordings.start(request()).unwrap());
    assert!(recordings.is_active());
    drop(first);
    assert!(recordings.is_active());
    drop(second);
    assert!(!recordings.is_active());
}

#[test]
fn not_too_many_may_ask() {
    let recordings = Recordings::default();
    let streams: Vec<_> = (0..RECORDINGS_MAX).map(|_| recordings.start(request()).unwrap()).collect();
    assert!(recordings.start(request()).is_err());
    drop(streams);
    assert!(recordings.start(request()).is_ok());
}
