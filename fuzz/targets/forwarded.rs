//! Whatever forwarding fields a trusted peer sends, exactly one of each kind is left.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use portcullis_http::{Known, RequestHead, rewrite_forwarding_fields};

fuzz_target!(|input: (Vec<u8>, Vec<u8>, Vec<u8>)| {
    let (chain, forwarded, host) = input;
    let mut head = RequestHead::default();
    for (name, value) in [
        ("x-forwarded-for", &chain),
        ("forwarded", &forwarded),
        ("x-forwarded-host", &host),
        ("x-forwarded-proto", &host),
    ] {
        // What is no field value does not come this far.
        if head.fields.append(name.as_bytes(), value).is_err() {
            continue;
        }
    }
    let trusted = [ipnet::IpNet::from(IpAddr::from([10, 0, 0, 1])), "fd00::/8".parse().expect("a network")];
    let client = rewrite_forwarding_fields(&mut head, IpAddr::from([10, 0, 0, 1]), &trusted, &mut Vec::new())
        .expect("the fields are small");
    for known in [Known::XForwardedFor, Known::XForwardedProto, Known::XRealIp, Known::Forwarded] {
        assert_eq!(head.fields.all_known(known).count(), 1);
    }
    assert_eq!(head.fields.get_known(Known::XRealIp), Some(client.to_string().as_bytes()));
});
