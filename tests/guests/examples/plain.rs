//! The least that a policy can be: one hook, no import, no configuration.

wit_bindgen::generate!({
    inline: "package test:guest; world plain { export portcullis:policy/request-head@0.2.1; }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::request_head::Guest;

portcullis_test_guests_source::manifest!(
    br#"{"name":"plain","version":"1.2.3","description":"does nothing","config-schema":{"type":"object"},"capabilities":[]}"#
);

struct Plain;

impl Guest for Plain {
    fn on_request_head() -> Result<(), String> {
        Ok(())
    }
}

export!(Plain);
