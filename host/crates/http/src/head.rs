//! The heads of requests and responses, in the form that all parts of the gateway use.

use portcullis_model::PathRules;

use crate::Fields;

/// The version of HTTP that a message was received in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/1.0 (RFC 1945).
    Http10,
    /// HTTP/1.1 (RFC 9112).
    #[default]
    Http11,
    /// HTTP/2 (RFC 9113).
    Http2,
}

impl Version {
    /// Returns it as in logs and `Via`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// Whether the client speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// Without TLS.
    #[default]
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// Returns `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The head of a request, normalised: what was matched is what policies see and what is forwarded. The strings are
/// reused from request to request.
#[derive(Debug, Clone, Default)]
pub struct RequestHead {
    /// The version it came in.
    pub version: Version,
    /// The method, a token; case matters. GET for an extended CONNECT of HTTP/2, which represents an upgrade.
    pub method: String,
    /// Whether it arrived over TLS.
    pub scheme: Scheme,
    /// Host and port as the client wrote them (`Host`, `:authority`), validated; the `Host` field is not in `fields`.
    pub authority: String,
    /// The path, normalised, then `?` and the query if there is one. `*` for `OPTIONS *`; empty for CONNECT.
    target: String,
    /// The position of the `?` in `target`.
    query_at: Option<usize>,
    /// The path as the client wrote it, if its form depends on the route; else empty.
    written_path: String,
    /// Which spellings of a path are kept: the rules of the route, once that is found.
    pub path_rules: PathRules,
    /// All fields but `Host`.
    pub fields: Fields,
    /// `:protocol` of an extended CONNECT (RFC 8441), or the protocol of a valid HTTP/1.1 `Upgrade`.
    pub upgrade: Option<String>,
}

impl RequestHead {
    /// Clears everything, but keeps the buffers.
    pub fn clear(&mut self) {
        self.version = Version::default();
        self.method.clear();
        self.scheme = Scheme::default();
        self.authority.clear();
        self.target.clear();
        self.query_at = None;
        self.written_path.clear();
        self.path_rules = PathRules::default();
        self.fields.clear();
        self.upgrade = None;
    }

    /// Sets path and query. The caller has normalised the path.
    pub fn set_target(&mut self, path: &str, query: Option<&str>) {
        self.target.clear();
        self.target.push_str(path);
        self.query_at = query.map(|query| {
            let at = self.target.len();
            self.target.push('?');
            self.target.push_str(query);
            at
        });
    }

    /// Replaces the target by what `append_path` appends to the buffer, and `query`. On an error nothing changes;
    /// `append_path` must then leave the buffer unchanged.
    pub(crate) fn edit_target<E>(
        &mut self,
        query: Option<&str>,
        append_path: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        let old = self.target.len();
        append_path(&mut self.target)?;
        self.target.drain(..old);
        self.query_at = query.map(|query| {
            let at = self.target.len();
            self.target.push('?');
            self.target.push_str(query);
            at
        });
        Ok(())
    }

    /// Replaces the path, which the caller has normalised, and keeps the query.
    pub fn set_path(&mut self, path: &str) {
        let old = self.path().len();
        self.target.replace_range(..old, path);
        self.query_at = self.query_at.map(|_| path.len());
    }

    /// Records how the client wrote the path.
    pub(crate) fn set_written_path(&mut self, path: &str) {
        self.written_path.clear();
        self.written_path.push_str(path);
    }

    /// Returns the path as the client wrote it, if it has a percent-encoded slash or an empty segment, which a route
    /// may keep or refuse; `None` if its form is the same for every route.
    #[must_use]
    pub fn written_path(&self) -> Option<&str> {
        (!self.written_path.is_empty()).then_some(&*self.written_path)
    }

    /// Returns path and query as they are forwarded.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the path without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        match self.query_at {
            Some(at) => &self.target[..at],
            None => &self.target,
        }
    }

    /// Returns the query without its `?`: `None` if there is no `?`, `Some("")` if nothing follows it.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query_at.map(|at| &self.target[at + 1..])
    }

    /// Returns the host without its port, as it was written; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        match self.authority.rfind(':') {
            Some(at) if !self.authority[at..].contains(']') => &self.authority[..at],
            _ => &self.authority,
        }
    }

    /// Returns whether the method is idempotent (RFC 9110, 9.2.2).
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }
}

/// The head of a response.
#[derive(Debug, Clone, Default)]
pub struct ResponseHead {
    /// The version it came in.
    pub version: Version,
    /// 100 to 599.
    pub status: u16,
    /// All its fields.
    pub fields: Fields,
}

impl ResponseHead {
    /// Clears everything, but keeps the buffers.
    pub fn clear(&mut self) {
        self.version = Version::default();
        self.status = 0;
        self.fields.clear();
    }

    /// Returns whether a response with this head has no body, whatever its fields say (RFC 9110, 6.4.1): a response to
    /// HEAD, and one with a status that allows none.
    #[must_use]
    pub fn is_bodyless(&self, to_head: bool) -> bool {
        to_head || matches!(self.status, 100..=199 | 204 | 304)
    }
}
