//! What a response to another method makes stale (RFC 9111, 4.4), and references to other URLs (RFC 3986, 5).

#[cfg(test)]
mod tests;

use portcullis_http::{Fields, RequestHead, Scheme};

/// Returns whether a response makes the stored responses of its URL invalid: the method is not known to be safe, and
/// the status is no error.
#[must_use]
pub fn invalidates(method: &str, status: u16) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE") && matches!(status, 200..=399)
}

/// Returns the targets (path and query) that Location and Content-Location of such a response name, if they have the
/// origin of the request, so that no other origin can make them invalid. The request's own target is not among them.
/// Dot segments are gone; other normalisation is the caller's.
#[must_use]
pub fn invalidated(request: &RequestHead, response: &Fields) -> Vec<String> {
    let named = [&b"location"[..], b"content-location"].into_iter().filter_map(|name| response.get(name));
    let mut targets: Vec<String> = Vec::new();
    for target in named.filter_map(|reference| resolve(request, reference)) {
        if target != request.target() && !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

/// Returns whether Content-Location says that the response is what a GET of the request's target would get.
pub(super) fn names_target(request: &RequestHead, response: &Fields) -> bool {
    let mut lines = response.get_all(b"content-location");
    let target = lines.next().and_then(|reference| resolve(request, reference));
    lines.next().is_none() && target.is_some_and(|target| target == request.target())
}

/// Returns the target that a reference in the response to a request names, or `None` if it has another origin.
fn resolve(request: &RequestHead, reference: &[u8]) -> Option<String> {
    let reference = std::str::from_utf8(reference).ok()?;
    let reference = reference.split('#').next().unwrap_or_default();
    let (path, is_absolute) = match origin(request, reference)? {
        (path, true) => (path, true),
        ("", false) => return Some(request.target().to_owned()),
        (path, false) => (path, path.starts_with('/')),
    };
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let path = if is_absolute {
        without_dots(path)
    } else if path.is_empty() {
        request.path().to_owned()
    } else {
        let folder = request.path().rfind('/').map_or("/", |at| &request.path()[..=at]);
        without_dots(&format!("{folder}{path}"))
    };
    Some(match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    })
}

/// Returns a reference without its origin, and whether it had one; `None` if that is not the request's.
fn origin<'r>(request: &RequestHead, reference: &'r str) -> Option<(&'r str, bool)> {
    let scheme_end = reference.find([':', '/', '?']).filter(|at| reference[*at..].starts_with(':'));
    let rest = match scheme_end {
        Some(at) if reference[..at].eq_ignore_ascii_case(request.scheme.as_str()) => {
            reference[at + 1..].strip_prefix("//")?
        }
        Some(_) => return None,
        None => match reference.strip_prefix("//") {
            Some(rest) => rest,
            None => return Some((reference, false)),
        },
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let same = canonical(authority, request.scheme) == canonical(&request.authority, request.scheme);
    (same && !authority.is_empty()).then_some((path, true))
}

/// An authority in lower case, without the default port.
fn canonical(authority: &str, scheme: Scheme) -> String {
    let default = match scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    let authority =
        authority.strip_suffix(default).or_else(|| authority.strip_suffix(':')).unwrap_or(authority);
    authority.to_ascii_lowercase()
}

/// Removes dot segments (RFC 3986, 5.2.4) from an absolute path; an empty one is `/`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}
