//! A hook with four host calls, as an API-key policy makes them, for measuring. `"keys":"a,b"` says which keys it
//! knows.

wit_bindgen::generate!({
    inline: "package test:guest; world cost {
        import portcullis:policy/request@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-head@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use std::collections::HashMap;
use std::sync::OnceLock;

use exports::portcullis::policy::{lifecycle, request_head};
use portcullis::policy::{exchange, request};
use portcullis_test_guests_source::setting;

struct Cost;

/// Whose each key is.
static KEYS: OnceLock<HashMap<String, String>> = OnceLock::new();

impl lifecycle::Guest for Cost {
    fn configure(config: String) -> Result<(), String> {
        let others = setting(&config, "keys").unwrap_or_default().split(',').filter(|key| !key.is_empty());
        let mut keys: HashMap<_, _> = others.map(|key| (key.to_owned(), format!("owner of {key}"))).collect();
        keys.insert("0123456789abcdef".to_owned(), "alice".to_owned());
        KEYS.set(keys).map_err(|_| "configured twice".to_owned())
    }
}

impl request_head::Guest for Cost {
    fn on_request_head() -> Result<(), String> {
        let key = request::header("x-api-key").unwrap_or_default();
        let name = KEYS.get().and_then(|keys| keys.get(&key));
        let (Some(name), true) = (name, request::method() != "TRACE") else {
            return exchange::reply(401, &[], b"").map_err(|refused| format!("{refused:?}"));
        };
        let done = exchange::set_attribute("api-key.name", name);
        let removed = request::remove_header("x-api-key-copy");
        if done.is_err() || removed.is_err() {
            return Err("an edit was refused".to_owned());
        }
        Ok(())
    }
}

export!(Cost);
