//! Asks for an interface that no gateway has.

wit_bindgen::generate!({
    inline: "package test:guest;
        interface launch { fire: func(); }
        world unknown { import launch; export portcullis:policy/request-head@0.1.0; }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::request_head::Guest;
use portcullis::policy::types::Decision;

struct Unknown;

impl Guest for Unknown {
    fn on_request_head() -> Decision {
        test::guest::launch::fire();
        Decision::Next
    }
}

export!(Unknown);
