//! Whatever begins a connection, a header of the PROXY protocol is read within its bound, and written again the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_http::proxy_protocol::{
    HeaderLength, ProxyHeader, header_length, parse_header, write_header,
};
use portcullis_model::ProxyVersion;

fuzz_target!(|input: &[u8]| {
    let Ok(HeaderLength::Known(length)) = header_length(input, 536) else { return };
    assert!(length <= 536);
    // More bytes behind it change nothing, and fewer never make it shorter.
    for seen in 0..input.len().min(length) {
        match header_length(&input[..seen], 536).expect("the beginning of a header") {
            HeaderLength::Unknown => {}
            HeaderLength::Known(known) => assert_eq!(known, length),
        }
    }
    let Some(header) = input.get(..length) else { return };
    let Ok(parsed) = parse_header(header) else { return };
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let mut written = Vec::new();
        write_header(&mut written, version, parsed);
        assert_eq!(header_length(&written, 536), Ok(HeaderLength::Known(written.len())));
        let again = parse_header(&written).expect("what is written is valid");
        match (parsed, again) {
            (ProxyHeader::Own, ProxyHeader::Own) => {}
            (ProxyHeader::Proxied(one), ProxyHeader::Proxied(other)) => {
                assert_eq!(one.source.ip().to_canonical(), other.source.ip().to_canonical());
                assert_eq!(one.source.port(), other.source.port());
            }
            _ => panic!("another kind of header"),
        }
    }
});
