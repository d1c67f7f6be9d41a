//! What the cache needs of a request.

#[cfg(test)]
mod tests;

use portcullis_http::{FirstByte, RequestHead, first_byte};

use super::directives::RequestDirectives;
use super::settings::{Settings, VaryRules};

/// A request, read in one pass over its fields. Its head is the one that the upstream will see: what a policy has
/// changed counts, and so does selection by Vary.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub(super) head: &'a RequestHead,
    /// What counts of the directives.
    pub(super) directives: RequestDirectives,
    /// The response must not be stored because the request says so.
    pub(super) no_store: bool,
    pub(super) authorization: bool,
    pub(super) has_range: bool,
    /// It has conditions that a stored response can be compared with.
    has_conditions: bool,
    /// It may be of a client that is signed in.
    pub(super) has_cookie: bool,
    pub(super) vary: VaryRules,
    access: Access,
}

/// How a request may use the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A stored response may answer it, and its response may be stored: GET and HEAD.
    Lookup,
    /// It has another method. It is forwarded; its response may invalidate what is stored, see
    /// [`invalidates`](super::invalidates), and rarely be stored.
    Write,
    /// It is forwarded, and its response is not stored.
    Bypass(WhyBypass),
}

/// Why a request does not use the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyBypass {
    /// The client sent `no-store`.
    NoStore,
    /// It is a GET or HEAD with content, which may decide what the response is and is not part of the key.
    Body,
    /// It has If-Match or If-Unmodified-Since, which only the origin can evaluate (RFC 9111, 4.3.2).
    Precondition,
    /// It has a field by which some upstreams take another method.
    Override,
    /// It asks for another protocol.
    Upgrade,
}

impl WhyBypass {
    /// Returns the reason in a word, for logs and Cache-Status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoStore => "request-no-store",
            Self::Body => "request-body",
            Self::Precondition => "request-precondition",
            Self::Override => "request-override",
            Self::Upgrade => "request-upgrade",
        }
    }
}

impl<'a> Request<'a> {
    /// Reads a request. `has_body` says whether it has content.
    #[must_use]
    pub fn read(settings: &Settings, head: &'a RequestHead, has_body: bool) -> Self {
        let mut written = RequestDirectives::default();
        let (mut cache_control, mut pragma) = (false, false);
        let (mut authorization, mut has_range, mut precondition) = (false, false, false);
        let (mut overridden, mut has_conditions, mut has_cookie) = (false, false, false);
        for (_, name, value) in head.fields.iter_bytes() {
            match name {
                b"cache-control" => {
                    cache_control = true;
                    written.add_line(value);
                }
                b"pragma" => pragma |= is_no_cache(value),
                b"authorization" => authorization = true,
                b"range" => has_range = true,
                b"if-match" | b"if-unmodified-since" => precondition = true,
                b"if-none-match" | b"if-modified-since" => has_conditions = true,
                b"cookie" => has_cookie = true,
                _ => overridden |= is_override(name),
            }
        }
        let no_store = written.no_store;
        let mut directives = if settings.client_directives { written } else { RequestDirectives::default() };
        // RFC 9111, 5.4: Pragma counts only without Cache-Control.
        directives.no_cache |= settings.client_directives && pragma && !cache_control;
        let access = match head.method.as_str() {
            _ if head.upgrade.is_some() => Access::Bypass(WhyBypass::Upgrade),
            "GET" | "HEAD" if has_body => Access::Bypass(WhyBypass::Body),
            "GET" | "HEAD" if precondition => Access::Bypass(WhyBypass::Precondition),
            "GET" | "HEAD" if overridden => Access::Bypass(WhyBypass::Override),
            "GET" | "HEAD" if directives.no_store => Access::Bypass(WhyBypass::NoStore),
            "GET" | "HEAD" => Access::Lookup,
            _ => Access::Write,
        };
        Self {
            head,
            directives,
            no_store,
            authorization,
            has_range,
            has_conditions,
            has_cookie,
            vary: settings.vary,
            access,
        }
    }

    /// Returns its head.
    #[must_use]
    pub const fn head(&self) -> &'a RequestHead {
        self.head
    }

    /// Returns how the request may use the cache.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// Returns whether the client wants a stored response or 504 (RFC 9111, 5.2.1.7).
    #[must_use]
    pub const fn only_if_cached(&self) -> bool {
        self.directives.only_if_cached
    }

    /// Returns whether the client wants no content.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.head.method == "HEAD"
    }

    /// Returns whether the client has something to compare with what is stored, so that it may get 304.
    #[must_use]
    pub const fn has_conditions(&self) -> bool {
        self.has_conditions
    }

    /// Returns whether the request asks for a part of the content.
    #[must_use]
    pub const fn has_range(&self) -> bool {
        self.has_range
    }

    /// Returns where the part begins that the request asks for, if it is a GET for one range of bytes.
    #[must_use]
    pub fn first_byte(&self) -> Option<FirstByte> {
        if !self.has_range || self.head.method != "GET" {
            return None;
        }
        let mut lines = self.head.fields.get_all(b"range");
        let first = lines.next().and_then(first_byte);
        first.filter(|_| lines.next().is_none())
    }

    /// Returns the request as it was sent to the origin if that was asked for the whole response.
    #[must_use]
    pub const fn for_the_whole(mut self) -> Self {
        self.has_range = false;
        self
    }
}

/// Whether a line of Pragma has `no-cache`.
fn is_no_cache(line: &[u8]) -> bool {
    portcullis_http::list_elements(line).any(|element| element.eq_ignore_ascii_case(b"no-cache"))
}

/// Whether some upstreams take the method from a field of this name, in lower case. Such a GET may do what another
/// method does.
fn is_override(name: &[u8]) -> bool {
    matches!(name, b"x-http-method-override" | b"x-http-method" | b"x-method-override")
}
