//! The functions of the contract, for core modules.
//!
//! Those that nearly every policy calls in each exchange are written out, so that they copy nothing that they need not:
//! names and values are read where they lie in the guest's memory. All others go by way of the types ([`typed`]) to the
//! same implementations that components call.

use portcullis_http::Fields;
use wasmtime::{Caller, FuncType, Linker, Result, ValType};

use super::abi::{Lift, Lower, Parameters, Reader, Writer, enter};
use crate::component::bindings::portcullis::policy::{
    body, clock, crypto, exchange, log, matchers, metrics, outcome, random, rate_limit, request, response,
    secrets, store, types,
};
use crate::host::head::{self, Edit, HEAD_BYTES_MAX};
use crate::instance::state::State;

type Name<'a> = (&'a str, &'a str);
type Labels = Vec<(String, String)>;
type Algorithm = Option<String>;

/// The parameters of a function of the contract.
pub(super) trait Params: Sized {
    fn flat(types: &mut Vec<ValType>);
    fn lift(parameters: &mut Parameters<'_>, reader: &mut Reader<'_>) -> Result<Self>;
}

macro_rules! params {
    ($($of:ident)*) => {
        impl<$($of: Lift),*> Params for ($($of,)*) {
            fn flat(types: &mut Vec<ValType>) {
                let _ = &types;
                $($of::flat(types);)*
            }

            fn lift(parameters: &mut Parameters<'_>, reader: &mut Reader<'_>) -> Result<Self> {
                let _ = (&parameters, &reader);
                Ok(($($of::lift(parameters, reader)?,)*))
            }
        }
    };
}

params!();
params!(A);
params!(A B);
params!(A B C);
params!(A B C D);

/// Defines a function by the types of its parameters and of what it gives. Returns that it did.
pub(super) fn typed<P: Params + 'static, R: Lower + 'static>(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    call: fn(&mut State, P) -> Result<R>,
) -> Result<bool> {
    let mut params = Vec::new();
    P::flat(&mut params);
    // What is more than one number lies in memory, at a place that the caller gives.
    let in_memory = R::SIZE > 0 && R::RESULT.is_none();
    if in_memory {
        params.push(ValType::I32);
    }
    let ty = FuncType::new(linker.engine(), params, R::RESULT);
    linker.func_new(module, name, ty, move |mut caller: Caller<'_, State>, params, results| {
        let (mut reader, _) = enter(&mut caller)?;
        let mut parameters = Parameters(params.iter());
        let taken = P::lift(&mut parameters, &mut reader)?;
        let place = if in_memory { parameters.number()? } else { 0 };
        let given = call(caller.data_mut(), taken)?;
        match results.first_mut() {
            Some(result) => *result = given.value(),
            None => given.store(&mut Writer(&mut caller), place)?,
        }
        Ok(())
    })?;
    Ok(true)
}

/// Defines the function `function` of the contract under the name that a module has for it. Returns `false` if it has
/// to be called by way of the component.
pub(super) fn define(
    linker: &mut Linker<State>,
    name: Name<'_>,
    interface: &str,
    function: &str,
) -> Result<bool> {
    match interface {
        "request" => request(linker, name, function),
        "response" => response(linker, name, function),
        "exchange" => exchange(linker, name, function),
        "body" => body(linker, name, function),
        "outcome" => outcome(linker, name, function),
        "crypto" => crypto(linker, name, function),
        "matchers" => matchers(linker, name, function),
        _ => service(linker, name, interface, function),
    }
}

fn request(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use request::Host;
    match function {
        "method" => give(linker, name, |state| Ok(&state.exchange()?.request.method)),
        "scheme" => give(linker, name, |state| Ok(state.exchange()?.request.scheme.as_str())),
        "authority" => give(linker, name, |state| Ok(&state.exchange()?.request.authority)),
        "path" => give(linker, name, |state| Ok(state.exchange()?.request.path())),
        "query" => typed(linker, name, |state, (): ()| state.query()),
        "set-method" => typed(linker, name, |state, (method,)| state.set_method(method)),
        "set-authority" => typed(linker, name, |state, (authority,)| state.set_authority(authority)),
        "set-path-and-query" => typed(linker, name, |state, (value,)| state.set_path_and_query(value)),
        "set-upstream" => typed(linker, name, |state, (upstream,)| state.set_upstream(upstream)),
        "header" => header(linker, name, |state, name| {
            state.note_read("request.header ", name);
            Ok(Some(&state.exchange()?.request.fields))
        }),
        "header-values" => header_values(linker, name, |state, name| {
            state.note_read("request.header ", name);
            Ok(Some(&state.exchange()?.request.fields))
        }),
        "headers" => typed(linker, name, |state, (): ()| Host::headers(state)),
        "set-header" => edit_field(linker, name, |state, name, value| {
            state.edit_request(|request| {
                let fixed = crate::host::request::fixed_size(request);
                head::set_header(&mut request.fields, fixed, name, value)
            })
        }),
        "append-header" => edit_field(linker, name, |state, name, value| {
            state.edit_request(|request| {
                let fixed = crate::host::request::fixed_size(request);
                head::append_header(&mut request.fields, fixed, name, value)
            })
        }),
        "remove-header" => edit_name(linker, name, |state, name| {
            state.edit_request(|request| head::remove_header(&mut request.fields, name))
        }),
        _ => Ok(false),
    }
}

fn response(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use response::Host;
    match function {
        "status" => typed(linker, name, |state, (): ()| state.status()),
        "set-status" => typed(linker, name, |state, (status,)| state.set_status(status)),
        "header" => header(linker, name, |state, name| {
            state.note_read("response.header ", name);
            Ok(state.response()?.map(|response| &response.fields))
        }),
        "header-values" => header_values(linker, name, |state, name| {
            state.note_read("response.header ", name);
            Ok(state.response()?.map(|response| &response.fields))
        }),
        "headers" => typed(linker, name, |state, (): ()| Host::headers(state)),
        "set-header" => edit_field(linker, name, |state, name, value| {
            state.edit_response(|response| head::set_header(&mut response.fields, 0, name, value))
        }),
        "append-header" => edit_field(linker, name, |state, name, value| {
            state.edit_response(|response| head::append_header(&mut response.fields, 0, name, value))
        }),
        "remove-header" => edit_name(linker, name, |state, name| {
            state.edit_response(|response| head::remove_header(&mut response.fields, name))
        }),
        _ => Ok(false),
    }
}

fn exchange(linker: &mut Linker<State>, name: Name<'_>, function: &str) -> Result<bool> {
    use exchange::Host;
    match function {
        "client-address" => typed(linker, name, |state, (): ()| state.client_address()),
        "client-certificate" => typed(linker, name, |state, (): ()| state.client_certificate()),
        "tls-server-name" => typed(linker, name, |state, (): ()| state.tls_server_name()),
        "route" => give(linker, name, |state| Ok(&*state.exchange()?.route)),
        "trace-id" => give(linker, name, |state| Ok(&state.exchange()?.trace_id)),
        "reply" => typed(linker, name, |state, (status, headers, body)| state.reply(status, headers, body)),
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

/// Writes whether an edit was made.
fn edited(mut caller: Caller<'_, State>, edit: &Edit, out: u32) -> Result<()> {
    match edit {
        // By far the most: one byte, which says so.
        Ok(()) => enter(&mut caller)?.0.write(out, &[0]),
        Err(_) => edit.store(&mut Writer(&mut caller), out),
    }
}

/// Gives text or bytes that the state has, without a copy between it and the guest's memory but one into a buffer that
/// is used again: to make room for them the guest itself has to run.
fn give<B: AsRef<[u8]> + ?Sized + 'static>(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    of: fn(&mut State) -> Result<&B>,
) -> Result<bool> {
    linker.func_wrap(module, name, move |mut caller: Caller<'_, State>, out: u32| -> Result<()> {
        let (_, state) = enter(&mut caller)?;
        let mut scratch = state.take_scratch();
        scratch.extend_from_slice(of(state)?.as_ref());
        Writer(&mut caller).give(out, &scratch)?;
        caller.data_mut().put_back(scratch);
        Ok(())
    })?;
    Ok(true)
}

/// The same for what has a name and may be absent.
fn give_optional(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    of: for<'a> fn(&'a mut State, &str) -> Result<Option<&'a [u8]>>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>, name: u32, length: u32, out: u32| -> Result<()> {
            let (mut reader, state) = enter(&mut caller)?;
            let mut scratch = state.take_scratch();
            let found = match of(state, reader.text(name, length)?)? {
                Some(bytes) => {
                    scratch.extend_from_slice(bytes);
                    true
                }
                None => false,
            };
            give_found(&mut caller, found, &scratch, out)?;
            caller.data_mut().put_back(scratch);
            Ok(())
        },
    )?;
    Ok(true)
}

fn give_found(caller: &mut Caller<'_, State>, found: bool, bytes: &[u8], out: u32) -> Result<()> {
    let mut writer = Writer(caller);
    writer.write(out, &[u8::from(found)])?;
    if found { writer.give(out.wrapping_add(4), bytes) } else { Ok(()) }
}

/// All values of a field joined, see [`head::header`].
fn header(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    fields: for<'a> fn(&'a mut State, &str) -> Result<Option<&'a Fields>>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>, name: u32, length: u32, out: u32| -> Result<()> {
            let (mut reader, state) = enter(&mut caller)?;
            let mut scratch = state.take_scratch();
            let name = reader.text(name, length)?;
            let value = fields(state, name)?.and_then(|fields| fields.get_joined(name.as_bytes()));
            let found = value.is_some();
            if let Some(value) = value {
                match std::str::from_utf8(&value) {
                    Ok(_) => scratch.extend_from_slice(&value),
                    Err(_) => scratch.extend_from_slice(String::from_utf8_lossy(&value).as_bytes()),
                }
            }
            give_found(&mut caller, found, &scratch, out)?;
            caller.data_mut().put_back(scratch);
            Ok(())
        },
    )?;
    Ok(true)
}

/// The value of each line of a field.
fn header_values(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    fields: for<'a> fn(&'a mut State, &str) -> Result<Option<&'a Fields>>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>, name: u32, length: u32, out: u32| -> Result<()> {
            let (mut reader, state) = enter(&mut caller)?;
            let name = reader.text(name, length)?;
            let mut scratch = state.take_scratch();
            let mut lines =
                fields(state, name)?.into_iter().flat_map(|fields| fields.get_all(name.as_bytes()));
            // Nearly always there is one line.
            let first = lines.next().map(|line| scratch.extend_from_slice(line));
            let more: Vec<Vec<u8>> = lines.map(<[u8]>::to_vec).collect();
            let count = more.len() + usize::from(first.is_some());
            let mut writer = Writer(&mut caller);
            let place = writer.allocate(count * 8, 4)?;
            if first.is_some() {
                writer.give(place, &scratch)?;
            }
            for (at, value) in (1_u32..).zip(&more) {
                writer.give(place + 8 * at, value)?;
            }
            let mut list = [0; 8];
            list[..4].copy_from_slice(&place.to_le_bytes());
            list[4..].copy_from_slice(&u32::try_from(count)?.to_le_bytes());
            writer.write(out, &list)?;
            caller.data_mut().put_back(scratch);
            Ok(())
        },
    )?;
    Ok(true)
}

/// An edit with the name of a field and a value.
fn edit_field(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    edit: fn(&mut State, &str, &[u8]) -> Result<Edit>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>,
              name: u32,
              name_length: u32,
              value: u32,
              length: u32,
              out: u32| {
            let (mut reader, state) = enter(&mut caller)?;
            let (name, value) = reader.text_and_bytes((name, name_length), (value, length))?;
            let edit = edit(state, name, value)?;
            edited(caller, &edit, out)
        },
    )?;
    Ok(true)
}

/// An edit with the name of a field alone.
fn edit_name(
    linker: &mut Linker<State>,
    (module, name): Name<'_>,
    edit: fn(&mut State, &str) -> Result<Edit>,
) -> Result<bool> {
    linker.func_wrap(
        module,
        name,
        move |mut caller: Caller<'_, State>, name: u32, length: u32, out: u32| {
            let (mut reader, state) = enter(&mut caller)?;
            let edit = edit(state, reader.text(name, length)?)?;
            edited(caller, &edit, out)
        },
    )?;
    Ok(true)
}

impl State {
    /// The buffer for what is given, empty.
    fn take_scratch(&mut self) -> Vec<u8> {
        let mut scratch =
            self.guest.as_mut().map(|guest| std::mem::take(&mut guest.scratch)).unwrap_or_default();
        scratch.clear();
        scratch
    }

    /// Keeps the buffer for the next time, unless it has become large.
    fn put_back(&mut self, scratch: Vec<u8>) {
        if let Some(guest) = self.guest.as_mut().filter(|_| scratch.capacity() <= HEAD_BYTES_MAX) {
            guest.scratch = scratch;
        }
    }
}
