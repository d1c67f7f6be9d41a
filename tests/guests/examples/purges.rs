//! Purges what `x-purge` asks for, such as `tag news;soft-url a.test/x`, in `on-request-head`, and what `x-purge-later`
//! does in `on-response-head`. What came of it is in `x-purged` of the response. `{"configure":"tag news"}` and
//! `{"tick":"tag news"}` purge there.

wit_bindgen::generate!({
    inline: "package test:guest; world purges {
        import portcullis:policy/cache-purge@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        import portcullis:policy/request@0.2.1;
        import portcullis:policy/response@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/response-head@0.2.1;
        export portcullis:policy/tick@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use std::sync::OnceLock;

use exports::portcullis::policy::{lifecycle, request_head, response_head, tick};
use portcullis::policy::cache_purge::Error;
use portcullis::policy::{cache_purge, exchange, request, response};
use portcullis_test_guests_source::setting;

static CONFIG: OnceLock<String> = OnceLock::new();

struct Purges;

fn told(purged: Result<u64, Error>) -> String {
    match purged {
        Ok(met) => met.to_string(),
        Err(error) => format!("{error:?}"),
    }
}

fn purge(what: &str) -> String {
    let words: Vec<&str> = what.split(' ').collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    match word(0) {
        "url" => told(cache_purge::url(word(1), false)),
        "soft-url" => told(cache_purge::url(word(1), true)),
        "prefix" => told(cache_purge::prefix(word(1), false)),
        "tag" => told(cache_purge::tag(word(1), false)),
        "soft-tag" => told(cache_purge::tag(word(1), true)),
        "tag-size" => told(cache_purge::tag(&"t".repeat(word(1).parse().unwrap_or_default()), false)),
        // As many as are asked for, one after the other.
        "storm" => {
            let count = word(1).parse::<usize>().unwrap_or_default();
            let busy =
                (0..count).filter(|_| matches!(cache_purge::tag(word(2), false), Err(Error::Busy))).count();
            format!("{busy} busy")
        }
        other => format!("nothing is called {other}"),
    }
}

fn purge_all(field: &str) -> String {
    let line = request::header(field).unwrap_or_default();
    let purged: Vec<String> = line.split(';').filter(|what| !what.is_empty()).map(purge).collect();
    purged.join("; ")
}

impl lifecycle::Guest for Purges {
    fn configure(config: String) -> Result<(), String> {
        CONFIG.set(config).map_err(|_| "configured twice".to_owned())?;
        match CONFIG.get().and_then(|config| setting(config, "configure")) {
            Some(what) => Err(purge(what)),
            None => Ok(()),
        }
    }
}

impl request_head::Guest for Purges {
    fn on_request_head() -> Result<(), String> {
        exchange::set_state(purge_all("x-purge").as_bytes()).map_err(|refused| format!("{refused:?}"))
    }
}

impl response_head::Guest for Purges {
    fn on_response_head() -> Result<(), String> {
        let purged = format!("{}{}", String::from_utf8_lossy(&exchange::state()), purge_all("x-purge-later"));
        response::set_header("x-purged", purged.trim()).map_err(|refused| format!("{refused:?}"))
    }
}

impl tick::Guest for Purges {
    fn on_tick() -> Result<(), String> {
        if let Some(what) = CONFIG.get().and_then(|config| setting(config, "tick")) {
            purge(what);
        }
        Ok(())
    }
}

export!(Purges);
