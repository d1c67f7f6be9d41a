//! `match` of a route.

use ipnet::IpNet;
use portcullis_model::{Condition, HostPattern, PathPattern, PathRules, Pattern, RouteMatch, Subject, Test};

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::Named;
use crate::sections::field_match::is_token;
use crate::syntax::keys::{HOST_REGEX, VALUE_MATCH};
use crate::syntax::network::network;
use crate::syntax::pattern::{self, PatternError};
use crate::syntax::tree::{Entry, Node, Value};
use crate::syntax::unseen_fields::unseen;
use crate::syntax::view::{View, text};

/// Reads what a route takes. `rules` are those of its paths.
pub(super) fn matches(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    route: View<'_>,
    rules: PathRules,
) -> RouteMatch {
    let view = route.view("match");
    let mut reader = Reader { loader, route: named.name };
    let hosts = reader.hosts(view);
    let (path, path_regex) = reader.path(view, rules);
    let methods = reader.methods(view);
    let mut conditions = Vec::new();
    for (key, subject) in [
        ("headers", Subject::Field as fn(String) -> Subject),
        ("query", Subject::Query),
        ("cookies", Subject::Cookie),
    ] {
        reader.conditions(view, key, subject, &mut conditions);
    }
    conditions.sort();
    let clients = reader.clients(view);
    let priority = route.integer("priority").unwrap_or_default();
    RouteMatch { hosts, priority, path, path_regex, methods, conditions, clients }
}

struct Reader<'l, 'a> {
    loader: &'l mut Loader<'a>,
    route: &'l str,
}

impl Reader<'_, '_> {
    fn invalid(&mut self, key: &str, span: Span, (label, help): PatternError) {
        let message = format!("`{key}` of route `{}` is not valid", self.route);
        self.loader.report(Report::new(span, message, label).help(help));
    }

    /// Compiles the expression under the key `regex` of `view`, which belongs to `key`.
    fn regex(&mut self, key: &str, view: View<'_>) -> Option<Pattern> {
        let (text, span) = view.text("regex")?;
        pattern::regex(text).map_err(|error| self.invalid(key, span, error)).ok()
    }

    fn hosts(&mut self, view: View<'_>) -> Vec<HostPattern> {
        let mut hosts: Vec<HostPattern> = Vec::new();
        for node in view.node("host").map_or(&[][..], Node::elements) {
            let host = if let Some((typed, span)) = text(node) {
                pattern::host(typed).map_err(|error| self.invalid("host", span, error)).ok()
            } else {
                let table = View::new(node.as_table(), &HOST_REGEX, node.span);
                self.regex("host", table).map(HostPattern::Regex)
            };
            match host {
                Some(host) if hosts.contains(&host) => {
                    self.invalid("host", node.span, ("listed before".into(), "remove one of the two".into()));
                }
                host => hosts.extend(host),
            }
        }
        hosts
    }

    fn path(&mut self, view: View<'_>, rules: PathRules) -> (PathPattern, Option<Pattern>) {
        let table = view.view("path");
        let is_regex = view.node("path").is_some_and(|node| node.as_table().is_some());
        let typed = if is_regex { table.text("under") } else { view.text("path") };
        let mut path = PathPattern::default();
        if let Some((typed, span)) = typed {
            match pattern::path(typed, rules) {
                Ok(read) => path = read,
                Err(error) => self.invalid("path", span, error),
            }
            if is_regex && path.is_one_path() {
                let label = "it is one path, so that the regular expression decides nothing".to_owned();
                self.invalid("path", span, (label, format!("write path = {typed:?}, or end it in `/*`")));
            }
        }
        let regex = if is_regex { self.regex("path", table) } else { None };
        let twice =
            regex.iter().flat_map(Pattern::names).find(|name| path.has_parameter(name)).map(str::to_owned);
        if let (Some(name), Some((_, span))) = (twice, table.text("regex")) {
            let label = format!("`{name}` is a parameter of the path too");
            self.invalid("path", span, (label, "give the group another name".into()));
        }
        (path, regex)
    }

    fn methods(&mut self, view: View<'_>) -> Vec<String> {
        let mut methods: Vec<String> = Vec::new();
        for (method, span) in view.texts("method") {
            let upper = method.to_ascii_uppercase();
            let (label, help) = if upper == "PRI" {
                ("no request has this method", "it begins HTTP/2 and is not a request; leave it out".into())
            } else if !is_token(method) {
                ("not a method", "write it as in \"GET\" or [\"GET\", \"POST\"]".into())
            } else if method != upper {
                let help = format!(
                    "write {upper:?}: methods are compared with case, and those in use are in upper case"
                );
                ("not in upper case", help)
            } else if methods.contains(&upper) {
                ("listed before", "remove one of the two".into())
            } else {
                methods.push(upper);
                continue;
            };
            self.invalid("method", span, (label.into(), help));
        }
        methods
    }

    fn clients(&mut self, view: View<'_>) -> Vec<IpNet> {
        let mut clients: Vec<IpNet> = Vec::new();
        for (typed, span) in view.texts("client") {
            match network(typed) {
                Ok(found) if clients.contains(&found) => {
                    self.invalid("client", span, ("listed before".into(), "remove one of the two".into()));
                }
                Ok(found) => clients.push(found),
                Err(error) => self.invalid("client", span, error),
            }
        }
        let every = clients.iter().filter(|network| network.prefix_len() == 0).count() == 2;
        if let (true, Some(span)) = (every, view.key_span("client")) {
            self.invalid("client", span, ("every address".into(), "leave `client` out".into()));
        }
        clients
    }

    /// Reads the conditions under `key`, each on what `subject` makes of its name.
    fn conditions(
        &mut self,
        view: View<'_>,
        key: &str,
        subject: fn(String) -> Subject,
        conditions: &mut Vec<Condition>,
    ) {
        let table = view.node(key).and_then(Node::as_table);
        for Entry { key: name, key_span, value } in table.map_or(&[][..], |table| &table.entries) {
            let name = if key == "headers" { name.to_ascii_lowercase() } else { name.clone() };
            if let Some(error) = self.name_error(key, &name) {
                self.invalid(key, *key_span, error);
                continue;
            }
            let on = subject(name);
            if conditions.iter().any(|other| other.on == on) {
                let help = "names of fields are compared without case; remove one of the two";
                self.invalid(key, *key_span, ("listed before".into(), help.into()));
                continue;
            }
            if let Some(test) = self.test(key, value) {
                conditions.push(Condition { on, test });
            }
        }
    }

    fn name_error(&self, key: &str, name: &str) -> Option<PatternError> {
        let error = |label: &str, help: &str| Some((label.to_owned(), help.to_owned()));
        match key {
            "headers" if !is_token(name) => {
                error("not the name of a field", "a field's name is of letters, digits and !#$%&'*+-.^_`|~")
            }
            "headers" if name == "host" => {
                error("the host has a key of its own", "write host = \"...\" in `match`")
            }
            "headers" => {
                let (label, help) = unseen(name, self.loader.has_trusted_proxies)?;
                Some((label.to_owned(), help))
            }
            "cookies" if !is_token(name) => {
                error("not the name of a cookie", "a cookie's name is of letters, digits and !#$%&'*+-.^_`|~")
            }
            _ if name.is_empty() => error("the name is missing", "write it as in { page = \"1\" }"),
            _ => None,
        }
    }

    fn test(&mut self, key: &str, node: &Node) -> Option<Test> {
        match &node.value {
            Value::Bool(true) => Some(Test::Present),
            Value::Bool(false) => Some(Test::Absent),
            Value::Table(table) => {
                let view = View::new(Some(table), &VALUE_MATCH, node.span);
                match (view.text("prefix"), view.text("regex")) {
                    (Some((prefix, span)), None) => self.value(key, prefix, span).map(Test::Prefix),
                    (None, Some(_)) => self.regex(key, view).map(Test::Pattern),
                    (None, None) => {
                        let is_empty = table.entries.is_empty();
                        let help = "write prefix = \"...\" or regex = '...', or `true` for any value";
                        if is_empty {
                            self.invalid(key, node.span, ("it says nothing".into(), help.into()));
                        }
                        None
                    }
                    (Some(_), Some((_, span))) => {
                        let help = "let the regular expression begin with `^` and the prefix";
                        self.invalid(key, span, ("a second condition on one value".into(), help.into()));
                        None
                    }
                }
            }
            _ => {
                let (value, span) = text(node)?;
                self.value(key, value, span).map(Test::Exact)
            }
        }
    }

    /// Checks a value, or the beginning of one, that a request shall have.
    fn value(&mut self, key: &str, value: &str, span: Span) -> Option<String> {
        let visible = value.chars().all(|letter| letter == '\t' || !letter.is_control());
        if key == "query" || (visible && value.trim() == value) {
            return Some(value.to_owned());
        }
        let help = "a value has no control characters, and no blanks at its ends";
        self.invalid(key, span, ("no request has this value".into(), help.into()));
        None
    }
}
