//! The mistakes that a JSON schema finds, each at its place in the TOML and in our words. Values are not repeated:
//! they may come from files that must not be in a message.

use std::collections::BTreeSet;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value as Json;

use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::syntax::suggest::{did_you_mean, list, shown};
use crate::syntax::tree::{Node, Value};

/// Mistakes in one policy's configuration that are reported.
const ERRORS_MAX: usize = 50;
/// Alternatives inside of alternatives that are looked into for the mistake that was meant.
const DEPTH_MAX: usize = 8;

/// The place of the configuration that was checked.
pub(crate) struct Place<'a> {
    pub(crate) policy: &'a str,
    /// The value of `config`, if there is one.
    pub(crate) node: Option<&'a Node>,
    /// The key `config`, or the policy.
    pub(crate) config: Span,
    pub(crate) schema: &'a Json,
    /// The places of paths that were replaced by the text of the file.
    pub(crate) files: &'a BTreeSet<Span>,
}

/// The place of an error in the TOML.
struct Spot<'a> {
    value: Span,
    /// The key that the value stands under.
    key: Span,
    node: Option<&'a Node>,
    /// The path as one would write it, such as `config.keys[0]`.
    path: String,
}

/// Reports what is wrong with `json`.
pub(crate) fn report_errors(
    validator: &Validator,
    json: &Json,
    place: &Place<'_>,
    reports: &mut Vec<Report>,
) {
    report_all(validator.iter_errors(json).take(ERRORS_MAX).collect::<Vec<_>>().iter(), place, reports, 0);
}

fn report_all<'e, 'v: 'e>(
    errors: impl Iterator<Item = &'e ValidationError<'v>> + Clone,
    place: &Place<'_>,
    reports: &mut Vec<Report>,
    depth: usize,
) {
    for error in errors.clone() {
        // A slip in the name of a needed key is one mistake, not two.
        let misspelt = match error.kind() {
            ValidationErrorKind::Required { property } => errors.clone().any(|other| {
                let ValidationErrorKind::AdditionalProperties { unexpected } = other.kind() else {
                    return false;
                };
                let meant = |name: &String| did_you_mean(name, property.as_str()).is_some();
                other.instance_path().as_str() == error.instance_path().as_str()
                    && unexpected.iter().any(meant)
            }),
            _ => false,
        };
        if !misspelt {
            report_error(error, place, reports, depth);
        }
    }
}

fn report_error(error: &ValidationError<'_>, place: &Place<'_>, reports: &mut Vec<Report>, depth: usize) {
    let spot = place.find(error.instance_path().as_str());
    let rule = place.rule(error);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().for_each(|name| reports.push(unknown_key(name, &spot, rule, place)));
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let message = format!("`{}` of policy `{}` has no `{name}`", spot.path, place.policy);
            let message = match spot.node {
                Some(_) => message,
                None => format!("policy `{}` has no `config`, but its plugin needs `{name}`", place.policy),
            };
            let report = Report::new(spot.key, message, format!("`{name}` is needed here"));
            let about = rule.and_then(|rule| describe(rule.get("properties")?.get(name)?));
            reports.push(match (about, spot.node) {
                (Some(about), _) => report.help(format!("{name}: {about}")),
                (None, Some(_)) => report.help(format!("add {name} = ...")),
                (None, None) => report.help(format!("add config = {{ {name} = ... }}")),
            });
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }
            if depth < DEPTH_MAX =>
        {
            match meant(context, error.instance_path().as_str()) {
                Some(errors) => {
                    errors.iter().for_each(|error| report_error(error, place, reports, depth + 1))
                }
                None => match keys_of_alternatives(&spot, rule, place) {
                    Keys::Wrong(report) => reports.push(*report),
                    Keys::Of(at) if context.get(at).is_some() => {
                        let errors = context.get(at).map_or(&[][..], Vec::as_slice);
                        errors.iter().for_each(|error| report_error(error, place, reports, depth + 1));
                    }
                    Keys::Of(_) | Keys::Unknown => reports.push(alternatives(context, &spot, rule, place)),
                },
            }
        }
        kind => {
            let (label, help) = label(kind, spot.node, rule);
            reports.push(invalid(&spot, place, label, help, rule));
        }
    }
}

fn invalid(
    spot: &Spot<'_>,
    place: &Place<'_>,
    label: String,
    help: Option<String>,
    rule: Option<&Json>,
) -> Report {
    let message = format!("`{}` of policy `{}` is not valid", spot.path, place.policy);
    let label = if place.files.contains(&spot.value) { format!("in the file: {label}") } else { label };
    let report = Report::new(spot.value, message, label);
    let name = spot.path.rsplit('.').next().unwrap_or(&spot.path);
    let about = rule.and_then(describe).map(|about| format!("{name}: {about}"));
    match help.or(about) {
        Some(help) => report.help(help),
        None => report,
    }
}

fn unknown_key(name: &str, spot: &Spot<'_>, rule: Option<&Json>, place: &Place<'_>) -> Report {
    let entry = spot.node.and_then(|node| node.as_table()?.get(name));
    let span = entry.map_or(spot.key, |entry| entry.key_span);
    let message = format!("unknown key `{}` in `{}` of policy `{}`", shown(name), spot.path, place.policy);
    let report = Report::new(span, message, "not a key of this plugin's config");
    let properties = rule.and_then(|rule| rule.get("properties")?.as_object());
    let names: Vec<&str> =
        properties.map_or_else(Vec::new, |names| names.keys().map(String::as_str).collect());
    match did_you_mean(name, names.iter().copied()) {
        Some(name) => report.help(format!("did you mean `{name}`?")),
        None if names.is_empty() => report.help("remove it"),
        None => report.help(format!("the keys here are {}", list(&names))),
    }
}

/// The errors of the alternative that was probably meant: the only one that takes values of this type.
fn meant<'e>(
    context: &'e [Vec<ValidationError<'static>>],
    at: &str,
) -> Option<&'e [ValidationError<'static>]> {
    let refuses = |error: &ValidationError<'_>| {
        use ValidationErrorKind::{Constant, Enum, Type};
        error.instance_path().as_str() == at
            && matches!(error.kind(), Type { .. } | Enum { .. } | Constant { .. })
    };
    let mut fitting = context.iter().filter(|errors| !errors.iter().any(refuses));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first.as_slice())
}

/// That none of several alternatives holds, in one message.
fn alternatives(
    context: &[Vec<ValidationError<'static>>],
    spot: &Spot<'_>,
    rule: Option<&Json>,
    place: &Place<'_>,
) -> Report {
    let missing: Vec<String> = context
        .iter()
        .flatten()
        .filter_map(|error| match error.kind() {
            ValidationErrorKind::Required { property } => Some(format!("`{}`", property.as_str()?)),
            _ => None,
        })
        .collect();
    if !missing.is_empty() && missing.len() == context.iter().flatten().count() {
        let needed = either(&missing);
        let message = match spot.node {
            Some(_) => format!("`{}` of policy `{}` has no {needed}", spot.path, place.policy),
            None => format!("policy `{}` has no `config`, but its plugin needs {needed}", place.policy),
        };
        let report = Report::new(spot.key, message, format!("{needed} is needed here"));
        let names = rule.and_then(|rule| rule.get("properties")?.as_object());
        return match names.map(|names| names.keys().map(String::as_str).collect::<Vec<_>>()) {
            Some(names) => report.help(format!("the keys of this config are {}", list(&names))),
            None => report.help(format!("add {needed}")),
        };
    }
    let mut expected: Vec<String> = Vec::new();
    let mut near = None;
    for error in context.iter().filter_map(|errors| errors.first()) {
        let words = match error.kind() {
            ValidationErrorKind::Type { kind } => type_words(kind),
            ValidationErrorKind::Enum { options } => {
                let options = options.as_array().map_or(&[][..], Vec::as_slice);
                near = near.or_else(|| near_option(options, spot.node));
                words(options)
            }
            ValidationErrorKind::Constant { expected_value } => vec![expected_value.to_string()],
            _ => continue,
        };
        words.into_iter().filter(|word| word != "null").for_each(|word| {
            if !expected.contains(&word) {
                expected.push(word);
            }
        });
    }
    let label = match expected.is_empty() {
        true => "it has none of the forms that are possible".into(),
        false => expects(&expected, spot.node),
    };
    invalid(spot, place, label, near, rule)
}

fn near_option(options: &[Json], node: Option<&Node>) -> Option<String> {
    let typed = node.and_then(Node::as_str)?;
    let near = did_you_mean(typed, options.iter().filter_map(Json::as_str))?;
    Some(format!("did you mean {near:?}?"))
}

/// What to say after the caret, and the help if it is better than the schema's own description.
fn label(kind: &ValidationErrorKind, node: Option<&Node>, rule: Option<&Json>) -> (String, Option<String>) {
    let plural =
        |count: u64, noun: &str| if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") };
    let label = match kind {
        ValidationErrorKind::Type { kind } => expects(&type_words(kind), node),
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().map_or(&[][..], Vec::as_slice);
            return (format!("expected {}", either(&words(options))), near_option(options, node));
        }
        ValidationErrorKind::Constant { expected_value } => format!("expected {expected_value}"),
        ValidationErrorKind::Minimum { limit } => format!("expected at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("expected at most {limit}"),
        ValidationErrorKind::ExclusiveMinimum { limit } => format!("expected more than {limit}"),
        ValidationErrorKind::ExclusiveMaximum { limit } => format!("expected less than {limit}"),
        ValidationErrorKind::MultipleOf { multiple_of } => format!("expected a multiple of {multiple_of}"),
        ValidationErrorKind::MinLength { limit } => {
            format!("expected at least {}", plural(*limit, "character"))
        }
        ValidationErrorKind::MaxLength { limit } => {
            format!("expected at most {}", plural(*limit, "character"))
        }
        ValidationErrorKind::MinItems { limit } => format!("expected at least {}", plural(*limit, "element")),
        ValidationErrorKind::MaxItems { limit } => format!("expected at most {}", plural(*limit, "element")),
        ValidationErrorKind::AdditionalItems { limit } => {
            format!("expected at most {}", plural(*limit as u64, "element"))
        }
        ValidationErrorKind::MinProperties { limit } => {
            format!("expected at least {}", plural(*limit, "key"))
        }
        ValidationErrorKind::MaxProperties { limit } => format!("expected at most {}", plural(*limit, "key")),
        ValidationErrorKind::UniqueItems => "two elements are equal".into(),
        ValidationErrorKind::Contains => "an element that the plugin needs is missing".into(),
        ValidationErrorKind::Pattern { pattern } => pattern_words(pattern, rule),
        ValidationErrorKind::Format { format } => format!("expected text of the form `{format}`"),
        ValidationErrorKind::PropertyNames { .. } => "a key has a name that the plugin does not take".into(),
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "it has several of the forms of which one is possible".into()
        }
        ValidationErrorKind::FalseSchema | ValidationErrorKind::Not { .. } => {
            "the plugin does not take this".into()
        }
        other => format!("it breaks the rule `{}` of the plugin's schema", other.keyword()),
    };
    (label, None)
}

/// What to say of text that does not match `pattern`. Its regular expression is for programs, so it is shown only if
/// the schema says nothing for people.
fn pattern_words(pattern: &str, rule: Option<&Json>) -> String {
    let example = rule.and_then(|rule| {
        let examples = rule.get("examples").and_then(Json::as_array).into_iter().flatten();
        examples.chain(rule.get("default")).find_map(Json::as_str)
    });
    match (example, rule.and_then(describe)) {
        (Some(example), _) => format!("expected text such as {:?}", shown(example)),
        (None, Some(_)) => "it does not have the form that is needed here".to_owned(),
        (None, None) => format!("expected text that matches the regular expression {}", shown(pattern)),
    }
}

/// What the keys of a table say of which of several possible tables it is.
enum Keys {
    /// Nothing.
    Unknown,
    /// It is the one with this number.
    Of(usize),
    /// There is a mistake in them.
    Wrong(Box<Report>),
}

/// Looks at the keys of a table of which a schema has several forms, such as `{ header = "..." }` and
/// `{ attribute = "..." }`.
fn keys_of_alternatives<'a>(spot: &Spot<'_>, rule: Option<&'a Json>, place: &Place<'a>) -> Keys {
    let branches = rule.and_then(|rule| rule.get("oneOf").or_else(|| rule.get("anyOf"))?.as_array());
    let (Some(table), Some(branches)) = (spot.node.and_then(Node::as_table), branches) else {
        return Keys::Unknown;
    };
    let keys = |branch| Some(place.resolved(branch)?.get("properties")?.as_object()?.keys());
    let forms: Vec<(usize, Vec<&str>)> = branches
        .iter()
        .enumerate()
        .filter_map(|(at, branch)| Some((at, keys(branch)?.map(String::as_str).collect())))
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for name in forms.iter().flat_map(|(_, form)| form) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let wrong = |report| Keys::Wrong(Box::new(report));
    let message = format!("`{}` of policy `{}` is not valid", spot.path, place.policy);
    if let Some(entry) = table.entries.iter().find(|entry| !names.contains(&entry.key.as_str())) {
        if names.is_empty() {
            return Keys::Unknown;
        }
        let message =
            format!("unknown key `{}` in `{}` of policy `{}`", shown(&entry.key), spot.path, place.policy);
        let help = match did_you_mean(&entry.key, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("write {}", either(&quoted(&names))),
        };
        return wrong(Report::new(entry.key_span, message, "not a key of this table").help(help));
    }
    let has_key = |form: &[&str]| form.iter().any(|name| table.get(name).is_some());
    let mut of = forms.iter().filter(|(_, form)| has_key(form));
    match (of.next(), of.next()) {
        (Some((at, _)), None) => Keys::Of(*at),
        (Some(_), Some(_)) if forms.iter().all(|(_, form)| form.len() == 1) => {
            let typed: Vec<&str> = names.iter().copied().filter(|name| table.get(name).is_some()).collect();
            let label = format!("only one of {} can be given", quoted(&typed).join(" and "));
            wrong(Report::new(spot.value, message, label).help("remove all but one of them"))
        }
        (None, _) if !names.is_empty() => {
            let label = format!("{} is needed here", either(&quoted(&names)));
            let keys: Vec<String> = names.iter().map(|name| format!("`{name} = ...`")).collect();
            wrong(Report::new(spot.value, message, label).help(format!("add {}", either(&keys))))
        }
        _ => Keys::Unknown,
    }
}

/// `expected a string, found a number`.
fn expects(expected: &[String], node: Option<&Node>) -> String {
    match node {
        Some(node) => format!("expected {}, found {}", either(expected), node.value.describe()),
        None => format!("expected {}", either(expected)),
    }
}

fn type_words(kind: &TypeKind) -> Vec<String> {
    let types = match kind {
        TypeKind::Single(kind) => vec![kind.to_string()],
        TypeKind::Multiple(kinds) => kinds.iter().map(|kind| kind.to_string()).collect(),
    };
    let word = |kind: &String| match kind.as_str() {
        "array" => "a list".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" => "a whole number".to_owned(),
        "object" => "a table".to_owned(),
        other => format!("a {other}"),
    };
    // TOML has no null.
    types.iter().filter(|kind| *kind != "null").map(word).collect()
}

fn words(options: &[Json]) -> Vec<String> {
    options.iter().take(20).map(|option| shown(&option.to_string())).collect()
}

/// `a, b or c`.
fn either(words: &[String]) -> String {
    match words {
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        _ => words.concat(),
    }
}

/// The description that a schema gives of a value, its first line.
fn describe(rule: &Json) -> Option<String> {
    let text = rule.get("description")?.as_str()?;
    Some(text.lines().next()?.trim().trim_end_matches('.').to_owned()).filter(|text| !text.is_empty())
}

impl<'a> Place<'a> {
    /// The place that a JSON pointer leads to, and the path as one would write it.
    pub(crate) fn locate(&self, pointer: &str) -> (Span, String) {
        let spot = self.find(pointer);
        (spot.value, spot.path)
    }

    /// Follows a JSON pointer through the TOML.
    fn find(&self, pointer: &str) -> Spot<'a> {
        let value = self.node.map_or(self.config, |node| node.span);
        let mut spot = Spot { value, key: self.config, node: self.node, path: "config".into() };
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            match spot.node.map(|node| &node.value) {
                Some(Value::Table(table)) => {
                    let Some(entry) = table.get(&step) else { break };
                    spot.key = entry.key_span;
                    spot.node = Some(&entry.value);
                    spot.path = format!("{}.{}", spot.path, shown(&step));
                }
                Some(Value::Array(list)) => {
                    let Some(node) = step.parse().ok().and_then(|at: usize| list.get(at)) else { break };
                    spot.key = node.span;
                    spot.node = Some(node);
                    spot.path = format!("{}[{step}]", spot.path);
                }
                _ => break,
            }
            spot.value = spot.node.map_or(spot.value, |node| node.span);
        }
        spot
    }

    /// The schema that `schema` stands for, by its reference if it has one.
    fn resolved(&self, schema: &'a Json) -> Option<&'a Json> {
        match schema.get("$ref").and_then(Json::as_str) {
            Some(reference) => self.schema.pointer(reference.strip_prefix('#')?),
            None => Some(schema),
        }
    }

    /// The schema whose keyword failed.
    fn rule(&self, error: &ValidationError<'_>) -> Option<&'a Json> {
        let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.schema.pointer(parent)
    }
}
