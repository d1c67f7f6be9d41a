//! Asks a server in the hook that it is told, and keeps what came of it in an attribute.

wit_bindgen::generate!({
    inline: "package test:guest; world asks {
        import portcullis:policy/exchange@0.2.1;
        import portcullis:policy/http-client@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-body@0.2.1;
        export portcullis:policy/response-head@0.2.1;
        export portcullis:policy/response-body@0.2.1;
        export portcullis:policy/completed@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use std::sync::Mutex;

use exports::portcullis::policy::{completed, lifecycle, request_body, response_body, response_head};
use portcullis::policy::{exchange, http_client};
use portcullis_test_guests_source::setting;

struct Asks;

/// The hook, and the server's URL.
static WHERE: Mutex<(String, String)> = Mutex::new((String::new(), String::new()));

fn hook(name: &str) {
    let (wanted, url) = WHERE.lock().expect("one thread").clone();
    if name != wanted {
        return;
    }
    let (method, headers, body) = ("GET".to_owned(), Vec::new(), Vec::new());
    let options = vec![("timeout-ms".to_owned(), "20000".to_owned())];
    let answer = http_client::send(&http_client::Outbound { method, url, headers, body, options });
    let told = match answer {
        Ok(answer) => answer.status.to_string(),
        Err(error) => format!("{error:?}"),
    };
    exchange::set_attribute("result", &told).expect("it fits");
}

impl lifecycle::Guest for Asks {
    fn configure(config: String) -> Result<(), String> {
        let text = |key| setting(&config, key).unwrap_or_default().to_owned();
        *WHERE.lock().expect("one thread") = (text("hook"), text("url"));
        Ok(())
    }
}

impl request_body::Guest for Asks {
    fn on_request_body() -> Result<(), String> {
        hook("request-body");
        Ok(())
    }
}

impl response_head::Guest for Asks {
    fn on_response_head() -> Result<(), String> {
        hook("response-head");
        Ok(())
    }
}

impl response_body::Guest for Asks {
    fn on_response_body() -> Result<(), String> {
        hook("response-body");
        Ok(())
    }
}

impl completed::Guest for Asks {
    fn on_completed() -> Result<(), String> {
        hook("completed");
        Ok(())
    }
}

export!(Asks);
