//! Texts with variables: nginx's `$host`, said as the gateway's `{host}`.

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// A variable, without its `$` and braces.
    Variable(String),
}

/// Takes a text apart. A `$` that begins no variable stays.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let name_of = |text: &str| -> usize {
            text.find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
                .unwrap_or(text.len())
        };
        let (name, behind) = match braced {
            Some((name, behind)) => (name, behind),
            // `$1` is one digit.
            None if after.starts_with(|character: char| character.is_ascii_digit()) => after.split_at(1),
            None => after.split_at(name_of(after)),
        };
        if name.is_empty() {
            literal.push('$');
        } else {
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Variable(name.to_owned()));
        }
        rest = behind;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    pieces
}

/// Returns whether a text has variables.
pub(crate) fn is_literal(text: &str) -> bool {
    pieces(text).iter().all(|piece| matches!(piece, Piece::Text(_)))
}

/// Says a text with the variables of `redirect.to` and `request-headers`. `captures` says what `$1` and the like are.
///
/// # Errors
/// The variable that has no counterpart.
pub(crate) fn with_braces(
    text: &str,
    server_name: Option<&str>,
    captures: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut out = String::new();
    let pieces = pieces(text);
    let mut skip = false;
    for (i, piece) in pieces.iter().enumerate() {
        if std::mem::take(&mut skip) {
            continue;
        }
        match piece {
            // `?$args` is the query with its `?`.
            Piece::Text(text) if text.ends_with('?') && is_arguments(pieces.get(i + 1)) => {
                out.push_str(&text[..text.len() - 1]);
                out.push_str("{query}");
                skip = true;
            }
            Piece::Text(text) => out.push_str(text),
            Piece::Variable(name) => match name.as_str() {
                "host" | "http_host" => out.push_str("{host}"),
                "scheme" => out.push_str("{scheme}"),
                "request_uri" => out.push_str("{path}{query}"),
                "uri" | "document_uri" => out.push_str("{path}"),
                "is_args" if is_arguments(pieces.get(i + 1)) => {
                    out.push_str("{query}");
                    skip = true;
                }
                "server_name" => out.push_str(server_name.ok_or_else(|| name.clone())?),
                _ => out.push_str(&captures(name).ok_or_else(|| name.clone())?),
            },
        }
    }
    Ok(out)
}

fn is_arguments(piece: Option<&Piece>) -> bool {
    matches!(piece, Some(Piece::Variable(name)) if name == "args" || name == "query_string")
}

/// Says a text with the variables of `builtin:headers`, for a request.
///
/// # Errors
/// The variable that has no counterpart.
pub(crate) fn for_policy(text: &str, server_name: Option<&str>) -> Result<String, String> {
    let mut out = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(&text.replace('$', "$$")),
            Piece::Variable(name) => match name.as_str() {
                "remote_addr" | "realip_remote_addr" => out.push_str("${client-address}"),
                "host" => out.push_str("${request.host}"),
                "http_host" => out.push_str("${request.authority}"),
                "scheme" => out.push_str("${request.scheme}"),
                "request_method" => out.push_str("${request.method}"),
                "uri" | "document_uri" => out.push_str("${request.path}"),
                "args" | "query_string" => out.push_str("${request.query}"),
                "request_id" => out.push_str("${trace-id}"),
                "ssl_server_name" => out.push_str("${tls-server-name}"),
                "server_name" => out.push_str(server_name.ok_or_else(|| name.clone())?),
                name => match (name.strip_prefix("http_"), name.strip_prefix("arg_")) {
                    (Some(field), _) => {
                        out.push_str(&format!("${{request.header.{}}}", field.replace('_', "-")))
                    }
                    (_, Some(argument)) => out.push_str(&format!("${{request.query.{argument}}}")),
                    _ => return Err(name.to_owned()),
                },
            },
        }
    }
    Ok(out)
}
