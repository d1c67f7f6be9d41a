//! Makes each call of the contract on demand, in each hook.

wit_bindgen::generate!({ world: "portcullis:policy/all-hooks", path: "../../wit" });

use portcullis::policy::{cache_purge, http_client};

include!("shared/every_call.rs");

fn outbound() -> http_client::Outbound {
    http_client::Outbound {
        method: "POST".to_owned(),
        url: "http://a.test/x".to_owned(),
        headers: vec![("x-from".to_owned(), "guest".to_owned())],
        body: b"hello".to_vec(),
        options: vec![("timeout-ms".to_owned(), "5000".to_owned())],
    }
}

fn outbound_bytes() -> http_client::OutboundBytes {
    let http_client::Outbound { method, url, body, options, .. } = outbound();
    let headers = vec![("x-from".to_owned(), b"guest\xff".to_vec())];
    http_client::OutboundBytes { method, url, headers, body, options }
}

fn send() {
    done(http_client::send(&outbound()));
}

fn send_all() {
    done(http_client::send_all(&[outbound(), outbound()]));
}

fn send_bytes() {
    done(http_client::send_bytes(&outbound_bytes()));
}

fn send_all_bytes() {
    done(http_client::send_all_bytes(&[outbound_bytes(), outbound_bytes()]));
}

fn purge(name: &str) {
    match name {
        "url" => done(cache_purge::url("a.test/x", false)),
        "prefix" => done(cache_purge::prefix("a.test/x*", true)),
        "tag" => done(cache_purge::tag("news", true)),
        other => panic!("no call is named cache-purge.{other}"),
    }
}
