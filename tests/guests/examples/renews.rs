//! Renews in `on-tick` what `configure` made, and releases what has served. Shows in attributes what a hook finds.

wit_bindgen::generate!({
    inline: "package test:guest; world renews {
        import portcullis:policy/crypto@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        import portcullis:policy/matchers@0.2.1;
        import portcullis:policy/store@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/tick@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use std::sync::atomic::{AtomicU32, Ordering};

use exports::portcullis::policy::{lifecycle, request_head, tick};
use portcullis::policy::{crypto, exchange, matchers, store};

/// The sets that `configure` made.
static NETWORKS: AtomicU32 = AtomicU32::new(0);
static PATTERNS: AtomicU32 = AtomicU32::new(0);

struct Renews;

impl lifecycle::Guest for Renews {
    fn configure(_: String) -> Result<(), String> {
        let networks = matchers::make_network_set("# renewed").map_err(|error| format!("{error:?}"))?;
        let patterns = matchers::make_regex_set(&["^round 0$".to_owned()]);
        NETWORKS.store(networks, Ordering::Relaxed);
        PATTERNS.store(patterns.map_err(|error| format!("{error:?}"))?, Ordering::Relaxed);
        Ok(())
    }
}

/// The number that the store has under a key, or 0.
fn kept(key: &str) -> u32 {
    let value = store::get(key).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&value).parse().unwrap_or(0)
}

fn keep(key: &str, number: u32) -> Result<(), String> {
    store::set(key, number.to_string().as_bytes(), None).map_err(|error| format!("{error:?}"))
}

/// The only address in the set of that round.
fn address(round: u32) -> String {
    format!("10.0.{}.{}", round / 256, round % 256)
}

/// Makes in some rounds more sets and keys than there may be at once, and keeps one of each.
fn renew() -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Debug| format!("{what}: {error:?}");
    let round = kept("round") + 1;
    matchers::replace_network_set(NETWORKS.load(Ordering::Relaxed), &address(round))
        .map_err(|error| failed("networks", &error))?;
    matchers::replace_regex_set(PATTERNS.load(Ordering::Relaxed), &[format!("^round {round}$")])
        .map_err(|error| failed("patterns", &error))?;
    for at in 0..20 {
        let networks = matchers::make_network_set(&format!("# {round} {at}"));
        matchers::forget_network_set(networks.map_err(|error| failed("more networks", &error))?);
        let patterns = matchers::make_regex_set(&[format!("{round} {at}")]);
        matchers::forget_regex_set(patterns.map_err(|error| failed("more patterns", &error))?);
    }
    for at in 0..100 {
        let secret = format!("{:>32}", format!("{round} {at}"));
        let new = crypto::import_secret(secret.as_bytes(), "HS256").map_err(|error| failed("key", &error))?;
        let old = kept("key");
        keep("key", new)?;
        crypto::forget_key(old);
    }
    keep("round", round)
}

impl tick::Guest for Renews {
    fn on_tick() -> Result<(), String> {
        renew().inspect_err(|error| {
            store::set("error", error.as_bytes(), None).expect("the store has room");
        })
    }
}

impl request_head::Guest for Renews {
    fn on_request_head() -> Result<(), String> {
        let set = |name: &str, value: &str| exchange::set_attribute(name, value).expect("it fits");
        let round = kept("round");
        // A tick may come between.
        let has = |round: u32| {
            let place = matchers::find_network(NETWORKS.load(Ordering::Relaxed), &address(round));
            place.expect("there is the set").is_some()
        };
        let found: Vec<u32> = (0..round + 3).filter(|round| has(*round)).collect();
        set("round", &round.to_string());
        set("found", &format!("{found:?}"));
        let first = matchers::is_match(PATTERNS.load(Ordering::Relaxed), b"round 0");
        set("first", &format!("{first:?}"));
        set("key", &kept("key").to_string());
        set("first-key", &format!("{:?}", crypto::mac(1, b"message")));
        let error = store::get("error").ok().flatten().unwrap_or_default();
        set("error", &String::from_utf8_lossy(&error));
        Ok(())
    }
}

export!(Renews);
