//! `return` and `rewrite`: answers without an upstream, and other paths.

use crate::context::Import;
use crate::draft::Section;
use crate::report::Verdict;
use crate::scope::Scope;
use crate::syntax::Directive;
use crate::template;
use crate::value::Value;

impl<'a> Import<'a> {
    /// Makes a route answer as a `return` does.
    pub(crate) fn answer(
        &mut self,
        section: &mut Section,
        ret: &Directive,
        scope: &Scope<'a>,
        server: Option<&str>,
    ) {
        let first = ret.arg(0);
        let (status, text) = match first.parse::<u64>() {
            Ok(status) => (status, ret.args.get(1).map(String::as_str)),
            // A URL alone.
            Err(_) => (302, Some(first)),
        };
        match (status, text) {
            (301 | 302 | 303 | 307 | 308, Some(url)) => self.redirect(section, ret, url, status, server),
            (444, _) => {
                let note = "a connection is not closed without an answer: it is 403";
                self.say(section, ret, Verdict::Approximated, note);
                section.set("respond", Value::table([("status", Value::Number(403))]));
            }
            (200..=599, None) => {
                self.report.note(ret, Verdict::Converted, "");
                section.set("respond", Value::table([("status", Value::Number(status))]));
            }
            (200..=599, Some(text)) if template::is_literal(text) => {
                self.report.note(ret, Verdict::Converted, "");
                let mut respond = vec![("status".to_owned(), Value::Number(status))];
                if !text.is_empty() && !matches!(status, 204 | 304) {
                    respond.push(("body".to_owned(), Value::from(text)));
                    let mut added = scope.all("add_header").into_iter();
                    let added = added.rfind(|field| field.arg(0).eq_ignore_ascii_case("content-type"));
                    let media = added.map_or_else(
                        || scope.value("default_type").unwrap_or("text/plain"),
                        |field| field.arg(1),
                    );
                    let fields = Value::table([("content-type", Value::from(media))]);
                    respond.push(("headers".to_owned(), fields));
                }
                section.set("respond", Value::Table(respond));
            }
            _ => self.close(section, ret, "an answer is the same for every request, without variables"),
        }
    }

    /// Makes a route send clients elsewhere.
    fn redirect(
        &mut self,
        section: &mut Section,
        directive: &Directive,
        url: &str,
        status: u64,
        server: Option<&str>,
    ) {
        match template::with_braces(url, server, &|_| None) {
            Ok(to) if to.is_empty() => self.close(section, directive, "it leads nowhere"),
            Ok(to) => {
                self.report.note(directive, Verdict::Converted, "");
                let redirect = [("to", Value::from(to)), ("status", Value::Number(status))];
                section.set("redirect", Value::table(redirect));
            }
            Err(variable) => {
                let note = format!("`${variable}` has no counterpart in `redirect`");
                self.close(section, directive, &note);
            }
        }
    }

    /// Carries out the `rewrite` directives of a location, as far as they can be said. Returns whether the route is
    /// complete by that.
    pub(crate) fn rewrites(
        &mut self,
        section: &mut Section,
        scope: &Scope<'a>,
        server: Option<&str>,
    ) -> bool {
        for rewrite in scope.own().iter().filter(|inner| inner.name == "rewrite") {
            let (regex, to, flag) = (rewrite.arg(0), rewrite.arg(1), rewrite.arg(2));
            let leads_away = to.starts_with("http://")
                || to.starts_with("https://")
                || to.starts_with("$scheme")
                || flag == "redirect";
            let everything = matches!(regex, "^" | ".*" | "^.*$" | "^/" | "^(.*)$" | "^(.*)");
            if everything && (leads_away || flag == "permanent") {
                let status = if flag == "permanent" { 301 } else { 302 };
                // nginx adds the arguments, unless the text ends in `?`.
                let url = match to.strip_suffix('?') {
                    Some(to) => to.to_owned(),
                    None => format!("{to}$is_args$args"),
                };
                let url = url.replace("$1", "$uri").replace("$request_uri$is_args$args", "$request_uri");
                self.redirect(section, rewrite, &url, status, server);
                return true;
            }
            let note = "the path that a regular expression makes has no counterpart yet: see `rewrite` and `redirect`";
            self.say(section, rewrite, Verdict::Refused, note);
        }
        false
    }
}
