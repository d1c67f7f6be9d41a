//! Makes each call of the contract on demand, in each hook.

wit_bindgen::generate!({ world: "portcullis:policy/all-hooks", path: "../../wit" });

use portcullis::policy::http_client;
use portcullis::policy::types::Field;

include!("shared/every_call.rs");

fn outbound() -> http_client::Outbound {
    http_client::Outbound {
        method: "POST".to_owned(),
        url: "http://a.test/x".to_owned(),
        headers: vec![Field { name: "x-from".to_owned(), value: b"guest".to_vec() }],
        body: b"hello".to_vec(),
        options: vec![("timeout-ms".to_owned(), "5000".to_owned())],
    }
}

fn send() {
    done(http_client::send(&outbound()));
}

fn send_all() {
    done(http_client::send_all(&[outbound(), outbound()]));
}
