//! The configuration that is made, and how it is written.

use std::collections::BTreeSet;

use crate::value::{Value, key};

/// A table of the result, such as `[upstreams.app]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Section {
    /// What is said above it, a line each.
    pub(crate) comments: Vec<String>,
    /// Its keys, in order.
    pub(crate) entries: Vec<(String, Value)>,
    /// Whether a route answers 503 in place of what it says, which is written as a comment.
    pub(crate) closed: bool,
    /// Whether a route refuses all requests.
    pub(crate) refuses: bool,
}

impl Section {
    pub(crate) fn comment(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.comments.contains(&text) {
            self.comments.push(text);
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.entries.push((name.to_owned(), value.into()));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets a key of a table inside, which is made if it is not there.
    pub(crate) fn set_in(&mut self, table: &str, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.entries.iter_mut().find(|(key, _)| key == table) {
            Some((_, Value::Table(entries))) => {
                entries.retain(|(key, _)| key != name);
                entries.push((name.to_owned(), value));
            }
            _ => self.set(table, Value::table([(name, value)])),
        }
    }
}

/// The tables of one kind, by name.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    list: Vec<(String, Section)>,
}

impl Sections {
    /// Adds a table under this name, or under one like it that is free, and returns the name. If there is one with
    /// the same keys and such a name, that serves.
    pub(crate) fn add(&mut self, wanted: &str, section: Section) -> String {
        let wanted = name(wanted);
        let same = |(name, other): &&(String, Section)| {
            base(name) == base(&wanted) && other.entries == section.entries
        };
        if let Some((name, _)) = self.list.iter().find(same) {
            return name.clone();
        }
        let name = self.free(&wanted);
        self.list.push((name.clone(), section));
        name
    }

    /// Adds a table under this name or one like it, even if there is an equal one.
    pub(crate) fn add_always(&mut self, wanted: &str, section: Section) -> String {
        let name = self.free(&name(wanted));
        self.list.push((name.clone(), section));
        name
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Section> {
        self.list.iter().find(|(other, _)| other == name).map(|(_, section)| section)
    }

    fn free(&self, wanted: &str) -> String {
        let taken: BTreeSet<&str> = self.list.iter().map(|(name, _)| name.as_str()).collect();
        let mut name = wanted.to_owned();
        let mut number = 1;
        while taken.contains(name.as_str()) {
            number += 1;
            name = format!("{}-{number}", &wanted[..wanted.len().min(50)]);
        }
        name
    }
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) head: Vec<String>,
    pub(crate) server: Section,
    pub(crate) listeners: Sections,
    pub(crate) upstreams: Sections,
    pub(crate) caches: Sections,
    pub(crate) policies: Sections,
    pub(crate) routes: Sections,
}

impl Draft {
    /// Returns the text of the file.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for line in &self.head {
            comment(&mut text, line);
        }
        if !self.server.entries.is_empty() {
            section(&mut text, "server", &self.server, Written::Plain);
        }
        let used = self.used();
        let kinds = [
            ("listeners", &self.listeners),
            ("upstreams", &self.upstreams),
            ("caches", &self.caches),
            ("policies", &self.policies),
            ("routes", &self.routes),
        ];
        for (kind, sections) in kinds {
            for (name, content) in &sections.list {
                let written = match kind {
                    "routes" if content.closed => Written::Closed,
                    "routes" | "listeners" => Written::Plain,
                    _ if used.contains(&(kind, name.clone())) => Written::Plain,
                    _ => Written::Out,
                };
                section(&mut text, &format!("{kind}.{name}"), content, written);
            }
        }
        text
    }

    /// Returns what routes name. What no route names may not be there.
    fn used(&self) -> BTreeSet<(&'static str, String)> {
        let mut used = BTreeSet::new();
        for (_, route) in self.routes.list.iter().filter(|(_, route)| !route.closed) {
            for (key, kind) in
                [("to", "upstreams"), ("use", "policies"), ("cache", "caches"), ("fallback", "upstreams")]
            {
                match route.get(key) {
                    Some(Value::Text(name)) => {
                        used.insert((kind, name.clone()));
                    }
                    Some(Value::List(names)) => used.extend(names.iter().filter_map(|name| match name {
                        Value::Text(name) => Some((kind, name.clone())),
                        _ => None,
                    })),
                    Some(Value::Table(entries)) => {
                        used.extend(entries.iter().filter_map(|(key, value)| match value {
                            Value::Text(name) if key == "store" || key == "to" => Some((kind, name.clone())),
                            _ => None,
                        }))
                    }
                    _ => (),
                }
            }
        }
        used
    }
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Plain,
    /// With a refusal in place of what it does.
    Closed,
    /// As a comment.
    Out,
}

/// The keys that a closed route keeps.
const KEPT: [&str; 5] = ["match", "listeners", "priority", "tls", "encoded-slash"];

fn section(text: &mut String, title: &str, section: &Section, written: Written) {
    text.push('\n');
    for line in &section.comments {
        comment(text, line);
    }
    let out = if written == Written::Out { "# " } else { "" };
    text.push_str(&format!("{out}[{title}]\n"));
    for (name, value) in &section.entries {
        let out = if written == Written::Closed && !KEPT.contains(&name.as_str()) { "# " } else { out };
        text.push_str(&format!("{out}{} = {value}\n", key(name)));
    }
    if written == Written::Closed {
        text.push_str("respond = { status = 503, body = \"not there yet\\n\" }\n");
    }
}

/// Writes a comment in lines of at most 100 columns.
fn comment(text: &mut String, line: &str) {
    let mut width = 0;
    for word in line.split_whitespace() {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > 100 {
            text.push('\n');
            width = 0;
        }
        let (before, more) = if width == 0 { ("# ", 1) } else { (" ", 0) };
        // What steers a terminal or ends the line cannot be in a comment.
        text.push_str(before);
        text.extend(word.chars().filter(|character| !character.is_control()));
        width += 1 + more + length;
    }
    if width > 0 {
        text.push('\n');
    }
}

/// Returns a text as a name: of `a-z`, `0-9`, `-` and `_`.
pub(crate) fn name(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars().map(|character| character.to_ascii_lowercase()) {
        match character {
            'a'..='z' | '0'..='9' | '_' => name.push(character),
            _ if name.is_empty() || name.ends_with('-') => (),
            _ => name.push('-'),
        }
    }
    let name: String = name.trim_matches(['-', '_']).chars().take(60).collect();
    if name.is_empty() { "x".to_owned() } else { name }
}

/// Returns a name without the number that made it free.
fn base(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((base, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            base
        }
        _ => name,
    }
}
