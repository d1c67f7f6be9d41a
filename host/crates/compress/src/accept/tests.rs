use std::time::Instant;

use portcullis_http::Fields;
use portcullis_model::Coding::{self, Brotli, Gzip, Zstd};

use super::Accepted;

fn accepted(lines: &[&str]) -> Accepted {
    let mut fields = Fields::new();
    for line in lines {
        fields.append(b"accept-encoding", line.as_bytes()).unwrap();
    }
    Accepted::read(&fields)
}

fn chosen(line: &str) -> Option<Coding> {
    accepted(&[line]).choose(&Coding::ALL)
}

#[test]
fn the_highest_weight_wins_and_the_gateways_order_breaks_ties() {
    for (line, expected) in [
        ("gzip, deflate, br, zstd", Some(Zstd)),
        ("gzip, deflate, br", Some(Brotli)),
        ("gzip", Some(Gzip)),
        ("x-gzip", Some(Gzip)),
        ("GZIP;Q=1", Some(Gzip)),
        ("gzip;q=1.0, br;q=0.9, zstd;q=0.999", Some(Gzip)),
        ("br;q=0.001", Some(Brotli)),
        ("br;q=0", None),
        ("br;q=0.000, gzip;q=0.5", Some(Gzip)),
        ("gzip ; q=0.5 , br ;q=0.4", Some(Gzip)),
        ("deflate, compress, dcb", None),
        ("", None),
        (",,,", None),
        ("*", Some(Zstd)),
        ("*;q=0.5, gzip", Some(Gzip)),
        ("zstd;q=0, *", Some(Brotli)),
        ("*;q=0", None),
        ("*;q=0, br", Some(Brotli)),
    ] {
        assert_eq!(chosen(line), expected, "{line}");
    }
    assert_eq!(accepted(&["zstd, gzip"]).choose(&[Gzip, Zstd]), Some(Gzip));
    assert_eq!(accepted(&["zstd"]).choose(&[Gzip, Brotli]), None);
    assert_eq!(accepted(&[]), Accepted::default());
    assert_eq!(accepted(&["br;q=0.5", "gzip;q=0.6"]).choose(&Coding::ALL), Some(Gzip));
}

#[test]
fn codings_are_ordered_by_weight() {
    for (line, expected) in [
        ("gzip, br, zstd", &[Zstd, Brotli, Gzip][..]),
        ("gzip, br;q=0.5", &[Gzip, Brotli]),
        ("gzip;q=0.1, br;q=0.5, zstd;q=0", &[Brotli, Gzip]),
        ("gzip;q=0.1, identity;q=0.2, br", &[Brotli]),
        ("", &[]),
    ] {
        assert_eq!(accepted(&[line]).in_order(&Coding::ALL), expected, "{line}");
    }
}

#[test]
fn a_plain_body_counts_as_less_than_what_is_mentioned_unless_it_is_mentioned_itself() {
    for (line, expected, refuses) in [
        ("gzip;q=0.5, identity", None, false),
        ("gzip, identity", Some(Gzip), false),
        ("gzip;q=0.5, identity;q=0.6", None, false),
        ("gzip;q=0.5, identity;q=0.4", Some(Gzip), false),
        ("gzip, identity;q=0", Some(Gzip), true),
        ("identity;q=0", None, true),
        ("identity;q=0, *;q=0", None, true),
        ("*;q=0", None, true),
        ("*;q=0, identity", None, false),
        ("*;q=0.7, gzip;q=0.3", Some(Zstd), false),
        ("*;q=0.7, gzip;q=0.3, br;q=0.1, zstd;q=0.2", None, false),
    ] {
        let accepted = accepted(&[line]);
        assert_eq!((accepted.choose(&Coding::ALL), accepted.refuses_plain()), (expected, refuses), "{line}");
    }
}

#[test]
fn malformed_members_do_not_count() {
    for weight in
        ["q=2", "q=1.1", "q=1.001", "q=0.1234", "q=", "q=-1", "q=0,5", "q=.5", "q = 1", "a=b", "q=1;x=y"]
    {
        let line = format!("zstd;{weight}, gzip;q=0.1");
        assert_eq!(chosen(&line), Some(Gzip), "{line}");
    }
    assert_eq!(chosen("gzip;q=0, gzip"), None);
    assert_eq!(chosen("gzip, gzip;q=0"), Some(Gzip));
}

#[test]
fn ten_thousand_members_are_read_in_no_time() {
    let line = vec!["deflate;q=0.5"; 10_000].join(",") + ",br";
    let started = Instant::now();
    assert_eq!(chosen(&line), Some(Brotli));
    assert!(started.elapsed().as_millis() < 2000);
}
