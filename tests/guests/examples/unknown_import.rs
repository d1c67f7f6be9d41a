//! Asks for an interface that no gateway has.

wit_bindgen::generate!({
    inline: "package test:guest;
        interface launch { fire: func(); }
        world unknown { import launch; export portcullis:policy/request-head@0.2.1; }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::request_head::Guest;

struct Unknown;

impl Guest for Unknown {
    fn on_request_head() -> Result<(), String> {
        test::guest::launch::fire();
        Ok(())
    }
}

export!(Unknown);
