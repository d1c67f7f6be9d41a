//! `listen` and `server_name`: which addresses a server has, and which names.

use std::collections::BTreeMap;

use crate::context::Import;
use crate::draft::Section;
use crate::report::Verdict;
use crate::scope::Scope;
use crate::syntax::Directive;
use crate::units;
use crate::value::Value;

/// A server with what it listens on.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    pub(crate) directive: &'a Directive,
    pub(crate) scope: Scope<'a>,
    pub(crate) names: Names,
    /// Its sockets: the name of the listener, and whether it answers there for all other hosts.
    pub(crate) listens: Vec<(String, bool)>,
}

/// The hosts of a server.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// As the gateway writes them.
    pub(crate) hosts: Vec<Value>,
    /// The first name, if it is one.
    pub(crate) first: Option<String>,
}

#[derive(Debug, Default)]
struct Socket {
    tls: bool,
    http2: bool,
    servers: Vec<usize>,
    default: Option<usize>,
    lines: Vec<String>,
}

impl<'a> Import<'a> {
    /// Finds the servers and makes their listeners.
    pub(crate) fn servers(&mut self, http: &'a Directive) -> Vec<Server<'a>> {
        let outer = Scope::new(http.inner());
        let blocks: Vec<&Directive> = http.inner().iter().filter(|inner| inner.name == "server").collect();
        let mut servers: Vec<Server<'a>> = Vec::new();
        let mut sockets: BTreeMap<String, Socket> = BTreeMap::new();
        for directive in blocks {
            self.report.note(directive, Verdict::Converted, "");
            let scope = outer.inside(directive.inner());
            let addresses = self.addresses(directive, &scope);
            let names = self.names(&scope);
            for (address, flags) in addresses {
                let socket = sockets.entry(address).or_default();
                socket.tls |= flags.tls || scope.own_one("ssl").is_some_and(|ssl| ssl.arg(0) == "on");
                socket.http2 |= flags.http2 || scope.is_on("http2");
                if flags.default && socket.default.is_none() {
                    socket.default = Some(servers.len());
                }
                socket.servers.push(servers.len());
                socket.lines.push(self.place(directive.place));
            }
            servers.push(Server { directive, scope, names, listens: Vec::new() });
        }
        for (address, socket) in sockets {
            let default = socket.default.or_else(|| socket.servers.first().copied());
            let name = self.listener(&address, &socket, default, &servers);
            for index in &socket.servers {
                if let Some(server) = servers.get_mut(*index) {
                    server.listens.push((name.clone(), Some(*index) == default));
                }
            }
        }
        servers
    }

    fn addresses(&mut self, server: &Directive, scope: &Scope<'_>) -> Vec<(String, Flags)> {
        let mut found: Vec<(String, Flags)> = Vec::new();
        let own: Vec<&Directive> = scope.own().iter().filter(|inner| inner.name == "listen").collect();
        if own.is_empty() {
            self.report.note(server, Verdict::Converted, "without `listen` it is on port 80");
            return vec![("0.0.0.0:80".to_owned(), Flags::default())];
        }
        for listen in own {
            let Some(address) = socket_address(listen.arg(0)) else {
                let note = "the gateway listens on IP addresses alone, and not on sockets of the file system: give it \
                            an address on loopback";
                self.report.note(listen, Verdict::Refused, note);
                continue;
            };
            let flags = self.flags(listen);
            if !found.iter().any(|(other, _)| *other == address) {
                found.push((address, flags));
            }
        }
        found
    }

    fn flags(&mut self, listen: &Directive) -> Flags {
        let mut flags = Flags::default();
        self.report.note(listen, Verdict::Converted, "");
        for word in listen.args.iter().skip(1) {
            match word.as_str() {
                "ssl" => flags.tls = true,
                "http2" => flags.http2 = true,
                "default_server" | "default" => flags.default = true,
                "proxy_protocol" => {
                    let note = "the PROXY protocol is not spoken here: clients could not connect with it";
                    self.report.note(listen, Verdict::Refused, note);
                }
                "quic" => self.report.note(listen, Verdict::Refused, "HTTP/3 is not there yet"),
                "ipv6only=off" => {
                    let note = "`[::]` is IPv6 alone: add a listener on 0.0.0.0";
                    self.report.note(listen, Verdict::Approximated, note);
                }
                // Sizes and options of sockets.
                _ => (),
            }
        }
        flags
    }

    fn names(&mut self, scope: &Scope<'_>) -> Names {
        let mut names = Names::default();
        let own: Vec<&Directive> = scope.own().iter().filter(|inner| inner.name == "server_name").collect();
        for directive in own {
            self.report.note(directive, Verdict::Converted, "");
            for name in &directive.args {
                let name = name.to_ascii_lowercase();
                if names.first.is_none() && is_host(&name) {
                    names.first = Some(name.clone());
                }
                let hosts: Vec<String> = match name.as_str() {
                    "" | "_" | "*" => Vec::new(),
                    dot if dot.starts_with('.') && is_host(&dot[1..]) => {
                        vec![dot[1..].to_owned(), format!("*{dot}")]
                    }
                    wild if wild.strip_prefix("*.").is_some_and(is_host) => vec![name.clone()],
                    plain if is_host(plain) => vec![name.clone()],
                    other if other.starts_with('~') || other.ends_with(".*") => {
                        let note =
                            format!("`{name}` is a pattern that `host` does not have: write its names");
                        self.report.note(directive, Verdict::Refused, &note);
                        Vec::new()
                    }
                    other if other.starts_with('$') => Vec::new(),
                    _ => {
                        // nginx takes such a name, and no browser sends it.
                        let note = format!("`{name}` is not the name of a host: left out");
                        self.report.note(directive, Verdict::Approximated, &note);
                        Vec::new()
                    }
                };
                for host in hosts {
                    let host = Value::from(host);
                    if !names.hosts.contains(&host) {
                        names.hosts.push(host);
                    }
                }
            }
        }
        names
    }

    fn listener(
        &mut self,
        address: &str,
        socket: &Socket,
        default: Option<usize>,
        servers: &[Server<'a>],
    ) -> String {
        let mut section = Section::default();
        section.comment(format!("listen {address}, for {}", socket.lines.join(", ")));
        section.set("address", address);
        let at = |index: &usize| servers.get(*index);
        let first = default.as_ref().and_then(at);
        if socket.tls {
            let order = default.iter().chain(socket.servers.iter().filter(|index| Some(**index) != default));
            let tls = self.certificates(order.filter_map(at), &mut section);
            section.set("tls", tls);
        }
        if let Some(server) = first {
            self.client_timeouts(&server.scope, &mut section);
        }
        let port = address.rsplit(':').next().unwrap_or_default();
        let kind = match (port, socket.tls) {
            ("80", false) => "http".to_owned(),
            ("443", true) => "https".to_owned(),
            _ => format!("port-{port}"),
        };
        let kind = if address.starts_with('[') { format!("{kind}-v6") } else { kind };
        self.draft.listeners.add_always(&kind, section)
    }

    fn certificates<'s>(
        &mut self,
        servers: impl Iterator<Item = &'s Server<'a>>,
        section: &mut Section,
    ) -> Value
    where
        'a: 's,
    {
        let mut certificates: Vec<Value> = Vec::new();
        let mut oldest = None;
        for server in servers {
            let certs = server.scope.all("ssl_certificate");
            let keys = server.scope.all("ssl_certificate_key");
            for (cert, key) in certs.iter().zip(&keys) {
                if !crate::template::is_literal(cert.arg(0)) || cert.arg(0).starts_with("data:") {
                    self.say(section, cert, Verdict::Refused, "a certificate is a file: name it");
                    continue;
                }
                self.report.note(cert, Verdict::Converted, "");
                self.report.note(key, Verdict::Converted, "");
                let pair = Value::table([
                    ("cert", Value::from(self.path(cert.arg(0)))),
                    ("key", Value::from(self.path(key.arg(0)))),
                ]);
                if !certificates.contains(&pair) {
                    certificates.push(pair);
                }
            }
            if let Some(protocols) = server.scope.one("ssl_protocols") {
                let only_new = protocols.args.iter().all(|word| word == "TLSv1.3");
                let has_old =
                    protocols.args.iter().any(|word| matches!(word.as_str(), "TLSv1" | "TLSv1.1" | "SSLv3"));
                oldest = Some(oldest.unwrap_or(true) && only_new);
                if has_old {
                    let note = "TLS 1.2 is the oldest version that is spoken";
                    self.say(section, protocols, Verdict::Approximated, note);
                } else {
                    self.report.note(protocols, Verdict::Converted, "");
                }
            }
        }
        if certificates.is_empty() {
            section.comment("TO FILL IN: nginx names no certificate for this listener");
        }
        let mut tls = vec![("certificates".to_owned(), Value::List(certificates))];
        if oldest == Some(true) {
            tls.push(("min-version".to_owned(), Value::from("1.3")));
        }
        Value::Table(tls)
    }

    fn client_timeouts(&mut self, scope: &Scope<'_>, section: &mut Section) {
        for (directive, key) in [("client_header_timeout", "request-head"), ("keepalive_timeout", "idle")] {
            let Some(found) = scope.one(directive) else { continue };
            match units::milliseconds(found.arg(0)) {
                Some(0) => {
                    self.say(section, found, Verdict::Approximated, "0 has no counterpart: the default holds")
                }
                Some(time) => {
                    self.report.note(found, Verdict::Converted, "");
                    section.set_in("timeouts", key, units::duration(time));
                }
                None => self.say(section, found, Verdict::Refused, "this time cannot be read"),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Flags {
    tls: bool,
    http2: bool,
    default: bool,
}

/// Returns the address and port of a `listen`, or `None` for what is no IP socket.
fn socket_address(text: &str) -> Option<String> {
    if text.starts_with("unix:") {
        return None;
    }
    if let Ok(port) = text.parse::<u16>() {
        return Some(format!("0.0.0.0:{port}"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port)
        }
        _ => (text, "80"),
    };
    let host = match host {
        "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let address = format!("{host}:{port}");
    address.parse::<std::net::SocketAddr>().ok().map(|address| address.to_string())
}

/// Returns whether this is a plain name of a host, or an address.
pub(crate) fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
