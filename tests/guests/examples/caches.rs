//! Says to the cache of its route what `x-say` asks for, such as `vary plan gold;tag news`, in `on-request-head`, and
//! what `x-say-later` does in `on-response-head`. What came of it is in `x-said` of the response.

wit_bindgen::generate!({
    inline: "package test:guest; world caches {
        import portcullis:policy/cache@0.2.1;
        import portcullis:policy/exchange@0.2.1;
        import portcullis:policy/request@0.2.1;
        import portcullis:policy/response@0.2.1;
        export portcullis:policy/request-head@0.2.1;
        export portcullis:policy/response-head@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::{request_head, response_head};
use portcullis::policy::types::Refused;
use portcullis::policy::{cache, exchange, request, response};

struct Caches;

/// What came of saying something.
fn told(said: Result<(), Refused>) -> String {
    match said {
        Ok(()) => "ok".to_owned(),
        Err(refused) => format!("{refused:?}"),
    }
}

fn say(what: &str) -> Result<String, String> {
    let words: Vec<&str> = what.split(' ').collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let number = |at: usize| word(at).parse::<usize>().unwrap_or_default();
    Ok(match word(0) {
        "url" => cache::url().unwrap_or_else(|| "none".to_owned()),
        "key" => cache::key().join(", "),
        "path" => told(request::set_path_and_query(word(1))),
        "vary" => told(cache::vary_by(word(1), word(2))),
        "vary-size" => told(cache::vary_by(&"n".repeat(number(1)), &"v".repeat(number(2)))),
        "varies" => {
            let last = (0..number(1)).map(|at| cache::vary_by("many", &at.to_string())).last();
            last.map_or_else(String::new, told)
        }
        "tag" => told(cache::add_tag(word(1))),
        "tag-size" => told(cache::add_tag(&"t".repeat(number(1)))),
        "tags" => (0..number(1)).filter(|at| cache::add_tag(&format!("t{at}")).is_ok()).count().to_string(),
        "bypass" => told(cache::bypass()),
        "fail" => return Err("it was asked to fail".to_owned()),
        other => format!("nothing is called {other}"),
    })
}

/// Says all that a field asks for, and returns what came of it.
fn say_all(field: &str) -> Result<String, String> {
    let line = request::header(field).unwrap_or_default();
    let said: Result<Vec<String>, String> =
        line.split(';').filter(|what| !what.is_empty()).map(say).collect();
    Ok(said?.join("; "))
}

impl request_head::Guest for Caches {
    fn on_request_head() -> Result<(), String> {
        let said = say_all("x-say")?;
        exchange::set_state(said.as_bytes()).map_err(|refused| format!("{refused:?}"))
    }
}

impl response_head::Guest for Caches {
    fn on_response_head() -> Result<(), String> {
        let later = say_all("x-say-later")?;
        let said = format!("{}{later}", String::from_utf8_lossy(&exchange::state()));
        // A field has no space at its ends.
        response::set_header("x-said", said.trim()).map_err(|refused| format!("{refused:?}"))
    }
}

export!(Caches);
