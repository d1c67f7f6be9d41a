//! Counts its ticks in the store, and shows the count in an attribute.

wit_bindgen::generate!({
    inline: "package test:guest; world ticker {
        import portcullis:policy/store@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/tick@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use std::sync::atomic::{AtomicBool, Ordering};

use exports::portcullis::policy::{lifecycle, request_head, tick};
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
    fn on_tick() -> Result<(), String> {
        store::increment("ticks", 1, None).expect("the store has room");
        assert!(!TRAPS.load(Ordering::Relaxed), "told to trap in on-tick");
        Ok(())
    }
}

impl request_head::Guest for Ticker {
    fn on_request_head() -> Result<(), String> {
        let ticks = store::get("ticks").expect("the store is there").unwrap_or_default();
        exchange::set_attribute("ticks", &String::from_utf8_lossy(&ticks)).expect("it fits");
        Ok(())
    }
}

export!(Ticker);
