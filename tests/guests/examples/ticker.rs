//! Counts its ticks in the store, and shows the count in an attribute.

wit_bindgen::generate!({
    inline: "package test:guest; world ticker {
        import portcullis:policy/store@0.1.0;
        import portcullis:policy/exchange@0.1.0;
        export portcullis:policy/lifecycle@0.1.0;
        export portcullis:policy/request-head@0.1.0;
        export portcullis:policy/tick@0.1.0;
    }",
    path: "../../wit",
    generate_all,
});

use std::sync::atomic::{AtomicBool, Ordering};

use exports::portcullis::policy::{lifecycle, request_head, tick};
use portcullis::policy::types::Decision;
use portcullis::policy::{exchange, store};

static TRAPS: AtomicBool = AtomicBool::new(false);

struct Ticker;

impl lifecycle::Guest for Ticker {
    fn configure(config: String) -> Result<(), String> {
        TRAPS.store(
            portcullis_test_guests_source::setting(&config, "tick") == Some("trap"),
            Ordering::Relaxed,
        );
        Ok(())
    }
}

impl tick::Guest for Ticker {
    fn on_tick() {
        store::increment("ticks", 1, None).expect("the store has room");
        assert!(!TRAPS.load(Ordering::Relaxed), "told to trap in on-tick");
    }
}

impl request_head::Guest for Ticker {
    fn on_request_head() -> Decision {
        let ticks = store::get("ticks").expect("the store is there").unwrap_or_default();
        exchange::set_attribute("ticks", &String::from_utf8_lossy(&ticks)).expect("it fits");
        Decision::Next
    }
}

export!(Ticker);
