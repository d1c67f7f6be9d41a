//! One change that a hook made in an exchange.

use portcullis_model::Name;

/// One change of an exchange. All changes of a hook, applied to the exchange before it, give the one after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The request's method.
    Method(String),
    /// The authority that is forwarded.
    Authority(String),
    /// Path and query.
    Target(String),
    /// Another upstream of the route.
    Upstream(Name),
    /// What the endpoint is chosen by.
    EndpointKey(Vec<u8>),
    /// The response's status.
    Status(u16),
    /// The lines of a field.
    Field {
        /// Where the field is.
        message: Message,
        /// Its name, lower case.
        name: String,
        /// Its lines before; empty if the message did not have it.
        before: Vec<Vec<u8>>,
        /// Its lines after; empty if it was removed.
        after: Vec<Vec<u8>>,
    },
    /// An attribute was set.
    Attribute {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// A section of fields in the messages of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// From the client.
    Request,
    /// To the client.
    Response,
    /// The trailers of the one whose body hook ran.
    Trailers,
}

impl Edit {
    /// Returns about how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let lines = |lines: &[Vec<u8>]| lines.iter().map(Vec::len).sum::<usize>();
        match self {
            Self::Method(text) | Self::Authority(text) | Self::Target(text) => text.len(),
            Self::Upstream(name) => name.len(),
            Self::EndpointKey(key) => key.len(),
            Self::Status(_) => 2,
            Self::Field { name, before, after, .. } => name.len() + lines(before) + lines(after),
            Self::Attribute { name, value } => name.len() + value.len(),
        }
    }
}
