//! Made for a contract that does not exist yet.

wit_bindgen::generate!({
    inline: "package portcullis:policy@0.9.0;
        interface request { method: func() -> string; }
        interface request-head { on-request-head: func(); }
        world wrong { import request; export request-head; }",
});

struct Wrong;

impl exports::portcullis::policy::request_head::Guest for Wrong {
    fn on_request_head() {
        drop(portcullis::policy::request::method());
    }
}

export!(Wrong);
