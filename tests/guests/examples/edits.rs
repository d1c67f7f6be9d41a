//! Makes the edit that `x-edit` names, in every hook, and shows what came of it in the attribute of the hook's name.
//!
//! `x-edit: request.set-header x-a value` and so on; arguments are separated by spaces.

wit_bindgen::generate!({
    inline: "package test:guest; world edits {
        import portcullis:policy/request@0.2.1;
        import portcullis:policy/response@0.2.1;
        import portcullis:policy/body@0.2.1;
        import portcullis:policy/trailers@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        import portcullis:policy/connection@0.2.1;
        import portcullis:policy/outcome@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/request-body@0.2.1;
        export portcullis:policy/response-head@0.2.1;
        export portcullis:policy/response-body@0.2.1;
        export portcullis:policy/completed@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::{completed, request_body, request_head, response_body, response_head};
use portcullis::policy::types::{Field, FieldBytes, Refused};
use portcullis::policy::{body, connection, exchange, outcome, request, response, trailers};

struct Edits;

/// The name of a refusal in WIT.
fn name(refused: Refused) -> String {
    match refused {
        Refused::InvalidName => "invalid-name".to_owned(),
        Refused::InvalidValue => "invalid-value".to_owned(),
        Refused::Forbidden => "forbidden".to_owned(),
        Refused::ReadOnly => "read-only".to_owned(),
        Refused::TooLarge => "too-large".to_owned(),
        Refused::Other(why) => why,
    }
}

fn told(result: Result<(), Refused>) -> String {
    result.err().map_or_else(|| "ok".to_owned(), name)
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or("none").to_owned()
}

fn shown(value: &[u8]) -> String {
    value.escape_ascii().to_string()
}

fn lines(values: &[Vec<u8>]) -> String {
    values.iter().map(|value| shown(value)).collect::<Vec<_>>().join("|")
}

fn head(fields: Vec<Field>) -> String {
    fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")
}

fn head_bytes(fields: Vec<FieldBytes>) -> String {
    fields.into_iter().map(|(name, value)| format!("{name}={}", shown(&value))).collect::<Vec<_>>().join("|")
}

/// The bytes of hexadecimal digits.
fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two digits")).collect()
}

/// What is no text, as text.
fn not_text() -> String {
    // SAFETY: nothing looks at it but the host, which has to refuse it.
    unsafe { String::from_utf8_unchecked(vec![b'a', 0xff]) }
}

fn edit(hook: &str) {
    let Some(edit) = request::header("x-edit") else { return };
    let mut words = edit.split(' ');
    let (what, first, second) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let size = || first.parse::<usize>().expect("a size");
    let result = match what {
        "request.method" => request::method(),
        "request.scheme" => request::scheme(),
        "request.authority" => request::authority(),
        "request.path" => request::path(),
        "request.query" => text(request::query().as_deref()),
        "request.header" => text(request::header(first).as_deref()),
        "request.header-bytes" => {
            request::header_bytes(first).map_or_else(|| text(None), |value| shown(&value))
        }
        "request.header-values" => request::header_values(first).join("|"),
        "request.header-values-bytes" => lines(&request::header_values_bytes(first)),
        "request.headers" => head(request::headers()),
        "request.headers-bytes" => head_bytes(request::headers_bytes()),
        "request.set-method" => told(request::set_method(first)),
        "request.set-authority" => told(request::set_authority(first)),
        "request.set-path-and-query" => told(request::set_path_and_query(first)),
        "request.set-upstream" => told(request::set_upstream(first)),
        "request.set-header" => told(request::set_header(first, second)),
        "request.set-header-bytes" => told(request::set_header_bytes(first, &unhex(second))),
        "request.set-header-not-text" => told(request::set_header("x-a", &not_text())),
        "request.set-header-size" => told(request::set_header("x-big", &"x".repeat(size()))),
        "request.set-header-control" => told(request::set_header("x-a", "a\r\nb: c")),
        "request.append-header" => told(request::append_header(first, second)),
        "request.append-header-bytes" => told(request::append_header_bytes(first, &unhex(second))),
        "request.remove-header" => told(request::remove_header(first)),
        "request.set-endpoint-key" => told(request::set_endpoint_key(first)),
        "request.set-endpoint-key-bytes" => told(request::set_endpoint_key_bytes(&unhex(first))),
        "request.set-endpoint-key-size" => told(request::set_endpoint_key(&"x".repeat(size()))),
        "trailers.header" => text(trailers::header(first).as_deref()),
        "trailers.header-bytes" => {
            trailers::header_bytes(first).map_or_else(|| text(None), |value| shown(&value))
        }
        "trailers.header-values" => trailers::header_values(first).join("|"),
        "trailers.header-values-bytes" => lines(&trailers::header_values_bytes(first)),
        "trailers.headers" => head(trailers::headers()),
        "trailers.headers-bytes" => head_bytes(trailers::headers_bytes()),
        "trailers.set-header" => told(trailers::set_header(first, second)),
        "trailers.set-header-bytes" => told(trailers::set_header_bytes(first, &unhex(second))),
        "trailers.set-header-size" => told(trailers::set_header("x-big", &"x".repeat(size()))),
        "trailers.append-header" => told(trailers::append_header(first, second)),
        "trailers.append-header-bytes" => told(trailers::append_header_bytes(first, &unhex(second))),
        "trailers.remove-header" => told(trailers::remove_header(first)),
        "response.status" => response::status().to_string(),
        "response.header" => text(response::header(first).as_deref()),
        "response.header-bytes" => {
            response::header_bytes(first).map_or_else(|| text(None), |value| shown(&value))
        }
        "response.header-values" => response::header_values(first).join("|"),
        "response.header-values-bytes" => lines(&response::header_values_bytes(first)),
        "response.headers" => head(response::headers()),
        "response.headers-bytes" => head_bytes(response::headers_bytes()),
        "response.set-status" => told(response::set_status(first.parse().expect("a status"))),
        "response.set-header" => told(response::set_header(first, second)),
        "response.set-header-bytes" => told(response::set_header_bytes(first, &unhex(second))),
        "response.append-header" => told(response::append_header(first, second)),
        "response.append-header-bytes" => told(response::append_header_bytes(first, &unhex(second))),
        "response.remove-header" => told(response::remove_header(first)),
        "exchange.client-address" => exchange::client_address(),
        "exchange.client-address-bytes" => format!("{:x?}", exchange::client_address_bytes()),
        "connection.protocol" => connection::protocol(),
        "connection.listener" => connection::listener(),
        "connection.peer-address" => connection::peer_address(),
        "connection.peer-address-bytes" => format!("{:x?}", connection::peer_address_bytes()),
        "connection.tls-version" => text(connection::tls_version().as_deref()),
        "connection.tls-cipher" => text(connection::tls_cipher().as_deref()),
        "connection.tls-alpn" => text(connection::tls_alpn().as_deref()),
        "connection.client-certificate" => format!("{:?}", connection::client_certificate()),
        "connection.tls-server-name" => text(connection::tls_server_name().as_deref()),
        "exchange.route" => exchange::route(),
        "exchange.trace-id" => exchange::trace_id(),
        "exchange.attribute" => text(exchange::attribute(first).as_deref()),
        "exchange.reply" => told(exchange::reply(first.parse().expect("a status"), &[], b"")),
        "exchange.reply-header" => {
            told(exchange::reply(200, &[(first.to_owned(), second.to_owned())], b"text"))
        }
        "exchange.reply-bytes" => {
            told(exchange::reply_bytes(200, &[(first.to_owned(), unhex(second))], b"bytes"))
        }
        "body.pass" => told(body::pass(1)),
        "outcome.status" => outcome::status().to_string(),
        "exchange.set-attribute-size" => told(exchange::set_attribute("big", &"x".repeat(size()))),
        other => panic!("no edit is called {other}"),
    };
    exchange::set_attribute(hook, &result).expect("it fits");
}

impl request_head::Guest for Edits {
    fn on_request_head() -> Result<(), String> {
        edit("request-head");
        Ok(())
    }
}

impl request_body::Guest for Edits {
    fn on_request_body() -> Result<(), String> {
        edit("request-body");
        Ok(())
    }
}

impl response_head::Guest for Edits {
    fn on_response_head() -> Result<(), String> {
        edit("response-head");
        Ok(())
    }
}

impl response_body::Guest for Edits {
    fn on_response_body() -> Result<(), String> {
        edit("response-body");
        Ok(())
    }
}

impl completed::Guest for Edits {
    fn on_completed() -> Result<(), String> {
        edit("completed");
        Ok(())
    }
}

export!(Edits);
