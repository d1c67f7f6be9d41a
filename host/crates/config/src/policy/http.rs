//! `grants.http`: the servers that a policy may ask.

use std::net::IpAddr;

use portcullis_model::{HttpGrant, HttpUrl, Reach};

use crate::diagnostic::Report;
use crate::keys::HTTP_GRANT;
use crate::loader::{Loader, Named};
use crate::source::Span;
use crate::suggest::shown;
use crate::tree::Node;
use crate::view::{View, text};

/// Reads the list; what is wrong in it is reported.
pub(super) fn grants(loader: &mut Loader<'_>, named: &Named<'_>, grants: View<'_>) -> Vec<HttpGrant> {
    let nodes = grants.node("http").map_or(&[][..], Node::elements);
    let mut list: Vec<HttpGrant> = Vec::new();
    for node in nodes {
        let inner = View::new(node.as_table(), &HTTP_GRANT, node.span);
        let (typed, private) = match node.as_table() {
            Some(_) => (inner.text("url"), inner.bool("private").unwrap_or(false)),
            None => (text(node), false),
        };
        let Some((typed, span)) = typed else { continue };
        let grant = match grant(typed, private) {
            Ok(grant) => grant,
            Err((label, help)) => {
                let message =
                    format!("policy `{}` is granted a server by a URL that cannot be used", named.name);
                loader.report(Report::new(span, message, label).help(help));
                continue;
            }
        };
        check_reach(loader, named, &grant, typed, span);
        let same = |other: &HttpGrant| HttpGrant { private, ..other.clone() } == grant;
        if list.iter().any(same) {
            let message = format!("policy `{}` is granted the server `{}` twice", named.name, shown(typed));
            loader.report(Report::new(span, message, "granted before").help("remove one of the two"));
        } else {
            list.push(grant);
        }
    }
    list
}

/// Reads a URL; or what is wrong with it and what to write.
fn grant(typed: &str, private: bool) -> Result<HttpGrant, (String, String)> {
    let example = || "write it as in \"https://auth.internal/check\"".to_owned();
    let url = HttpUrl::parse(typed).map_err(|error| (error.to_string(), example()))?;
    let path = url.path_and_query;
    if let Some((path, _)) = path.split_once('?') {
        return Err((
            "a grant has no query".to_owned(),
            format!("end it behind the path: `{}`", shown(path)),
        ));
    }
    // The form that requests are brought into before they are compared with it, and nothing that has two forms.
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
    let dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if !plain || dots || path.contains("//") {
        let label =
            "its path is not plain: letters, digits, `-`, `.`, `_` and `~` between single slashes".to_owned();
        return Err((label, example()));
    }
    // A slash alone is as good as no path.
    let path = if path == "/" { "" } else { path }.to_owned();
    Ok(HttpGrant { tls: url.tls, host: url.host, port: url.port, path, private })
}

/// An address that can never be connected to would be a grant without effect.
fn check_reach(loader: &mut Loader<'_>, named: &Named<'_>, grant: &HttpGrant, typed: &str, span: Span) {
    let Ok(address) = grant.host.parse::<IpAddr>() else { return };
    if grant.may_reach(address) {
        return;
    }
    let (label, help) = match Reach::of(address) {
        Reach::Never => ("no machine has this address", "write the address of a server".to_owned()),
        _ => (
            "a private address",
            format!("if it is meant, write {{ url = \"{}\", private = true }}", shown(typed)),
        ),
    };
    let message = format!("policy `{}` is granted a server that it could not reach", named.name);
    loader.report(Report::new(span, message, label).help(help));
}
