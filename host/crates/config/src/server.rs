//! `[server]`, `[listeners.NAME]` and `[secrets.NAME]`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use portcullis_model::{
    AccessLog, AccessLogFormat, Certificate, ConnectionLimits, Control, DownstreamTimeouts, HalfClosed,
    Listener, LogTarget, Name, Secret, Server, TlsServer, TlsVersion,
};

use crate::diagnostic::Report;
use crate::keys::{CERTIFICATE, LISTENER, SECRET};
use crate::loader::{Loader, Named, Section};
use crate::pem::{self, Expected};
use crate::route::is_token;
use crate::source::Span;
use crate::suggest::shown;
use crate::view::{View, text};

/// Bytes of a certificate or key file.
pub(crate) const PEM_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a socket's path (`sockaddr_un`), without the zero at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Bytes of a name in `Via`.
const VIA_BYTES_MAX: usize = 64;
/// Bytes of a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Makes the process's settings.
pub(crate) fn server(loader: &mut Loader<'_>, view: View<'_>) -> Server {
    let defaults = Server::default();
    let log = view.view("access-log");
    let format = match log.word("format") {
        Some("json") => AccessLogFormat::Json,
        Some("off") => AccessLogFormat::Off,
        _ => AccessLogFormat::Text,
    };
    let target = match log.text("file") {
        Some((_, span)) if format == AccessLogFormat::Off => {
            let report =
                Report::new(span, "the access log has a file, but is off", "nothing is written to it");
            loader.report(report.help("leave `file` out, or write format = \"text\""));
            LogTarget::Stdout
        }
        Some((path, span)) => LogTarget::File(loader.resolve(path, span)),
        None => LogTarget::Stdout,
    };
    let trusted = view.texts("trusted-proxies");
    Server {
        control: checked_control(loader, view),
        workers: view.integer("workers"),
        trusted_proxies: trusted.into_iter().filter_map(|(text, span)| network(loader, text, span)).collect(),
        drain_timeout: view.duration("drain-timeout").unwrap_or(defaults.drain_timeout),
        via: via(loader, view, defaults.via),
        metrics: metrics(loader, &view),
        cache_dir: view.text("cache-dir").map(|(path, span)| loader.resolve(path, span)),
        access_log: AccessLog { format, target },
        policy_instances_max: view.integer("policy-instances-max").unwrap_or(defaults.policy_instances_max),
        plugin_store_max: view.size("plugin-store-max").unwrap_or(defaults.plugin_store_max),
        watch: view.bool("watch").unwrap_or(defaults.watch),
        settle: view.duration("settle").unwrap_or(defaults.settle),
        policy_http_calls_max: view
            .integer("policy-http-calls-max")
            .unwrap_or(defaults.policy_http_calls_max),
        policy_compile_memory_bytes: view
            .size("policy-compile-memory")
            .unwrap_or(defaults.policy_compile_memory_bytes),
        policy_compile_time: view.duration("policy-compile-time").unwrap_or(defaults.policy_compile_time),
        policy_memory_bytes_max: view.size("policy-memory-max").unwrap_or(defaults.policy_memory_bytes_max),
    }
}

/// Where the control socket is.
pub(crate) fn control(loader: &Loader<'_>, view: View<'_>) -> Control {
    match (view.bool("control"), view.text("control")) {
        (Some(false), _) => Control::Off,
        (_, Some((path, span))) => Control::At(loader.resolve(path, span)),
        _ => Control::Default,
    }
}

/// The same, checked: the path of a socket has a bound of the system.
fn checked_control(loader: &mut Loader<'_>, view: View<'_>) -> Control {
    let control = control(loader, view);
    if let (Control::At(path), Some((_, span))) = (&control, view.text("control")) {
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            let message = "the path of the control socket is too long";
            let label = format!("{} has {bytes} bytes", path.display());
            let help = format!(
                "a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes: write a shorter one, such as \"/run/portcullis/edge.sock\""
            );
            loader.report(Report::new(span, message, label).help(help));
        }
    }
    control
}

/// What `Via` calls the gateway.
fn via(loader: &mut Loader<'_>, view: View<'_>, default: Option<Name>) -> Option<Name> {
    let Some((name, span)) = view.text("via") else {
        return if view.bool("via") == Some(false) { None } else { default };
    };
    if !is_token(name) || name.len() > VIA_BYTES_MAX {
        let report = Report::new(span, "`via` of `server` is not valid", "not a name for `Via`");
        let help = "a name is of up to 64 letters, digits and !#$%&'*+-.^_`|~, as in \"edge-1\"; false writes no `Via`";
        loader.report(report.help(help));
        return default;
    }
    Some(name.into())
}

fn metrics(loader: &mut Loader<'_>, view: &View<'_>) -> Option<SocketAddr> {
    let (typed, span) = view.text("metrics")?;
    let address = typed.parse().ok();
    if address.is_none() {
        let report = Report::new(span, "`metrics` of `server` is not valid", "not an IP address and port");
        // They belong to an address that few can reach.
        let port = typed.trim_start_matches('*').trim_start_matches(':').parse::<u16>();
        loader.report(report.help(match port {
            Ok(port) => format!("write \"127.0.0.1:{port}\", so that this machine alone reads them"),
            Err(_) => address_help(typed),
        }));
    }
    address
}

fn network(loader: &mut Loader<'_>, text: &str, span: Span) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(IpNet::from(address));
    }
    if text.parse::<IpNet>().is_ok_and(|network| network.prefix_len() == 0) {
        let message = "every peer is a trusted proxy, so any client can say that it is another";
        let help = "name the addresses of the proxies in front of the gateway";
        loader.warn(Report::new(span, message, "this takes in every address").help(help));
    }
    let report = |label: &str| Report::new(span, "`trusted-proxies` of `server` is not valid", label);
    match text.parse::<IpNet>() {
        Ok(network) if network.trunc() == network => Some(network),
        Ok(network) => {
            let help = format!(
                "write \"{}\" for the network, or \"{}\" for the one address",
                network.trunc(),
                network.addr()
            );
            loader.report(report("the address has bits beyond the network's prefix").help(help));
            None
        }
        Err(_) => {
            let help = "write an address such as \"192.168.1.7\", or a network such as \"10.0.0.0/8\"";
            loader.report(report("not an IP address or network").help(help));
            None
        }
    }
}

/// Makes the listeners, and checks that no two have one address.
pub(crate) fn listeners(loader: &mut Loader<'_>, section: &Section<'_>) -> Vec<Listener> {
    let mut addresses: BTreeMap<SocketAddr, Span> = BTreeMap::new();
    let mut list = Vec::new();
    let mut ordered: Vec<&Named<'_>> = section.values().collect();
    // In the order of the text, so that the second of two equal ones is the one that is reported.
    ordered.sort_by_key(|named| named.span);
    for named in ordered {
        let view = View::new(named.table, &LISTENER, named.span);
        let Some((typed, span)) = view.text("address") else { continue };
        let Ok(address) = typed.parse::<SocketAddr>() else {
            let message = format!("listener `{}` has no valid address", named.name);
            let report = Report::new(span, message, "not an IP address and port");
            loader.report(report.help(address_help(typed)));
            continue;
        };
        if address.port() == 443 && view.key_span("tls").is_none() {
            let message = format!("listener `{}` speaks plain HTTP on the port of https", named.name);
            let help = "add tls = { certificates = [{ cert = \"site.pem\", key = \"site.key\" }] }, unless something in front ends TLS";
            loader.warn(Report::new(span, message, "it has no `tls`").help(help));
        }
        // Port 0 is a different port each time.
        if address.port() != 0 {
            if let Some(first) = addresses.get(&address) {
                loader.report(
                    Report::new(span, format!("two listeners have the address {address}"), "used before")
                        .note("first used", *first)
                        .help("give each listener an address of its own; one listener can serve any number of routes"),
                );
            }
            addresses.entry(address).or_insert(span);
        }
        list.push(listener(loader, named, view, address));
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    list
}

fn listener(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>, address: SocketAddr) -> Listener {
    let protocols = view.texts("protocols");
    let speaks = |protocol: &str| protocols.is_empty() || protocols.iter().any(|(word, _)| *word == protocol);
    for (at, (word, span)) in protocols.iter().enumerate() {
        if protocols.iter().take(at).any(|(other, _)| other == word) {
            let message = format!("listener `{}` names the protocol {word} twice", named.name);
            loader.report(Report::new(*span, message, "named before").help("remove one of the two"));
        }
    }
    let tls = view.view("tls");
    let (timeouts, limits) = (view.view("timeouts"), view.view("limits"));
    if let (false, Some(span)) =
        (tls.is_there() || view.key_span("tls").is_some(), timeouts.key_span("handshake"))
    {
        let message = format!("listener `{}` limits the TLS handshake, but has no TLS", named.name);
        loader.report(
            Report::new(span, message, "without effect")
                .help("remove it, or add tls = { certificates = [...] }"),
        );
    }
    if let (false, Some(span)) = (speaks("h2"), limits.key_span("streams")) {
        let message = format!("listener `{}` limits HTTP/2 streams, but does not speak HTTP/2", named.name);
        loader.report(
            Report::new(span, message, "without effect").help("remove it, or add \"h2\" to `protocols`"),
        );
    }
    let times = DownstreamTimeouts::default();
    let sizes = ConnectionLimits::default();
    Listener {
        name: named.name.into(),
        address,
        http1: speaks("h1"),
        http2: speaks("h2"),
        tls: tls.is_there().then(|| tls_server(loader, tls)),
        timeouts: DownstreamTimeouts {
            request_head: timeouts.duration("request-head").unwrap_or(times.request_head),
            idle: timeouts.duration("idle").unwrap_or(times.idle),
            handshake: timeouts.duration("handshake").unwrap_or(times.handshake),
            tunnel_idle: timeouts.duration("tunnel-idle").unwrap_or(times.tunnel_idle),
            linger: timeouts.duration("linger").unwrap_or(times.linger),
        },
        limits: ConnectionLimits {
            connections: limits.integer("connections").unwrap_or(sizes.connections),
            head_bytes: limits.bytes("head").unwrap_or(sizes.head_bytes),
            head_fields: limits.integer("fields").unwrap_or(sizes.head_fields),
            streams: limits.integer("streams").unwrap_or(sizes.streams),
            linger_bytes: limits.size("linger").unwrap_or(sizes.linger_bytes),
        },
        half_closed: match view.word("half-closed") {
            Some("answer") => HalfClosed::Answer,
            Some("cancel") => HalfClosed::Cancel,
            _ => HalfClosed::AnswerLast,
        },
        origin: loader.sources.origin(named.span),
    }
}

fn address_help(typed: &str) -> String {
    if let Some(help) = port_help(typed) {
        return help;
    }
    let port = typed.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
    let host = typed.rsplit_once(':').map_or(typed, |(host, _)| host);
    match port {
        Some(port) if host.is_empty() || host == "*" || host == typed => {
            format!("write \"0.0.0.0:{port}\" for every IPv4 address, \"[::]:{port}\" for every IPv6 address")
        }
        Some(port) if host == "localhost" => format!("write \"127.0.0.1:{port}\""),
        Some(port) if host.parse::<std::net::Ipv6Addr>().is_ok() => format!("write \"[{host}]:{port}\""),
        None if typed.parse::<std::net::Ipv4Addr>().is_ok() => format!("add the port: \"{typed}:8080\""),
        _ => "write an IP address of this machine and a port, such as \"0.0.0.0:8080\"".into(),
    }
}

/// What is wrong with the port of an address, if that is what is wrong.
pub(crate) fn port_help(typed: &str) -> Option<String> {
    if let Some(at) =
        typed.find(['$', '%']).filter(|at| typed.get(at + 1..).is_some_and(|rest| !rest.is_empty()))
        && (typed.contains("${")
            || typed.get(at + 1..)?.starts_with(|letter: char| letter.is_ascii_uppercase()))
    {
        return Some(
            "variables are not expanded: write the address itself, or make the file of a template".to_owned(),
        );
    }
    let (_, port) = typed.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (digits && port.parse::<u16>().is_err()).then(|| "a port is at most 65535".to_owned())
}

fn tls_server(loader: &mut Loader<'_>, view: View<'_>) -> TlsServer {
    let nodes = view.node("certificates").map_or(&[][..], |node| node.elements());
    let mut certificates: Vec<Certificate> = Vec::new();
    for node in nodes {
        let view = View::new(node.as_table(), &CERTIFICATE, node.span);
        let cert =
            view.text("cert").and_then(|(path, span)| pem_file(loader, path, span, Expected::Certificates));
        let key =
            view.text("key").and_then(|(path, span)| pem_file(loader, path, span, Expected::PrivateKey));
        let (Some((cert_path, cert_pem)), Some((key_path, key_pem))) = (cert, key) else { continue };
        if certificates.iter().any(|other| other.cert_path == cert_path) {
            let report = Report::new(node.span, "a certificate is listed twice", "listed before");
            loader.report(report.help("remove one of the two"));
        }
        let origin = loader.sources.origin(node.span);
        certificates.push(Certificate { cert_path, key_path, cert_pem, key_pem, origin });
    }
    let min_version =
        if view.word("min-version") == Some("1.3") { TlsVersion::V1_3 } else { TlsVersion::V1_2 };
    TlsServer { certificates, min_version }
}

/// Reads a PEM file of authorities that was named at `span`, and asks whether TLS can use them.
pub(crate) fn authorities(loader: &mut Loader<'_>, path: &str, span: Span) -> Option<(PathBuf, Vec<u8>)> {
    let (absolute, pem) = pem_file(loader, path, span, Expected::Certificates)?;
    if let Err(reason) = loader.plugins.check_authorities(&pem) {
        let message = format!("the certificate file `{}` is not usable", shown(path));
        let help = "name a PEM file of the authorities that sign the servers' certificates";
        loader.report(Report::new(span, message, reason).help(help));
        return None;
    }
    Some((absolute, pem))
}

/// Reads a PEM file that was named at `span` and checks that it holds what it should.
pub(crate) fn pem_file(
    loader: &mut Loader<'_>,
    path: &str,
    span: Span,
    expected: Expected,
) -> Option<(PathBuf, Vec<u8>)> {
    let what = match expected {
        Expected::Certificates => "certificate file",
        Expected::PrivateKey => "key file",
    };
    let (absolute, bytes) = loader.read(path, span, what, PEM_BYTES_MAX)?;
    let bytes = without_mark(bytes);
    match pem::check(&bytes, expected) {
        Ok(()) => Some((absolute, bytes)),
        Err((label, help)) => {
            let message = format!("the {what} `{}` is not usable", shown(path));
            loader.report(Report::new(span, message, label).help(help));
            None
        }
    }
}

/// The bytes of a text file without the byte order mark that some editors put before it.
pub(crate) fn without_mark(mut bytes: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    bytes
}

/// Reads the secrets. Their values are in no message.
pub(crate) fn secrets(loader: &mut Loader<'_>, section: &Section<'_>) -> BTreeMap<Name, Secret> {
    let mut secrets = BTreeMap::new();
    for named in section.values().filter(|named| named.table.is_some()) {
        let view = View::new(named.table, &SECRET, named.span);
        if let Some(bytes) = secret(loader, named, view) {
            secrets.insert(named.name.into(), Secret::new(bytes));
        }
    }
    secrets
}

fn secret(loader: &mut Loader<'_>, named: &Named<'_>, view: View<'_>) -> Option<Vec<u8>> {
    let name = named.name;
    let empty = |span| {
        Report::new(span, format!("secret `{name}` is empty"), "there is nothing in it")
            .help("give it a value")
    };
    match (view.node("env"), view.node("file")) {
        (Some(_), Some(file)) => {
            let message = format!("secret `{name}` has two places");
            loader.report(
                Report::new(file.span, message, "`env` names one already").help("leave one of the two out"),
            );
            None
        }
        (None, None) => {
            // A place of the wrong type was reported.
            if view.key_span("env").or(view.key_span("file")).is_none() {
                let message = format!("secret `{name}` does not say where it is");
                let help = "add env = \"NAME\" for an environment variable, or file = \"path\"";
                loader.report(Report::new(named.span, message, "`env` or `file` is needed here").help(help));
            }
            None
        }
        (Some(node), None) => {
            let (variable, span) = text(node)?;
            // Asking for a name with `=` in it panics in no version of std, but is never what was meant.
            let value = (!variable.contains('=')).then(|| std::env::var_os(variable)).flatten();
            let Some(value) = value else {
                let message = format!("secret `{name}` is not in the environment");
                let help = "set it where the gateway is started, or read the secret from a file = \"path\"";
                loader.report(Report::new(span, message, "there is no such variable").help(help));
                return None;
            };
            let bytes = value.into_encoded_bytes();
            if bytes.is_empty() {
                loader.report(empty(span));
            }
            Some(bytes)
        }
        (None, Some(node)) => {
            let (path, span) = text(node)?;
            let (_, mut bytes) = loader.read(path, span, "secret's file", SECRET_BYTES_MAX)?;
            if bytes.ends_with(b"\n") {
                bytes.pop();
                if bytes.ends_with(b"\r") {
                    bytes.pop();
                }
            }
            if bytes.is_empty() {
                loader.report(empty(span));
            }
            Some(bytes)
        }
    }
}
