//! Whether a tree has the shape that the table of keys asks for. Every deviation is reported here, once; the code that
//! makes the model of it afterwards passes over what is wrong.

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::syntax::keys::{ENDPOINT, LISTENER, ROOT, ROUTE, UPSTREAM};
use crate::syntax::shape::{Key, Kind, Presence, Shape};
use crate::syntax::suggest::{did_you_mean, list, shown};
use crate::syntax::tree::{Entry, Node, Table, Value};
use crate::syntax::units::{self, show_duration, show_percent, show_size};

/// Names of tables may be this long.
const NAME_MAX: usize = 64;

/// Checks a table against its shape. `place` is the table in words, `span` its beginning.
pub(crate) fn table(
    table: &Table,
    shape: &'static Shape,
    place: &str,
    span: Span,
    reports: &mut Vec<Report>,
) {
    for entry in &table.entries {
        match shape.key(&entry.key) {
            Some(key) => value(&entry.value, &key.kind, key, place, reports),
            None => reports.push(unknown_key(&entry.key, entry.key_span, shape, place)),
        }
    }
    // A missing `to` of a route is reported later, when the upstreams are known.
    let needed = shape.keys.iter().filter(|key| key.presence == Presence::Required);
    for key in needed.filter(|key| !(std::ptr::eq(shape, &ROUTE) && key.name == "to")) {
        // A slip in the name of a needed key is one mistake, not two.
        let misspelt = table.entries.iter().any(|entry| meant_key(&entry.key, shape) == Some(key.name));
        if table.get(key.name).is_none() && !misspelt {
            reports.push(
                Report::new(span, format!("{place} has no `{}`", key.name), "it is needed here")
                    .help(format!("add {} = {}", key.name, key.example)),
            );
        }
    }
}

/// The key that was probably meant by an unknown one.
pub(crate) fn meant_key(key: &str, shape: &Shape) -> Option<&'static str> {
    match shape.key(key) {
        Some(_) => None,
        None => did_you_mean(key, shape.keys.iter().map(|key| key.name)),
    }
}

/// What to do instead of a key that other gateways have.
fn known_elsewhere(key: &str, shape: &Shape) -> Option<&'static str> {
    let wanted = key.to_ascii_lowercase().replace('_', "-");
    let is = |words: &[&str]| words.contains(&wanted.as_str());
    let route = std::ptr::eq(shape, &ROUTE) || shape.noun == "`match`";
    let upstream = std::ptr::eq(shape, &UPSTREAM) || std::ptr::eq(shape, &ENDPOINT);
    let listener = std::ptr::eq(shape, &LISTENER);
    if route && is(&["redirect", "respond", "rewrite"]) {
        return Some("write it in the route, beside `match`");
    }
    if route && is(&["return", "direct-response", "redir"]) {
        return Some("write respond = { status = 404, body = \"...\" }, or redirect = { to = \"...\" }");
    }
    if route && is(&["strip-prefix", "replace-prefix", "prefix-rewrite", "uri"]) {
        return Some("write rewrite = { path = \"/v2{rest}\" }: `{rest}` is what `/*` of `match.path` took");
    }
    if route && is(&["proxy-set-header", "set-header", "set-headers", "request-header", "headers-up"]) {
        return Some("write request-headers = { set = { ... }, add = { ... }, remove = [...] }");
    }
    if route && is(&["add-header", "add-headers", "more-set-headers", "response-header", "headers-down"]) {
        return Some("write response-headers = { set = { ... }, add = { ... }, remove = [...] }");
    }
    if route && is(&["static", "root", "alias", "file-server", "static-files"]) {
        return Some("write files = { root = \"/srv/www\" }");
    }
    if route && is(&["gzip-static", "brotli-static", "precompressed"]) {
        return Some("write files = { root = \"...\", precompressed = true }");
    }
    if (route || shape.noun == "`server`")
        && is(&["gzip", "brotli", "zstd", "encode", "compression", "gzip-types", "compressor"])
    {
        return Some(
            "write compress = true, or compress = { codings = [...], types = [...], min-size = \"...\" }",
        );
    }
    if route && is(&["error-page", "basic-auth", "cors"]) {
        return Some("no key does this; a policy can: docs/writing-a-policy.md shows how to write one");
    }
    if route && is(&["listener"]) {
        return Some("write listeners = [\"NAME\"], with the names of the listeners that serve the route");
    }
    if route && is(&["cookie", "query-string", "args", "source", "remote-addr", "client-ip"]) {
        return Some(
            "`match` has host, path, method, headers, query, cookies and client, and the most specific route wins",
        );
    }
    if route && is(&["order", "weight", "rank"]) {
        return Some(
            "write priority = 10 in the route: of routes for one host the greatest number is tried first",
        );
    }
    if route && is(&["redirect-https", "https-redirect", "https", "force-tls", "force-https", "ssl"]) {
        return Some("write tls = \"required\": requests over plain HTTP are then sent to https");
    }
    if upstream && is(&["backup", "spare", "fallback"]) {
        return Some(
            "write priority = 1 in the endpoint's table: it is used while none of priority 0 can be",
        );
    }
    if upstream && is(&["least-conn", "least-time", "ip-hash", "consistent-hash", "lb", "policy", "strategy"])
    {
        return Some("write it as `balance`, such as balance = \"least-requests\"");
    }
    if upstream && is(&["health-check", "healthcheck", "health", "check", "checks"]) {
        return Some("write health-checks = [{ path = \"/healthz\" }]");
    }
    if upstream && is(&["sticky"]) {
        return Some(
            "no key does this; balance = { hash = { cookie = \"session\" } } goes by a cookie of the application",
        );
    }
    if upstream && is(&["max-conns", "maxconn", "max-connections", "circuit-breaker", "queue"]) {
        return Some("write limits = { endpoint-requests = 100, waiting = 100 } in the upstream");
    }
    if upstream && is(&["servers", "server", "targets", "nodes"]) {
        return Some("write endpoints = [\"HOST:PORT\"]");
    }
    if listener && is(&["redirect", "https-redirect", "redirect-https"]) {
        return Some(
            "write tls = \"required\" in the routes: requests over plain HTTP are then sent to https",
        );
    }
    None
}

fn unknown_key(key: &str, span: Span, shape: &Shape, place: &str) -> Report {
    let names: Vec<&str> = shape.keys.iter().map(|key| key.name).collect();
    let report = Report::new(span, format!("unknown key `{}` in {place}", shown(key)), "not a key here");
    if let (Some(top), false) = (ROOT.key(key), std::ptr::eq(shape, &ROOT)) {
        // A key belongs to the table above it: TOML's trap.
        return report.help(match top.kind {
            Kind::List(_) => format!("`{key}` stands at the top of the file, before the first [table]"),
            _ => format!("write it as a table of its own: [{key}] or [{key}.NAME]"),
        });
    }
    if let Some(help) = known_elsewhere(key, shape) {
        return report.help(help);
    }
    match meant_key(key, shape) {
        Some(name) => report.help(format!("did you mean `{name}`?")),
        None => report.help(format!("the keys here are {}", list(&names))),
    }
}

/// Checks a value, and all that is in it.
pub(crate) fn value(node: &Node, kind: &'static Kind, key: &Key, place: &str, reports: &mut Vec<Report>) {
    let wrong = if accepts(kind, &node.value) {
        scalar(kind, &node.value, key)
    } else {
        let expected = format!("expected {}, found {}", describe(kind), node.value.describe());
        Some((expected, type_help(kind, node, key)))
    };
    if let Some((label, help)) = wrong {
        let message = match place {
            "the file" => format!("`{}` is not valid", key.name),
            place => format!("`{}` of {place} is not valid", key.name),
        };
        return reports.push(Report::new(node.span, message, label).help(help));
    }
    match (kind, &node.value) {
        (Kind::List(element), Value::Array(nodes)) => {
            nodes.iter().for_each(|node| value(node, element, key, place, reports));
        }
        (Kind::Table(shape), Value::Table(inner)) => {
            table(inner, shape, &within(shape, place), node.span, reports);
        }
        (Kind::Named(shape), Value::Table(inner)) => named(inner, shape, reports),
        (Kind::Fields(kind), Value::Table(inner)) => {
            inner.entries.iter().for_each(|entry| value(&entry.value, kind, key, place, reports));
        }
        (Kind::Either(kinds), found) => {
            if let Some(kind) = kinds.iter().find(|kind| accepts(kind, found)) {
                value(node, kind, key, place, reports);
            }
        }
        _ => {}
    }
}

/// What is wrong with a value of the right type, without looking into it: the label and the help.
fn scalar(kind: &Kind, value: &Value, key: &Key) -> Option<(String, String)> {
    let for_example = || format!("for example: {}", example(key));
    match (kind, value) {
        (Kind::True, Value::Bool(false)) => {
            Some(("only `true` is possible".into(), "leave it out, or write true".into()))
        }
        (Kind::Text(what), Value::String(text)) if text.is_empty() => {
            Some((format!("expected {what}, found nothing"), for_example()))
        }
        (Kind::Text(_), Value::String(text)) if text.contains('\0') => {
            Some(("it holds a NUL character".into(), "no path, name or value can hold one".into()))
        }
        (Kind::Choice(choices), Value::String(text)) if !choices.contains(&text.as_str()) => {
            let quoted: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
            // Of short words, such as versions, each is near to every other.
            let near = if text.len() < 4 { None } else { did_you_mean(text, choices.iter().copied()) };
            let help = match (near, &key.kind) {
                (Some(choice), _) => format!("did you mean {choice:?}?"),
                (None, Kind::Either(_)) => format!("write {}, or {}", either(&quoted), example(key)),
                (None, _) => format!("write {}", either(&quoted)),
            };
            Some((format!("expected {}", either(&quoted)), help))
        }
        (Kind::Integer { min, max }, Value::Integer(number)) if !(min..=max).contains(&number) => {
            Some((format!("expected {min} to {max}"), for_example()))
        }
        (Kind::Duration { min, max }, Value::String(text)) => match units::duration(text) {
            Err(error) => Some((error.label.into(), error.help)),
            Ok(duration) if (min..=max).contains(&&duration) => None,
            Ok(_) => {
                let (min, max) = (show_duration(*min), show_duration(*max));
                Some((format!("expected {min:?} to {max:?}"), for_example()))
            }
        },
        (Kind::Percent { min, max }, Value::String(text)) => match units::percent(text) {
            Err(error) => Some((error.label.into(), error.help)),
            Ok(part) if (min..=max).contains(&&part) => None,
            Ok(_) => {
                let (min, max) = (show_percent(*min), show_percent(*max));
                Some((format!("expected {min:?} to {max:?}"), for_example()))
            }
        },
        (Kind::Cost, Value::String(text)) => match units::cost(text) {
            Err(error) => Some((error.label.into(), error.help)),
            Ok(_) => None,
        },
        (Kind::Limit { .. }, Value::String(text)) if text == "unlimited" => None,
        (Kind::Size { min, max } | Kind::Limit { min, max }, Value::String(text)) => {
            match units::size(text) {
                Err(error) if matches!(kind, Kind::Limit { .. }) => {
                    Some((error.label.into(), format!("{}, or write \"unlimited\"", error.help)))
                }
                Err(error) => Some((error.label.into(), error.help)),
                Ok(bytes) if (min..=max).contains(&&bytes) => None,
                Ok(_) => {
                    Some((format!("expected {:?} to {:?}", show_size(*min), show_size(*max)), for_example()))
                }
            }
        }
        (Kind::List(_), Value::Array(nodes)) if nodes.is_empty() => Some((
            "the list is empty".into(),
            match key.presence {
                Presence::Required => for_example(),
                _ => format!("leave `{}` out, or write for example {}", key.name, example(key)),
            },
        )),
        _ => None,
    }
}

/// Tables under the operator's names, such as everything in `[upstreams]`.
fn named(tables: &Table, shape: &'static Shape, reports: &mut Vec<Report>) {
    for entry in &tables.entries {
        let name = shown(&entry.key);
        if !is_name(&entry.key) {
            reports.push(
                Report::new(
                    entry.key_span,
                    format!("`{name}` cannot be the name of {} {}", article(shape.noun), shape.noun),
                    "not a name",
                )
                .help(name_help(&entry.key)),
            );
        }
        if let Some(behind) = dotted(entry.value.as_table(), shape) {
            let message = format!(
                "`{name}.{}` cannot be the name of {} {}",
                shown(&behind.key),
                article(shape.noun),
                shape.noun
            );
            let help = format!("write `{name}-{}`: names have no dots", shown(&behind.key));
            reports.push(Report::new(behind.key_span, message, "a table within another one").help(help));
            continue;
        }
        match &entry.value.value {
            Value::Table(inner) => {
                table(inner, shape, &format!("{} `{name}`", shape.noun), entry.key_span, reports);
            }
            other => {
                let first = shape.keys.first().map_or(String::new(), example);
                reports.push(
                    Report::new(
                        entry.value.span,
                        format!("{} `{name}` is not valid", shape.noun),
                        format!("expected a table, found {}", other.describe()),
                    )
                    .help(format!("write {name} = {{ {first} }}")),
                );
            }
        }
    }
}

/// Whether a section has a table such as `[upstreams.my.app]`, which is the table `app` in the upstream `my`.
pub(crate) fn has_dotted_name(root: &Table) -> bool {
    root.entries.iter().any(|section| {
        match (ROOT.key(&section.key).map(|key| &key.kind), section.value.as_table()) {
            (Some(Kind::Named(shape)), Some(tables)) => {
                tables.entries.iter().any(|entry| dotted(entry.value.as_table(), shape).is_some())
            }
            _ => false,
        }
    })
}

/// The part behind the dot, if `table` is only there because a name has one.
fn dotted<'a>(table: Option<&'a Table>, shape: &Shape) -> Option<&'a Entry> {
    let entries = &table?.entries;
    let inner = |entry: &Entry| {
        let known = |table: &Table| table.entries.iter().any(|entry| shape.key(&entry.key).is_some());
        shape.key(&entry.key).is_none() && entry.value.as_table().is_some_and(known)
    };
    entries.iter().all(inner).then(|| entries.first()).flatten()
}

fn name_help(name: &str) -> String {
    let fixed: String = name.to_ascii_lowercase().replace([' ', '.', '/'], "-");
    match is_name(&fixed) {
        true => format!("write `{fixed}`: names are of a-z, 0-9, - and _, and begin with a letter or digit"),
        false => {
            "names are of a-z, 0-9, - and _, begin with a letter or digit, and have at most 64 characters"
                .into()
        }
    }
}

/// Whether it can name a listener, route, upstream, policy or secret.
pub(crate) fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let all = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    first && name.len() <= NAME_MAX && name.bytes().all(all)
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// How a table inside `place` is called.
fn within(shape: &Shape, place: &str) -> String {
    if place == "the file" { shape.noun.to_owned() } else { format!("{} of {place}", shape.noun) }
}

/// Whether a value of this TOML type can be of that kind at all.
pub(crate) fn accepts(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::Bool | Kind::True => matches!(value, Value::Bool(_)),
        Kind::Text(_)
        | Kind::AnyText(_)
        | Kind::Choice(_)
        | Kind::Duration { .. }
        | Kind::Size { .. }
        | Kind::Percent { .. }
        | Kind::Cost
        | Kind::Limit { .. } => matches!(value, Value::String(_)),
        Kind::Integer { .. } => matches!(value, Value::Integer(_)),
        Kind::Table(_) | Kind::Named(_) | Kind::Fields(_) | Kind::Any => matches!(value, Value::Table(_)),
        Kind::List(_) => matches!(value, Value::Array(_)),
        Kind::Either(kinds) => kinds.iter().any(|kind| accepts(kind, value)),
    }
}

/// What a value of that kind is, in words.
pub(crate) fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".into(),
        Kind::True => "true".into(),
        Kind::Text(what) | Kind::AnyText(what) => format!("{what} as a string"),
        Kind::Choice(choices) => {
            either(&choices.iter().map(|choice| format!("{choice:?}")).collect::<Vec<_>>())
        }
        Kind::Integer { .. } => "a whole number".into(),
        Kind::Duration { .. } => "a duration with its unit".into(),
        Kind::Size { .. } => "a size with its unit".into(),
        Kind::Percent { .. } => "a percentage".into(),
        Kind::Cost => "a duration with its unit or a percentage".into(),
        Kind::Limit { .. } => "a size with its unit or \"unlimited\"".into(),
        Kind::Table(_) | Kind::Named(_) | Kind::Fields(_) | Kind::Any => "a table".into(),
        Kind::List(_) => "a list".into(),
        Kind::Either(kinds) => either(&kinds.iter().map(describe).collect::<Vec<_>>()),
    }
}

fn type_help(kind: &Kind, node: &Node, key: &Key) -> String {
    let name = key.name;
    match (kind, &node.value) {
        (Kind::Duration { .. }, Value::Integer(number)) => {
            format!("write {name} = \"{number}s\" for seconds or \"{number}ms\" for milliseconds")
        }
        (Kind::Percent { .. }, Value::Integer(number)) => {
            format!("write {name} = \"{number}%\"")
        }
        (Kind::Cost, Value::Integer(number)) => {
            format!(
                "write {name} = \"{number}ms\" for milliseconds or \"{number}%\" of what the active version takes"
            )
        }
        (Kind::Size { .. } | Kind::Limit { .. }, Value::Integer(number)) => {
            format!("write {name} = \"{number}B\" for bytes, or use KiB, MiB or GiB")
        }
        (Kind::Bool | Kind::Integer { .. }, Value::String(text))
            if text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok() =>
        {
            format!("write it without quotes: {name} = {text}")
        }
        (Kind::List(element), Value::String(text)) if accepts(element, &node.value) => {
            format!("put it in brackets: {name} = [{:?}]", shown(text))
        }
        _ => format!("for example: {}", example(key)),
    }
}

fn example(key: &Key) -> String {
    format!("{} = {}", key.name, key.example)
}

/// `a, b or c`.
fn either(words: &[String]) -> String {
    match words {
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        _ => words.concat(),
    }
}
