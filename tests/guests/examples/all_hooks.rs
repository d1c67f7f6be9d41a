//! Has every hook, and leaves a trace of each call: in the attribute `seen`, in its state, and in a field.

wit_bindgen::generate!({ world: "portcullis:policy/all-hooks", path: "../../wit" });

use exports::portcullis::policy::completed::Outcome;
use exports::portcullis::policy::{
    completed, lifecycle, request_body, request_head, response_body, response_head, tick,
};
use portcullis::policy::types::{BodyDecision, Decision};
use portcullis::policy::{exchange, response};

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
    fn on_request_head() -> Decision {
        saw("request-head");
        Decision::Next
    }
}

impl request_body::Guest for AllHooks {
    fn on_request_body(chunk: Vec<u8>, last: bool) -> BodyDecision {
        saw(&format!("request-body({},{last})", chunk.len()));
        BodyDecision::Forward
    }
}

impl response_head::Guest for AllHooks {
    fn on_response_head() -> Decision {
        let seen = saw("response-head");
        response::append_header("x-seen", seen.as_bytes()).expect("a response can be edited here");
        Decision::Next
    }
}

impl response_body::Guest for AllHooks {
    fn on_response_body(chunk: Vec<u8>, last: bool) -> BodyDecision {
        saw(&format!("response-body({},{last})", chunk.len()));
        BodyDecision::Replace(chunk.to_ascii_uppercase())
    }
}

impl completed::Guest for AllHooks {
    fn on_completed(outcome: Outcome) {
        let upstream = outcome.upstream.as_deref().unwrap_or("-");
        let error = outcome.error.as_deref().unwrap_or("-");
        saw(&format!("completed({},{upstream},{error},{})", outcome.status, outcome.response_bytes));
    }
}

impl tick::Guest for AllHooks {
    fn on_tick() {}
}

export!(AllHooks);
