//! The gateway's functions as imports of the component. What a policy does not call is not imported.

use std::net::IpAddr;
use std::time::Duration;

use crate::bindings::portcullis::policy as wit;
use crate::cache_purge::Error as PurgeError;
use crate::crypto::{Algorithm, Error as CryptoError, Hash, JwsError, Key, KeyError, Verified};
use crate::http_client::{Error as HttpError, Inbound, Outbound};
use crate::log::Level;
use crate::matchers::{Error as MatchError, JsonError, JsonValue, MakeError};
use crate::random::Error as RandomError;
use crate::rate_limit::{Quota, Verdict};
use crate::store::Error;
use crate::{Field, FieldBytes, Outcome, Refused, Reply};

fn refused(refused: wit::types::Refused) -> Refused {
    match refused {
        wit::types::Refused::InvalidName => Refused::InvalidName,
        wit::types::Refused::InvalidValue => Refused::InvalidValue,
        wit::types::Refused::Forbidden => Refused::Forbidden,
        wit::types::Refused::ReadOnly => Refused::ReadOnly,
        wit::types::Refused::TooLarge => Refused::TooLarge,
        wit::types::Refused::Other(why) => Refused::Other(why),
    }
}

fn fields(fields: Vec<wit::types::Field>) -> Vec<Field> {
    fields.into_iter().map(|(name, value)| Field { name, value }).collect()
}

fn fields_bytes(fields: Vec<wit::types::FieldBytes>) -> Vec<FieldBytes> {
    fields.into_iter().map(|(name, value)| FieldBytes { name, value }).collect()
}

fn lines(fields: Vec<FieldBytes>) -> Vec<wit::types::FieldBytes> {
    fields.into_iter().map(|field| (field.name, field.value)).collect()
}

// The fields of the request and of the response, which have the same functions.
macro_rules! head {
    (
        $interface:ident: $header:ident $header_bytes:ident $header_values:ident $header_values_bytes:ident
        $headers:ident $headers_bytes:ident $set:ident $append:ident $remove:ident
    ) => {
        pub(crate) use wit::$interface::{
            header as $header, header_bytes as $header_bytes, header_values as $header_values,
            header_values_bytes as $header_values_bytes,
        };

        pub(crate) fn $headers() -> Vec<Field> {
            fields(wit::$interface::headers())
        }

        pub(crate) fn $headers_bytes() -> Vec<FieldBytes> {
            fields_bytes(wit::$interface::headers_bytes())
        }

        pub(crate) fn $set(name: &str, value: &[u8]) -> Result<(), Refused> {
            wit::$interface::set_header_bytes(name, value).map_err(refused)
        }

        pub(crate) fn $append(name: &str, value: &[u8]) -> Result<(), Refused> {
            wit::$interface::append_header_bytes(name, value).map_err(refused)
        }

        pub(crate) fn $remove(name: &str) -> Result<(), Refused> {
            wit::$interface::remove_header(name).map_err(refused)
        }
    };
}

head! {
    request:
    request_header request_header_bytes request_header_values request_header_values_bytes
    request_headers request_headers_bytes
    request_set_header request_append_header request_remove_header
}
head! {
    trailers:
    trailers_header trailers_header_bytes trailers_header_values trailers_header_values_bytes
    trailers_headers trailers_headers_bytes
    trailers_set_header trailers_append_header trailers_remove_header
}
head! {
    response:
    response_header response_header_bytes response_header_values response_header_values_bytes
    response_headers response_headers_bytes
    response_set_header response_append_header response_remove_header
}

pub(crate) use wit::request::{
    authority as request_authority, method as request_method, path as request_path, query as request_query,
    scheme as request_scheme,
};
pub(crate) use wit::response::status as response_status;

pub(crate) fn request_set_method(method: &str) -> Result<(), Refused> {
    wit::request::set_method(method).map_err(refused)
}

pub(crate) fn request_set_authority(authority: &str) -> Result<(), Refused> {
    wit::request::set_authority(authority).map_err(refused)
}

pub(crate) fn request_set_path_and_query(value: &str) -> Result<(), Refused> {
    wit::request::set_path_and_query(value).map_err(refused)
}

pub(crate) fn request_set_endpoint_key(key: &[u8]) -> Result<(), Refused> {
    wit::request::set_endpoint_key_bytes(key).map_err(refused)
}

pub(crate) fn request_set_upstream(name: &str) -> Result<(), Refused> {
    wit::request::set_upstream(name).map_err(refused)
}

pub(crate) fn response_set_status(status: u16) -> Result<(), Refused> {
    wit::response::set_status(status).map_err(refused)
}

pub(crate) use wit::connection::{
    client_certificate as exchange_client_certificate, listener as exchange_listener,
    protocol as exchange_protocol, tls_alpn as exchange_tls_alpn, tls_cipher as exchange_tls_cipher,
    tls_server_name as exchange_tls_server_name, tls_version as exchange_tls_version,
};
pub(crate) use wit::exchange::{
    attribute as exchange_attribute, client_address as exchange_client_address_text, route as exchange_route,
    state as exchange_state, trace_id as exchange_trace_id,
};

pub(crate) fn exchange_client_address() -> IpAddr {
    address(&wit::exchange::client_address_bytes())
}

pub(crate) fn exchange_peer_address() -> IpAddr {
    address(&wit::connection::peer_address_bytes())
}

fn address(bytes: &[u8]) -> IpAddr {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(v4), _) => v4.into(),
        (_, Ok(v6)) => v6.into(),
        _ => panic!("the gateway gave an address of {} bytes", bytes.len()),
    }
}

pub(crate) fn exchange_set_attribute(name: &str, value: &str) -> Result<(), Refused> {
    wit::exchange::set_attribute(name, value).map_err(refused)
}

pub(crate) fn exchange_set_state(value: &[u8]) -> Result<(), Refused> {
    wit::exchange::set_state(value).map_err(refused)
}

pub(crate) fn exchange_reply(reply: Reply) -> Result<(), Refused> {
    let Reply { status, headers, body } = reply;
    wit::exchange::reply_bytes(status, &lines(headers), &body).map_err(refused)
}

pub(crate) use wit::cache::{key as cache_key, url as cache_url};

pub(crate) fn cache_vary_by(name: &str, value: &str) -> Result<(), Refused> {
    wit::cache::vary_by(name, value).map_err(refused)
}

pub(crate) fn cache_add_tag(tag: &str) -> Result<(), Refused> {
    wit::cache::add_tag(tag).map_err(refused)
}

fn purge_error(error: wit::cache_purge::Error) -> PurgeError {
    match error {
        wit::cache_purge::Error::Invalid(why) => PurgeError::Invalid(why),
        wit::cache_purge::Error::NotAllowed(why) => PurgeError::NotAllowed(why),
        wit::cache_purge::Error::Busy => PurgeError::Busy,
        wit::cache_purge::Error::NotLasting => PurgeError::NotLasting,
        wit::cache_purge::Error::Other(what) => PurgeError::Other(what),
    }
}

pub(crate) fn cache_purge_url(url: &str, soft: bool) -> Result<u64, PurgeError> {
    wit::cache_purge::url(url, soft).map_err(purge_error)
}

pub(crate) fn cache_purge_prefix(url: &str, soft: bool) -> Result<u64, PurgeError> {
    wit::cache_purge::prefix(url, soft).map_err(purge_error)
}

pub(crate) fn cache_purge_tag(tag: &str, soft: bool) -> Result<u64, PurgeError> {
    wit::cache_purge::tag(tag, soft).map_err(purge_error)
}

pub(crate) fn cache_bypass() -> Result<(), Refused> {
    wit::cache::bypass().map_err(refused)
}

pub(crate) use wit::body::{
    is_absent as body_is_absent, is_last as body_is_last, read as body_read, size as body_size,
};

pub(crate) fn body_pass(size: u64) -> Result<(), Refused> {
    wit::body::pass(size).map_err(refused)
}

pub(crate) fn body_replace(size: u64, with: &[u8]) -> Result<(), Refused> {
    wit::body::replace(size, with).map_err(refused)
}

pub(crate) fn body_hold() -> Result<(), Refused> {
    wit::body::hold().map_err(refused)
}

pub(crate) fn body_collect() -> Result<(), Refused> {
    wit::body::collect().map_err(refused)
}

pub(crate) fn body_finish() -> Result<(), Refused> {
    wit::body::finish().map_err(refused)
}

pub(crate) fn outcome() -> Outcome {
    Outcome {
        status: wit::outcome::status(),
        request_bytes: wit::outcome::request_bytes(),
        response_bytes: wit::outcome::response_bytes(),
        duration: Duration::from_micros(wit::outcome::duration_us()),
        upstream: wit::outcome::endpoint(),
        error: wit::outcome::error(),
    }
}

fn level(level: Level) -> wit::log::Level {
    match level {
        Level::Trace => wit::log::Level::Trace,
        Level::Debug => wit::log::Level::Debug,
        Level::Info => wit::log::Level::Info,
        Level::Warn => wit::log::Level::Warn,
        Level::Error => wit::log::Level::Error,
    }
}

pub(crate) fn log(of: Level, message: &str, fields: &[(&str, &str)]) {
    wit::log::log(level(of), message, &owned(fields));
}

pub(crate) fn log_enabled(of: Level) -> bool {
    wit::log::enabled(level(of))
}

pub(crate) use wit::clock::{monotonic_us as clock_monotonic_us, now_ms as clock_now_ms};
pub(crate) use wit::metrics::{add as metrics_add, observe as metrics_observe, set as metrics_set};
pub(crate) use wit::secrets::get as secrets_get;

pub(crate) fn random_bytes(count: u32) -> Result<Vec<u8>, RandomError> {
    wit::random::bytes(count).map_err(|error| match error {
        wit::random::Error::TooMany => RandomError::TooMany,
        wit::random::Error::Unavailable(why) => RandomError::Unavailable(why),
        wit::random::Error::Other(what) => RandomError::Other(what),
    })
}

/// The bindings want pairs of their own.
fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn metrics_counter(name: &str, labels: &[(&str, &str)]) -> u32 {
    wit::metrics::counter(name, &owned(labels))
}

pub(crate) fn metrics_gauge(name: &str, labels: &[(&str, &str)]) -> u32 {
    wit::metrics::gauge(name, &owned(labels))
}

pub(crate) fn metrics_histogram(name: &str, labels: &[(&str, &str)]) -> u32 {
    wit::metrics::histogram(name, &owned(labels))
}

/// Milliseconds as the contract counts them. What is longer than it can say is as long as it can say.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn rate_limit_check(bucket: &str, quota: Quota, cost: u32) -> Verdict {
    let quota =
        wit::rate_limit::Quota { requests: quota.requests, per_ms: millis(quota.per), burst: quota.burst };
    let verdict = wit::rate_limit::check(bucket, quota, cost);
    Verdict {
        allowed: verdict.allowed,
        remaining: verdict.remaining,
        retry_after: Duration::from_millis(verdict.retry_after_ms),
        reset_after: Duration::from_millis(verdict.reset_after_ms),
    }
}

fn store_error(error: wit::store::Error) -> Error {
    match error {
        wit::store::Error::Unavailable(why) => Error::Unavailable(why),
        wit::store::Error::TooLarge => Error::TooLarge,
        wit::store::Error::Quota => Error::Quota,
        wit::store::Error::NotANumber => Error::NotANumber,
        wit::store::Error::Other(what) => Error::Other(what),
    }
}

pub(crate) fn store_get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    wit::store::get(key).map_err(store_error)
}

pub(crate) fn store_set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
    wit::store::set(key, value, ttl.map(millis)).map_err(store_error)
}

pub(crate) fn store_compare_and_set(
    key: &str,
    expected: Option<&[u8]>,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<bool, Error> {
    wit::store::compare_and_set(key, expected, value, ttl.map(millis)).map_err(store_error)
}

pub(crate) fn store_increment(key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    wit::store::increment(key, by, ttl.map(millis)).map_err(store_error)
}

pub(crate) fn store_delete(key: &str) -> Result<(), Error> {
    wit::store::delete(key).map_err(store_error)
}

pub(crate) fn store_list(prefix: &str) -> Result<Vec<String>, Error> {
    wit::store::list(prefix).map_err(store_error)
}

fn key_error(error: wit::crypto::KeyError) -> KeyError {
    match error {
        wit::crypto::KeyError::Malformed(why) => KeyError::Malformed(why),
        wit::crypto::KeyError::Unsupported(what) => KeyError::Unsupported(what),
        wit::crypto::KeyError::WrongAlgorithm(why) => KeyError::WrongAlgorithm(why),
        wit::crypto::KeyError::Weak(how) => KeyError::Weak(how),
        wit::crypto::KeyError::NoSecret => KeyError::NoSecret,
        wit::crypto::KeyError::TooLarge => KeyError::TooLarge,
        wit::crypto::KeyError::TooMany => KeyError::TooMany,
        wit::crypto::KeyError::Other(what) => KeyError::Other(what),
    }
}

fn crypto_error(error: wit::crypto::Error) -> CryptoError {
    match error {
        wit::crypto::Error::NoKey => CryptoError::NoKey,
        wit::crypto::Error::WrongAlgorithm => CryptoError::WrongAlgorithm,
        wit::crypto::Error::TooLarge => CryptoError::TooLarge,
        wit::crypto::Error::Unsupported(which) => CryptoError::Unsupported(which),
        wit::crypto::Error::Other(what) => CryptoError::Other(what),
    }
}

pub(crate) fn crypto_import_jwk(jwk: &str, wanted: Option<Algorithm>) -> Result<u32, KeyError> {
    wit::crypto::import_jwk(jwk, wanted.map(Algorithm::name)).map_err(key_error)
}

pub(crate) fn crypto_import_jwks(jwks: &str, wanted: Option<Algorithm>) -> Result<Vec<u32>, KeyError> {
    wit::crypto::import_jwks(jwks, wanted.map(Algorithm::name)).map_err(key_error)
}

pub(crate) fn crypto_import_secret(secret: &[u8], wanted: Algorithm) -> Result<u32, KeyError> {
    wit::crypto::import_secret(secret, wanted.name()).map_err(key_error)
}

pub(crate) fn crypto_import_granted_secret(name: &str, wanted: Algorithm) -> Result<u32, KeyError> {
    wit::crypto::import_granted_secret(name, wanted.name()).map_err(key_error)
}

pub(crate) fn crypto_verify(key: u32, message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    wit::crypto::verify(key, message, signature).map_err(crypto_error)
}

pub(crate) fn crypto_verify_jws(token: &str, keys: &[u32]) -> Result<Verified, JwsError> {
    match wit::crypto::verify_jws(token, keys) {
        Ok(verified) => {
            let wit::crypto::Verified { key, header, payload } = verified;
            Ok(Verified { key: Key(key), header, payload })
        }
        Err(error) => Err(match error {
            wit::crypto::JwsError::Malformed(why) => JwsError::Malformed(why),
            wit::crypto::JwsError::Unsupported(what) => JwsError::Unsupported(what),
            wit::crypto::JwsError::NoKey => JwsError::NoKey,
            wit::crypto::JwsError::WrongSignature => JwsError::WrongSignature,
            wit::crypto::JwsError::TooLarge => JwsError::TooLarge,
            wit::crypto::JwsError::Other(what) => JwsError::Other(what),
        }),
    }
}

pub(crate) fn crypto_mac(key: u32, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    wit::crypto::mac(key, message).map_err(crypto_error)
}

pub(crate) fn crypto_hmac(with: Hash, secret: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    wit::crypto::hmac(with.name(), secret, message).map_err(crypto_error)
}

pub(crate) fn crypto_digest(with: Hash, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
    wit::crypto::digest(with.name(), data).map_err(crypto_error)
}

pub(crate) use wit::crypto::{constant_time_eq as crypto_constant_time_eq, forget_key as crypto_forget_key};

/// The bindings want texts of their own.
fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn make_error(error: wit::matchers::MakeError) -> MakeError {
    match error {
        wit::matchers::MakeError::NotNow => MakeError::NotNow,
        wit::matchers::MakeError::Malformed(why) => MakeError::Malformed(why),
        wit::matchers::MakeError::TooLarge => MakeError::TooLarge,
        wit::matchers::MakeError::TooMany => MakeError::TooMany,
        wit::matchers::MakeError::NoSet => MakeError::NoSet,
        wit::matchers::MakeError::Other(what) => MakeError::Other(what),
    }
}

fn match_error(error: wit::matchers::Error) -> MatchError {
    match error {
        wit::matchers::Error::NoSet => MatchError::NoSet,
        wit::matchers::Error::TooLarge => MatchError::TooLarge,
        wit::matchers::Error::TooCostly => MatchError::TooCostly,
        wit::matchers::Error::InvalidAddress => MatchError::InvalidAddress,
        wit::matchers::Error::Other(what) => MatchError::Other(what),
    }
}

fn json_value(value: wit::matchers::JsonValue) -> JsonValue {
    match value {
        wit::matchers::JsonValue::Null => JsonValue::Null,
        wit::matchers::JsonValue::Boolean(value) => JsonValue::Boolean(value),
        wit::matchers::JsonValue::Number(text) => JsonValue::Number(text),
        wit::matchers::JsonValue::Text(text) => JsonValue::Text(text),
        wit::matchers::JsonValue::Items(text) => JsonValue::Items(text),
        wit::matchers::JsonValue::Members(text) => JsonValue::Members(text),
    }
}

pub(crate) fn matchers_make_regex_set(patterns: &[&str]) -> Result<u32, MakeError> {
    wit::matchers::make_regex_set(&texts(patterns)).map_err(make_error)
}

pub(crate) fn matchers_replace_regex_set(set: u32, patterns: &[&str]) -> Result<(), MakeError> {
    wit::matchers::replace_regex_set(set, &texts(patterns)).map_err(make_error)
}

pub(crate) use wit::matchers::{
    forget_network_set as matchers_forget_network_set, forget_regex_set as matchers_forget_regex_set,
};

pub(crate) fn matchers_is_match(set: u32, text: &[u8]) -> Result<bool, MatchError> {
    wit::matchers::is_match(set, text).map_err(match_error)
}

pub(crate) fn matchers_matches(set: u32, text: &[u8]) -> Result<Vec<u32>, MatchError> {
    wit::matchers::matches(set, text).map_err(match_error)
}

pub(crate) fn matchers_make_network_set(networks: &str) -> Result<u32, MakeError> {
    wit::matchers::make_network_set(networks).map_err(make_error)
}

pub(crate) fn matchers_replace_network_set(set: u32, networks: &str) -> Result<(), MakeError> {
    wit::matchers::replace_network_set(set, networks).map_err(make_error)
}

pub(crate) fn matchers_find_network(set: u32, address: &str) -> Result<Option<u32>, MatchError> {
    wit::matchers::find_network(set, address).map_err(match_error)
}

pub(crate) fn matchers_find_client(set: u32) -> Result<Option<u32>, MatchError> {
    wit::matchers::find_client(set).map_err(match_error)
}

pub(crate) fn matchers_read_json(
    document: &[u8],
    pointers: &[&str],
) -> Result<Vec<Option<JsonValue>>, JsonError> {
    match wit::matchers::read_json(document, &texts(pointers)) {
        Ok(values) => Ok(values.into_iter().map(|value| value.map(json_value)).collect()),
        Err(error) => Err(match error {
            wit::matchers::JsonError::Malformed(why) => JsonError::Malformed(why),
            wit::matchers::JsonError::InvalidPointer(pointer) => JsonError::InvalidPointer(pointer),
            wit::matchers::JsonError::TooLarge => JsonError::TooLarge,
            wit::matchers::JsonError::Other(what) => JsonError::Other(what),
        }),
    }
}

fn outbound(request: Outbound) -> wit::http_client::OutboundBytes {
    let Outbound { method, url, headers, body, options } = request;
    wit::http_client::OutboundBytes { method, url, headers: lines(headers), body, options }
}

fn inbound(answer: wit::http_client::InboundBytes) -> Inbound {
    let wit::http_client::InboundBytes { status, headers, body, details } = answer;
    Inbound { status, headers: fields_bytes(headers), body, details }
}

fn http_error(error: wit::http_client::Error) -> HttpError {
    match error {
        wit::http_client::Error::InvalidRequest(what) => HttpError::InvalidRequest(what),
        wit::http_client::Error::NotAllowed(why) => HttpError::NotAllowed(why),
        wit::http_client::Error::Busy => HttpError::Busy,
        wit::http_client::Error::Timeout => HttpError::Timeout,
        wit::http_client::Error::Connect(why) => HttpError::Connect(why),
        wit::http_client::Error::Protocol(how) => HttpError::Protocol(how),
        wit::http_client::Error::TooLarge => HttpError::TooLarge,
        wit::http_client::Error::ClientGone => HttpError::ClientGone,
        wit::http_client::Error::Other(what) => HttpError::Other(what),
    }
}

pub(crate) fn http_client_send(request: Outbound) -> Result<Inbound, HttpError> {
    wit::http_client::send_bytes(&outbound(request)).map(inbound).map_err(http_error)
}

pub(crate) fn http_client_send_all(requests: Vec<Outbound>) -> Vec<Result<Inbound, HttpError>> {
    let requests: Vec<_> = requests.into_iter().map(outbound).collect();
    let answers = wit::http_client::send_all_bytes(&requests);
    answers.into_iter().map(|answer| answer.map(inbound).map_err(http_error)).collect()
}
