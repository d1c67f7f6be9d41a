//! From a tree of directives to the text of a configuration.

use crate::context::Import;
use crate::report::{Report, Verdict};
use crate::scope::Scope;
use crate::syntax::{Directive, Tree};
use crate::table;
use crate::value::Value;

/// A configuration that was translated.
#[derive(Debug)]
pub struct Translation {
    /// The text of the gateway's configuration.
    pub toml: String,
    /// What became of each directive.
    pub report: Report,
}

/// Translates a configuration of nginx. `folder` is what relative paths in it start from.
#[must_use]
pub fn translate(tree: &Tree, folder: &str) -> Translation {
    let mut import = Import::new(tree, folder);
    let main = tree.files.first().map_or("", String::as_str);
    import.draft.head.push(format!(
        "Made of {main} by `portcullis import`. Places are those of its lines. Lines with REFUSED and TO FILL IN are \
         for you."
    ));
    for http in tree.directives.iter().filter(|directive| directive.name == "http") {
        import.report.note(http, Verdict::Converted, "");
        import.http(http);
    }
    for directive in &tree.directives {
        import.rest(directive);
    }
    Translation { toml: import.draft.render(), report: import.report }
}

impl<'a> Import<'a> {
    fn http(&mut self, http: &'a Directive) {
        for inner in http.inner() {
            let zone = match inner.name.as_str() {
                "upstream" => {
                    self.groups.insert(inner.arg(0), inner);
                    continue;
                }
                "limit_req_zone" => inner.args.iter().find_map(|word| word.strip_prefix("zone=")),
                "proxy_cache_path" => inner.args.iter().find_map(|word| word.strip_prefix("keys_zone=")),
                _ => continue,
            };
            let zone = zone.and_then(|zone| zone.split(':').next()).unwrap_or_default();
            self.zones.insert(format!("{} {zone}", inner.name), inner);
        }
        let scope = Scope::new(http.inner());
        self.compress = self.compression(&scope);
        if self.compress != Value::Flag(false) {
            let compress = self.compress.clone();
            self.draft.server.set("compress", compress);
        }
        self.real_address(http);
        self.access_log(&scope);
        let servers = self.servers(http);
        let mut listeners: Vec<&str> =
            servers.iter().flat_map(|server| server.listens.iter().map(|(name, _)| name.as_str())).collect();
        listeners.sort_unstable();
        listeners.dedup();
        let count = listeners.len();
        for server in &servers {
            self.server(server, count);
        }
    }

    /// `set_real_ip_from` and what belongs to it. The gateway knows one list of proxies for all listeners.
    fn real_address(&mut self, http: &'a Directive) {
        let servers = http.inner().iter().filter(|inner| inner.name == "server");
        let blocks: Vec<&[Directive]> =
            std::iter::once(http.inner()).chain(servers.map(|inner| inner.inner())).collect();
        let mut proxies: Vec<String> = Vec::new();
        for (i, directive) in
            blocks.iter().enumerate().flat_map(|(i, block)| block.iter().map(move |inner| (i, inner)))
        {
            match (directive.name.as_str(), directive.arg(0)) {
                ("set_real_ip_from", network)
                    if network.starts_with(|first: char| first.is_ascii_hexdigit()) =>
                {
                    let (verdict, note) = match i {
                        0 => (Verdict::Converted, ""),
                        _ => (Verdict::Approximated, "it holds for all listeners"),
                    };
                    self.report.note(directive, verdict, note);
                    if let Some(network) = crate::access::network_of(network)
                        && !proxies.contains(&network)
                    {
                        proxies.push(network);
                    }
                }
                ("set_real_ip_from", _) => {
                    self.report.note(directive, Verdict::Refused, "a network or an address is named");
                }
                ("real_ip_header", name) if name.eq_ignore_ascii_case("x-forwarded-for") => {
                    self.report.note(directive, Verdict::Converted, "");
                }
                ("real_ip_header", _) => {
                    let note = "the address is taken from `X-Forwarded-For` and `Forwarded` alone";
                    self.report.note(directive, Verdict::Refused, note);
                }
                ("real_ip_recursive", "off") => {
                    let note = "addresses of trusted proxies are passed over, as with `on`";
                    self.report.note(directive, Verdict::Approximated, note);
                }
                ("real_ip_recursive", _) => self.report.note(directive, Verdict::Converted, ""),
                _ => (),
            }
        }
        if !proxies.is_empty() {
            self.draft.server.set("trusted-proxies", Value::texts(proxies));
        }
    }

    fn access_log(&mut self, scope: &Scope<'a>) {
        for log in scope.all("access_log") {
            if log.arg(0) == "off" {
                self.report.note(log, Verdict::Converted, "");
                self.draft.server.set("access-log", Value::table([("format", Value::from("off"))]));
            } else {
                let note =
                    "the log goes to standard output, in the gateway's own format: see `server.access-log`";
                self.report.note(log, Verdict::Approximated, note);
            }
        }
    }

    /// Gives every directive a verdict that has none yet.
    fn rest(&mut self, directive: &Directive) {
        if !self.report.knows(directive) {
            let (verdict, note) = match directive.name.as_str() {
                "access_log" => {
                    (Verdict::Approximated, "all requests are in the one log: see `server.access-log`")
                }
                name => table::otherwise(name),
            };
            self.report.note(directive, verdict, note);
            if verdict == Verdict::Refused || directive.name == "types" || directive.name == "map" {
                for inner in directive.inner() {
                    self.report.note_all(inner, verdict, &format!("stands in `{}`", directive.name));
                }
                return;
            }
        }
        for inner in directive.inner() {
            self.rest(inner);
        }
    }
}
