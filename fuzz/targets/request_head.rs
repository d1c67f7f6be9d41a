//! A request that is taken is forwarded as it was understood: written anew and read again, it is the same request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_http::h1::{HeadLimits, parse_request, write_request_head};
use portcullis_http::{RequestHead, Scheme, strip_request_hop_by_hop};

fuzz_target!(|input: &[u8]| {
    let limits = HeadLimits { head_bytes: 4096, fields: 32 };
    let mut head = RequestHead::default();
    let Ok(Some(parsed)) = parse_request(input, &limits, Scheme::Http, &mut head) else { return };
    assert!(parsed.head_len <= input.len());
    strip_request_hop_by_hop(&mut head.fields);
    let host = if head.authority.is_empty() { "none.example" } else { &head.authority };
    let mut out = Vec::new();
    write_request_head(&mut out, &head, host, parsed.framing, head.upgrade.as_deref());
    let mut again = RequestHead::default();
    let reparsed = parse_request(&out, &HeadLimits::default(), Scheme::Http, &mut again)
        .expect("what is written is valid")
        .expect("what is written is whole");
    assert_eq!(reparsed.head_len, out.len());
    // A method that usually has content says that it has none.
    assert!(reparsed.framing == parsed.framing || (parsed.framing.is_empty() && reparsed.framing.is_empty()));
    assert_eq!((&again.method, again.target()), (&head.method, head.target()));
    assert_eq!(again.upgrade, head.upgrade);
    strip_request_hop_by_hop(&mut again.fields);
    assert!(again.fields.iter().eq(head.fields.iter()));
});
