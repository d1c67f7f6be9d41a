//! `[server]`.

use std::net::SocketAddr;

use ipnet::IpNet;
use portcullis_model::{AccessLog, AccessLogFormat, Control, LogTarget, Name, Server};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::sections::compress::compress;
use crate::sections::field_match::is_token;
use crate::syntax::authority::address_help;
use crate::syntax::view::View;

/// Bytes of a socket's path (`sockaddr_un`), without the zero at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Bytes of a name in `Via`.
const VIA_BYTES_MAX: usize = 64;

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
        file_reads_max: view.integer("file-reads-max").unwrap_or(defaults.file_reads_max),
        open_files_max: view.integer("open-files-max").unwrap_or(defaults.open_files_max),
        policy_compile_memory_bytes: view
            .size("policy-compile-memory")
            .unwrap_or(defaults.policy_compile_memory_bytes),
        policy_compile_time: view.duration("policy-compile-time").unwrap_or(defaults.policy_compile_time),
        policy_memory_bytes_max: view.size("policy-memory-max").unwrap_or(defaults.policy_memory_bytes_max),
        compress: compress(loader, "`server`", view, None),
        encoders_max: view.integer("encoders-max").unwrap_or(defaults.encoders_max),
    }
}

/// Returns the place of the control socket.
pub(crate) fn control(loader: &Loader<'_>, view: View<'_>) -> Control {
    match (view.bool("control"), view.text("control")) {
        (Some(false), _) => Control::Off,
        (_, Some((path, span))) => Control::At(loader.resolve(path, span)),
        _ => Control::Default,
    }
}

/// The same, checked: the system limits the path of a socket.
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
        // Metrics should not be reachable by everyone.
        let port = typed.trim_start_matches('*').trim_start_matches(':').parse::<u16>();
        loader.report(report.help(match port {
            Ok(port) => format!("write \"127.0.0.1:{port}\", so that this machine alone reads them"),
            Err(_) => address_help(typed),
        }));
    }
    address
}

fn network(loader: &mut Loader<'_>, text: &str, span: Span) -> Option<IpNet> {
    if text.parse::<IpNet>().is_ok_and(|network| network.prefix_len() == 0) {
        let message = "every peer is a trusted proxy, so any client can say that it is another";
        let help = "name the addresses of the proxies in front of the gateway";
        loader.warn(Report::new(span, message, "this takes in every address").help(help));
    }
    let read = crate::syntax::network::network(text);
    let read = read.map_err(|(label, help)| {
        loader.report(Report::new(span, "`trusted-proxies` of `server` is not valid", label).help(help));
    });
    read.ok()
}
