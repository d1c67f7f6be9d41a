//! `proxy_pass` and `grpc_pass`: what is sent to which server, and how.

use crate::context::Import;
use crate::draft::Section;
use crate::listen::is_host;
use crate::location::{Kind, Spot};
use crate::report::Verdict;
use crate::scope::Scope;
use crate::syntax::Directive;
use crate::template::is_literal;
use crate::units;
use crate::upstream::Destination;
use crate::value::Value;

/// A `proxy_pass` taken apart.
struct Target<'t> {
    tls: bool,
    h2: bool,
    /// As it was written: for `Host`.
    authority: &'t str,
    host: &'t str,
    port: u16,
    uri: Option<&'t str>,
}

impl<'a> Import<'a> {
    /// Makes a route send requests on. `path` is its `match.path`.
    pub(crate) fn forward(
        &mut self,
        section: &mut Section,
        spot: &Spot<'a>,
        pass: &'a Directive,
        path: &str,
    ) {
        let Some(target) = target(pass) else {
            let note =
                "variables in the address are not looked up for each request: write a route for each value";
            self.say(section, pass, Verdict::Refused, note);
            section.closed = true;
            return;
        };
        let mut fields = Vec::new();
        if target.h2 {
            fields.push(("protocol".to_owned(), Value::from("h2")));
        }
        if target.tls {
            let tls = self.tls_to(section, &spot.scope, pass);
            fields.push(("tls".to_owned(), tls));
        }
        let timeouts = self.timeouts(&spot.scope);
        if !timeouts.is_empty() {
            fields.push(("timeouts".to_owned(), Value::Table(timeouts)));
        }
        let destination = match self.upstream(target.host, target.port, fields) {
            Ok(destination) => destination,
            Err(reason) => {
                self.say(section, pass, Verdict::Refused, &reason);
                section.closed = true;
                return;
            }
        };
        self.report.note(pass, Verdict::Converted, "");
        section.set("to", destination.name.as_str());
        if let Some(uri) = target.uri {
            self.path_to(section, spot, pass, uri, path);
        }
        self.host_to(section, &spot.scope, &target);
        self.next_upstream(section, &spot.scope, &destination);
        self.body_size(section, &spot.scope);
    }

    fn path_to(&mut self, section: &mut Section, spot: &Spot<'a>, pass: &Directive, uri: &str, path: &str) {
        let uri = uri.split(['?', '#']).next().unwrap_or_default();
        let rewritten = match &spot.kind {
            Kind::Exact(_) => uri.to_owned(),
            Kind::Prefix { path: prefix, .. }
                if !path.ends_with("/*") && prefix.trim_end_matches('/') == path =>
            {
                uri.to_owned()
            }
            Kind::Prefix { path: prefix, .. } => match (prefix.ends_with('/'), uri.strip_suffix('/')) {
                (true, Some(base)) => format!("{base}{{rest}}"),
                (false, None) => format!("{uri}{{rest}}"),
                (true, None) => {
                    let note =
                        format!("nginx asks for {uri}x, and this for {uri}/x: a slash seems to be missing");
                    self.say(section, pass, Verdict::Approximated, &note);
                    format!("{uri}{{rest}}")
                }
                (false, Some(base)) => {
                    let note = format!("nginx asks for {base}//x, and this for {base}/x");
                    self.say(section, pass, Verdict::Approximated, &note);
                    format!("{base}{{rest}}")
                }
            },
            _ => return,
        };
        if rewritten != "{rest}" || path != "/*" {
            section.set_in("rewrite", "path", rewritten);
        }
    }

    fn host_to(&mut self, section: &mut Section, scope: &Scope<'a>, target: &Target<'_>) {
        let fields = if target.h2 { "grpc_set_header" } else { "proxy_set_header" };
        let own = scope.all(fields).into_iter().rfind(|set| set.arg(0).eq_ignore_ascii_case("host"));
        let written = own.map_or("$proxy_host", |set| set.arg(1));
        let value = match written {
            "$host" | "$http_host" | "$host:$server_port" | "$host:$proxy_port" | "$server_name" => {
                if let Some(set) = own {
                    self.report.note(set, Verdict::Converted, "");
                }
                return;
            }
            "$proxy_host" => target.authority,
            other if is_literal(other) => other,
            other => {
                let note = format!("`{other}` has no counterpart for `Host`: the client's is passed on");
                if let Some(set) = own {
                    self.say(section, set, Verdict::Refused, &note);
                }
                return;
            }
        };
        let name = value.rsplit_once(':').map_or(value, |(host, _)| host);
        if is_host(name) || value.starts_with('[') {
            if let Some(set) = own {
                self.report.note(set, Verdict::Converted, "");
            }
            section.set_in("rewrite", "host", Value::table([("value", Value::from(value))]));
        } else {
            section.comment(format!(
                "approximated: nginx sends `Host: {value}`, which is not the name of a host"
            ));
        }
    }

    fn tls_to(&mut self, section: &mut Section, scope: &Scope<'a>, pass: &Directive) -> Value {
        let mut tls = Vec::new();
        if let Some(name) = scope.one("proxy_ssl_name").filter(|name| is_literal(name.arg(0))) {
            self.report.note(name, Verdict::Converted, "");
            tls.push(("server-name".to_owned(), Value::from(name.arg(0))));
        }
        if let Some(ca) = scope.one("proxy_ssl_trusted_certificate") {
            self.report.note(ca, Verdict::Converted, "");
            tls.push(("ca".to_owned(), Value::from(self.path(ca.arg(0)))));
        }
        match scope.one("proxy_ssl_verify") {
            Some(verify) if verify.arg(0) == "on" => self.report.note(verify, Verdict::Converted, ""),
            Some(verify) => {
                let note =
                    "certificates are not verified, as nginx was told: anyone on the way can read everything";
                self.say(section, verify, Verdict::Converted, note);
                tls = vec![("insecure-skip-verify".to_owned(), Value::from(true))];
            }
            None => {
                let note = "the certificate is verified, which nginx does not do by itself: see `ca` and \
                            `server-name` of `tls`";
                self.say(section, pass, Verdict::Approximated, note);
            }
        }
        if tls.is_empty() { Value::from(true) } else { Value::Table(tls) }
    }

    fn next_upstream(&mut self, section: &mut Section, scope: &Scope<'a>, destination: &Destination) {
        let written = scope.one("proxy_next_upstream").or_else(|| scope.one("grpc_next_upstream"));
        let words: Vec<&str> = match written {
            Some(written) => written.args.iter().map(String::as_str).collect(),
            None => vec!["error", "timeout"],
        };
        let mut on = Vec::new();
        let mut again = false;
        for word in words {
            match word {
                "error" => on.push(Value::from("reset")),
                "timeout" => on.push(Value::from("timeout")),
                "non_idempotent" => again = true,
                // A response that is not HTTP ends its connection here.
                "off" | "invalid_header" => (),
                status => match status.strip_prefix("http_").and_then(|status| status.parse::<u64>().ok()) {
                    Some(status) if (500..=599).contains(&status) || status == 429 => {
                        on.push(Value::Number(status))
                    }
                    _ => {
                        if let Some(written) = written {
                            let note = format!("`{status}` is no reason for a retry here");
                            self.say(section, written, Verdict::Refused, &note);
                        }
                    }
                },
            }
        }
        if let Some(written) = written {
            self.report.note(written, Verdict::Converted, "");
        }
        let tries = scope.one("proxy_next_upstream_tries");
        if let Some(tries) = tries {
            self.report.note(tries, Verdict::Converted, "");
        }
        if destination.servers < 2 {
            return;
        }
        if on.is_empty() {
            section.set("attempts", 1);
            return;
        }
        let tries = tries.and_then(|tries| tries.arg(0).parse::<u64>().ok()).filter(|tries| *tries > 0);
        let servers = destination.servers as u64;
        section.set("attempts", tries.unwrap_or(servers).min(servers));
        let mut retry = vec![("on".to_owned(), Value::List(on))];
        if again {
            retry.push(("non-idempotent".to_owned(), Value::from(true)));
        }
        section.set("retry", Value::Table(retry));
    }

    fn body_size(&mut self, section: &mut Section, scope: &Scope<'a>) {
        let bytes = match scope.one("client_max_body_size") {
            None => 1 << 20,
            Some(written) => match units::bytes(written.arg(0)) {
                Some(bytes) => {
                    self.report.note(written, Verdict::Converted, "");
                    bytes
                }
                None => return self.say(section, written, Verdict::Refused, "this size cannot be read"),
            },
        };
        // The gateway has no limit by itself.
        if bytes > 0 {
            section.set("limits", Value::table([("body", Value::from(units::size(bytes)))]));
        }
    }
}

fn target(pass: &Directive) -> Option<Target<'_>> {
    let text = pass.arg(0);
    let grpc = pass.name == "grpc_pass";
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None if grpc => ("grpc", text),
        None => return None,
    };
    let tls = matches!(scheme, "https" | "grpcs");
    let (authority, uri) = match rest.find('/') {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => match rest.strip_suffix("$request_uri") {
            Some(authority) => (authority, None),
            None => (rest, None),
        },
    };
    if !is_literal(authority) || !is_literal(uri.unwrap_or_default()) || authority.is_empty() {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) if !host.is_empty() => (host, port),
        _ => (authority, if tls { 443 } else { 80 }),
    };
    Some(Target { tls, h2: grpc, authority, host, port, uri })
}
