//! Follows a script in its body hooks and at the end: `{"request-body":"collect; set x-a b"}`.
//!
//! Steps are separated by `; `, their words by a space. What came of an edit is in the attribute of the hook's name.

wit_bindgen::generate!({
    inline: "package test:guest; world late-edits {
        import portcullis:policy/request@0.2.1;
        import portcullis:policy/response@0.2.1;
        import portcullis:policy/body@0.2.1;
        import portcullis:policy/cache@0.2.1;
        import portcullis:policy/trailers@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-body@0.2.1;
        export portcullis:policy/response-body@0.2.1;
        export portcullis:policy/completed@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use std::sync::OnceLock;

use exports::portcullis::policy::{completed, lifecycle, request_body, response_body};
use portcullis::policy::types::Refused;
use portcullis::policy::{body, cache, exchange, request, response, trailers};

static CONFIG: OnceLock<String> = OnceLock::new();

struct LateEdits;

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Request,
    Response,
}

fn set(side: Side, name: &str, value: &str) -> Result<(), Refused> {
    match side {
        Side::Request => request::set_header(name, value),
        Side::Response => response::set_header(name, value),
    }
}

fn remove(side: Side, name: &str) -> Result<(), Refused> {
    match side {
        Side::Request => request::remove_header(name),
        Side::Response => response::remove_header(name),
    }
}

/// Notes what came of an edit.
fn note(hook: &str, step: &str, result: Result<(), Refused>) {
    let told = result.err().map_or_else(|| "ok".to_owned(), |refused| format!("{refused:?}"));
    let before = exchange::attribute(hook).map_or_else(String::new, |before| before + ", ");
    exchange::set_attribute(hook, &format!("{before}{step}: {told}")).expect("it fits");
}

fn run(side: Side, hook: &str) -> Result<(), String> {
    let script = CONFIG.get().and_then(|config| portcullis_test_guests_source::setting(config, hook));
    for step in script.unwrap_or_default().split("; ") {
        let mut words = step.splitn(3, ' ');
        let (what, first, second) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let result = match what {
            "" => continue,
            // The steps behind it run once, at the end.
            "collect" if !body::is_last() => {
                return body::collect().map_err(|refused| format!("{refused:?}"));
            }
            "collect" => continue,
            "last" if !body::is_last() => return Ok(()),
            "last" => continue,
            // The steps behind it run only for a body that has this in it, or only if there is none.
            "if" if String::from_utf8_lossy(&body::read(0, u64::MAX)).contains(first) => continue,
            "absent" if body::is_absent() => continue,
            "if" | "absent" => return Ok(()),
            "fail" => return Err("told to fail".to_owned()),
            "reply" => {
                let reply = exchange::reply(first.parse().expect("a status"), &[], b"replied");
                return reply.map_err(|refused| format!("{refused:?}"));
            }
            "replace" => body::replace(u64::MAX, first.as_bytes()),
            "pass" => body::pass(first.parse().expect("a size")),
            "hold" => body::hold(),
            "length" => set(side, "x-length", &body::size().to_string()),
            "set" => set(side, first, second),
            "remove" => remove(side, first),
            "status" => response::set_status(first.parse().expect("a status")),
            "method" => request::set_method(first),
            "path" => request::set_path_and_query(first),
            "authority" => request::set_authority(first),
            "upstream" => request::set_upstream(first),
            "vary" => cache::vary_by(first, second),
            "key" => request::set_endpoint_key(first),
            "trailer" => trailers::set_header(first, second),
            "no-trailer" => trailers::remove_header(first),
            "trailers" => {
                let all: Vec<String> =
                    trailers::headers().into_iter().map(|(name, value)| name + "=" + &value).collect();
                exchange::set_attribute("trailers", &all.join("|"))
            }
            // What a policy before this one has done to the head.
            "show" => {
                let seen = match side {
                    Side::Request => request::header(first),
                    Side::Response => response::header(first),
                };
                exchange::set_attribute(first, &seen.unwrap_or_default())
            }
            other => panic!("no step is called {other}"),
        };
        note(hook, what, result);
    }
    Ok(())
}

impl lifecycle::Guest for LateEdits {
    fn configure(config: String) -> Result<(), String> {
        CONFIG.set(config).expect("configure is called once");
        Ok(())
    }
}

impl request_body::Guest for LateEdits {
    fn on_request_body() -> Result<(), String> {
        run(Side::Request, "request-body")
    }
}

impl completed::Guest for LateEdits {
    fn on_completed() -> Result<(), String> {
        run(Side::Response, "completed")
    }
}

impl response_body::Guest for LateEdits {
    fn on_response_body() -> Result<(), String> {
        run(Side::Response, "response-body")
    }
}

export!(LateEdits);
