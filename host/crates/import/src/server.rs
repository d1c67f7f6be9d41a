//! The routes of a server.

use crate::condition::{Condition, condition};
use crate::context::Import;
use crate::draft::Section;
use crate::listen::Server;
use crate::location::{Kind, Spot, Taken, taken};
use crate::report::Verdict;
use crate::syntax::Directive;
use crate::value::Value;

/// What a route belongs to: some of a server's listeners, and its hosts or all that no other server has.
#[derive(Debug, Clone)]
struct Place {
    listeners: Vec<String>,
    hosts: Vec<Value>,
    /// What some requests get in place of the answer of their location.
    instead: Vec<(Condition, Section)>,
}

/// Directives that change nothing of who may see what.
const HARMLESS: [&str; 12] = [
    "expires",
    "add_header",
    "access_log",
    "log_not_found",
    "gzip",
    "gzip_static",
    "etag",
    "gzip_types",
    "gzip_comp_level",
    "gzip_vary",
    "default_type",
    "gzip_min_length",
];

/// An `if` of a server or a location, with what it answers.
type Branch<'a> = (&'a Directive, Condition, &'a Directive);

impl<'a> Import<'a> {
    /// Makes the routes of a server. `listeners` is the number of all listeners there are.
    pub(crate) fn server(&mut self, server: &Server<'a>, listeners: usize) {
        let spots = self.spots(&server.scope);
        let mut places = Vec::new();
        for default in [true, false] {
            let of = server.listens.iter().filter(|(_, is)| *is == default).map(|(name, _)| name.clone());
            let hosts = if default { Vec::new() } else { server.names.hosts.clone() };
            let place = Place { listeners: of.collect(), hosts, instead: Vec::new() };
            if place.listeners.is_empty() {
                continue;
            }
            if !default && place.hosts.is_empty() {
                let note =
                    "no request reaches it on its listeners: it has no name there and is not the default";
                self.report.note(server.directive, Verdict::Approximated, note);
                continue;
            }
            places.push(place);
        }
        for place in places {
            self.place_routes(server, &spots, place, listeners);
        }
        for spot in &spots {
            if let Kind::Regex { .. } = spot.kind
                && let Some(directive) = spot.directive
            {
                self.report.note(
                    directive,
                    Verdict::Refused,
                    "regular expressions are not translated yet: write a route with `match.path = { regex = ... }` and a `priority`",
                );
            }
        }
    }

    fn place_routes(&mut self, server: &Server<'a>, spots: &[Spot<'a>], mut place: Place, listeners: usize) {
        let label = server.names.first.clone().unwrap_or_else(|| "site".to_owned());
        let name = server.names.first.as_deref();
        let scope = &server.scope;
        for (directive, condition, answer) in self.branches(scope.own()) {
            let mut section = Section::default();
            section.comment(format!("{} if", self.place(directive.place)));
            self.answer(&mut section, answer, scope, name);
            let mut at = place.clone();
            match condition {
                Condition::Host(hosts) => {
                    at.hosts = hosts.into_iter().map(Value::from).collect();
                    let had = !place.hosts.is_empty();
                    place.hosts.retain(|host| !at.hosts.contains(host));
                    if had && place.hosts.is_empty() {
                        place.listeners.clear();
                    }
                }
                Condition::OtherHost(host) => {
                    at.hosts.retain(|other| *other != Value::from(host.as_str()));
                    place.hosts = vec![Value::from(host)];
                    if at.hosts.is_empty() && !place.hosts.is_empty() && !server.names.hosts.is_empty() {
                        let is_default = server
                            .listens
                            .iter()
                            .any(|(name, default)| *default && at.listeners.contains(name));
                        if !is_default {
                            continue;
                        }
                    }
                }
                Condition::Plain => {
                    let tls = |name: &String| self.is_tls(name);
                    let (secure, plain): (Vec<String>, Vec<String>) =
                        place.listeners.iter().cloned().partition(tls);
                    if plain.is_empty() {
                        continue;
                    }
                    at.listeners = plain;
                    place.listeners = secure;
                }
                condition => {
                    // It is one more of each route of the server.
                    place.instead.push((condition, section));
                    continue;
                }
            }
            self.add(&label, section, &at, "/*", &[], listeners);
            if place.listeners.is_empty() {
                return;
            }
        }
        let mut section = Section::default();
        section.comment(format!("{} server {label}", self.place(server.directive.place)));
        let ret = scope.own_one("return");
        if self.rewrites(&mut section, scope, name) || ret.is_some() {
            if let (Some(ret), None) = (ret, section.get("redirect")) {
                self.answer(&mut section, ret, scope, name);
            }
            self.finish(&mut section, &spots[0], name, false);
            self.add(&label, section, &place, "/*", &[], listeners);
            for spot in spots.iter().filter_map(|spot| spot.directive) {
                self.report.note_all(
                    spot,
                    Verdict::Unneeded,
                    "the server answers before it comes to locations",
                );
            }
            return;
        }
        for one in taken(spots) {
            let Some(spot) = spots.get(one.spot) else { continue };
            self.route(server, spot, &one, &place, listeners);
        }
    }

    /// Returns the `if` blocks that a route can say.
    fn branches(&mut self, block: &'a [Directive]) -> Vec<Branch<'a>> {
        let mut branches = Vec::new();
        for directive in block.iter().filter(|inner| inner.name == "if") {
            let answer = match directive.inner() {
                [one] if one.name == "return" => Some(one),
                _ => None,
            };
            match (condition(directive), answer) {
                (Some(condition), Some(answer)) => {
                    self.report.note(directive, Verdict::Converted, "");
                    branches.push((directive, condition, answer));
                }
                _ => {
                    let note =
                        "a route has conditions on host, path, method and fields: write one of its own";
                    self.report.note_all(directive, Verdict::Refused, note);
                }
            }
        }
        branches
    }

    fn route(&mut self, server: &Server<'a>, spot: &Spot<'a>, one: &Taken, place: &Place, listeners: usize) {
        let label = server.names.first.clone().unwrap_or_else(|| "site".to_owned());
        let name = server.names.first.as_deref();
        let mut section = Section::default();
        match spot.directive {
            Some(directive) => {
                let line = format!("{} location {}", self.place(directive.place), directive.args.join(" "));
                section.comment(line);
                if let Some(note) = &one.note {
                    self.say(&mut section, directive, Verdict::Approximated, note);
                }
            }
            None => section.comment(format!("{} server {label}", self.place(server.directive.place))),
        }
        if one.to_slash {
            section.comment("nginx adds the slash");
            let redirect =
                [("to", Value::from(format!("{}/{{query}}", one.path))), ("status", Value::Number(301))];
            section.set("redirect", Value::table(redirect));
            self.response_fields(&mut section, &spot.scope);
        } else {
            self.act(&mut section, spot, &one.path, name);
            self.before(&mut section, server, spot);
        }
        let mut instead = place.instead.clone();
        if !one.to_slash && spot.kind != Kind::Server {
            instead.extend(self.instead(spot, name));
        }
        let mut own = Vec::new();
        if instead.len() > 1 {
            section.comment("TO DO: nginx has several conditions here: write a route for each");
            section.closed = true;
            instead.clear();
        }
        for (condition, other) in instead {
            let entry = |key: &str, value: Value| vec![(key.to_owned(), value)];
            let field = |name: String, value: Value| entry("headers", Value::Table(vec![(name, value)]));
            let (when, otherwise) = match condition {
                Condition::Method(list) => (entry("method", methods(&list)), Vec::new()),
                Condition::OtherMethod(list) => (Vec::new(), entry("method", methods(&list))),
                Condition::Field(name, value) => (field(name, value), Vec::new()),
                Condition::OtherField(name, value) => (Vec::new(), field(name, value)),
                _ => continue,
            };
            self.add(&label, other, place, &one.path, &when, listeners);
            own = otherwise;
        }
        self.add(&label, section, place, &one.path, &own, listeners);
    }

    /// Returns what some requests to a location get in place of its answer.
    fn instead(&mut self, spot: &Spot<'a>, name: Option<&str>) -> Vec<(Condition, Section)> {
        let mut instead = Vec::new();
        for (directive, condition, answer) in self.branches(spot.scope.own()) {
            let mut section = Section::default();
            section.comment(format!("{} if", self.place(directive.place)));
            if matches!(condition, Condition::Host(_) | Condition::OtherHost(_) | Condition::Plain) {
                let note = "hosts and TLS are told apart for a whole server, or by a route of its own";
                self.report.note_all(directive, Verdict::Refused, note);
                continue;
            }
            self.answer(&mut section, answer, &spot.scope, name);
            instead.push((condition, section));
        }
        for limit in spot.scope.own().iter().filter(|inner| inner.name == "limit_except") {
            let mut section = Section::default();
            section.comment(format!("{} limit_except", self.place(limit.place)));
            match limit.inner() {
                [deny] if deny.name == "deny" && deny.arg(0) == "all" => {
                    self.report.note_all(limit, Verdict::Converted, "");
                    section.set("respond", Value::table([("status", Value::Number(403))]));
                }
                _ => {
                    self.report.note_all(limit, Verdict::Refused, "all other methods are answered 503");
                    section.closed = true;
                }
            }
            instead.push((Condition::OtherMethod(limit.args.clone()), section));
        }
        instead
    }

    /// Closes a route that nginx would guard, or answer otherwise, by what cannot be said: a regular expression that is
    /// tried before it, or an `if` that refuses.
    fn before(&mut self, section: &mut Section, server: &Server<'a>, spot: &Spot<'a>) {
        let guards = |inner: &&'a Directive| {
            inner.name == "if"
                && self.report.is_refused(inner)
                && inner
                    .inner()
                    .iter()
                    .any(|one| one.name == "deny" || (one.name == "return" && one.arg(0).starts_with('4')))
        };
        let ifs: Vec<&'a Directive> =
            server.scope.own().iter().chain(spot.scope.own()).filter(guards).collect();
        for guard in ifs {
            self.close(section, guard, "it may refuse requests here");
        }
        if !matches!(spot.kind, Kind::Prefix { stop: false, .. } | Kind::Server) {
            return;
        }
        for regex in regexes(server.scope.own()) {
            let harmless = regex.inner().iter().all(|inner| HARMLESS.contains(&inner.name.as_str()));
            if !harmless {
                self.close(section, regex, "it comes before this location for some paths");
            }
        }
    }

    /// Says what a route does.
    fn act(&mut self, section: &mut Section, spot: &Spot<'a>, path: &str, name: Option<&str>) {
        if let Some(internal) = spot.scope.own_one("internal") {
            self.report.note(internal, Verdict::Converted, "");
            section.set("respond", Value::table([("status", Value::Number(404))]));
            return;
        }
        // nginx answers these before it asks who may come.
        let guarded = spot.scope.own_one("return").is_none();
        if self.rewrites(section, &spot.scope, name) {
            return self.finish(section, spot, name, false);
        }
        if let Some(ret) = spot.scope.own_one("return") {
            self.answer(section, ret, &spot.scope, name);
        } else if let Some(pass) =
            spot.scope.own().iter().find(|inner| matches!(inner.name.as_str(), "proxy_pass" | "grpc_pass"))
        {
            self.forward(section, spot, pass, path);
        } else if let Some(other) = spot.proxies() {
            let note = format!("`{}` speaks a protocol that the gateway does not", other.name);
            let found = spot.scope.own_one(&other.name);
            if let Some(found) = found {
                self.close(section, found, &note);
            }
        } else {
            self.files(section, spot, path);
        }
        self.finish(section, spot, name, guarded);
    }

    /// Says what holds for every action: guards, fields, compression.
    fn finish(&mut self, section: &mut Section, spot: &Spot<'a>, name: Option<&str>, guarded: bool) {
        let mut policies = if guarded { self.guards(section, &spot.scope) } else { Vec::new() };
        if section.refuses {
            section.entries = vec![("respond".to_owned(), Value::table([("status", Value::Number(403))]))];
            policies.clear();
        }
        let forwards = section.get("to").is_some();
        if forwards {
            self.cache(section, &spot.scope);
            policies.extend(self.request_fields(section, &spot.scope, name));
        }
        self.response_fields(section, &spot.scope);
        if !policies.is_empty() {
            section.set("use", Value::texts(policies));
        }
        let compress = self.compression(&spot.scope);
        if compress != self.compress {
            section.set("compress", compress);
        }
    }

    fn add(
        &mut self,
        label: &str,
        mut section: Section,
        place: &Place,
        path: &str,
        when: &[(String, Value)],
        listeners: usize,
    ) {
        let mut matches = Vec::new();
        match &place.hosts[..] {
            [] => (),
            [one] => matches.push(("host".to_owned(), one.clone())),
            several => matches.push(("host".to_owned(), Value::List(several.to_vec()))),
        }
        if path != "/*" {
            matches.push(("path".to_owned(), Value::from(path)));
        }
        matches.extend(when.iter().cloned());
        let mut before = Vec::new();
        if !matches.is_empty() {
            before.push(("match".to_owned(), Value::Table(matches)));
        }
        if place.listeners.len() < listeners {
            before.push(("listeners".to_owned(), Value::texts(place.listeners.iter().cloned())));
        }
        section.entries.splice(0..0, before);
        let place = if path == "/*" { label.to_owned() } else { format!("{label}{path}") };
        self.draft.routes.add_always(&place, section);
    }

    fn is_tls(&self, listener: &str) -> bool {
        self.draft.listeners.get(listener).is_some_and(|section| section.get("tls").is_some())
    }
}

/// Returns the locations with regular expressions, however deep.
fn regexes(block: &[Directive]) -> Vec<&Directive> {
    let mut found = Vec::new();
    for location in block.iter().filter(|inner| inner.name == "location") {
        if location.arg(0).starts_with('~') {
            found.push(location);
        }
        found.extend(regexes(location.inner()));
    }
    found
}

/// Returns methods as `match.method` has them: GET takes HEAD.
fn methods(list: &[String]) -> Value {
    let mut methods: Vec<String> = list.iter().map(|method| method.to_ascii_uppercase()).collect();
    if methods.iter().any(|method| method == "GET") {
        methods.retain(|method| method != "HEAD");
    }
    Value::one_or_list(&methods)
}
