//! Makes each call of the contract on demand, in each hook: all but those that wait, so that it needs no fiber.

wit_bindgen::generate!({
    inline: "package test:guest; world every-call {
        import portcullis:policy/request@0.2.1;
        import portcullis:policy/response@0.2.1;
        import portcullis:policy/body@0.2.1;
        import portcullis:policy/trailers@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        import portcullis:policy/connection@0.2.1;
        import portcullis:policy/outcome@0.2.1;
        import portcullis:policy/cache@0.2.1;
        import portcullis:policy/log@0.2.1;
        import portcullis:policy/clock@0.2.1;
        import portcullis:policy/random@0.2.1;
        import portcullis:policy/metrics@0.2.1;
        import portcullis:policy/secrets@0.2.1;
        import portcullis:policy/rate-limit@0.2.1;
        import portcullis:policy/store@0.2.1;
        import portcullis:policy/crypto@0.2.1;
        import portcullis:policy/matchers@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/request-body@0.2.1;
        export portcullis:policy/response-head@0.2.1;
        export portcullis:policy/response-body@0.2.1;
        export portcullis:policy/completed@0.2.1;
        export portcullis:policy/tick@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

include!("shared/every_call.rs");

fn send() {
    panic!("no call is named http-client.send");
}

fn send_all() {
    panic!("no call is named http-client.send-all");
}

fn purge(name: &str) {
    panic!("no call is named cache-purge.{name}");
}

fn send_bytes() {
    panic!("no call is named http-client.send-bytes");
}

fn send_all_bytes() {
    panic!("no call is named http-client.send-all-bytes");
}
