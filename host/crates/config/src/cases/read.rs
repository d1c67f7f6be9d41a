//! From the tree of a file of test cases to the cases.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use portcullis_model::{
    FailureMode, Grants, HttpGrant, HttpUrl, Isolation, Name, Origin, PluginSource, PolicyConfig, PurgeGrant,
    RateQuota, Secret, StoreGrant, Version,
};

use super::keys;
use super::model::{
    At, CannedAnswer, Case, CaseExchange, CaseFile, CaseRequest, CaseResponse, Expected, ExpectedBody,
    ExpectedFault, ExpectedMessage, ExpectedValue, Place,
};
use crate::diagnostic::Report;
use crate::files::source::{Sources, Span};
use crate::loader::Loader;
use crate::plugins::PluginInfo;
use crate::references::{Nameable, Named, Section, Used};
use crate::sections::policy::{TICK, settings, tested};
use crate::syntax::shape::Shape;
use crate::syntax::suggest::shown;
use crate::syntax::tree::{Node, Table, Value};
use crate::syntax::view::View;

/// Bytes of a component: a Python one has 18 MB.
const COMPONENT_BYTES_MAX: u64 = 256 << 20;
/// Bytes of one body.
const BODY_BYTES_MAX: usize = 64 << 20;
/// What the clocks say if a case does not say it: the first second of 2026.
const TIME: Duration = Duration::from_secs(1_767_225_600);
/// The name of the policy if the component has none.
const NAME: &str = "policy";

/// Makes the cases. `None` if something was reported.
pub(super) fn file(
    loader: &mut Loader<'_>,
    root: &Table,
    plugin: Option<&str>,
    whole: Span,
) -> Option<CaseFile> {
    let view = View::new(Some(root), &keys::ROOT, whole);
    let (source, component, span) = component(loader, view, plugin, whole)?;
    let info = match loader.plugins.inspect(&component) {
        Ok(info) => info,
        Err(reason) => {
            let help = "a plugin is a WebAssembly component; docs/writing-a-policy.md shows how to build one";
            loader.report(Report::new(span, "the plugin cannot be used", reason).help(help));
            return None;
        }
    };
    let digest = loader.components.add(Cow::Owned(component.to_vec()))?;
    let name = if info.name.is_empty() { NAME } else { &info.name };
    let policy = view.view("policy");
    let mut secrets = BTreeMap::new();
    let mut section: Section<'_> = BTreeMap::new();
    for entry in view.node("secrets").and_then(Node::as_table).into_iter().flat_map(|table| &table.entries) {
        loader.sources.hide(entry.value.span);
        let value = entry.value.as_str().unwrap_or_default();
        secrets.insert(Name::from(&*entry.key), Secret::new(value.as_bytes().to_vec()));
        section.insert(&entry.key, Named { name: &entry.key, span: entry.key_span, table: None });
    }
    let none = Section::new();
    let mut names = Nameable {
        secrets: &section,
        secrets_used: Used::default(),
        signers: &none,
        signers_used: Used::default(),
        caches: None,
    };
    let named = Named { name, span: policy.span, table: None };
    let tested = tested(loader, &named, policy, &mut names, (span, &info));
    let http = answers(loader, view);
    let isolations = match policy.word("isolation") {
        Some("worker") => vec![Isolation::Worker],
        Some(_) => vec![Isolation::Exchange],
        None => vec![Isolation::Exchange, Isolation::Worker],
    };
    let base = PolicyConfig {
        name: Name::from(name),
        version: Version::Active,
        plugin: source,
        digest,
        grants: Grants::default(),
        isolation: *isolations.first()?,
        limits: tested.limits,
        // A case that fails often does so because it is to fail.
        quarantine: None,
        on_error: match policy.word("on-error") {
            Some("allow") => FailureMode::Allow,
            _ => FailureMode::Deny,
        },
        tick: TICK,
        config_json: String::new(),
        candidate: None,
        origin: Origin::default(),
    };
    let views: Vec<View<'_>> = view
        .node("case")
        .into_iter()
        .flat_map(Node::elements)
        .map(|node| View::new(node.as_table(), &keys::CASE, node.span))
        .collect();
    let config = |loader: &mut Loader<'_>, view: View<'_>, at: Span| {
        let named = Named { name, span: at, table: None };
        settings::config_json(loader, &named, view, Some(span), Some(&info))
    };
    // Read once, so that a mistake in it is reported once.
    let shared = views.iter().find(|view| view.key_span("config").is_none()).map(|first| {
        let at = view.key_span("policy").or(first.key_span("name")).unwrap_or(whole);
        config(loader, policy, at)
    });
    let mut cases = Vec::new();
    for view in views {
        let config_json = match (view.key_span("config"), &shared) {
            (None, Some(shared)) => shared.clone(),
            (at, _) => config(loader, view, at.unwrap_or(whole)),
        };
        let mut answers = answers(loader, view);
        answers.extend(http.iter().cloned());
        let grants = tested.grants.clone().unwrap_or_else(|| all_grants(&info, secrets.keys(), &answers));
        let policy = PolicyConfig { config_json, grants, ..base.clone() };
        cases.extend(case(loader, view, policy, answers));
    }
    Some(CaseFile { cases, component, isolations, secrets, files: Vec::new(), sources: Sources::default() })
}

/// The component, its source, and the place that names it.
fn component(
    loader: &mut Loader<'_>,
    view: View<'_>,
    plugin: Option<&str>,
    whole: Span,
) -> Option<(PluginSource, Cow<'static, [u8]>, Span)> {
    let (typed, span) = match (plugin, view.text("plugin")) {
        (Some(typed), named) => (typed, named.map_or(whole, |(_, span)| span)),
        (None, Some(named)) => named,
        (None, None) => {
            if view.key_span("plugin").is_none() {
                let help = "add plugin = \"PATH.wasm\", or name it with --plugin PATH.wasm";
                loader.report(Report::new(whole, "the file names no plugin", "it is needed here").help(help));
            }
            return None;
        }
    };
    if let Some(name) = typed.strip_prefix("builtin:") {
        let Some(bytes) = loader.plugins.builtin(name) else {
            let names = loader.plugins.builtin_names().join(", ");
            let report = Report::new(span, "there is no such builtin plugin", "not the name of one");
            loader.report(report.help(format!("the builtin plugins are {names}")));
            return None;
        };
        return Some((PluginSource::Builtin(Name::from(name)), Cow::Borrowed(bytes), span));
    }
    if typed.contains("://") {
        let report = Report::new(span, "an image in a registry cannot be tested", "not a file");
        loader.report(report.help("name its .wasm file, here or with --plugin"));
        return None;
    }
    let read = match plugin {
        // What the command line names starts from the current folder.
        Some(typed) => {
            let path = std::path::absolute(typed).unwrap_or_else(|_| typed.into());
            loader.files.insert(path.clone());
            crate::files::read::read_file(&path, COMPONENT_BYTES_MAX).map(|bytes| (path, bytes)).map_err(
                |reason| {
                    Report::of_file(
                        whole.file,
                        format!("the plugin `{}` cannot be read: {reason}", shown(typed)),
                    )
                },
            )
        }
        None => {
            return loader
                .read(typed, span, "plugin", COMPONENT_BYTES_MAX)
                .map(|(path, bytes)| (PluginSource::File(path), Cow::Owned(bytes), span));
        }
    };
    match read {
        Ok((path, bytes)) => Some((PluginSource::File(path), Cow::Owned(bytes), span)),
        Err(report) => {
            loader.report(report);
            None
        }
    }
}

/// All that the component imports: what a case does not say is not what it is about.
fn all_grants<'n>(
    info: &PluginInfo,
    secrets: impl Iterator<Item = &'n Name>,
    answers: &[CannedAnswer],
) -> Grants {
    use portcullis_model::Capability;
    let has = |capability: Capability| info.imports.contains(&capability);
    let server = |answer: &CannedAnswer| {
        let url = HttpUrl::parse(&answer.url).ok()?;
        Some(HttpGrant {
            tls: url.tls,
            host: url.host,
            port: url.port,
            path: String::new(),
            private: true,
            ca: None,
        })
    };
    let mut http: Vec<HttpGrant> = Vec::new();
    if has(Capability::HttpClient) {
        for grant in answers.iter().filter_map(server) {
            if !http.iter().any(|known| known.is_beside(&grant)) {
                http.push(grant);
            }
        }
        if http.is_empty() {
            // A name that never resolves (RFC 6761, 6.4): without it the component would not load.
            let host = "test.invalid".to_owned();
            http.push(HttpGrant {
                tls: true,
                host,
                port: 443,
                path: String::new(),
                private: false,
                ca: None,
            });
        }
    }
    Grants {
        log: has(Capability::Log),
        clock: has(Capability::Clock),
        random: has(Capability::Random),
        rate_limit: has(Capability::RateLimit).then(RateQuota::default),
        metrics: has(Capability::Metrics),
        store: has(Capability::Store).then(StoreGrant::default),
        crypto: has(Capability::Crypto),
        matchers: has(Capability::Matchers),
        http,
        secrets: secrets.cloned().collect(),
        cache_purge: has(Capability::CachePurge)
            .then(|| PurgeGrant { caches: Vec::new(), per_second: PurgeGrant::PER_SECOND }),
    }
}

fn answers(loader: &mut Loader<'_>, view: View<'_>) -> Vec<CannedAnswer> {
    let mut answers = Vec::new();
    for node in view.node("http").into_iter().flat_map(Node::elements) {
        let view = View::new(node.as_table(), &keys::HTTP, node.span);
        let Some((url, span)) = view.text("url") else { continue };
        if let Err(error) = HttpUrl::parse(url) {
            let help = "write it as in \"https://auth.internal/check\"";
            let message = "a server is named by a URL that cannot be used";
            loader.report(Report::new(span, message, error.to_string()).help(help));
        }
        answers.push(CannedAnswer {
            url: url.split('?').next().unwrap_or_default().to_owned(),
            method: view.word("method").map(str::to_owned),
            status: view.integer("status").unwrap_or(200),
            headers: headers(view),
            body: view.node("body").and_then(|node| bytes(loader, node)).unwrap_or_default(),
            error: view.word("error").map(str::to_owned),
        });
    }
    answers
}

fn case(
    loader: &mut Loader<'_>,
    view: View<'_>,
    policy: PolicyConfig,
    http: Vec<CannedAnswer>,
) -> Option<Case> {
    let (name, span) = view.text("name")?;
    let time = match view.text("time") {
        None => TIME,
        Some((text, span)) => match unix_time(text) {
            Some(time) => time,
            None => {
                let report = Report::new(span, "`time` of a case is not valid", "not a time in UTC");
                loader.report(report.help("write it as in \"2026-12-31T23:59:59Z\""));
                return None;
            }
        },
    };
    let mut exchanges: Vec<CaseExchange> = exchange(loader, view, Duration::ZERO).into_iter().collect();
    for node in view.node("then").into_iter().flat_map(Node::elements) {
        let view = View::new(node.as_table(), &keys::THEN, node.span);
        let after = view.duration("after").unwrap_or_default();
        exchanges.extend(exchange(loader, view, after));
    }
    let name = At { value: name.to_owned(), place: Place(span) };
    Some(Case { name, policy, time, http, exchanges })
}

fn exchange(loader: &mut Loader<'_>, view: View<'_>, after: Duration) -> Option<CaseExchange> {
    let (request, response) = (view.view("request"), view.view("response"));
    let client = match request.text("client") {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some((text, span)) => match text.parse() {
            Ok(address) => address,
            Err(_) => {
                let report = Report::new(span, "`client` of a request is not valid", "not an IP address");
                loader.report(report.help("for example: client = \"203.0.113.7\""));
                return None;
            }
        },
    };
    let (url, _) = request.text("url")?;
    for key in ["tls-server-name", "client-certificate"] {
        if let (Some(span), false) = (request.key_span(key), url.starts_with("https://")) {
            let message = format!("a request without TLS has a `{key}`");
            let report = Report::new(span, message, "the URL does not begin with https://");
            loader.report(report.help("write the URL with https://, or remove it"));
        }
    }
    Some(CaseExchange {
        after,
        request: CaseRequest {
            place: Place(request.span),
            method: request.word("method").unwrap_or("GET").to_owned(),
            url: url.to_owned(),
            headers: headers(request),
            pieces: pieces(loader, request),
            client,
            tls_server_name: request.word("tls-server-name").map(str::to_owned),
            client_certificate: request.node("client-certificate").and_then(|node| bytes(loader, node)),
        },
        response: CaseResponse {
            place: Place(response.span),
            status: response.integer("status").unwrap_or(200),
            headers: headers(response),
            pieces: pieces(loader, response),
        },
        expect: expected(loader, view.view("expect"), view.key_span("expect")),
    })
}

/// The lines of the fields of a message.
fn headers(view: View<'_>) -> Vec<(String, String)> {
    let table = view.node("headers").and_then(Node::as_table);
    let entries = table.into_iter().flat_map(|table| &table.entries);
    let lines = entries.flat_map(|entry| {
        let values = entry.value.elements().iter().filter_map(Node::as_str);
        values.map(|value| (entry.key.clone(), value.to_owned()))
    });
    lines.collect()
}

fn pieces(loader: &mut Loader<'_>, view: View<'_>) -> Vec<Vec<u8>> {
    let nodes = view.node("body").map_or(&[][..], Node::elements);
    nodes.iter().filter_map(|node| bytes(loader, node)).collect()
}

/// A piece of a body: text, or a table that says what it is.
fn bytes(loader: &mut Loader<'_>, node: &Node) -> Option<Vec<u8>> {
    let Value::Table(table) = &node.value else { return Some(node.as_str()?.as_bytes().to_vec()) };
    let view = View::new(Some(table), &keys::BYTES, node.span);
    let said = ["hex", "file", "repeat"].iter().filter(|key| view.key_span(key).is_some()).count();
    if said != 1 {
        let report =
            Report::new(node.span, "bytes are not said in one way", "one of the keys is needed here");
        loader.report(
            report.help(
                "write one of { hex = \"00ff\" }, { file = \"PATH\" } and { repeat = \"x\", times = 9 }",
            ),
        );
        return None;
    }
    if let Some((digits, span)) = view.text("hex") {
        return hex(loader, digits, span);
    }
    if let Some((path, span)) = view.text("file") {
        return loader.read(path, span, "file", BODY_BYTES_MAX as u64).map(|(_, bytes)| bytes);
    }
    let (text, _) = view.text("repeat")?;
    let times = view.integer("times").unwrap_or(1_usize);
    if text.len().saturating_mul(times) > BODY_BYTES_MAX {
        let label = format!("more than {BODY_BYTES_MAX} bytes");
        loader.report(Report::new(node.span, "a body is too large", label).help("repeat it fewer times"));
        return None;
    }
    Some(text.as_bytes().repeat(times))
}

fn hex(loader: &mut Loader<'_>, digits: &str, span: Span) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(value(*high)? << 4 | value(*low)?).ok(),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    if bytes.is_none() {
        let report = Report::new(span, "`hex` is not valid", "expected two hexadecimal digits for each byte");
        loader.report(report.help("for example: hex = \"00ff\""));
    }
    bytes
}

fn expected(loader: &mut Loader<'_>, view: View<'_>, place: Option<Span>) -> Expected {
    let text =
        |key: &str| view.text(key).map(|(text, span)| At { value: text.to_owned(), place: Place(span) });
    let attributes = view.node("attributes").and_then(Node::as_table);
    Expected {
        place: place.map(Place),
        reply: view.node("reply").map(|node| At { value: reply(loader, node), place: Place(node.span) }),
        fault: view.node("fault").map(|node| At { value: fault(node), place: Place(node.span) }),
        refused: text("refused"),
        request: message(loader, view, "request", &keys::EXPECTED_REQUEST),
        response: message(loader, view, "response", &keys::EXPECTED_RESPONSE),
        attributes: attributes.map(values).unwrap_or_default(),
        edits: lines(view, "edits"),
        log: lines(view, "log"),
        calls: lines(view, "calls"),
    }
}

fn reply(loader: &mut Loader<'_>, node: &Node) -> ExpectedMessage {
    match &node.value {
        Value::Table(table) => {
            message_of(loader, View::new(Some(table), &keys::EXPECTED_RESPONSE, node.span))
        }
        Value::Integer(status) => ExpectedMessage {
            status: u16::try_from(*status).ok().map(|value| At { value, place: Place(node.span) }),
            ..ExpectedMessage::default()
        },
        _ => ExpectedMessage::default(),
    }
}

fn fault(node: &Node) -> ExpectedFault {
    let at = |(text, span): (&str, Span)| At { value: text.to_owned(), place: Place(span) };
    match &node.value {
        Value::Table(table) => {
            let view = View::new(Some(table), &keys::FAULT, node.span);
            ExpectedFault { kind: view.text("kind").map(at), message: view.text("message").map(at) }
        }
        _ => ExpectedFault { kind: node.as_str().map(|text| at((text, node.span))), message: None },
    }
}

fn message(
    loader: &mut Loader<'_>,
    view: View<'_>,
    key: &str,
    shape: &'static Shape,
) -> Option<At<ExpectedMessage>> {
    let node = view.node(key)?;
    let value = message_of(loader, View::new(node.as_table(), shape, node.span));
    Some(At { value, place: Place(view.key_span(key).unwrap_or(node.span)) })
}

fn message_of(loader: &mut Loader<'_>, view: View<'_>) -> ExpectedMessage {
    let is_request = std::ptr::eq(view.shape(), &raw const keys::EXPECTED_REQUEST);
    let text = |key: &str| {
        let (text, span) = is_request.then(|| view.text(key)).flatten()?;
        Some(At { value: text.to_owned(), place: Place(span) })
    };
    let status = |view: View<'_>| {
        let (value, node) = (view.integer("status")?, view.node("status")?);
        Some(At { value, place: Place(node.span) })
    };
    let fields = view.node("headers").and_then(Node::as_table);
    ExpectedMessage {
        method: text("method"),
        path: text("path"),
        authority: text("authority"),
        status: if is_request { None } else { status(view) },
        headers: fields.map(values).unwrap_or_default(),
        body: view.node("body").map(|node| At { value: body(loader, node), place: Place(node.span) }),
    }
}

fn values(table: &Table) -> Vec<(String, At<ExpectedValue>)> {
    let entries = table.entries.iter().map(|entry| {
        let node = &entry.value;
        let value = match &node.value {
            Value::Bool(true) => ExpectedValue::Present,
            Value::Bool(false) => ExpectedValue::Absent,
            _ => {
                let lines = node.elements().iter().filter_map(Node::as_str).map(str::to_owned);
                ExpectedValue::Lines(lines.collect())
            }
        };
        (entry.key.clone(), At { value, place: Place(node.span) })
    });
    entries.collect()
}

fn body(loader: &mut Loader<'_>, node: &Node) -> ExpectedBody {
    let Value::Table(table) = &node.value else {
        return ExpectedBody {
            whole: node.as_str().map(|text| text.as_bytes().to_vec()),
            ..ExpectedBody::default()
        };
    };
    let view = View::new(Some(table), &keys::EXPECTED_BYTES, node.span);
    let whole = match (view.text("hex"), view.text("file")) {
        (Some((digits, span)), _) => hex(loader, digits, span),
        (None, Some((path, span))) => {
            loader.read(path, span, "file", BODY_BYTES_MAX as u64).map(|(_, bytes)| bytes)
        }
        (None, None) => None,
    };
    ExpectedBody { whole, contains: view.word("contains").map(str::to_owned), bytes: view.integer("bytes") }
}

/// The texts of expected lines; none of them if there is to be no line.
fn lines(view: View<'_>, key: &str) -> Option<At<Vec<At<String>>>> {
    let node = view.node(key)?;
    let texts = match &node.value {
        Value::Array(nodes) => nodes
            .iter()
            .filter_map(|node| Some(At { value: node.as_str()?.to_owned(), place: Place(node.span) }))
            .collect(),
        _ => Vec::new(),
    };
    Some(At { value: texts, place: Place(node.span) })
}

/// Reads a time such as `2026-12-31T23:59:59Z`: the time since 1970.
fn unix_time(text: &str) -> Option<Duration> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, separator: char, widths: [usize; 3]| -> Option<[u64; 3]> {
        let mut parts = text.split(separator);
        let mut found = [0; 3];
        for (number, width) in found.iter_mut().zip(widths) {
            let part = parts.next().filter(|part| part.len() == width)?;
            *number = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten()?;
        }
        parts.next().is_none().then_some(found)
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_of = |month: u64| match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let right = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !right {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let days = years + (1..month).map(days_of).sum::<u64>() + day - 1;
    Some(Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::unix_time;

    #[test]
    fn a_time_is_read_to_the_second_or_not_at_all() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2024-02-29T12:34:56Z", 1_709_210_096),
            ("2000-12-31T23:59:59Z", 978_307_199),
        ] {
            assert_eq!(unix_time(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["2026-02-29T00:00:00Z", "2026-1-1T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01", "now"]
        {
            assert_eq!(unix_time(text), None, "{text}");
        }
    }
}
