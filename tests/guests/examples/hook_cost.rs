//! A hook with four host calls, as an API-key policy makes them, for measuring.

wit_bindgen::generate!({
    inline: "package test:guest; world cost {
        import portcullis:policy/request@0.1.0;
        import portcullis:policy/exchange@0.1.0;
        export portcullis:policy/request-head@0.1.0;
    }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::request_head::Guest;
use portcullis::policy::types::{Decision, Reply};
use portcullis::policy::{exchange, request};

struct Cost;

impl Guest for Cost {
    fn on_request_head() -> Decision {
        let key = request::header("x-api-key");
        if key.as_deref() != Some("0123456789abcdef") || request::method() == "TRACE" {
            return Decision::Reply(Reply { status: 401, headers: Vec::new(), body: Vec::new() });
        }
        let done = exchange::set_attribute("api-key.name", "alice");
        let removed = request::remove_header("x-api-key-copy");
        if done.is_err() || removed.is_err() {
            return Decision::Reply(Reply { status: 500, headers: Vec::new(), body: Vec::new() });
        }
        Decision::Next
    }
}

export!(Cost);
