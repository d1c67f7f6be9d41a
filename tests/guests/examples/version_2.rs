//! Version 2 of a policy: names itself in a field of the request and of the response.

wit_bindgen::generate!({
    inline: "package test:guest; world version {
        import portcullis:policy/request@0.2.1;
        import portcullis:policy/response@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/response-head@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::{request_head, response_head};
use portcullis::policy::{request, response};

struct Version;

impl request_head::Guest for Version {
    fn on_request_head() -> Result<(), String> {
        request::set_header("x-version", "v2").expect("a request can be edited here");
        Ok(())
    }
}

impl response_head::Guest for Version {
    fn on_response_head() -> Result<(), String> {
        response::set_header("x-version", "v2").expect("a response can be edited here");
        Ok(())
    }
}

export!(Version);
