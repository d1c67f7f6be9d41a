use std::net::{IpAddr, Ipv4Addr};

use portcullis_model::Name;
use portcullis_policy::Exchange;

use super::{ASKED_MAX, Recordings, Wanted};

fn wanted() -> Wanted {
    Wanted {
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
        (true, wanted()),
        (false, Wanted { route: Name::from("other"), ..wanted() }),
        (true, Wanted { method: text("GET"), path: text("/v1/a"), ..wanted() }),
        (false, Wanted { method: text("POST"), ..wanted() }),
        (false, Wanted { path: text("/v1"), ..wanted() }),
        (true, Wanted { path: text("/v1/*"), ..wanted() }),
        (true, Wanted { fields: field(None), ..wanted() }),
        (true, Wanted { fields: field(Some("1")), ..wanted() }),
        (false, Wanted { fields: field(Some("2")), ..wanted() }),
        (true, Wanted { client: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), ..wanted() }),
        (false, Wanted { client: Some(IpAddr::V4(Ipv4Addr::BROADCAST)), ..wanted() }),
    ] {
        assert_eq!(wanted.fits(&exchange()), fits, "{wanted:?}");
    }
}

#[test]
fn nothing_is_looked_at_while_nobody_asks() {
    let recordings = Recordings::default();
    assert!(!recordings.is_active());
    let (first, second) = (recordings.ask(wanted()).unwrap(), recordings.ask(wanted()).unwrap());
    assert!(recordings.is_active());
    drop(first);
    assert!(recordings.is_active());
    drop(second);
    assert!(!recordings.is_active());
}

#[test]
fn not_too_many_may_ask() {
    let recordings = Recordings::default();
    let asking: Vec<_> = (0..ASKED_MAX).map(|_| recordings.ask(wanted()).unwrap()).collect();
    assert!(recordings.ask(wanted()).is_err());
    drop(asking);
    assert!(recordings.ask(wanted()).is_ok());
}
