//! Keeps in its globals what it was configured with and which hooks it saw, and says in each hook what it finds there.
//! A metric that `configure` made counts the hooks.

wit_bindgen::generate!({
    inline: "package test:guest; world globals {
        import portcullis:policy/exchange@0.2.1;
        import portcullis:policy/metrics@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/response-head@0.2.1;
        export portcullis:policy/completed@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use std::sync::{Mutex, MutexGuard};

use exports::portcullis::policy::{completed, lifecycle, request_head, response_head};
use portcullis::policy::{exchange, metrics};
use portcullis_test_guests_source::setting;

struct Globals;

struct Found {
    text: String,
    metric: metrics::Metric,
}

static FOUND: Mutex<Found> = Mutex::new(Found { text: String::new(), metric: 0 });

fn found() -> MutexGuard<'static, Found> {
    FOUND.lock().expect("one thread")
}

fn hook(name: &str) {
    let mut found = found();
    metrics::add(found.metric, 1);
    exchange::set_attribute("globals", &found.text).expect("it fits");
    found.text.push(' ');
    found.text.push_str(name);
}

impl lifecycle::Guest for Globals {
    fn configure(config: String) -> Result<(), String> {
        let mut found = found();
        found.text = setting(&config, "start").unwrap_or_default().to_owned();
        found.metric = metrics::counter("hooks", &[]);
        if setting(&config, "print").is_some() {
            println!("configured");
        }
        Ok(())
    }
}

impl request_head::Guest for Globals {
    fn on_request_head() -> Result<(), String> {
        hook("request-head");
        Ok(())
    }
}

impl response_head::Guest for Globals {
    fn on_response_head() -> Result<(), String> {
        hook("response-head");
        Ok(())
    }
}

impl completed::Guest for Globals {
    fn on_completed() -> Result<(), String> {
        hook("completed");
        Ok(())
    }
}

export!(Globals);
