//! The gateway's functions, answered by the mock that [`crate::testing`] has set up on this thread.

use std::net::IpAddr;
use std::time::Duration;

use crate::cache_purge::Error as PurgeError;
use crate::crypto::{Algorithm, Error as CryptoError, Hash, JwsError, KeyError, Verified};
use crate::http_client::{Error as HttpError, Inbound, Outbound};
use crate::log::Level;
use crate::matchers::{Error as MatchError, JsonError, JsonValue, MakeError};
use crate::random::Error as RandomError;
use crate::rate_limit::{Quota, Verdict};
use crate::store::Error;
use crate::testing::fields::text;
use crate::testing::state::{Head, Kind, in_exchange, with_exchange, with_gateway};
use crate::testing::{crypto, matchers};
use crate::{Field, FieldBytes, Refused};

// The fields of the request and of the response, which have the same functions.
macro_rules! head {
    (
        $head:expr => $header:ident $header_bytes:ident $header_values:ident $header_values_bytes:ident
        $headers:ident $headers_bytes:ident $set:ident $append:ident $remove:ident
    ) => {
        pub(crate) fn $header(name: &str) -> Option<String> {
            $header_bytes(name).map(text)
        }

        pub(crate) fn $header_bytes(name: &str) -> Option<Vec<u8>> {
            with_exchange(|exchange| exchange.fields($head).joined(name))
        }

        pub(crate) fn $header_values(name: &str) -> Vec<String> {
            $header_values_bytes(name).into_iter().map(text).collect()
        }

        pub(crate) fn $header_values_bytes(name: &str) -> Vec<Vec<u8>> {
            with_exchange(|exchange| exchange.fields($head).values(name))
        }

        pub(crate) fn $headers() -> Vec<Field> {
            let field = |FieldBytes { name, value }| Field { name, value: text(value) };
            $headers_bytes().into_iter().map(field).collect()
        }

        pub(crate) fn $headers_bytes() -> Vec<FieldBytes> {
            with_exchange(|exchange| exchange.fields($head).all())
        }

        pub(crate) fn $set(name: &str, value: &[u8]) -> Result<(), Refused> {
            with_exchange(|exchange| exchange.fields_mut($head)?.set(name, value))
        }

        pub(crate) fn $append(name: &str, value: &[u8]) -> Result<(), Refused> {
            with_exchange(|exchange| exchange.fields_mut($head)?.append(name, value))
        }

        pub(crate) fn $remove(name: &str) -> Result<(), Refused> {
            with_exchange(|exchange| exchange.fields_mut($head)?.remove(name))
        }
    };
}

head! {
    Head::Request =>
    request_header request_header_bytes request_header_values request_header_values_bytes
    request_headers request_headers_bytes
    request_set_header request_append_header request_remove_header
}
head! {
    Head::Response =>
    response_header response_header_bytes response_header_values response_header_values_bytes
    response_headers response_headers_bytes
    response_set_header response_append_header response_remove_header
}

pub(crate) fn request_method() -> String {
    with_exchange(|exchange| exchange.method.clone())
}

pub(crate) fn request_set_method(method: &str) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.set_method(method))
}

pub(crate) fn request_scheme() -> String {
    with_exchange(|exchange| exchange.scheme.clone())
}

pub(crate) fn request_authority() -> String {
    with_exchange(|exchange| exchange.authority.clone())
}

pub(crate) fn request_set_authority(authority: &str) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.set_authority(authority))
}

pub(crate) fn request_path() -> String {
    with_exchange(|exchange| exchange.path.clone())
}

pub(crate) fn request_query() -> Option<String> {
    with_exchange(|exchange| exchange.query.clone())
}

pub(crate) fn request_set_path_and_query(value: &str) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.set_path_and_query(value))
}

pub(crate) fn request_set_upstream(name: &str) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.set_upstream(name))
}

pub(crate) fn request_set_endpoint_key(key: &[u8]) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.set_endpoint_key(key))
}

pub(crate) fn trailers_header(name: &str) -> Option<String> {
    trailers_header_bytes(name).map(text)
}

pub(crate) fn trailers_header_bytes(name: &str) -> Option<Vec<u8>> {
    with_exchange(|exchange| exchange.trailers()?.joined(name))
}

pub(crate) fn trailers_header_values(name: &str) -> Vec<String> {
    trailers_header_values_bytes(name).into_iter().map(text).collect()
}

pub(crate) fn trailers_header_values_bytes(name: &str) -> Vec<Vec<u8>> {
    with_exchange(|exchange| exchange.trailers().map(|trailers| trailers.values(name)).unwrap_or_default())
}

pub(crate) fn trailers_headers() -> Vec<Field> {
    let field = |FieldBytes { name, value }| Field { name, value: text(value) };
    trailers_headers_bytes().into_iter().map(field).collect()
}

pub(crate) fn trailers_headers_bytes() -> Vec<FieldBytes> {
    with_exchange(|exchange| exchange.trailers().map(|trailers| trailers.all()).unwrap_or_default())
}

pub(crate) fn trailers_set_header(name: &str, value: &[u8]) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.edit_trailers(name, |trailers| trailers.set(name, value)))
}

pub(crate) fn trailers_append_header(name: &str, value: &[u8]) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.edit_trailers(name, |trailers| trailers.append(name, value)))
}

pub(crate) fn trailers_remove_header(name: &str) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.edit_trailers(name, |trailers| trailers.remove(name)))
}

pub(crate) fn exchange_protocol() -> String {
    with_exchange(|exchange| exchange.protocol.clone())
}

pub(crate) fn exchange_listener() -> String {
    with_exchange(|exchange| exchange.listener.clone())
}

pub(crate) fn exchange_peer_address() -> IpAddr {
    with_exchange(|exchange| exchange.peer_address.unwrap_or(exchange.client_address))
}

pub(crate) fn exchange_tls_version() -> Option<String> {
    with_exchange(|exchange| exchange.tls.as_ref().map(|(version, ..)| version.clone()))
}

pub(crate) fn exchange_tls_cipher() -> Option<String> {
    with_exchange(|exchange| exchange.tls.as_ref().map(|(_, cipher, _)| cipher.clone()))
}

pub(crate) fn exchange_tls_alpn() -> Option<String> {
    with_exchange(|exchange| exchange.tls.as_ref().and_then(|(.., alpn)| alpn.clone()))
}

pub(crate) fn body_size() -> u64 {
    with_exchange(|exchange| exchange.piece.rest.len() as u64)
}

pub(crate) fn body_is_last() -> bool {
    with_exchange(|exchange| exchange.piece.last)
}

pub(crate) fn body_is_absent() -> bool {
    with_exchange(|exchange| exchange.body_is_absent())
}

pub(crate) fn body_read(offset: u64, size: u64) -> Vec<u8> {
    with_exchange(|exchange| exchange.piece.read(offset, size).to_vec())
}

pub(crate) fn body_pass(size: u64) -> Result<(), Refused> {
    with_exchange(|exchange| {
        let piece = exchange.piece_at_hand()?;
        piece.pass(size);
        Ok(())
    })
}

pub(crate) fn body_replace(size: u64, with: &[u8]) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.piece_at_hand()?.replace(size, with))
}

pub(crate) fn response_status() -> u16 {
    with_exchange(|exchange| exchange.status)
}

pub(crate) fn response_set_status(status: u16) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.set_status(status))
}

pub(crate) fn exchange_client_address() -> IpAddr {
    with_exchange(|exchange| exchange.client_address)
}

pub(crate) fn exchange_client_address_text() -> String {
    exchange_client_address().to_string()
}

pub(crate) fn exchange_client_certificate() -> Option<Vec<u8>> {
    with_exchange(|exchange| exchange.client_certificate.clone())
}

pub(crate) fn exchange_tls_server_name() -> Option<String> {
    with_exchange(|exchange| exchange.tls_server_name.clone())
}

pub(crate) fn exchange_route() -> String {
    with_exchange(|exchange| exchange.route.clone())
}

pub(crate) fn exchange_trace_id() -> String {
    with_exchange(|exchange| exchange.trace_id.clone())
}

pub(crate) fn exchange_attribute(name: &str) -> Option<String> {
    with_exchange(|exchange| exchange.attributes.get(name).cloned())
}

pub(crate) fn exchange_set_attribute(name: &str, value: &str) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.set_attribute(name, value))
}

pub(crate) fn exchange_state() -> Vec<u8> {
    with_exchange(|exchange| exchange.state.clone())
}

pub(crate) fn exchange_set_state(value: &[u8]) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.set_state(value))
}

pub(crate) fn cache_url() -> Option<String> {
    with_exchange(|exchange| exchange.cache_url())
}

pub(crate) fn cache_key() -> Vec<String> {
    with_exchange(|exchange| exchange.cache_key())
}

pub(crate) fn cache_vary_by(name: &str, value: &str) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.wish()?.vary_by(name, value))
}

pub(crate) fn cache_add_tag(tag: &str) -> Result<(), Refused> {
    with_exchange(|exchange| exchange.wish()?.add_tag(tag))
}

pub(crate) fn cache_bypass() -> Result<(), Refused> {
    with_exchange(|exchange| {
        exchange.wish()?.bypass = true;
        Ok(())
    })
}

pub(crate) fn cache_purge_url(url: &str, soft: bool) -> Result<u64, PurgeError> {
    with_gateway(|gateway| gateway.purge("url", url, soft))
}

pub(crate) fn cache_purge_prefix(url: &str, soft: bool) -> Result<u64, PurgeError> {
    with_gateway(|gateway| gateway.purge("prefix", url, soft))
}

pub(crate) fn cache_purge_tag(tag: &str, soft: bool) -> Result<u64, PurgeError> {
    with_gateway(|gateway| gateway.purge("tag", tag, soft))
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    with_gateway(|gateway| gateway.log(level, message, fields));
}

pub(crate) fn log_enabled(_level: Level) -> bool {
    with_gateway(|_| true)
}

pub(crate) fn clock_now_ms() -> u64 {
    with_gateway(|gateway| gateway.now_ms())
}

pub(crate) fn clock_monotonic_us() -> u64 {
    with_gateway(|gateway| gateway.monotonic_us())
}

pub(crate) fn random_bytes(count: u32) -> Result<Vec<u8>, RandomError> {
    with_gateway(|gateway| gateway.random(count))
}

pub(crate) fn metrics_counter(name: &str, labels: &[(&str, &str)]) -> u32 {
    with_gateway(|gateway| gateway.make_metric(Kind::Counter, name, labels))
}

pub(crate) fn metrics_gauge(name: &str, labels: &[(&str, &str)]) -> u32 {
    with_gateway(|gateway| gateway.make_metric(Kind::Gauge, name, labels))
}

pub(crate) fn metrics_histogram(name: &str, labels: &[(&str, &str)]) -> u32 {
    with_gateway(|gateway| gateway.make_metric(Kind::Histogram, name, labels))
}

pub(crate) fn metrics_add(metric: u32, value: u64) {
    with_gateway(|gateway| gateway.measure(metric, Kind::Counter, value as f64));
}

pub(crate) fn metrics_set(metric: u32, value: f64) {
    with_gateway(|gateway| gateway.measure(metric, Kind::Gauge, value));
}

pub(crate) fn metrics_observe(metric: u32, value: f64) {
    with_gateway(|gateway| gateway.measure(metric, Kind::Histogram, value));
}

pub(crate) fn secrets_get(name: &str) -> Option<Vec<u8>> {
    with_gateway(|gateway| gateway.secrets.get(name).cloned())
}

pub(crate) fn rate_limit_check(bucket: &str, quota: Quota, cost: u32) -> Verdict {
    with_gateway(|gateway| gateway.check(bucket, quota, cost))
}

pub(crate) fn store_get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    with_gateway(|gateway| gateway.store_get(key))
}

pub(crate) fn store_set(key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), Error> {
    with_gateway(|gateway| gateway.store_set(key, value, ttl))
}

pub(crate) fn store_compare_and_set(
    key: &str,
    expected: Option<&[u8]>,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<bool, Error> {
    with_gateway(|gateway| {
        if gateway.store_get(key)?.as_deref() != expected {
            return Ok(false);
        }
        gateway.store_set(key, value, ttl).map(|()| true)
    })
}

pub(crate) fn store_increment(key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    with_gateway(|gateway| gateway.store_increment(key, by, ttl))
}

pub(crate) fn store_delete(key: &str) -> Result<(), Error> {
    with_gateway(|gateway| gateway.store_delete(key))
}

pub(crate) fn store_list(prefix: &str) -> Result<Vec<String>, Error> {
    with_gateway(|gateway| gateway.store_list(prefix))
}

pub(crate) fn crypto_import_jwk(jwk: &str, algorithm: Option<Algorithm>) -> Result<u32, KeyError> {
    with_gateway(|gateway| gateway.crypto.import_jwk(jwk, algorithm))
}

pub(crate) fn crypto_import_jwks(jwks: &str, algorithm: Option<Algorithm>) -> Result<Vec<u32>, KeyError> {
    with_gateway(|gateway| gateway.crypto.import_jwks(jwks, algorithm))
}

pub(crate) fn crypto_import_secret(secret: &[u8], algorithm: Algorithm) -> Result<u32, KeyError> {
    with_gateway(|gateway| gateway.crypto.import_secret(secret, algorithm))
}

pub(crate) fn crypto_import_granted_secret(name: &str, algorithm: Algorithm) -> Result<u32, KeyError> {
    with_gateway(|gateway| {
        let secret = gateway.secrets.get(name).cloned().ok_or(KeyError::NoSecret)?;
        gateway.crypto.import_secret(&secret, algorithm)
    })
}

pub(crate) fn crypto_forget_key(key: u32) {
    with_gateway(|gateway| gateway.crypto.forget(key));
}

pub(crate) fn crypto_verify(key: u32, message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    with_gateway(|gateway| gateway.crypto.verify(key, message, signature))
}

pub(crate) fn crypto_verify_jws(token: &str, keys: &[u32]) -> Result<Verified, JwsError> {
    with_gateway(|gateway| gateway.crypto.verify_jws(token, keys))
}

pub(crate) fn crypto_mac(key: u32, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    with_gateway(|gateway| gateway.crypto.mac(key, message))
}

pub(crate) fn crypto_hmac(hash: Hash, secret: &[u8], message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    with_gateway(|_| crypto::hmac(hash, secret, message))
}

pub(crate) fn crypto_digest(hash: Hash, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
    with_gateway(|_| crypto::digest(hash, data))
}

pub(crate) fn crypto_constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    with_gateway(|_| a == b)
}

pub(crate) fn matchers_make_regex_set(patterns: &[&str]) -> Result<u32, MakeError> {
    if in_exchange() {
        return Err(MakeError::NotNow);
    }
    with_gateway(|gateway| gateway.matchers.make_regex_set(patterns))
}

pub(crate) fn matchers_replace_regex_set(set: u32, patterns: &[&str]) -> Result<(), MakeError> {
    if in_exchange() {
        return Err(MakeError::NotNow);
    }
    with_gateway(|gateway| gateway.matchers.replace_regex_set(set, patterns))
}

pub(crate) fn matchers_forget_regex_set(set: u32) {
    with_gateway(|gateway| gateway.matchers.forget_regex_set(set));
}

pub(crate) fn matchers_is_match(set: u32, text: &[u8]) -> Result<bool, MatchError> {
    Ok(!matchers_matches(set, text)?.is_empty())
}

pub(crate) fn matchers_matches(set: u32, text: &[u8]) -> Result<Vec<u32>, MatchError> {
    with_gateway(|gateway| gateway.matchers.matches(set, text))
}

pub(crate) fn matchers_make_network_set(networks: &str) -> Result<u32, MakeError> {
    if in_exchange() {
        return Err(MakeError::NotNow);
    }
    with_gateway(|gateway| gateway.matchers.make_network_set(networks))
}

pub(crate) fn matchers_replace_network_set(set: u32, networks: &str) -> Result<(), MakeError> {
    if in_exchange() {
        return Err(MakeError::NotNow);
    }
    with_gateway(|gateway| gateway.matchers.replace_network_set(set, networks))
}

pub(crate) fn matchers_forget_network_set(set: u32) {
    with_gateway(|gateway| gateway.matchers.forget_network_set(set));
}

pub(crate) fn matchers_find_network(set: u32, address: &str) -> Result<Option<u32>, MatchError> {
    let address = address.parse().map_err(|_| MatchError::InvalidAddress)?;
    with_gateway(|gateway| gateway.matchers.find_network(set, address))
}

pub(crate) fn matchers_find_client(set: u32) -> Result<Option<u32>, MatchError> {
    let client = exchange_client_address();
    with_gateway(|gateway| gateway.matchers.find_network(set, client))
}

pub(crate) fn matchers_read_json(
    document: &[u8],
    pointers: &[&str],
) -> Result<Vec<Option<JsonValue>>, JsonError> {
    with_gateway(|_| matchers::read_json(document, pointers))
}

pub(crate) fn http_client_send(request: Outbound) -> Result<Inbound, HttpError> {
    with_gateway(|gateway| gateway.send(request))
}

pub(crate) fn http_client_send_all(requests: Vec<Outbound>) -> Vec<Result<Inbound, HttpError>> {
    with_gateway(|gateway| gateway.send_all(requests))
}
