//! Makes the edit that `x-edit` names, in every hook, and shows what came of it in the attribute of the hook's name.
//!
//! `x-edit: request.set-header x-a value` and so on; arguments are separated by spaces.

wit_bindgen::generate!({
    inline: "package test:guest; world edits {
        import portcullis:policy/request@0.2.0;
        import portcullis:policy/response@0.2.0;
        import portcullis:policy/body@0.2.0;
        import portcullis:policy/exchange@0.2.0;
        import portcullis:policy/outcome@0.2.0;
        export portcullis:policy/request-head@0.2.0;
        export portcullis:policy/request-body@0.2.0;
        export portcullis:policy/response-head@0.2.0;
        export portcullis:policy/response-body@0.2.0;
        export portcullis:policy/completed@0.2.0;
    }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::{completed, request_body, request_head, response_body, response_head};
use portcullis::policy::types::{IpAddress, Refused};
use portcullis::policy::{body, exchange, outcome, request, response};

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

fn lines(values: &[Vec<u8>]) -> String {
    values.iter().map(|value| String::from_utf8_lossy(value)).collect::<Vec<_>>().join("|")
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
        "request.header-values" => lines(&request::header_values(first)),
        "request.headers" => {
            request::headers().into_iter().map(|field| field.name).collect::<Vec<_>>().join("|")
        }
        "request.set-method" => told(request::set_method(first)),
        "request.set-authority" => told(request::set_authority(first)),
        "request.set-path-and-query" => told(request::set_path_and_query(first)),
        "request.set-upstream" => told(request::set_upstream(first)),
        "request.set-header" => told(request::set_header(first, second.as_bytes())),
        "request.set-header-size" => told(request::set_header("x-big", &vec![b'x'; size()])),
        "request.set-header-control" => told(request::set_header("x-a", b"a\r\nb: c")),
        "request.append-header" => told(request::append_header(first, second.as_bytes())),
        "request.remove-header" => told(request::remove_header(first)),
        "response.status" => response::status().to_string(),
        "response.header" => text(response::header(first).as_deref()),
        "response.header-values" => lines(&response::header_values(first)),
        "response.headers" => {
            response::headers().into_iter().map(|field| field.name).collect::<Vec<_>>().join("|")
        }
        "response.set-status" => told(response::set_status(first.parse().expect("a status"))),
        "response.set-header" => told(response::set_header(first, second.as_bytes())),
        "response.append-header" => told(response::append_header(first, second.as_bytes())),
        "response.remove-header" => told(response::remove_header(first)),
        "exchange.client-address" => match exchange::client_address() {
            IpAddress::Ipv4(address) => format!("{address:?}"),
            IpAddress::Ipv6(address) => format!("{address:x?}"),
        },
        "exchange.client-certificate" => format!("{:?}", exchange::client_certificate()),
        "exchange.tls-server-name" => text(exchange::tls_server_name().as_deref()),
        "exchange.route" => exchange::route(),
        "exchange.trace-id" => exchange::trace_id(),
        "exchange.attribute" => text(exchange::attribute(first).as_deref()),
        "exchange.reply" => told(exchange::reply(first.parse().expect("a status"), &[], b"")),
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
