//! The functions of the contract, for core modules.
//!
//! Those that nearly every policy calls in each exchange are written out, so that they copy nothing that they need not:
//! names and values are read where they lie in the guest's memory. All others go by way of the types ([`typed`]) to the
//! same implementations that components call.

mod head;

use std::io::Write as _;
use std::net::IpAddr;

use wasmtime::{Caller, Linker, Result};

use super::abi::enter;
use super::define::{Name, edited, fill, give, give_optional, typed};
use crate::component::bindings::portcullis::policy::{
    body, cache, clock, connection, crypto, exchange, log, matchers, metrics, outcome, random, rate_limit,
    secrets, store, types,
};
use crate::instance::state::State;

type Labels = Vec<(String, String)>;
type Algorithm = Option<String>;

/// Defines the function `function` of the contract under the name that a module has for it. Returns `false` if it has
/// to be called by way of the component.
pub(super) fn define(
    linker: &mut Linker<State>,
    name: Name<'_>,
    interface: &str,
    function: &str,
) -> Result<bool> {
    match interface {
        "request" => head::request(linker, name, function),
        "response" => head::response(linker, name, function),
        "trailers" => head::trailers(linker, name, function),
        "exchange" => exchange(linker, name, function),
        "body" => body(linker, name, function),
        "connection" => connection(linker, name, function),
        "outcome" => outcome(linker, name, function),
        "cache" => cache(linker, name, function),
        "crypto" => crypto(linker, name, function),
        "matchers" => matchers(linker, name, function),
        _ => service(linker, name, interface, function),
    }
}

fn exchange(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use exchange::Host;
    match function {
        "client-address" => fill(linker, name, |state, scratch| Ok(write!(scratch, "{}", state.client()?)?)),
        "client-address-bytes" => fill(linker, name, |state, scratch| {
            match state.client()? {
                IpAddr::V4(address) => scratch.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => scratch.extend_from_slice(&address.octets()),
            }
            Ok(())
        }),
        "route" => give(linker, name, |state| Ok(&*state.exchange()?.route)),
        "trace-id" => give(linker, name, |state| Ok(&state.exchange()?.trace_id)),
        "reply" => typed(linker, name, |state, (status, headers, body)| state.reply(status, headers, body)),
        "reply-bytes" => {
            typed(linker, name, |state, (status, headers, body)| state.reply_bytes(status, headers, body))
        }
        "attribute" => give_optional(linker, name, |state, name| {
            state.note_read("attribute ", name);
            Ok(state.exchange()?.attributes.get(name).map(str::as_bytes))
        }),
        "set-attribute" => {
            linker.func_wrap(
                name.0,
                name.1,
                |mut caller: Caller<'_, State>,
                 name: u32,
                 name_length: u32,
                 value: u32,
                 length: u32,
                 out: u32| {
                    let (mut reader, state) = enter(&mut caller)?;
                    let (name, value) = reader.texts((name, name_length), (value, length))?;
                    let fits = state.exchange()?.attributes.set(name, value);
                    let edit = if fits { Ok(()) } else { Err(types::Refused::TooLarge) };
                    edited(caller, &edit, out)
                },
            )?;
            Ok(true)
        }
        "state" => give(linker, name, |state| Ok(&state.exchange()?.slot().state)),
        "set-state" => {
            linker.func_wrap(
                name.0,
                name.1,
                |mut caller: Caller<'_, State>, value: u32, length: u32, out: u32| {
                    let (mut reader, state) = enter(&mut caller)?;
                    let edit = state.keep(reader.bytes(value, length)?)?;
                    edited(caller, &edit, out)
                },
            )?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn connection(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use connection::Host;
    match function {
        "protocol" => give(linker, name, State::protocol),
        "listener" => give(linker, name, |state| Ok(&*state.exchange()?.client.listener)),
        "peer-address" => typed(linker, name, |state, (): ()| state.peer_address()),
        "peer-address-bytes" => typed(linker, name, |state, (): ()| state.peer_address_bytes()),
        "tls-version" => typed(linker, name, |state, (): ()| state.tls_version()),
        "tls-cipher" => typed(linker, name, |state, (): ()| state.tls_cipher()),
        "tls-alpn" => typed(linker, name, |state, (): ()| state.tls_alpn()),
        "tls-server-name" => typed(linker, name, |state, (): ()| state.tls_server_name()),
        "client-certificate" => typed(linker, name, |state, (): ()| state.client_certificate()),
        _ => Ok(false),
    }
}

fn body(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use body::Host;
    match function {
        "size" => typed(linker, name, |state, (): ()| Host::size(state)),
        "is-last" => typed(linker, name, |state, (): ()| state.is_last()),
        "is-absent" => typed(linker, name, |state, (): ()| state.is_absent()),
        "read" => typed(linker, name, |state, (offset, size)| Host::read(state, offset, size)),
        "pass" => typed(linker, name, |state, (size,)| state.pass(size)),
        "replace" => typed(linker, name, |state, (size, with)| Host::replace(state, size, with)),
        "hold" => typed(linker, name, |state, (): ()| state.hold()),
        "collect" => typed(linker, name, |state, (): ()| state.collect()),
        "finish" => typed(linker, name, |state, (): ()| state.finish()),
        _ => Ok(false),
    }
}

fn outcome(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use outcome::Host;
    match function {
        "status" => typed(linker, name, |state, (): ()| Host::status(state)),
        "request-bytes" => typed(linker, name, |state, (): ()| state.request_bytes()),
        "response-bytes" => typed(linker, name, |state, (): ()| state.response_bytes()),
        "duration-us" => typed(linker, name, |state, (): ()| state.duration_us()),
        "endpoint" => typed(linker, name, |state, (): ()| state.endpoint()),
        "error" => typed(linker, name, |state, (): ()| state.error()),
        _ => Ok(false),
    }
}

fn cache(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use cache::Host;
    match function {
        "url" => typed(linker, name, |state, (): ()| state.url()),
        "key" => typed(linker, name, |state, (): ()| state.key()),
        "vary-by" => typed(linker, name, |state, (part, value)| state.vary_by(part, value)),
        "add-tag" => typed(linker, name, |state, (tag,)| state.add_tag(tag)),
        "bypass" => typed(linker, name, |state, (): ()| state.bypass()),
        _ => Ok(false),
    }
}

fn service(linker: &mut Linker<State>, name: Name<'_>, interface: &str, function: &str) -> Result<bool> {
    match (interface, function) {
        ("log", "log") => typed(linker, name, |state, (level, message, fields): (_, _, Labels)| {
            log::Host::log(state, level, message, fields)
        }),
        ("log", "enabled") => typed(linker, name, |state, (level,)| log::Host::enabled(state, level)),
        ("clock", "now-ms") => typed(linker, name, |state, (): ()| clock::Host::now_ms(state)),
        ("clock", "monotonic-us") => typed(linker, name, |state, (): ()| clock::Host::monotonic_us(state)),
        ("random", "bytes") => typed(linker, name, |state, (count,)| random::Host::bytes(state, count)),
        ("metrics", "counter") => typed(linker, name, |state, (metric, labels): (_, Labels)| {
            metrics::Host::counter(state, metric, labels)
        }),
        ("metrics", "gauge") => typed(linker, name, |state, (metric, labels): (_, Labels)| {
            metrics::Host::gauge(state, metric, labels)
        }),
        ("metrics", "histogram") => typed(linker, name, |state, (metric, labels): (_, Labels)| {
            metrics::Host::histogram(state, metric, labels)
        }),
        ("metrics", "add") => {
            typed(linker, name, |state, (metric, value)| metrics::Host::add(state, metric, value))
        }
        ("metrics", "set") => {
            typed(linker, name, |state, (metric, value)| metrics::Host::set(state, metric, value))
        }
        ("metrics", "observe") => {
            typed(linker, name, |state, (metric, value)| metrics::Host::observe(state, metric, value))
        }
        ("secrets", "get") => typed(linker, name, |state, (secret,)| secrets::Host::get(state, secret)),
        ("rate-limit", "check") => typed(linker, name, |state, (bucket, quota, cost)| {
            rate_limit::Host::check(state, bucket, quota, cost)
        }),
        ("store", "get") => typed(linker, name, |state, (key,)| store::Host::get(state, key)),
        ("store", "set") => {
            typed(linker, name, |state, (key, value, ttl)| store::Host::set(state, key, value, ttl))
        }
        ("store", "compare-and-set") => typed(linker, name, |state, (key, expected, value, ttl)| {
            store::Host::compare_and_set(state, key, expected, value, ttl)
        }),
        ("store", "increment") => {
            typed(linker, name, |state, (key, by, ttl)| store::Host::increment(state, key, by, ttl))
        }
        ("store", "list") => typed(linker, name, |state, (prefix,)| store::Host::list(state, prefix)),
        ("store", "delete") => typed(linker, name, |state, (key,)| store::Host::delete(state, key)),
        _ => Ok(false),
    }
}

fn crypto(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use crypto::Host;
    match function {
        "import-jwk" => {
            typed(linker, name, |state, (jwk, algorithm): (_, Algorithm)| state.import_jwk(jwk, algorithm))
        }
        "import-jwks" => {
            typed(linker, name, |state, (jwks, algorithm): (_, Algorithm)| state.import_jwks(jwks, algorithm))
        }
        "import-secret" => {
            typed(linker, name, |state, (secret, algorithm)| state.import_secret(secret, algorithm))
        }
        "import-granted-secret" => {
            typed(linker, name, |state, (secret, algorithm)| state.import_granted_secret(secret, algorithm))
        }
        "verify" => {
            typed(linker, name, |state, (key, message, signature)| state.verify(key, message, signature))
        }
        "forget-key" => typed(linker, name, |state, (key,)| state.forget_key(key)),
        "verify-jws" => typed(linker, name, |state, (token, keys)| state.verify_jws(token, keys)),
        "mac" => typed(linker, name, |state, (key, message)| state.mac(key, message)),
        "hmac" => typed(linker, name, |state, (hash, secret, message)| state.hmac(hash, secret, message)),
        "digest" => typed(linker, name, |state, (hash, data)| state.digest(hash, data)),
        "constant-time-eq" => typed(linker, name, |state, (a, b)| state.constant_time_eq(a, b)),
        _ => Ok(false),
    }
}

fn matchers(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use matchers::Host;
    match function {
        "make-regex-set" => typed(linker, name, |state, (patterns,)| state.make_regex_set(patterns)),
        "is-match" => typed(linker, name, |state, (set, text)| state.is_match(set, text)),
        "matches" => typed(linker, name, |state, (set, text)| Host::matches(state, set, text)),
        "make-network-set" => typed(linker, name, |state, (networks,)| state.make_network_set(networks)),
        "find-network" => typed(linker, name, |state, (set, address)| state.find_network(set, address)),
        "replace-regex-set" => {
            typed(linker, name, |state, (set, patterns)| state.replace_regex_set(set, patterns))
        }
        "forget-regex-set" => typed(linker, name, |state, (set,)| state.forget_regex_set(set)),
        "replace-network-set" => {
            typed(linker, name, |state, (set, networks)| state.replace_network_set(set, networks))
        }
        "forget-network-set" => typed(linker, name, |state, (set,)| state.forget_network_set(set)),
        "find-client" => typed(linker, name, |state, (set,)| state.find_client(set)),
        "read-json" => typed(linker, name, |state, (document, pointers)| state.read_json(document, pointers)),
        _ => Ok(false),
    }
}
