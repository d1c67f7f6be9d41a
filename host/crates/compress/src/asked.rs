//! What a request says about how its response is encoded.

use portcullis_http::{Fields, list_elements};

use crate::Accepted;

/// What a request says about how its response is encoded. Read as it arrives, before policies and routes change it for
/// the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// The codings that the client takes.
    pub accepted: Accepted,
    /// It has credentials that a browser adds by itself, also to requests that a stranger's page sends.
    pub has_credentials: bool,
    /// The browser says that a page of the same origin has sent it, or the user.
    pub is_own: bool,
    /// The client wants the response as it is (RFC 9111, 5.2.1.6).
    pub no_transform: bool,
}

impl Asked {
    /// Reads the fields of a request.
    #[must_use]
    pub fn read(fields: &Fields) -> Self {
        let site = fields.get(b"sec-fetch-site");
        Self {
            accepted: Accepted::read(fields),
            has_credentials: fields.get(b"cookie").is_some()
                || fields.get_all(b"authorization").any(|value| !is_added_by_scripts(value)),
            is_own: matches!(site, Some(b"same-origin" | b"none")),
            no_transform: has_no_transform(fields),
        }
    }
}

/// Whether these credentials are sent by scripts of the site alone: a browser adds those of Basic, Digest and Negotiate
/// to any request.
fn is_added_by_scripts(authorization: &[u8]) -> bool {
    let scheme = authorization.split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"dpop")
}

/// Whether `Cache-Control` forbids other codings.
pub(crate) fn has_no_transform(fields: &Fields) -> bool {
    has_directive(fields, b"no-transform")
}

/// Whether `Cache-Control` has this directive, with a value or without one.
pub(crate) fn has_directive(fields: &Fields, name: &[u8]) -> bool {
    fields.get_all(b"cache-control").flat_map(list_elements).any(|directive| {
        let typed = directive.split(|byte| *byte == b'=').next().unwrap_or_default();
        typed.trim_ascii().eq_ignore_ascii_case(name)
    })
}
