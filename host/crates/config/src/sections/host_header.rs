//! `host` of an upstream and of a route's `rewrite`: what `Host` says to an endpoint.

use portcullis_model::HostHeader;

use crate::diagnostic::Report;
use crate::loader::Loader;
use crate::syntax::authority::is_authority;
use crate::syntax::view::View;

/// Reads `host` of `view`, which is the table `place`. Returns `None` if it is not there or not valid.
pub(crate) fn host_header(loader: &mut Loader<'_>, place: &str, view: View<'_>) -> Option<HostHeader> {
    match view.word("host") {
        Some("endpoint") => return Some(HostHeader::Endpoint),
        Some(_) => return Some(HostHeader::Preserve),
        None => {}
    }
    let (value, span) = view.view("host").text("value")?;
    if is_authority(value) {
        return Some(HostHeader::Fixed(value.into()));
    }
    let help = "write a host name, with a port if it needs one, as in \"internal.example.com\"";
    loader.report(Report::new(span, format!("`host` of {place} is not valid"), "not a host").help(help));
    None
}
