// What `every_call.rs` and `every_call_waits.rs` are made of: they differ in the world that they import.
//
// Each hook makes the call that its configuration names, such as `{"tick":"store.get"}`, else the one that the
// request's field `x-do` does. `configure` and `on-tick` have no request to look at.

use std::hint::black_box;
use std::sync::OnceLock;

use exports::portcullis::policy::{
    completed, lifecycle, request_body, request_head, response_body, response_head, tick,
};
use portcullis::policy::{
    body, cache, clock, connection, crypto, exchange, log, matchers, metrics, outcome, random, rate_limit, request,
    response, secrets, store, trailers,
};
use portcullis_test_guests_source::setting;

static CONFIG: OnceLock<String> = OnceLock::new();

struct EveryCall;

/// What a call gives is for other tests to look at.
fn done<T>(_: T) {}

fn act(hook: &str) {
    match CONFIG.get().and_then(|config| setting(config, hook)) {
        Some(deed) => call(deed),
        None if matches!(hook, "configure" | "tick") => {}
        None => call(&request::header("x-do").unwrap_or_default()),
    }
}

fn call(deed: &str) {
    if let Some(name) = deed.strip_prefix("request.") {
        return call_request(name);
    }
    if let Some(name) = deed.strip_prefix("response.") {
        return call_response(name);
    }
    if let Some(name) = deed.strip_prefix("exchange.") {
        return call_exchange(name);
    }
    if let Some(name) = deed.strip_prefix("body.") {
        return call_body(name);
    }
    if let Some(name) = deed.strip_prefix("trailers.") {
        return call_trailers(name);
    }
    if let Some(name) = deed.strip_prefix("connection.") {
        return call_connection(name);
    }
    if let Some(name) = deed.strip_prefix("outcome.") {
        return call_outcome(name);
    }
    if let Some(name) = deed.strip_prefix("cache-purge.") {
        return purge(name);
    }
    if let Some(name) = deed.strip_prefix("cache.") {
        return call_cache(name);
    }
    if let Some(name) = deed.strip_prefix("crypto.") {
        return call_crypto(name);
    }
    if let Some(name) = deed.strip_prefix("matchers.") {
        return call_matchers(name);
    }
    match deed {
        "" | "nothing" => {}
        "loop" => loop {
            black_box(0);
        },
        "trap" => core::arch::wasm32::unreachable(),
        "leak" => std::mem::forget(black_box(vec![1_u8; 300_000])),
        "work" => work(),
        // What a hook asks of the instances that are configured after it: of all of them, or of the next one.
        "arm" => done(store::set("armed", b"yes", None)),
        "work-armed" if is_armed() => work(),
        "loop-armed" if is_armed() => {
            done(store::delete("armed"));
            call("loop");
        }
        "work-armed" | "loop-armed" => {}
        "log.log" => log::log(log::Level::Info, "a line", &[("key".to_owned(), "value".to_owned())]),
        "log.enabled" => done(log::enabled(log::Level::Info)),
        "clock.now-ms" => done(clock::now_ms()),
        "clock.monotonic-us" => done(clock::monotonic_us()),
        "random.bytes" => done(random::bytes(16)),
        "metrics.counter" => done(metrics::counter("calls", &[("by".to_owned(), "guest".to_owned())])),
        "metrics.gauge" => done(metrics::gauge("level", &[])),
        "metrics.histogram" => done(metrics::histogram("size", &[])),
        "metrics.add" => metrics::add(1, 1),
        "metrics.set" => metrics::set(2, 1.5),
        "metrics.observe" => metrics::observe(3, 1.5),
        "secrets.get" => done(secrets::get("key")),
        "rate-limit.check" => {
            done(rate_limit::check("bucket", rate_limit::Quota { requests: 1, per_ms: 1000, burst: 0 }, 1));
        }
        "store.get" => done(store::get("key")),
        "store.set" => done(store::set("key", b"value", Some(1000))),
        "store.compare-and-set" => done(store::compare_and_set("key", Some(b"value"), b"other", None)),
        "store.increment" => done(store::increment("number", 1, None)),
        "store.delete" => done(store::delete("key")),
        "store.list" => done(store::list("k")),
        "http-client.send" => send(),
        "http-client.send-all" => send_all(),
        "http-client.send-bytes" => send_bytes(),
        "http-client.send-all-bytes" => send_all_bytes(),
        other => panic!("no call is named {other}"),
    }
}

/// A millisecond or so.
fn work() {
    let step = |seed: u64, _| {
        let seed = seed ^ (seed << 13);
        let seed = seed ^ (seed >> 7);
        seed ^ (seed << 17)
    };
    black_box((0..200_000).fold(black_box(1), step));
}

fn is_armed() -> bool {
    store::get("armed").is_ok_and(|found| found.is_some())
}

fn call_request(name: &str) {
    match name {
        "method" => done(request::method()),
        "set-method" => done(request::set_method("PUT")),
        "scheme" => done(request::scheme()),
        "authority" => done(request::authority()),
        "set-authority" => done(request::set_authority("example.org")),
        "path" => done(request::path()),
        "query" => done(request::query()),
        "set-path-and-query" => done(request::set_path_and_query("/c?d")),
        "set-upstream" => done(request::set_upstream("elsewhere")),
        "set-endpoint-key" => done(request::set_endpoint_key("key")),
        "set-endpoint-key-bytes" => done(request::set_endpoint_key_bytes(b"key")),
        "header" => done(request::header("x-some")),
        "header-bytes" => done(request::header_bytes("x-some")),
        "header-values" => done(request::header_values("x-do")),
        "header-values-bytes" => done(request::header_values_bytes("x-do")),
        "headers" => done(request::headers()),
        "headers-bytes" => done(request::headers_bytes()),
        "set-header" => done(request::set_header("x-some", "value")),
        "set-header-bytes" => done(request::set_header_bytes("x-some", b"value")),
        "append-header" => done(request::append_header("x-some", "other")),
        "append-header-bytes" => done(request::append_header_bytes("x-some", b"other")),
        "remove-header" => done(request::remove_header("x-some")),
        other => panic!("no call is named request.{other}"),
    }
}

fn call_response(name: &str) {
    match name {
        "status" => done(response::status()),
        "set-status" => done(response::set_status(201)),
        "header" => done(response::header("content-type")),
        "header-bytes" => done(response::header_bytes("content-type")),
        "header-values" => done(response::header_values("content-type")),
        "header-values-bytes" => done(response::header_values_bytes("content-type")),
        "headers" => done(response::headers()),
        "headers-bytes" => done(response::headers_bytes()),
        "set-header" => done(response::set_header("x-some", "value")),
        "set-header-bytes" => done(response::set_header_bytes("x-some", b"value")),
        "append-header" => done(response::append_header("x-some", "other")),
        "append-header-bytes" => done(response::append_header_bytes("x-some", b"other")),
        "remove-header" => done(response::remove_header("x-some")),
        other => panic!("no call is named response.{other}"),
    }
}

fn call_exchange(name: &str) {
    match name {
        "client-address" => done(exchange::client_address()),
        "client-address-bytes" => done(exchange::client_address_bytes()),
        "route" => done(exchange::route()),
        "trace-id" => done(exchange::trace_id()),
        "reply" => done(exchange::reply(200, &[], b"")),
        "reply-bytes" => done(exchange::reply_bytes(200, &[], b"")),
        "attribute" => done(exchange::attribute("kept")),
        "set-attribute" => done(exchange::set_attribute("called", "yes")),
        "state" => done(exchange::state()),
        "set-state" => done(exchange::set_state(b"called")),
        other => panic!("no call is named exchange.{other}"),
    }
}

fn call_connection(name: &str) {
    match name {
        "protocol" => done(connection::protocol()),
        "listener" => done(connection::listener()),
        "peer-address" => done(connection::peer_address()),
        "peer-address-bytes" => done(connection::peer_address_bytes()),
        "tls-version" => done(connection::tls_version()),
        "tls-cipher" => done(connection::tls_cipher()),
        "tls-alpn" => done(connection::tls_alpn()),
        "tls-server-name" => done(connection::tls_server_name()),
        "client-certificate" => done(connection::client_certificate()),
        other => panic!("no call is named connection.{other}"),
    }
}

fn call_trailers(name: &str) {
    match name {
        "header" => done(trailers::header("x-some")),
        "header-bytes" => done(trailers::header_bytes("x-some")),
        "header-values" => done(trailers::header_values("x-some")),
        "header-values-bytes" => done(trailers::header_values_bytes("x-some")),
        "headers" => done(trailers::headers()),
        "headers-bytes" => done(trailers::headers_bytes()),
        "set-header" => done(trailers::set_header("x-some", "value")),
        "set-header-bytes" => done(trailers::set_header_bytes("x-some", b"value")),
        "append-header" => done(trailers::append_header("x-some", "other")),
        "append-header-bytes" => done(trailers::append_header_bytes("x-some", b"other")),
        "remove-header" => done(trailers::remove_header("x-some")),
        other => panic!("no call is named trailers.{other}"),
    }
}

fn call_body(name: &str) {
    match name {
        "size" => done(body::size()),
        "is-last" => done(body::is_last()),
        "is-absent" => done(body::is_absent()),
        "read" => done(body::read(0, 10)),
        "pass" => done(body::pass(1)),
        "replace" => done(body::replace(1, b"x")),
        "hold" => done(body::hold()),
        "collect" => done(body::collect()),
        "finish" => done(body::finish()),
        other => panic!("no call is named body.{other}"),
    }
}

fn call_outcome(name: &str) {
    match name {
        "status" => done(outcome::status()),
        "request-bytes" => done(outcome::request_bytes()),
        "response-bytes" => done(outcome::response_bytes()),
        "duration-us" => done(outcome::duration_us()),
        "endpoint" => done(outcome::endpoint()),
        "error" => done(outcome::error()),
        other => panic!("no call is named outcome.{other}"),
    }
}

fn call_cache(name: &str) {
    match name {
        "url" => done(cache::url()),
        "key" => done(cache::key()),
        "vary-by" => done(cache::vary_by("plan", "gold")),
        "add-tag" => done(cache::add_tag("news")),
        "bypass" => done(cache::bypass()),
        other => panic!("no call is named cache.{other}"),
    }
}

fn call_crypto(name: &str) {
    match name {
        "import-jwk" => done(crypto::import_jwk("{}", None)),
        "import-jwks" => done(crypto::import_jwks("{}", Some("ES256"))),
        "import-secret" => done(crypto::import_secret(&[7; 32], "HS256")),
        "import-granted-secret" => done(crypto::import_granted_secret("key", "HS256")),
        "verify" => done(crypto::verify(1, b"message", b"signature")),
        "verify-jws" => done(crypto::verify_jws("a.b.c", &[1])),
        "mac" => done(crypto::mac(1, b"message")),
        "hmac" => done(crypto::hmac("sha-256", b"secret", b"message")),
        "digest" => done(crypto::digest("sha-256", b"data")),
        "forget-key" => crypto::forget_key(1),
        "constant-time-eq" => done(crypto::constant_time_eq(b"a", b"b")),
        other => panic!("no call is named crypto.{other}"),
    }
}

fn call_matchers(name: &str) {
    match name {
        "make-regex-set" => done(matchers::make_regex_set(&["^a".to_owned()])),
        "is-match" => done(matchers::is_match(1, b"abc")),
        "matches" => done(matchers::matches(1, b"abc")),
        "make-network-set" => done(matchers::make_network_set("10.0.0.0/8")),
        "replace-regex-set" => done(matchers::replace_regex_set(1, &["^b".to_owned()])),
        "forget-regex-set" => matchers::forget_regex_set(1),
        "replace-network-set" => done(matchers::replace_network_set(1, "10.0.0.0/9")),
        "forget-network-set" => matchers::forget_network_set(1),
        "find-network" => done(matchers::find_network(1, "10.0.0.1")),
        "find-client" => done(matchers::find_client(1)),
        "read-json" => done(matchers::read_json(b"{\"a\":1}", &["/a".to_owned()])),
        other => panic!("no call is named matchers.{other}"),
    }
}

impl lifecycle::Guest for EveryCall {
    fn configure(config: String) -> Result<(), String> {
        if setting(&config, "print").is_some() {
            // A handle, with which there can be no image.
            println!("configured");
        }
        CONFIG.set(config).map_err(|_| "configured twice".to_owned())?;
        act("configure");
        Ok(())
    }
}

impl request_head::Guest for EveryCall {
    fn on_request_head() -> Result<(), String> {
        act("request-head");
        Ok(())
    }
}

impl request_body::Guest for EveryCall {
    fn on_request_body() -> Result<(), String> {
        act("request-body");
        Ok(())
    }
}

impl response_head::Guest for EveryCall {
    fn on_response_head() -> Result<(), String> {
        act("response-head");
        Ok(())
    }
}

impl response_body::Guest for EveryCall {
    fn on_response_body() -> Result<(), String> {
        act("response-body");
        Ok(())
    }
}

impl completed::Guest for EveryCall {
    fn on_completed() -> Result<(), String> {
        act("completed");
        Ok(())
    }
}

impl tick::Guest for EveryCall {
    fn on_tick() -> Result<(), String> {
        act("tick");
        Ok(())
    }
}

export!(EveryCall);
