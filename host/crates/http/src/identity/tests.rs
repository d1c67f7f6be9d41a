use super::{NAMES, is_credential, is_identity};

#[test]
fn the_list_is_sorted_and_has_nothing_twice() {
    assert!(NAMES.windows(2).all(|pair| pair[0] < pair[1]));
    for name in NAMES {
        assert!(is_identity(name), "{}", String::from_utf8_lossy(name));
    }
}

#[test]
fn leaves_what_ordinary_clients_send() {
    for name in [
        "accept",
        "content-type",
        "cookie",
        "if-match",
        "range",
        "referer",
        "sec-fetch-mode",
        "te",
        "traceparent",
        "user-agent",
        "x-api-key",
        "x-client-version",
        "x-csrf-token",
        "x-requested-with",
        "x-request-id",
        "x-amz-content-sha256",
    ] {
        assert!(!is_identity(name.as_bytes()), "{name}");
    }
}

/// Trailers that clients of S3, of gRPC and of message signatures do send.
#[test]
fn leaves_honest_trailers() {
    for name in [
        "content-digest",
        "grpc-status",
        "signature",
        "x-amz-checksum-crc32c",
        "x-amz-trailer-signature",
        "x-t",
    ] {
        assert!(!is_credential(name.as_bytes()) && !is_identity(name.as_bytes()), "{name}");
    }
}
