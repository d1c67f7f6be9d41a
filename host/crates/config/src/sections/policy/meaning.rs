//! What texts in a plugin's settings mean to the gateway, as its schema says by `x-portcullis-value`, and what of it
//! can have no effect.

use std::collections::BTreeSet;

use portcullis_model::{Grants, HttpUrl};
use serde_json::Value as Json;

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::plugins::PluginInfo;
use crate::plugins::traits::Traits;
use crate::references::Named;
use crate::syntax::suggest::shown;
use crate::syntax::tree::{Node, Value};
use crate::syntax::unseen_fields::unseen;

/// Schemas inside of schemas that are looked through.
const DEPTH_MAX: usize = 32;
/// Steps in all, because references can make a small schema very large.
const STEPS_MAX: usize = 100_000;

/// A text that means something.
struct Said<'s> {
    meaning: &'s str,
    text: String,
    span: Span,
}

/// Notes what a version of a policy sets and reads, and reports settings that can have no effect. `node` is its
/// `config`, `at` the place of it or of what stands for it.
pub(super) fn check(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    info: &PluginInfo,
    (node, at): (Option<&Node>, Span),
    grants: Option<&Grants>,
) -> Traits {
    let mut said = Vec::new();
    if let Some(schema) = &info.config_schema {
        let mut walk = Walk { root: schema, said: &mut said, steps: 0, at };
        walk.value(schema, node, at, 0);
    }
    let sets = info.attributes.as_ref().map(|names| names.iter().cloned().collect::<BTreeSet<String>>());
    let mut traits = Traits { chooses_upstream: info.chooses_upstream, sets, ..Traits::default() };
    for Said { meaning, text, span } in said {
        match meaning {
            "sets-attribute" => {
                if let Some(sets) = &mut traits.sets {
                    sets.insert(text);
                }
            }
            "reads-attribute" => traits.reads.push((text, span)),
            "request-field" => check_field(loader, named, &text, span),
            "url" => check_url(loader, named, &text, span, grants),
            "template" => {
                for variable in variables(&text) {
                    if let Some(name) = variable.strip_prefix("attribute.") {
                        traits.reads_at_all.push((name.to_owned(), span));
                    } else if let Some(name) = variable.strip_prefix("request.header.") {
                        check_field(loader, named, name, span);
                    }
                }
            }
            // A later gateway may know more.
            _ => {}
        }
    }
    traits
}

/// The names between `${` and `}`; `$$` is a `$`.
fn variables(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        rest = match (
            after.strip_prefix('$'),
            after.strip_prefix('{').and_then(|inner| inner.split_once('}')),
        ) {
            (Some(after), _) => after,
            (_, Some((name, after))) => {
                names.push(name);
                after
            }
            _ => after,
        };
    }
    names
}

fn check_field(loader: &mut Loader<'_>, named: &Named<'_>, name: &str, span: Span) {
    if let Some((label, help)) = unseen(&name.to_ascii_lowercase(), loader.has_trusted_proxies) {
        let message =
            format!("policy `{}` looks at the field `{}`, which no request has", named.name, shown(name));
        loader.report(Report::new(span, message, label).help(help));
    }
}

fn check_url(loader: &mut Loader<'_>, named: &Named<'_>, text: &str, span: Span, grants: Option<&Grants>) {
    // Without any grant the capability is missing, which is said elsewhere.
    let Some(grants) = grants.filter(|grants| !grants.http.is_empty()) else { return };
    let url = match HttpUrl::parse(text) {
        Ok(url) => url,
        Err(error) => {
            let message = format!("policy `{}` asks a server by a URL that cannot be used", named.name);
            let help = "write it as in \"https://auth.internal/check\"";
            return loader.report(Report::new(span, message, error.to_string()).help(help));
        }
    };
    let path = url.path_and_query.split(['?', '#']).next().unwrap_or_default();
    // What is not in normal form is compared in another form.
    if path.contains(['%', '\\']) || path.contains("/.") || path.contains("//") {
        return;
    }
    if !grants.http.iter().any(|grant| grant.is_of(&url) && grant.has_path(path)) {
        let message = format!("policy `{}` asks a server that it may not ask", named.name);
        let help = format!("add {:?} to its grants.http, or name a URL that is granted", shown(text));
        loader.report(Report::new(span, message, "no URL in grants.http covers this one").help(help));
    }
}

struct Walk<'s, 'o> {
    root: &'s Json,
    said: &'o mut Vec<Said<'s>>,
    steps: usize,
    /// What stands for settings that were left out.
    at: Span,
}

impl<'s> Walk<'s, '_> {
    fn value(&mut self, schema: &'s Json, node: Option<&Node>, span: Span, depth: usize) {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > STEPS_MAX {
            return;
        }
        if let Some(meaning) = schema.get("x-portcullis-value").and_then(Json::as_str) {
            let text = match node {
                Some(node) => node.as_str(),
                None => schema.get("default").and_then(Json::as_str),
            };
            self.said.extend(text.map(|text| Said { meaning, text: text.to_owned(), span }));
        }
        let target = schema.get("$ref").and_then(Json::as_str).and_then(|path| path.strip_prefix('#'));
        if let Some(target) = target.and_then(|path| self.root.pointer(path)) {
            self.value(target, node, span, depth + 1);
        }
        for branches in ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()) {
            branches.iter().for_each(|branch| self.value(branch, node, span, depth + 1));
        }
        let properties = schema.get("properties").and_then(Json::as_object);
        let entries = match node.map(|node| &node.value) {
            Some(Value::Array(nodes)) => {
                if let Some(items) = schema.get("items") {
                    nodes.iter().for_each(|node| self.value(items, Some(node), node.span, depth + 1));
                }
                return;
            }
            Some(Value::Table(table)) => table.entries.as_slice(),
            Some(_) => return,
            // Of settings as a whole that were left out, each has its default.
            None if depth == 0 => &[][..],
            None => return,
        };
        for (name, property) in properties.into_iter().flatten() {
            if !entries.iter().any(|entry| entry.key == *name) {
                self.value(property, None, self.at, depth + 1);
            }
        }
        for entry in entries {
            let meaning = schema.get("propertyNames").and_then(|names| names.get("x-portcullis-value"));
            if let Some(meaning) = meaning.and_then(Json::as_str) {
                self.said.push(Said { meaning, text: entry.key.clone(), span: entry.key_span });
            }
            let property = properties.and_then(|properties| properties.get(&entry.key));
            if let Some(inner) = property.or_else(|| schema.get("additionalProperties")) {
                self.value(inner, Some(&entry.value), entry.value.span, depth + 1);
            }
        }
    }
}
