use std::net::SocketAddr;

use portcullis_model::ProxyVersion;
use proptest::prelude::*;

use super::{
    HeaderLength, ProxyAddresses, ProxyHeader, ProxyHeaderError, SIGNATURE, header_length, parse_header,
    write_header,
};

fn proxied(source: &str, destination: &str) -> ProxyHeader {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    ProxyHeader::Proxied(ProxyAddresses { source: address(source), destination: address(destination) })
}

fn v2(rest: &[u8]) -> Vec<u8> {
    [&SIGNATURE[..], rest].concat()
}

/// Reads what arrives byte by byte, and returns the header with its length.
fn read(bytes: &[u8], max: usize) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    for seen in 0..=bytes.len() {
        if let HeaderLength::Known(length) = header_length(&bytes[..seen], max)?
            && length <= seen
        {
            return Ok(Some((parse_header(&bytes[..length])?, length)));
        }
    }
    Ok(None)
}

#[test]
fn reads_lines_of_version_1() {
    let check = |line: &str, expected: Result<ProxyHeader, &str>| {
        let got = read(format!("{line}GET /").as_bytes(), 536);
        let expected = expected.map(|header| Some((header, line.len()))).map_err(ToOwned::to_owned);
        assert_eq!(got.map_err(|error| error.to_string()), expected, "{line:?}");
    };
    check("PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", Ok(proxied("203.0.113.7:4711", "10.0.0.1:443")));
    check("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n", Ok(proxied("[2001:db8::7]:0", "[::1]:65535")));
    check("PROXY UNKNOWN\r\n", Ok(ProxyHeader::Own));
    check("PROXY UNKNOWN whatever ffff::1 -3\r\n", Ok(ProxyHeader::Own));
    for (line, part) in [
        ("PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n", "line end"),
        ("PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 x\r\n", "line end"),
        ("PROXY TCP4 203.0.113.07 10.0.0.1 4711 443\r\n", "source address"),
        ("PROXY TCP4 2001:db8::7 10.0.0.1 4711 443\r\n", "source address"),
        ("PROXY TCP4  203.0.113.7 10.0.0.1 4711 443\r\n", "source address"),
        ("PROXY TCP6 ::1%lo ::1 1 1\r\n", "source address"),
        ("PROXY TCP4 203.0.113.7 10.0.0.256 4711 443\r\n", "destination address"),
        ("PROXY TCP4 203.0.113.7 10.0.0.1 04711 443\r\n", "source port"),
        ("PROXY TCP4 203.0.113.7 10.0.0.1 +1 443\r\n", "source port"),
        ("PROXY TCP4 203.0.113.7 10.0.0.1 1 65536\r\n", "destination port"),
        ("PROXY TCP4 203.0.113.7 10.0.0.1 1\r\n", "destination port"),
        ("PROXY UDP4 203.0.113.7 10.0.0.1 1 1\r\n", "protocol"),
        ("PROXY tcp4 203.0.113.7 10.0.0.1 1 1\r\n", "protocol"),
    ] {
        check(line, Err(&format!("its {part} is not valid")));
    }
    let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(line.len(), 107);
    check(&line, Ok(ProxyHeader::Own));
    check(&line.replace("\r\n", "x\r\n"), Err("it is longer than 107 bytes"));
}

#[test]
fn reads_version_2_and_skips_its_fields() {
    let check = |rest: &[u8], expected: Result<ProxyHeader, &str>| {
        let bytes = [v2(rest), b"GET /".to_vec()].concat();
        let got = read(&bytes, 536).map_err(|error| error.to_string());
        let expected = expected.map(|header| Some((header, 12 + rest.len()))).map_err(ToOwned::to_owned);
        assert_eq!(got, expected, "{rest:x?}");
    };
    let ends = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];
    let expected = proxied("203.0.113.7:4711", "10.0.0.1:443");
    check(&[&[0x21, 0x11, 0, 12][..], &ends].concat(), Ok(expected));
    check(&[&[0x21, 0x11, 0, 16][..], &ends, &[4, 0, 1, 0]].concat(), Ok(expected));
    check(&[&[0x21, 0x11, 0, 11][..], &ends[..11]].concat(), Err("its length is not valid"));
    let mut v6 = vec![0x21, 0x21, 0, 36];
    for ends in [[0x20, 0x01, 0x0d, 0xb8], [0xfd, 0, 0, 0]] {
        v6.extend_from_slice(&ends);
        v6.extend_from_slice(&[0; 11]);
        v6.push(9);
    }
    v6.extend_from_slice(&[0, 80, 1, 187]);
    check(&v6, Ok(proxied("[2001:db8::9]:80", "[fd00::9]:443")));
    // A connection of its own, whatever its addresses say; and families that have no address of IP for TCP.
    check(&[0x20, 0, 0, 0], Ok(ProxyHeader::Own));
    check(&[&[0x20, 0x11, 0, 12][..], &ends].concat(), Ok(ProxyHeader::Own));
    check(&[0x20, 0xff, 0, 1, 7], Ok(ProxyHeader::Own));
    for family in [0x00, 0x12, 0x22, 0x31, 0x32] {
        check(&[0x21, family, 0, 2, 1, 2], Ok(ProxyHeader::Own));
    }
    for family in [0x01, 0x10, 0x13, 0x33, 0x41, 0xff] {
        check(&[&[0x21, family, 0, 12][..], &ends].concat(), Err("its address family is not valid"));
    }
    check(&[0x22, 0x11, 0, 0], Err("its command is not valid"));
    check(&[0x11, 0x11, 0, 0], Err("its version is not valid"));
}

#[test]
fn the_length_is_judged_before_the_rest_has_arrived() {
    let known = |length: u16| {
        let [high, low] = length.to_be_bytes();
        header_length(&v2(&[0x21, 0x11, high, low]), 300)
    };
    assert_eq!(known(284), Ok(HeaderLength::Known(300)));
    assert_eq!(known(285), Err(ProxyHeaderError::TooLong { max: 300 }));
    assert_eq!(known(u16::MAX), Err(ProxyHeaderError::TooLong { max: 300 }));
    // What cannot become a header is not waited for.
    assert_eq!(header_length(b"G", 300), Err(ProxyHeaderError::Absent));
    assert_eq!(header_length(b"\r\n\r\nG", 300), Err(ProxyHeaderError::Absent));
    assert_eq!(header_length(b"PROXZ", 300), Err(ProxyHeaderError::Absent));
    assert_eq!(header_length(&[0x16, 3, 1], 300), Err(ProxyHeaderError::Absent));
    assert_eq!(header_length(b"", 300), Ok(HeaderLength::Unknown));
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    any::<(std::net::IpAddr, u16)>().prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(source in any_address(), destination in any_address(), own: bool) {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let header = match own {
                true => ProxyHeader::Own,
                false => ProxyHeader::Proxied(ProxyAddresses { source, destination }),
            };
            let mut bytes = Vec::new();
            write_header(&mut bytes, version, header);
            let length = bytes.len();
            bytes.extend_from_slice(b"\nrest");
            let Ok(Some((read, read_length))) = read(&bytes, 232) else { panic!("{bytes:?}") };
            prop_assert_eq!(read_length, length);
            match read {
                ProxyHeader::Own => prop_assert!(own),
                ProxyHeader::Proxied(ends) => {
                    prop_assert_eq!(ends.source.ip().to_canonical(), source.ip().to_canonical());
                    prop_assert_eq!(ends.destination.ip().to_canonical(), destination.ip().to_canonical());
                    prop_assert_eq!(ends.source.port(), source.port());
                    prop_assert_eq!(ends.destination.port(), destination.port());
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_within_the_bound(bytes: Vec<u8>, sign: bool, max in 232_usize..600) {
        let bytes = if sign { v2(&bytes) } else { [b"PROXY ".as_slice(), &bytes].concat() };
        if let Ok(Some((_, length))) = read(&bytes, max) {
            prop_assert!(length <= max);
        }
    }
}
