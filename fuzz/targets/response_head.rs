//! A response that is taken is passed on as it was understood.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_http::h1::{HeadLimits, ResponseOptions, parse_response, write_response_head};
use portcullis_http::{ResponseHead, Version, strip_response_hop_by_hop};

fuzz_target!(|input: &[u8]| {
    let limits = HeadLimits { head_bytes: 4096, fields: 32 };
    let mut head = ResponseHead::default();
    let Ok(Some(parsed)) = parse_response(input, &limits, "GET", &mut head) else { return };
    assert!(parsed.head_len <= input.len());
    strip_response_hop_by_hop(&mut head.fields);
    let framing = parsed.framing.for_client(Version::Http11);
    let options =
        ResponseOptions { version: Version::Http11, framing, keep_alive: parsed.keep_alive, upgrade: None };
    let mut out = Vec::new();
    write_response_head(&mut out, &head, options);
    let mut again = ResponseHead::default();
    let reparsed = parse_response(&out, &HeadLimits::default(), "GET", &mut again)
        .expect("what is written is valid")
        .expect("what is written is whole");
    assert_eq!((reparsed.head_len, reparsed.framing, again.status), (out.len(), framing, head.status));
    strip_response_hop_by_hop(&mut again.fields);
    assert!(again.fields.iter().eq(head.fields.iter()));
});
