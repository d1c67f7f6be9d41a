//! `grants.http`: the servers that a policy may ask.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_model::{Authorities, ContentDigest, HttpGrant, HttpUrl, Reach};
use sha2::{Digest as _, Sha256};

use crate::certificates::authorities;
use crate::diagnostic::Report;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::references::Named;
use crate::syntax::keys::HTTP_GRANT;
use crate::syntax::suggest::shown;
use crate::syntax::tree::Node;
use crate::syntax::view::{View, text};

/// Reads the list; what is wrong in it is reported.
pub(super) fn grants(loader: &mut Loader<'_>, named: &Named<'_>, grants: View<'_>) -> Vec<HttpGrant> {
    let nodes = grants.node("http").map_or(&[][..], Node::elements);
    let mut list: Vec<(HttpGrant, Span)> = Vec::new();
    for node in nodes {
        let inner = View::new(node.as_table(), &HTTP_GRANT, node.span);
        let (typed, private) = match node.as_table() {
            Some(_) => (inner.text("url"), inner.bool("private").unwrap_or(false)),
            None => (text(node), false),
        };
        let Some((typed, span)) = typed else { continue };
        let mut grant = match grant(typed, private) {
            Ok(grant) => grant,
            Err((label, help)) => {
                let message =
                    format!("policy `{}` is granted a server by a URL that cannot be used", named.name);
                loader.report(Report::new(span, message, label).help(help));
                continue;
            }
        };
        check_reach(loader, named, &grant, typed, span);
        grant.ca = match ca(loader, named, inner, &grant, typed) {
            Ok(ca) => ca,
            // What else it would be compared with is not known.
            Err(Reported) => continue,
        };
        if list.iter().any(|(other, _)| other.is_beside(&grant) && other.path == grant.path) {
            let message = format!("policy `{}` is granted the server `{}` twice", named.name, shown(typed));
            loader.report(Report::new(span, message, "granted before").help("remove one of the two"));
        } else {
            check_same_ca(loader, named, &list, &grant, inner.key_span("ca").unwrap_or(span));
            list.push((grant, span));
        }
    }
    list.into_iter().map(|(grant, _)| grant).collect()
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
    Ok(HttpGrant { tls: url.tls, host: url.host, port: url.port, path, private, ca: None })
}

/// A mistake that was reported.
struct Reported;

/// Reads the authorities that a grant names.
fn ca(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    view: View<'_>,
    grant: &HttpGrant,
    typed: &str,
) -> Result<Option<Arc<Authorities>>, Reported> {
    let Some((path, span)) = view.text("ca") else {
        // One of the wrong type was reported.
        return if view.key_span("ca").is_some() { Err(Reported) } else { Ok(None) };
    };
    if !grant.tls {
        let message =
            format!("policy `{}` is granted a server with authorities, but without TLS", named.name);
        let secure = shown(typed).replacen("http:", "https:", 1);
        let help = format!("remove it, or write url = \"{secure}\"");
        loader.report(Report::new(view.key_span("ca").unwrap_or(span), message, "without effect").help(help));
        return Err(Reported);
    }
    let (path, pem) = authorities(loader, path, span).ok_or(Reported)?;
    let digest = ContentDigest::new(Sha256::digest(&pem).into());
    Ok(Some(Arc::new(Authorities { path, pem, digest })))
}

/// The authorities that are trusted for a server must not depend on the path of a request.
fn check_same_ca(
    loader: &mut Loader<'_>,
    named: &Named<'_>,
    before: &[(HttpGrant, Span)],
    grant: &HttpGrant,
    span: Span,
) {
    let other = before.iter().find(|(other, _)| other.is_beside(grant) && other.ca != grant.ca);
    if let Some((_, first)) = other {
        let message = format!("policy `{}` trusts other authorities for one path of a server", named.name);
        let report = Report::new(span, message, "not those of the grant before");
        loader.report(
            report.note("granted before", *first).help("give each grant of the server the same `ca`"),
        );
    }
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
