//! `proxy_cache` and what belongs to it.

use crate::context::Import;
use crate::draft::Section;
use crate::report::Verdict;
use crate::scope::Scope;
use crate::template::{Piece, pieces};
use crate::units;
use crate::value::Value;

impl<'a> Import<'a> {
    /// Gives a route a cache, if it has one.
    pub(crate) fn cache(&mut self, section: &mut Section, scope: &Scope<'a>) {
        let Some(used) = scope.one("proxy_cache") else { return };
        let zone = used.arg(0);
        if zone == "off" {
            return self.report.note(used, Verdict::Converted, "");
        }
        let Some(path) = self.zones.get(&format!("proxy_cache_path {zone}")).copied() else {
            return self.say(section, used, Verdict::Refused, "its zone is not there");
        };
        self.report.note(used, Verdict::Converted, "");
        let word = |key: &str| path.args.iter().find_map(|word| word.strip_prefix(key));
        let mut cache = Section::default();
        cache.comment(format!("{} zone {zone}", self.place(path.place)));
        let size = word("max_size=").and_then(units::bytes).unwrap_or(10 << 30);
        let note = "kept in memory. For a disk make a folder that belongs to the gateway's user, and add";
        self.report.note(path, Verdict::Approximated, "kept in memory; the result has the line for a disk");
        let disk = Value::table([
            ("folder", Value::from(format!("/var/cache/portcullis/{}", crate::draft::name(zone)))),
            ("size", Value::from(units::size(size))),
        ]);
        cache.comment(format!("approximated: {note} `disk = {disk}`"));
        cache.set("memory", "64MiB");
        let name = self.draft.caches.add(zone, cache);
        let mut route = vec![("store".to_owned(), Value::from(name))];
        self.lifetimes(section, scope, &mut route);
        self.stale(scope, word("inactive="), &mut route);
        self.key(section, scope, &mut route);
        self.bypass(section, scope, &mut route);
        for ignored in scope.all("proxy_ignore_headers") {
            if ignored.args.iter().any(|field| !field.starts_with("X-Accel")) {
                let note = "what a response says of its lifetime and of `Set-Cookie` comes before `ttl`; \
                            `targeted = \"none\"` leaves out `CDN-Cache-Control` alone";
                self.say(section, ignored, Verdict::Refused, note);
            }
        }
        section.set("cache", Value::Table(route));
    }

    fn lifetimes(&mut self, section: &mut Section, scope: &Scope<'a>, route: &mut Vec<(String, Value)>) {
        let mut ttl: Vec<(String, Value)> = Vec::new();
        for valid in scope.all("proxy_cache_valid") {
            let Some((time, statuses)) = valid.args.split_last() else { continue };
            let Some(time) = units::milliseconds(time) else {
                self.say(section, valid, Verdict::Refused, "this time cannot be read");
                continue;
            };
            if time == 0 {
                self.report.note(valid, Verdict::Converted, "");
                continue;
            }
            let usual = ["200".to_owned(), "301".to_owned(), "302".to_owned()];
            let statuses = if statuses.is_empty() { &usual[..] } else { statuses };
            if statuses.iter().any(|status| status == "any") {
                let note =
                    "`any` leaves out the statuses that one client can bring about, such as 400 and 403";
                self.say(section, valid, Verdict::Approximated, note);
            } else {
                self.report.note(valid, Verdict::Converted, "");
            }
            for status in statuses {
                let keys =
                    if status == "any" { vec!["2xx", "3xx", "4xx", "5xx"] } else { vec![status.as_str()] };
                for key in keys {
                    if !ttl.iter().any(|(other, _)| other == key) {
                        ttl.push((key.to_owned(), Value::from(units::duration(time))));
                    }
                }
            }
        }
        if !ttl.is_empty() {
            route.push(("ttl".to_owned(), Value::Table(ttl)));
        }
    }

    fn stale(&mut self, scope: &Scope<'a>, inactive: Option<&str>, route: &mut Vec<(String, Value)>) {
        let Some(stale) = scope.one("proxy_cache_use_stale") else { return };
        let time = units::duration(inactive.and_then(units::milliseconds).unwrap_or(600_000));
        let mut table = Vec::new();
        if stale.args.iter().any(|word| word == "updating") {
            table.push(("while-revalidate".to_owned(), Value::from(time.clone())));
        }
        if stale.args.iter().any(|word| word != "updating" && word != "off") {
            table.push(("on-error".to_owned(), Value::from(time)));
        }
        if table.is_empty() {
            return self.report.note(stale, Verdict::Converted, "");
        }
        let note = "for the time that `inactive` says, and for 500, 502, 503 and 504 alike";
        self.report.note(stale, Verdict::Approximated, note);
        route.push(("stale".to_owned(), Value::Table(table)));
    }

    fn key(&mut self, section: &mut Section, scope: &Scope<'a>, route: &mut Vec<(String, Value)>) {
        let Some(key) = scope.one("proxy_cache_key") else { return };
        let mut table = Vec::new();
        let (mut has_query, mut fields, mut cookies) = (false, Vec::new(), Vec::new());
        for piece in pieces(key.arg(0)) {
            let Piece::Variable(name) = piece else { continue };
            match name.as_str() {
                "request_uri" | "args" | "query_string" => has_query = true,
                "scheme" | "proxy_host" | "host" | "http_host" | "uri" | "is_args" | "request_method" => (),
                name => match (name.strip_prefix("http_"), name.strip_prefix("cookie_")) {
                    (Some(field), _) => fields.push(field.replace('_', "-")),
                    (_, Some(cookie)) => cookies.push(cookie.to_owned()),
                    _ => {
                        let note = format!("`${name}` has no counterpart in a key: the cache is left out");
                        return self.say(section, key, Verdict::Refused, &note);
                    }
                },
            }
        }
        self.report.note(key, Verdict::Converted, "scheme, host, path and method always count");
        if !has_query {
            table.push(("query".to_owned(), Value::from("none")));
        }
        if !fields.is_empty() {
            table.push(("headers".to_owned(), Value::texts(fields)));
        }
        if !cookies.is_empty() {
            table.push(("cookies".to_owned(), Value::texts(cookies)));
        }
        if !table.is_empty() {
            route.push(("key".to_owned(), Value::Table(table)));
        }
    }

    fn bypass(&mut self, section: &mut Section, scope: &Scope<'a>, route: &mut Vec<(String, Value)>) {
        let (mut headers, mut cookies) = (Vec::new(), Vec::new());
        for directive in ["proxy_cache_bypass", "proxy_no_cache"].into_iter().flat_map(|name| scope.all(name))
        {
            let mut verdict = (Verdict::Converted, "");
            for word in &directive.args {
                match (word.strip_prefix("$http_"), word.strip_prefix("$cookie_")) {
                    (Some("upgrade"), _) => (),
                    (Some(field), _) => {
                        let entry = (field.replace('_', "-"), Value::from(true));
                        if !headers.contains(&entry) {
                            headers.push(entry);
                        }
                    }
                    (_, Some(cookie)) => {
                        let cookie = cookie.to_owned();
                        if !cookies.contains(&cookie) {
                            cookies.push(cookie);
                        }
                    }
                    _ => {
                        verdict =
                            (Verdict::Refused, "a field or a cookie of the request can be named, by `bypass`")
                    }
                }
            }
            if verdict.0 == Verdict::Refused {
                self.say(section, directive, verdict.0, verdict.1);
            } else {
                self.report.note(
                    directive,
                    verdict.0,
                    "`bypass` is both: not answered from there, and not stored",
                );
            }
        }
        let mut table = Vec::new();
        if !headers.is_empty() {
            table.push(("headers".to_owned(), Value::Table(headers)));
        }
        if !cookies.is_empty() {
            table.push(("cookies".to_owned(), Value::texts(cookies)));
        }
        if !table.is_empty() {
            route.push(("bypass".to_owned(), Value::Table(table)));
        }
    }
}
