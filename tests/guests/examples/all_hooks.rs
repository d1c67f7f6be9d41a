//! Has every hook, and leaves a trace of each call: in the attribute `seen`, in its state, and in a field.

wit_bindgen::generate!({ world: "portcullis:policy/all-hooks", path: "../../wit" });

use exports::portcullis::policy::{
    completed, lifecycle, request_body, request_head, response_body, response_head, tick,
};
use portcullis::policy::{body, exchange, outcome, response};

struct AllHooks;

fn saw(hook: &str) -> String {
    let mut seen = exchange::attribute("seen").unwrap_or_default();
    if !seen.is_empty() {
        seen.push(' ');
    }
    seen.push_str(hook);
    exchange::set_attribute("seen", &seen).expect("it fits");
    let mut state = exchange::state();
    state.push(b'+');
    exchange::set_state(&state).expect("it fits");
    seen
}

impl lifecycle::Guest for AllHooks {
    fn configure(config: String) -> Result<(), String> {
        match portcullis_test_guests_source::setting(&config, "refuse") {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(()),
        }
    }
}

impl request_head::Guest for AllHooks {
    fn on_request_head() -> Result<(), String> {
        saw("request-head");
        Ok(())
    }
}

impl request_body::Guest for AllHooks {
    fn on_request_body() -> Result<(), String> {
        saw(&format!("request-body({},{})", body::size(), body::is_last()));
        Ok(())
    }
}

impl response_head::Guest for AllHooks {
    fn on_response_head() -> Result<(), String> {
        let seen = saw("response-head");
        response::append_header("x-seen", &seen).expect("a response can be edited here");
        Ok(())
    }
}

impl response_body::Guest for AllHooks {
    fn on_response_body() -> Result<(), String> {
        saw(&format!("response-body({},{})", body::size(), body::is_last()));
        let loud = body::read(0, u64::MAX).to_ascii_uppercase();
        body::replace(u64::MAX, &loud).map_err(|refused| format!("{refused:?}"))
    }
}

impl completed::Guest for AllHooks {
    fn on_completed() -> Result<(), String> {
        let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let (endpoint, error) = (text(outcome::endpoint()), text(outcome::error()));
        saw(&format!("completed({},{endpoint},{error},{})", outcome::status(), outcome::response_bytes()));
        Ok(())
    }
}

impl tick::Guest for AllHooks {
    fn on_tick() -> Result<(), String> {
        Ok(())
    }
}

export!(AllHooks);
