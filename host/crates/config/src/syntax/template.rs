//! Templates: text in which `{name}` stands for a part of the request.

use portcullis_model::{PathSegment, Pattern, Scope, Template, TemplatePart};

use super::pattern::normal_form;
use super::suggest::{did_you_mean, list};

/// What is wrong with a template: the label and the help.
pub(crate) type TemplateError = (String, String);

/// Reads a template for a URL. The parameters of the route's path, and the groups of expressions, are variables as
/// well.
pub(crate) fn template(text: &str, scope: Scope<'_>) -> Result<Template, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, behind) = rest.split_at(open);
        push_literal(&mut parts, before)?;
        let Some((name, after)) = behind.get(1..).and_then(|behind| behind.split_once('}')) else {
            return Err(("a `{` without its `}`".into(), "write it as in \"{path}\"".into()));
        };
        let part = variable(name, scope)?;
        if matches!(part, TemplatePart::Path | TemplatePart::Rest) && before.ends_with('/') {
            let label = format!("two slashes before what `{{{name}}}` stands for");
            return Err((label, format!("leave the slash before `{{{name}}}` out: it begins with one")));
        }
        parts.push(part);
        rest = after;
    }
    push_literal(&mut parts, rest)?;
    Ok(Template(parts))
}

/// Reads a template for the value of a field. A brace that does not enclose a name stands for itself, as in JSON.
pub(crate) fn value_template(text: &str, scope: Scope<'_>) -> Result<Template, TemplateError> {
    let meant = text.split('$').skip(1).map(word_of).find(|word| !word.is_empty());
    if let Some(word) = meant {
        let help = replacement_of(&word).unwrap_or("the variables stand in braces, as in \"{host}\"");
        return Err((format!("`${word}` is not a variable"), help.into()));
    }
    let mut parts = Vec::new();
    let (mut literal, mut rest) = (String::new(), text);
    while let Some((before, name, after)) = next_name(rest) {
        literal.push_str(before);
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(std::mem::take(&mut literal)));
        }
        parts.push(variable(name, scope)?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(TemplatePart::Literal(literal));
    }
    Ok(Template(parts))
}

/// Returns the first name in braces, with what is before and behind it.
pub(crate) fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('{').find_map(|(open, _)| {
        let (name, after) = text.get(open + 1..)?.split_once('}')?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        (!name.is_empty() && name.bytes().all(fits)).then_some((text.get(..open)?, name, after))
    })
}

/// Returns the name at the beginning of what follows a `$`.
fn word_of(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_ascii_alphabetic() || *letter == '_').collect()
}

/// Returns what to write in place of a variable of nginx.
fn replacement_of(word: &str) -> Option<&'static str> {
    Some(match word {
        "host" | "http_host" | "server_name" => "write {host}",
        "request_uri" => "write {path}{query}",
        "uri" => "write {path}",
        "scheme" => "write {scheme}",
        "args" | "query_string" | "is_args" => "write {query}, which has the `?` in it",
        _ => return None,
    })
}

fn push_literal(parts: &mut Vec<TemplatePart>, text: &str) -> Result<(), TemplateError> {
    if let Some(name) = text.split('$').nth(1) {
        let help = replacement_of(&word_of(name)).unwrap_or(
            "the variables stand in braces, as in \"{host}\"; write `%24` for the character itself",
        );
        return Err(("`$` begins no variable".into(), help.into()));
    }
    let possible = |letter: char| letter.is_ascii_graphic() && !"\"<>\\^`|}".contains(letter);
    if let Some(wrong) = text.chars().find(|letter| !possible(*letter)) {
        let label = format!("no URL can hold {wrong:?}");
        return Err((label, "write it percent-encoded, as in \"%20\" for a space".into()));
    }
    if !text.is_empty() {
        parts.push(TemplatePart::Literal(text.to_owned()));
    }
    Ok(())
}

fn variable(name: &str, scope: Scope<'_>) -> Result<TemplatePart, TemplateError> {
    let pattern = &scope.matches.path;
    let parameter = |(at, segment): (usize, &PathSegment)| match segment {
        PathSegment::Parameter(known) if known == name => {
            Some(TemplatePart::Segment { name: name.to_owned(), at })
        }
        _ => None,
    };
    // The parameters of the route come first: their names are the operator's.
    if let Some(part) = pattern.segments.iter().enumerate().find_map(parameter) {
        return Ok(part);
    }
    if let Some(group) = scope.path_regex().and_then(|regex| regex.group(name)) {
        return Ok(TemplatePart::PathGroup { name: name.to_owned(), group });
    }
    if names_of_host(scope).contains(&name) {
        return Ok(TemplatePart::HostGroup(name.to_owned()));
    }
    Ok(match name {
        "scheme" => TemplatePart::Scheme,
        "host" => TemplatePart::Host,
        "path" => TemplatePart::Path,
        "query" => TemplatePart::Query,
        "rest" if pattern.rest => TemplatePart::Rest,
        "rest" => {
            let help = format!("`{{rest}}` is what `/*` takes, and the route's path is {pattern}");
            return Err(("the route's path leaves no rest".into(), help));
        }
        _ => {
            let known = variable_names(scope);
            let help = match did_you_mean(name, known.iter().copied()) {
                Some(meant) => format!("did you mean {{{meant}}}?"),
                None => format!("the variables are {}", list(&known)),
            };
            return Err((format!("no variable is called `{}`", super::suggest::shown(name)), help));
        }
    })
}

/// Returns the names that groups have in each of the expressions for the host, if all hosts are such.
fn names_of_host<'a>(scope: Scope<'a>) -> Vec<&'a str> {
    let regexes = scope.host_regexes().unwrap_or_default();
    let Some((first, others)) = regexes.split_first() else { return Vec::new() };
    let everywhere = |name: &&'a str| others.iter().all(|other| other.names().any(|known| known == *name));
    first.names().filter(everywhere).collect()
}

/// Returns the names of all variables of a route.
pub(crate) fn variable_names(scope: Scope<'_>) -> Vec<&str> {
    let pattern = &scope.matches.path;
    let mut names = vec!["scheme", "host", "path", "query"];
    names.extend(pattern.rest.then_some("rest"));
    names.extend(pattern.segments.iter().filter_map(|segment| match segment {
        PathSegment::Parameter(name) => Some(name.as_str()),
        PathSegment::Literal(_) => None,
    }));
    names.extend(scope.path_regex().into_iter().flat_map(Pattern::names));
    names.extend(names_of_host(scope));
    names
}

/// Checks that `to` names where a client is sent: a URL, or a path on the same host. The part that names the server may
/// hold `{host}`, which is valid by itself, and nothing else that a client has a say in.
pub(crate) fn check_location(to: &Template) -> Result<(), TemplateError> {
    let error = |label: &str, help: &str| Err((label.to_owned(), help.to_owned()));
    let url = "write a URL as in \"https://{host}{path}{query}\", or a path as in \"/new{query}\"";
    let (first, mut behind) = match to.0.split_first() {
        Some((TemplatePart::Path, _)) => return Ok(()),
        Some((TemplatePart::Literal(text), _)) if text.starts_with("//") => {
            return error("it begins with two slashes", "write \"https:\" before them, or leave one out");
        }
        Some((TemplatePart::Literal(text), _)) if text.starts_with('/') => return Ok(()),
        Some((TemplatePart::Scheme, behind)) => match behind.split_first() {
            Some((TemplatePart::Literal(text), behind)) => (text.strip_prefix("://"), behind),
            _ => (None, behind),
        },
        Some((TemplatePart::Literal(text), behind)) => {
            (text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")), behind)
        }
        _ => (None, &[][..]),
    };
    let Some(first) = first else { return error("this is neither a URL nor a path", url) };
    let mut server = String::new();
    let mut literal = Some(first);
    loop {
        if let Some(text) = literal {
            let end = text.find(['/', '?', '#']);
            server.push_str(text.get(..end.unwrap_or(text.len())).unwrap_or_default());
            if end.is_some() {
                break;
            }
        }
        let Some((part, rest)) = behind.split_first() else { break };
        behind = rest;
        literal = match part {
            TemplatePart::Literal(text) => Some(text),
            TemplatePart::Host | TemplatePart::HostGroup(_) => {
                server.push('h');
                None
            }
            TemplatePart::Path | TemplatePart::Rest | TemplatePart::Query => break,
            TemplatePart::Scheme | TemplatePart::Segment { .. } | TemplatePart::PathGroup { .. } => {
                let label = "a variable in the name of the server";
                return error(
                    label,
                    "only `{host}` and groups of the host can stand there: else a client chose where others are sent",
                );
            }
        };
    }
    let possible = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
    match server.chars().find(|letter| !possible(*letter)) {
        Some(wrong) => Err((format!("no server's name holds {wrong:?}"), url.to_owned())),
        None if server.is_empty() || server.starts_with(':') => error("the server is missing", url),
        None => Ok(()),
    }
}

/// Checks that `path` is a path in normal form, whatever its variables stand for.
pub(crate) fn check_path(path: &Template) -> Result<(), TemplateError> {
    let error = |label: &str, help: &str| Err((label.to_owned(), help.to_owned()));
    match path.0.first() {
        Some(TemplatePart::Path | TemplatePart::Rest | TemplatePart::PathGroup { .. }) => {}
        Some(TemplatePart::Literal(text)) if text.starts_with('/') => {}
        _ => return error("a path begins with `/`", "write it as in \"/v2{rest}\""),
    }
    let mut example = String::new();
    for part in &path.0 {
        match part {
            TemplatePart::Literal(text) if text.contains(['?', '#']) => {
                return error("only the path is rewritten", "leave the query out: it stays as it is");
            }
            TemplatePart::Literal(text) => example.push_str(text),
            TemplatePart::Path | TemplatePart::Rest => example.push_str("/x"),
            TemplatePart::PathGroup { .. } if example.is_empty() => example.push_str("/x"),
            TemplatePart::Segment { .. } | TemplatePart::PathGroup { .. } => example.push('x'),
            TemplatePart::Scheme | TemplatePart::Host | TemplatePart::HostGroup(_) | TemplatePart::Query => {
                return error(
                    "this variable is no part of the path",
                    "a path can hold {path}, {rest} and the parameters and groups of the route's path; the query stays as it is",
                );
            }
        }
    }
    let segments: Vec<&str> = example.split('/').skip(1).collect();
    if normal_form(&segments) == example {
        return Ok(());
    }
    error(
        "not in normal form",
        "leave out dot segments, empty segments and percent-encoding that is not needed",
    )
}

#[cfg(test)]
mod tests;
