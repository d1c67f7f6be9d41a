//! Values with variables in them.

use std::borrow::Cow;

use portcullis_sdk::Field;
use portcullis_sdk::prelude::*;

/// A value that is made anew for each exchange.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(Variable),
}

#[derive(Debug, PartialEq, Eq)]
enum Variable {
    Method,
    Scheme,
    Authority,
    Host,
    Path,
    Query,
    RequestHeader(String),
    RequestQuery(String),
    Status,
    ResponseHeader(String),
    ClientAddress,
    TlsServerName,
    Route,
    TraceId,
    Attribute(String),
}

/// Which head a template is for: a request's has no response to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// All variables, as the documentation names them.
const KNOWN: &str = "request.method, request.scheme, request.authority, request.host, request.path, request.query, \
     request.header.NAME, request.query.NAME, response.status, response.header.NAME, client-address, \
     tls-server-name, route, trace-id, attribute.NAME";

impl Template {
    /// Reads text with `${variable}` in it. `$$` is a `$`. One before anything else is an error: with `$remote_addr`
    /// the upstream would be told these very characters.
    pub(crate) fn parse(text: &str, side: Side) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                plain.push('$');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let (name, after) = after.split_once('}').ok_or_else(|| {
                    format!("`${{{after}` has no `}}`; write `$${{` for the characters themselves")
                })?;
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Variable(Variable::parse(name, side)?));
                rest = after;
            } else {
                return Err(lone_dollar(after));
            }
        }
        plain.push_str(rest);
        if plain.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
            return Err("a field's value has no control characters".to_owned());
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The value. `None` if a variable has none, and if what was put in makes it unfit for a field: an attribute can
    /// hold line breaks, which would begin a field of their own. Bytes of a field that are not text stay as they are,
    /// so that a copy is what the original was.
    pub(crate) fn render(
        &self,
        request: &Request,
        response: Option<&Response>,
        exchange: &Exchange,
    ) -> Option<Cow<'_, [u8]>> {
        let value = match self.0.as_slice() {
            // Checked when it was read.
            [Piece::Text(text)] => return Some(Cow::Borrowed(text.trim_ascii().as_bytes())),
            [Piece::Variable(variable)] => variable.value(request, response, exchange)?,
            pieces => {
                let mut value = Vec::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => value.extend_from_slice(text.as_bytes()),
                        Piece::Variable(variable) => {
                            value.extend(variable.value(request, response, exchange)?)
                        }
                    }
                }
                value
            }
        };
        let trimmed = value.trim_ascii();
        Field::check_value(trimmed).ok()?;
        Some(Cow::Owned(if trimmed.len() == value.len() { value } else { trimmed.to_vec() }))
    }
}

/// What to write in place of a `$` before `after`, which is no variable.
fn lone_dollar(after: &str) -> String {
    let end =
        after.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(after.len());
    let word = after.get(..end).unwrap_or_default();
    // As nginx names them.
    let variable = match word {
        "remote_addr" | "realip_remote_addr" | "binary_remote_addr" => "${client-address}".to_owned(),
        "host" | "http_host" | "server_name" => "${request.host}".to_owned(),
        "scheme" => "${request.scheme}".to_owned(),
        "request_method" => "${request.method}".to_owned(),
        "uri" | "document_uri" => "${request.path}".to_owned(),
        "args" | "query_string" => "${request.query}".to_owned(),
        "status" => "${response.status}".to_owned(),
        "ssl_server_name" => "${tls-server-name}".to_owned(),
        "request_id" => "${trace-id}".to_owned(),
        _ => match (word.strip_prefix("http_"), word.strip_prefix("arg_")) {
            (Some(field), _) if !field.is_empty() => {
                format!("${{request.header.{}}}", field.replace('_', "-"))
            }
            (_, Some(name)) if !name.is_empty() => format!("${{request.query.{name}}}"),
            _ => String::new(),
        },
    };
    match variable.as_str() {
        "" => format!(
            "`${word}` is no variable; write `$$` for the character itself, or one such as ${{client-address}}"
        ),
        variable => format!("`${word}` is no variable; write {variable}, or `$$` for the character itself"),
    }
}

impl Variable {
    fn parse(name: &str, side: Side) -> Result<Self, String> {
        let field = |field: &str| match Field::check_name(field) {
            Err(Refused::InvalidName) => Err(format!("`${{{name}}}`: `{field}` is no field name")),
            _ => Ok(field.to_owned()),
        };
        let variable = match name {
            "request.method" => Self::Method,
            "request.scheme" => Self::Scheme,
            "request.authority" => Self::Authority,
            "request.host" => Self::Host,
            "request.path" => Self::Path,
            "request.query" => Self::Query,
            "response.status" => Self::Status,
            "client-address" => Self::ClientAddress,
            "tls-server-name" => Self::TlsServerName,
            "route" => Self::Route,
            "trace-id" => Self::TraceId,
            _ => {
                if let Some(header) = name.strip_prefix("request.header.") {
                    Self::RequestHeader(field(header)?)
                } else if let Some(header) = name.strip_prefix("response.header.") {
                    Self::ResponseHeader(field(header)?)
                } else if let Some(parameter) = name.strip_prefix("request.query.") {
                    Self::RequestQuery(parameter.to_owned())
                } else if let Some(attribute) = name.strip_prefix("attribute.") {
                    Self::Attribute(attribute.to_owned())
                } else {
                    return Err(format!("`${{{name}}}` is unknown; there are {KNOWN}"));
                }
            }
        };
        if side == Side::Request && matches!(variable, Self::Status | Self::ResponseHeader(_)) {
            return Err(format!("`${{{name}}}`: there is no response yet when the request is edited"));
        }
        Ok(variable)
    }

    fn value(&self, request: &Request, response: Option<&Response>, exchange: &Exchange) -> Option<Vec<u8>> {
        let text = match self {
            Self::RequestHeader(name) => return request.header_bytes(name),
            Self::ResponseHeader(name) => return response?.header_bytes(name),
            Self::RequestQuery(name) => return request.query_values_bytes(name).into_iter().next(),
            Self::Method => Some(request.method()),
            Self::Scheme => Some(request.scheme()),
            Self::Authority => Some(request.authority()),
            Self::Host => Some(host(&request.authority()).to_owned()),
            Self::Path => Some(request.path()),
            Self::Query => request.query(),
            Self::Status => response.map(|response| response.status().to_string()),
            Self::ClientAddress => Some(exchange.client_address_text()),
            Self::TlsServerName => exchange.tls_server_name(),
            Self::Route => Some(exchange.route()),
            Self::TraceId => Some(exchange.trace_id()),
            Self::Attribute(name) => exchange.attribute(name),
        };
        text.map(String::into_bytes)
    }
}

/// The authority without its port. An IPv6 address keeps its brackets.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
