//! Patterns of hosts and paths.

use portcullis_model::{HostPattern, PathPattern, PathRules, PathSegment, Pattern, canonical_host};

use crate::syntax::check::is_name;

/// Why a text is not a pattern, and what to write.
pub(crate) type PatternError = (String, String);

/// Bytes of a path pattern: as much as most servers take of a URL.
const PATH_BYTES_MAX: usize = 8192;

/// Reads a regular expression.
pub(crate) fn regex(text: &str) -> Result<Pattern, PatternError> {
    if let Some(rest) = text.strip_prefix('~') {
        let (flag, rest) = rest.strip_prefix('*').map_or(("", rest), |rest| ("(?i)", rest));
        let help = format!("write regex = '{flag}{}': the key says that it is one", rest.trim_start());
        return Err(("`~` is a character to look for".into(), help));
    }
    let help = "no look-around and no references to groups: what is matched takes time linear in its length";
    Pattern::new(text).map_err(|error| (format!("not a regular expression: {error}"), help.into()))
}

/// Reads a host pattern: `example.com` or `*.example.com`.
pub(crate) fn host(text: &str) -> Result<HostPattern, PatternError> {
    let error = |label: &str, help: String| Err((label.to_owned(), help));
    if matches!(text, "*" | "_") {
        return error("any host", "leave `host` out to match every host".into());
    }
    if text.starts_with('~') || text.contains(['^', '$', '(', '|', '\\']) {
        return error(
            "a regular expression stands in a table of its own",
            format!("write host = {{ regex = '{}' }}", text.trim_start_matches(['~', '*', ' '])),
        );
    }
    if let Some(name) = text.strip_prefix('.').filter(|name| host_name_error(name).is_none()) {
        return error(
            "a host does not begin with a dot",
            format!("write host = [\"{name}\", \"*.{name}\"] for it and all below it"),
        );
    }
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or("");
        return error("this is a URL", format!("write only the host: host = {host:?}"));
    }
    if text.contains('/') {
        return error("a host holds no `/`", "put the path into `path`".into());
    }
    let lower = text.to_ascii_lowercase();
    let (suffix, name) = match lower.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, lower.as_str()),
    };
    if name.contains('*') {
        return error(
            "`*` is only possible as the whole first label",
            "write it as in \"*.example.com\"".into(),
        );
    }
    if !suffix && name.starts_with('[') && name.ends_with(']') {
        let inner = name.trim_start_matches('[').trim_end_matches(']');
        return match inner.parse::<std::net::Ipv6Addr>() {
            // As requests are compared, so that each way to write the address is the same host.
            Ok(_) => Ok(HostPattern::Exact(canonical_host(name).into_owned())),
            Err(_) => error("not an IPv6 address", "write it as in \"[::1]\"".into()),
        };
    }
    if name.parse::<std::net::Ipv6Addr>().is_ok() {
        return error("an IPv6 address stands in brackets", format!("write host = \"[{name}]\""));
    }
    if let Some((host, port)) = name.rsplit_once(':') {
        let star = if suffix { "*." } else { "" };
        return error(
            "a host without its port is expected",
            format!(
                "write host = \"{star}{host}\": a route takes the host on every port; {port} belongs to a listener's `address`"
            ),
        );
    }
    if !name.is_ascii() {
        return error(
            "not ASCII",
            "write international names in their ASCII form, which begins with `xn--`".into(),
        );
    }
    // 10.0.0.256 is no name: the last label of one is never a number (RFC 3696, 2), and no client can ask for it.
    let last = name.rsplit('.').next().unwrap_or("");
    if !last.is_empty()
        && last.bytes().all(|byte| byte.is_ascii_digit())
        && (suffix || name.parse::<std::net::Ipv4Addr>().is_err())
    {
        return error("not an IPv4 address", "write it as in \"10.0.0.7\", or a host name".into());
    }
    if let Some(label) = host_name_error(name) {
        return error(label, "write a host name as in \"api.example.com\", or \"*.example.com\"".into());
    }
    Ok(if suffix { HostPattern::Suffix(format!(".{name}")) } else { HostPattern::Exact(name.to_owned()) })
}

/// What is wrong with a host name (RFC 1123, 2.1; underscores as they occur in practice), or `None`.
pub(crate) fn host_name_error(name: &str) -> Option<&'static str> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() {
        return Some("the host is missing");
    }
    if name.len() > 253 {
        return Some("a host name has at most 253 characters");
    }
    if name.ends_with('.') {
        return Some("a host name is written without a dot at its end");
    }
    let fine = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(letter);
    if !name.split('.').all(fine) {
        return Some("not a host name");
    }
    None
}

/// Reads the path pattern of a route with these rules.
pub(crate) fn path(text: &str, rules: PathRules) -> Result<PathPattern, PatternError> {
    let error = |label: String, help: String| Err((label, help));
    if is_regular_expression(text) {
        return error(
            "a regular expression stands in a table of its own".into(),
            format!("write path = {{ regex = '{}' }}", text.trim_start_matches(['~', '*', ' '])),
        );
    }
    if let Some(rest) = text.strip_prefix('*').filter(|rest| !rest.is_empty() && !rest.starts_with('/')) {
        return error(
            "`*` is only possible as the whole last segment".into(),
            format!("write path = {{ regex = '{}$' }} for what ends so", rest.replace('.', "\\.")),
        );
    }
    let Some(rest) = text.strip_prefix('/') else {
        let path =
            text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or(text, |(_, path)| path);
        return error("a path begins with `/`".into(), format!("write path = \"/{path}\""));
    };
    if text.len() > PATH_BYTES_MAX {
        return error(format!("longer than {PATH_BYTES_MAX} bytes"), "no client would ask for it".into());
    }
    if let Some(at) = text.find(['?', '#']) {
        let path = text.get(..at).unwrap_or("/");
        return error(
            "only the path is matched".into(),
            format!("write path = {path:?}: the query is not part of it"),
        );
    }
    let mut pattern = PathPattern { segments: Vec::new(), rest: false };
    if rest.is_empty() {
        return Ok(pattern);
    }
    let segments: Vec<&str> = rest.split('/').collect();
    let last = segments.len() - 1;
    for (at, segment) in segments.iter().enumerate() {
        if *segment == "*" && at == last {
            pattern.rest = true;
        } else if segment.contains('*') {
            return error(
                "`*` is only possible as the whole last segment".into(),
                "write `/prefix/*` for everything below, or `{name}` for one segment".into(),
            );
        } else if segment.contains(['{', '}']) {
            pattern.segments.push(PathSegment::Parameter(parameter(segment, &pattern)?));
        } else {
            check_placeholder(segment, text)?;
            check_encoding(segment, rules)?;
            pattern.segments.push(PathSegment::Literal((*segment).to_owned()));
        }
    }
    let normal = normal_form(&segments);
    if normal != text {
        return error(
            "not in normal form, so that no request matches it".into(),
            format!(
                "write path = {normal:?}: paths are matched after dot segments, empty segments and percent-encoding are normalised"
            ),
        );
    }
    Ok(pattern)
}

/// Whether it is meant as a regular expression, as nginx and others take them.
fn is_regular_expression(text: &str) -> bool {
    let marks = [
        ".*", ".+", "\\.", "\\d", "\\w", "(?", "[^", "[0-9", "[a-z", "[A-Z", "]+", "]*", ")$", ")?", "+$",
        "*$",
    ];
    text.starts_with(['~', '^'])
        || marks.iter().any(|mark| text.contains(mark))
        || (text.contains('(') && text.contains('|'))
}

/// Refuses what other gateways write for `{name}`: a request would have to hold these very characters.
fn check_placeholder(segment: &str, whole: &str) -> Result<(), PatternError> {
    let colon = segment.strip_prefix(':').map(|name| name.trim_end_matches('?'));
    let angle = segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    let angle = angle.map(|name| name.rsplit(':').next().unwrap_or(name));
    let dollar = segment.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let Some(name) = colon.or(angle).or(dollar) else { return Ok(()) };
    let name = name.to_ascii_lowercase();
    if !is_name(&name) {
        return Ok(());
    }
    let fixed = whole.replace(segment, &format!("{{{name}}}"));
    Err((
        format!("`{segment}` is taken literally"),
        format!("write path = {fixed:?}: `{{{name}}}` is any one segment"),
    ))
}

fn parameter(segment: &str, pattern: &PathPattern) -> Result<String, PatternError> {
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let Some(name) = name.filter(|name| !name.contains(['{', '}'])) else {
        return Err((
            "a parameter is a whole segment".into(),
            "write it as in \"/users/{id}\"; literal braces are written %7B and %7D".into(),
        ));
    };
    if !is_name(name) {
        return Err((
            "not a parameter's name".into(),
            "names are of a-z, 0-9, - and _, as in \"/users/{id}\"".into(),
        ));
    }
    let same = |segment: &PathSegment| matches!(segment, PathSegment::Parameter(other) if other == name);
    if pattern.segments.iter().any(same) {
        return Err((
            format!("the parameter `{name}` is there twice"),
            "give each parameter a name of its own".into(),
        ));
    }
    Ok(name.to_owned())
}

/// Refuses what no normalised path holds.
fn check_encoding(segment: &str, rules: PathRules) -> Result<(), PatternError> {
    if segment.contains('\\') {
        return Err(("a path holds no `\\`".into(), "write `/` between segments".into()));
    }
    for (at, _) in segment.match_indices('%') {
        let digits =
            segment.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(digits) = digits else {
            return Err((
                "`%` without two hexadecimal digits".into(),
                "write a literal percent sign as %25".into(),
            ));
        };
        let byte = u8::from_str_radix(digits, 16).unwrap_or(0);
        if byte == b'/' && !rules.keeps_encoded_slash {
            return Err((
                format!("%{digits} is in no path that this route takes"),
                "write encoded-slash = \"keep\" in the route, or leave it out".into(),
            ));
        }
        if byte == b'\\' || byte.is_ascii_control() {
            return Err((
                format!("%{digits} is in no path that the gateway lets through"),
                "encoded separators and control characters are refused, because servers read them differently".into(),
            ));
        }
    }
    let decoded = segment.replace("%2f", "%2F");
    if decoded.contains("%2F") && decoded.split("%2F").any(|part| matches!(part, "." | "..")) {
        return Err((
            "a dot segment beside an encoded slash is in no path that the gateway lets through".into(),
            "leave the segment out".into(),
        ));
    }
    if segment.starts_with(".;") || segment.starts_with("..;") {
        return Err((
            "a dot segment with parameters is in no path that the gateway lets through".into(),
            "leave the segment out".into(),
        ));
    }
    Ok(())
}

/// The path that the gateway's normaliser would make of these segments.
pub(crate) fn normal_form(segments: &[&str]) -> String {
    let last = segments.len().saturating_sub(1);
    let mut out: Vec<String> = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        let is_pattern = *segment == "*" || segment.starts_with('{');
        let segment = if is_pattern { (*segment).to_owned() } else { normal_segment(segment) };
        match segment.as_str() {
            "" | "." if at < last => {}
            // A dot segment at the end leaves the slash before it (RFC 3986, 5.2.4).
            "." => out.push(String::new()),
            ".." => {
                out.pop();
                if at == last {
                    out.push(String::new());
                }
            }
            _ => out.push(segment),
        }
    }
    format!("/{}", out.join("/"))
}

/// Decodes what need not be encoded and encodes what must be (RFC 3986, 6.2.2), in upper case.
fn normal_segment(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = String::with_capacity(segment.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let encoded = (byte == b'%')
            .then(|| segment.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        at += if encoded.is_some() { 3 } else { 1 };
        let value = encoded.unwrap_or(byte);
        let unreserved = value.is_ascii_alphanumeric() || b"-._~".contains(&value);
        // Sub-delimiters, `:` and `@` mean something else encoded than bare (RFC 3986, 2.2), so they stay as they are.
        let bare = unreserved || (encoded.is_none() && b"!$&'()*+,;=:@".contains(&value));
        if bare {
            out.push(char::from(value));
        } else {
            out.push_str(&format!("%{value:02X}"));
        }
    }
    out
}
