//! Uses the capability that `x-do` names and shows what came of it in the attribute `result`.

wit_bindgen::generate!({
    inline: "package test:guest; world capable {
        include portcullis:policy/imports@0.2.1;
        export portcullis:policy/lifecycle@0.2.1;
        export portcullis:policy/request-head@0.2.1;
    }",
    path: "../../wit",
    generate_all,
});

use exports::portcullis::policy::lifecycle::Guest as Lifecycle;
use exports::portcullis::policy::request_head::Guest;
use portcullis::policy::{
    clock, crypto, exchange, http_client, log, matchers, metrics, random, rate_limit, request, secrets, store,
};

struct Capable;

impl Lifecycle for Capable {
    fn configure(config: String) -> Result<(), String> {
        if config == "sets" {
            matchers::make_regex_set(&["^a".to_owned(), "b$".to_owned()])
                .map_err(|error| format!("{error:?}"))?;
            matchers::make_network_set("10.0.0.0/8\n10.1.0.0/16").map_err(|error| format!("{error:?}"))?;
        }
        if let Some(url) = config.strip_prefix("ask ") {
            return Err(ask(url, &[]));
        }
        Ok(())
    }
}

/// A request with options such as `timeout-ms=7`.
fn outbound(url: &str, options: &[&str]) -> http_client::Outbound {
    let headers = vec![("x-from".to_owned(), "guest".to_owned())];
    let (method, url, body) = ("POST".to_owned(), url.to_owned(), b"hello".to_vec());
    let options = options.iter().filter_map(|option| option.split_once('='));
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    http_client::Outbound { method, url, headers, body, options }
}

/// What came of a request.
fn ask(url: &str, options: &[&str]) -> String {
    answered(http_client::send(&outbound(url, options)))
}

/// The same with a field of these bytes, and what came back in the field `x-bytes`.
fn ask_bytes(url: &str, bytes: Vec<u8>) -> String {
    let http_client::Outbound { method, url, body, options, .. } = outbound(url, &[]);
    let headers = vec![("x-bytes".to_owned(), bytes)];
    let request = http_client::OutboundBytes { method, url, headers, body, options };
    let answers = http_client::send_all_bytes(&[request.clone()]).into_iter();
    let told = answers.chain([http_client::send_bytes(&request)]).map(|answer| match answer {
        Ok(answer) => {
            let bytes = answer.headers.iter().find(|(name, _)| name == "x-bytes");
            bytes.map_or_else(|| "none".to_owned(), |(_, value)| value.escape_ascii().to_string())
        }
        Err(error) => format!("{error:?}"),
    });
    told.collect::<Vec<_>>().join(" ")
}

fn answered(answer: Result<http_client::Inbound, http_client::Error>) -> String {
    match answer {
        Ok(answer) => {
            let fields: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
            format!("{} {fields:?} {}", answer.status, String::from_utf8_lossy(&answer.body))
        }
        Err(error) => format!("{error:?}"),
    }
}

impl Guest for Capable {
    fn on_request_head() -> Result<(), String> {
        let line = request::header("x-do").unwrap_or_default();
        let words: Vec<&str> = line.split(' ').collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let number = |at: usize| word(at).parse::<i64>().unwrap_or_default();
        let ttl = |at: usize| word(at).parse::<u64>().ok();
        let text = |value: Option<Vec<u8>>| match value {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => "none".to_owned(),
        };
        let result = match word(0) {
            "log" => {
                let fields = [("key".to_owned(), "a\nvalue".to_owned())];
                (0..number(1)).for_each(|at| log::log(log::Level::Warn, &format!("line {at}\u{7}"), &fields));
                String::new()
            }
            "clock" => format!("{} {}", clock::now_ms(), clock::monotonic_us()),
            "random" => match random::bytes(number(1) as u32) {
                Ok(bytes) => format!("{} {}", bytes.len(), bytes.iter().any(|byte| *byte != 0)),
                Err(error) => format!("{error:?}"),
            },
            "secret" => text(secrets::get(word(1))),
            "rate" => {
                let quota = rate_limit::Quota {
                    requests: number(2) as u32,
                    per_ms: number(3) as u64,
                    burst: number(4) as u32,
                };
                let verdict = rate_limit::check(word(1), quota, number(5) as u32);
                format!("{} {} {}", verdict.allowed, verdict.remaining, verdict.retry_after_ms)
            }
            "count" => {
                let metric = metrics::counter(word(1), &[("label".to_owned(), word(2).to_owned())]);
                metrics::add(metric, number(3) as u64);
                metric.to_string()
            }
            "gauge" => {
                let metric = metrics::gauge(word(1), &[]);
                metrics::set(metric, number(2) as f64);
                metrics::add(metric, 5);
                metric.to_string()
            }
            "observe" => {
                let metric = metrics::histogram(word(1), &[]);
                metrics::observe(metric, number(2) as f64);
                metric.to_string()
            }
            "series" => (0..number(1))
                .map(|at| metrics::counter("many", &[("at".to_owned(), at.to_string())]))
                .filter(|metric| *metric != 0)
                .count()
                .to_string(),
            "get" => match store::get(word(1)) {
                Ok(value) => text(value),
                Err(error) => format!("{error:?}"),
            },
            "set" => format!("{:?}", store::set(word(1), word(2).as_bytes(), ttl(3))),
            "set-size" => format!("{:?}", store::set(word(1), &vec![0; number(2) as usize], None)),
            "swap" => {
                let expected = Some(word(2).as_bytes()).filter(|value| !value.is_empty());
                format!("{:?}", store::compare_and_set(word(1), expected, word(3).as_bytes(), ttl(4)))
            }
            "increment" => format!("{:?}", store::increment(word(1), number(2), ttl(3))),
            "list" => format!("{:?}", store::list(word(1))),
            "enabled" => {
                let levels = [log::Level::Debug, log::Level::Info, log::Level::Error];
                format!("{:?}", levels.map(log::enabled))
            }
            "delete" => format!("{:?}", store::delete(word(1))),
            "import-secret" => {
                let algorithm = words.get(2).copied().unwrap_or("HS256");
                format!("{:?}", crypto::import_granted_secret(word(1), algorithm))
            }
            "import-jwk" => format!("{:?}", crypto::import_jwk(word(1), None)),
            "import-jwk-for" => format!("{:?}", crypto::import_jwk(word(1), Some(word(2)))),
            "forget-key" => {
                crypto::forget_key(number(1) as u32);
                String::new()
            }
            "import-jwks" => format!("{:?}", crypto::import_jwks(word(1), None)),
            "mac" => match crypto::mac(number(1) as u32, word(2).as_bytes()) {
                Ok(code) => {
                    let right = crypto::verify(number(1) as u32, word(2).as_bytes(), &code);
                    let same = crypto::constant_time_eq(&code, &code);
                    format!("{} {right:?} {same}", code.len())
                }
                Err(error) => format!("{error:?}"),
            },
            "jws" => match crypto::verify_jws(word(2), &[number(1) as u32]) {
                Ok(verified) => format!("{} {}", verified.header, String::from_utf8_lossy(&verified.payload)),
                Err(error) => format!("{error:?}"),
            },
            "digest" => {
                match crypto::digest(words.get(2).copied().unwrap_or("sha-256"), &vec![0; number(1) as usize])
                {
                    Ok(digest) => digest.len().to_string(),
                    Err(error) => format!("{error:?}"),
                }
            }
            "match" => match matchers::matches(number(1) as u32, word(2).as_bytes()) {
                Ok(places) => {
                    let any = matchers::is_match(number(1) as u32, word(2).as_bytes());
                    format!("{places:?} {any:?}")
                }
                Err(error) => format!("{error:?}"),
            },
            "network" => match matchers::find_network(number(1) as u32, word(2)) {
                Ok(place) => format!("{place:?}"),
                Err(error) => format!("{error:?}"),
            },
            "client" => format!("{:?}", matchers::find_client(number(1) as u32)),
            "ask" => ask(word(1), words.get(2..).unwrap_or_default()),
            "ask-bytes" => ask_bytes(word(1), request::header_bytes("x-bytes").unwrap_or_default()),
            "ask-all" => {
                let requests: Vec<_> = words.iter().skip(1).map(|url| outbound(url, &[])).collect();
                let answers = http_client::send_all(&requests);
                answers.into_iter().map(answered).collect::<Vec<_>>().join(" | ")
            }
            "ask-many" => {
                let requests = vec![outbound(word(1), &[]); number(2) as usize];
                let answers: Vec<_> = http_client::send_all(&requests).into_iter().map(answered).collect();
                let alike = answers.iter().all(|answer| *answer == answers[0]);
                format!("{} {alike} {}", answers.len(), answers.first().map_or("none", String::as_str))
            }
            "make" => format!("{:?}", matchers::make_regex_set(&[word(1).to_owned()])),
            "replace" => {
                let patterns = matchers::replace_regex_set(number(1) as u32, &[word(2).to_owned()]);
                let networks = matchers::replace_network_set(number(1) as u32, "10.0.0.0/8");
                format!("{patterns:?} {networks:?}")
            }
            "forget-sets" => {
                matchers::forget_regex_set(number(1) as u32);
                matchers::forget_network_set(number(1) as u32);
                String::new()
            }
            "json" => format!("{:?}", matchers::read_json(word(1).as_bytes(), &[word(2).to_owned()])),
            other => panic!("no deed is called {other}"),
        };
        exchange::set_attribute("result", &result).expect("it fits");
        Ok(())
    }
}

export!(Capable);
