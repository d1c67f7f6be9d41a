use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::prelude::*;
use crate::testing::{MockExchange, MockGateway};
use crate::{Manifest, Policy, log, metrics, random, rate_limit, secrets, store};

/// The SDK is used outside of this workspace as well, where `wit/` is out of reach.
#[test]
fn carries_the_contract_as_it_is() {
    // Asked when the test runs: a target folder may outlive the checkout that it was filled from.
    let own = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&own);
    let read = |folder: &Path| -> BTreeMap<String, String> {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let wit =
            files.filter(|path| path.extension().is_some_and(|end| end == "wit") || path.ends_with("digest"));
        let named = wit.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path));
        named.map(|(name, path)| (name, std::fs::read_to_string(path).unwrap())).collect()
    };
    let (mine, contract) = (read(&root.join("wit")), read(&root.join("../../wit")));
    assert!(
        mine == contract,
        "plugin-sdk/rust/wit differs: run `cp wit/*.wit wit/digest plugin-sdk/rust/wit/`"
    );
}

/// All that settings can be.
///
/// A second paragraph with "quotes".
#[derive(Debug, Config)]
#[expect(dead_code, reason = "only the schema and the reading matter")]
struct Everything {
    /// Text over
    /// two lines.
    #[config(default = "a \"b\"\n", pattern = "^a")]
    text: String,
    #[config(default = true)]
    truth: bool,
    #[config(default = -3, minimum = -5, maximum = 5)]
    small: i8,
    #[config(default = 1.5)]
    ratio: f64,
    needed: u16,
    maybe: Option<Vec<u64>>,
    #[config(default)]
    table: BTreeMap<String, Inner>,
    /// Its path.
    inner: Inner,
    #[config(default = Choice::ClientAddress)]
    choice: Choice,
    #[config(rename = "type", default = Plain::OneTwo)]
    kind: Plain,
    some_file: Option<FileText>,
}

/// A table of its own.
#[derive(Debug, PartialEq, Config)]
struct Inner {
    a: String,
}

#[derive(Debug, PartialEq, Config)]
enum Choice {
    ClientAddress,
    Route,
    /// By a field.
    Header(String),
    Window {
        #[config(default = 60)]
        seconds: u32,
    },
}

#[derive(Debug, PartialEq, Config)]
enum Plain {
    OneTwo,
    Three,
}

#[derive(Debug)]
struct Whole(Everything);

#[policy(name = "whole", description = "Has it all.", capabilities = ["log", "store"])]
impl Whole {
    fn configure(settings: Everything) -> Self {
        Self(settings)
    }
}

#[test]
fn writes_the_manifest_with_its_schema() {
    const MANIFEST: Manifest<'static> = Whole::MANIFEST;
    const JSON: [u8; MANIFEST.json_len()] = MANIFEST.json();
    let inner = json!({
        "type": "object",
        "description": "A table of its own.",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": false,
    });
    let table = |name: &str, content: Value| json!({"type": "object", "properties": {name: content}, "required": [name], "additionalProperties": false});
    let window = json!({
        "type": "object",
        "properties": {"seconds": {"type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 60}},
        "additionalProperties": false,
    });
    let expected = json!({
        "manifest": 1,
        "name": "whole",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Has it all.",
        "contract": include_str!("../wit/digest").trim_ascii(),
        "config-schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "description": "All that settings can be.\nA second paragraph with \"quotes\".",
            "properties": {
                "text": {"type": "string", "description": "Text over two lines.", "pattern": "^a", "default": "a \"b\"\n"},
                "truth": {"type": "boolean", "default": true},
                "small": {"type": "integer", "minimum": -5, "maximum": 5, "default": -3},
                "ratio": {"type": "number", "default": 1.5},
                "needed": {"type": "integer", "minimum": 0, "maximum": 65535},
                "maybe": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": u64::MAX}},
                "table": {"type": "object", "additionalProperties": inner},
                "inner": inner,
                "choice": {
                    "anyOf": [
                        {"enum": ["client-address", "route"]},
                        table("header", json!({"type": "string", "description": "By a field."})),
                        table("window", window),
                    ],
                    "default": "client-address",
                },
                "type": {"enum": ["one-two", "three"], "default": "one-two"},
                "some-file": {"type": "string", "x-portcullis-file": true},
            },
            "required": ["needed", "inner"],
            "additionalProperties": false,
        },
        "capabilities": ["log", "store"],
    });
    assert_eq!(serde_json::from_slice::<Value>(&JSON).unwrap(), expected);
}

#[test]
fn reads_settings_as_the_schema_says() {
    let gateway = MockGateway::new();
    let read = |text: &str| gateway.configure::<Whole>(text).map(crate::testing::Configured::into_inner);
    let whole = read(r#"{"needed": 7, "inner": {"a": "x"}}"#).unwrap().0;
    assert_eq!((whole.text.as_str(), whole.truth, whole.small, whole.needed), ("a \"b\"\n", true, -3, 7));
    assert_eq!((whole.choice, whole.kind, whole.maybe), (Choice::ClientAddress, Plain::OneTwo, None));

    let full = r#"{
        "needed": 7, "inner": {"a": "x"}, "choice": {"window": {}}, "type": "three", "maybe": [1],
        "table": {"k": {"a": "y"}}, "some-file": "text"
    }"#;
    let whole = read(full).unwrap().0;
    assert_eq!((whole.choice, whole.kind), (Choice::Window { seconds: 60 }, Plain::Three));
    assert_eq!(whole.table["k"], Inner { a: "y".to_owned() });
    assert_eq!(whole.some_file.as_deref(), Some("text"));

    for (wrong, expected) in [
        (r#"{"inner": {"a": "x"}}"#, "missing field `needed`"),
        (r#"{"needed": 7, "inner": {"a": "x"}, "neded": 1}"#, "unknown field `neded`"),
        (r#"{"needed": 7, "inner": {"a": "x", "b": 1}}"#, "unknown field `b`"),
        (r#"{"needed": 70000, "inner": {"a": "x"}}"#, "invalid value: integer `70000`, expected u16"),
        (r#"{"needed": 7, "inner": {"a": "x"}, "type": "four"}"#, "unknown variant `four`"),
    ] {
        let error = read(wrong).unwrap_err();
        assert!(error.starts_with(expected), "{wrong}: {error}");
    }
}

/// Every hook, with every argument, in both ways to take one.
#[derive(Debug, Default)]
struct Every {
    seen: Vec<String>,
}

#[policy]
impl Every {
    fn on_request_head(&mut self, exchange: &mut Exchange, request: &mut Request) -> Result<Decision, Stop> {
        request.set_path_and_query("/new?x")?;
        exchange.set_state(b"kept")?;
        self.seen.push(format!("head {}", request.path()));
        Ok(Decision::Next)
    }

    fn on_request_body(&mut self, chunk: &Chunk, request: &Request, exchange: &Exchange) -> BodyDecision {
        self.seen.push(format!("body {} {} {}", request.method(), chunk.len(), exchange.state().len()));
        BodyDecision::Hold
    }

    fn on_response_head(&mut self, response: &mut Response, request: &Request) -> Decision {
        self.seen.push(format!("head {} {:?}", request.path(), response.set_status(500)));
        Decision::Next
    }

    fn on_response_body(&mut self, chunk: Chunk, response: &Response) -> Result<BodyDecision, Reply> {
        self.seen.push(format!("body {}", response.status()));
        if chunk.is_empty() { Err(Reply::new(502)) } else { Ok(BodyDecision::Replace(chunk.bytes())) }
    }

    fn on_completed(&mut self, outcome: &Outcome, exchange: &mut Exchange) {
        self.seen.push(format!("completed {} {:?}", outcome.status, exchange.set_attribute("a", "b")));
    }

    fn on_tick(&mut self) {
        self.seen.push("tick".to_owned());
    }
}

#[test]
fn calls_each_hook_with_what_it_wants() {
    assert_eq!(Every::MANIFEST.name, env!("CARGO_PKG_NAME"));
    let mut policy = Every::default();
    let mut exchange = MockExchange::new("POST", "/old");
    assert_eq!(exchange.request_head(&mut policy), Decision::Next);
    assert_eq!(exchange.path_and_query(), "/new?x");
    assert_eq!(exchange.request_body(&mut policy, "abc", false), BodyDecision::Hold);
    assert_eq!(exchange.response_head(&mut policy), Decision::Next);
    assert_eq!(exchange.response_body(&mut policy, "x", false), BodyDecision::Replace(b"x".to_vec()));
    assert_eq!(exchange.response_body(&mut policy, "", true), BodyDecision::Reply(Reply::new(502)));
    exchange.completed(&mut policy, &Outcome { status: 500, ..Outcome::default() });
    exchange.gateway().tick(&mut policy);
    let expected = [
        "head /new",
        "body POST 3 4",
        "head /new Ok(())",
        "body 500",
        "body 500",
        "completed 500 Ok(())",
        "tick",
    ];
    assert_eq!(policy.seen, expected);
}

#[derive(Debug, Default)]
struct Nothing;

#[policy(name = "nothing", description = "")]
impl Nothing {}

#[test]
fn a_hook_that_is_not_there_changes_nothing() {
    let mut exchange = MockExchange::new("GET", "/");
    assert_eq!(exchange.request_head(&mut Nothing), Decision::Next);
    assert_eq!(exchange.request_body(&mut Nothing, "a", true), BodyDecision::Forward);
    assert_eq!(exchange.response_head(&mut Nothing), Decision::Next);
    assert_eq!(exchange.response_body(&mut Nothing, "a", true), BodyDecision::Forward);
}

/// What an edit that the gateway refuses says, in the mock too.
#[derive(Debug, Default)]
struct Edits;

#[policy(name = "edits", description = "")]
impl Edits {
    fn on_request_head(&self, request: &mut Request, exchange: &mut Exchange) {
        assert_eq!(request.set_header("a b", "1"), Err(Refused::InvalidName));
        assert_eq!(request.set_header("a", "1\n2"), Err(Refused::InvalidValue));
        assert_eq!(request.append_header("Host", "x"), Err(Refused::Forbidden));
        assert_eq!(request.remove_header("transfer-encoding"), Err(Refused::Forbidden));
        assert_eq!(request.remove_header("absent"), Ok(()));
        assert_eq!(request.set_method("CONNECT"), Err(Refused::InvalidValue));
        assert_eq!(request.set_path_and_query("relative"), Err(Refused::InvalidValue));
        assert_eq!(request.set_upstream("unlisted"), Err(Refused::InvalidValue));
        assert_eq!(exchange.set_attribute("a", &"x".repeat(16 << 10)), Err(Refused::TooLarge));
        assert_eq!(exchange.set_state(vec![0; (64 << 10) + 1]), Err(Refused::TooLarge));
    }

    fn on_response_head(&self, response: &mut Response) {
        assert_eq!(response.set_status(199), Err(Refused::InvalidValue));
        assert_eq!(response.set_status(204), Err(Refused::InvalidValue));
        assert_eq!(response.set_status(503), Ok(()));
    }
}

#[test]
fn the_mock_refuses_what_the_gateway_refuses() {
    let mut exchange = MockExchange::new("GET", "/");
    exchange.request_head(&mut Edits);
    exchange.response_head(&mut Edits);
    assert_eq!(exchange.status(), 503);
}

/// Answers with what it is given, in every hook.
#[derive(Debug)]
struct Answers(Reply);

#[policy(name = "answers", description = "")]
impl Answers {
    fn configure(settings: Plain) -> Self {
        let _ = settings;
        Self(Reply::new(200))
    }

    fn on_request_head(&self) -> Reply {
        self.0.clone()
    }

    fn on_request_body(&self) -> Reply {
        self.0.clone()
    }

    fn on_response_body(&self) -> BodyDecision {
        BodyDecision::Replace(vec![b'x'; self.0.body.len() + 1])
    }

    fn on_completed(&self) -> Result<(), Stop> {
        Err(self.0.clone().into())
    }
}

#[test]
fn a_reply_that_the_gateway_cannot_send_is_a_failure() {
    let large = vec![b'x'; 1 << 20];
    for (reply, why) in [
        (Reply::new(199), "invalid value"),
        (Reply::new(200).header("a b", "1"), "invalid name"),
        (Reply::new(200).header("x-a", "1\n2"), "invalid value"),
        (Reply::new(200).header("Content-Length", "5"), "the gateway alone writes this field"),
        (Reply::new(200).header("x-a", large.clone()), "too large"),
        (Reply::new(200).content("text/plain", [&large[..], b"x"].concat()), "too large"),
    ] {
        let mut policy = Answers(reply);
        let mut exchange = MockExchange::new("GET", "/");
        let failure = format!("its reply was refused: {why}");
        assert_eq!(exchange.request_head(&mut policy), Decision::Fail(failure.clone()));
        assert_eq!(exchange.request_body(&mut policy, "x", true), BodyDecision::Fail(failure));
    }
    let mut policy = Answers(Reply::new(200).content("text/plain", large));
    let mut exchange = MockExchange::new("GET", "/");
    assert!(matches!(exchange.request_head(&mut policy), Decision::Reply(_)), "it is as large as it may be");
    assert!(matches!(exchange.completed(&mut policy, &Outcome::default()), Decision::Fail(_)));
    let failure = "what it decided about a body was refused: too large".to_owned();
    assert_eq!(exchange.response_body(&mut policy, "x", true), BodyDecision::Fail(failure));
}

/// Holds all of a body, or finishes with the first piece, and notes how much it was shown each time.
#[derive(Debug, Default)]
struct Holds {
    finishes: bool,
    shown: Vec<usize>,
}

#[policy(name = "holds", description = "")]
impl Holds {
    fn on_request_body(&mut self, chunk: Chunk) -> BodyDecision {
        self.shown.push(chunk.len());
        if self.finishes { BodyDecision::Finish } else { BodyDecision::Hold }
    }

    fn on_response_body(&mut self, chunk: Chunk) -> BodyDecision {
        self.on_request_body(chunk)
    }
}

#[test]
fn a_body_that_is_held_comes_again_when_as_much_again_has_come() {
    let mut policy = Holds::default();
    let mut exchange = MockExchange::new("POST", "/");
    assert_eq!(exchange.send_request_body(&mut policy, [b"x"; 100]), Ok(vec![b'x'; 100]));
    assert_eq!(policy.shown.last(), Some(&100));
    assert!(policy.shown.iter().sum::<usize>() <= 300, "{:?}", policy.shown);
    assert!(policy.shown.len() > 3 && policy.shown.len() < 20, "{:?}", policy.shown);
}

#[test]
fn more_than_the_limit_is_not_held() {
    let half = vec![b'x'; 1 << 19];
    let send = |pieces: usize, finishes: bool| {
        let mut policy = Holds { finishes, ..Holds::default() };
        let mut exchange = MockExchange::new("POST", "/");
        let of = vec![half.clone(); pieces];
        let request = exchange.send_request_body(&mut policy, of.clone());
        let response = exchange.send_response_body(&mut policy, of);
        [request, response].map(|sent| sent.map(|sent| sent.len()))
    };
    assert_eq!(send(2, false), [Ok(1 << 20), Ok(1 << 20)]);
    assert_eq!(send(4, false), [Err(Reply::new(413).into()), Err(Reply::new(502).into())]);
    assert_eq!(send(4, true), [Ok(2 << 20), Ok(2 << 20)], "what is not held has no limit");
}

/// Draws a number when it is configured, and counts in its own field.
#[derive(Debug)]
struct Drawn {
    number: Vec<u8>,
    calls: usize,
}

#[policy(name = "drawn", description = "")]
impl Drawn {
    fn configure(settings: Plain) -> Result<Self, random::Error> {
        let _ = settings;
        log::info("configured");
        Ok(Self { number: random::bytes(8)?, calls: 0 })
    }

    fn on_request_head(&mut self, exchange: &mut Exchange) -> Result<(), Stop> {
        self.calls += 1;
        store::set("left", "by an exchange", None)?;
        exchange.set_attribute("seen", &format!("{:?} {}", self.number, self.calls))?;
        Ok(())
    }

    fn on_response_head(&mut self, exchange: &mut Exchange) -> Result<(), Stop> {
        self.on_request_head(exchange)
    }
}

#[test]
fn each_exchange_has_an_instance_as_configure_left_it() {
    let gateway = MockGateway::new();
    let mut policy = gateway.configure::<Drawn>("\"three\"").unwrap();
    let number = format!("{:?}", policy.number);
    let seen = |exchange: &MockExchange| exchange.attribute_value("seen").unwrap_or_default();
    let (mut one, mut other) = (gateway.exchange("GET", "/"), gateway.exchange("GET", "/"));
    for _ in 0..2 {
        assert_eq!(one.request_head(&mut policy), Decision::Next);
    }
    assert_eq!(other.request_head(&mut policy), Decision::Next);
    assert_eq!(one.response_head(&mut policy), Decision::Next);
    assert_eq!((seen(&one), seen(&other)), (format!("{number} 3"), format!("{number} 1")));
    assert_eq!(policy.calls, 0, "it is as `configure` left it");
    assert_eq!(gateway.log_lines(), ["INFO configured"], "`configure` ran once");
    assert_eq!(gateway.run(|| store::get("left")), Ok(Some(b"by an exchange".to_vec())));
}

#[test]
fn capabilities_work_on_the_mock() {
    let gateway = MockGateway::new().secret("s", "v");
    gateway.run(|| {
        assert_eq!(secrets::get("s").as_deref(), Some(b"v".as_slice()));
        assert_ne!(random::bytes(16).unwrap(), random::bytes(16).unwrap());
        assert_eq!(random::bytes(4096).map(|bytes| bytes.len()), Ok(4096));
        assert_eq!(random::bytes(4097), Err(random::Error::TooMany));
        log::write(log::Level::Error, "m", &[("k", "v")]);
        metrics::gauge("g-1", &[]).set(2.5);
        assert_eq!(store::set("text", "a", None), Ok(()));
        assert_eq!(store::increment("text", 1, None), Err(store::Error::NotANumber));
        assert_eq!(store::get(&"k".repeat(1025)), Err(store::Error::TooLarge));
        assert_eq!(store::increment("n", i64::MAX, Some(Duration::from_secs(1))), Ok(i64::MAX));
        assert_eq!(store::increment("n", 1, None), Ok(i64::MAX));
        let nothing = rate_limit::Quota { requests: 0, per: Duration::from_secs(1), burst: 5 };
        assert!(!rate_limit::check("b", nothing, 1).allowed);
    });
    gateway.advance(Duration::from_secs(1));
    assert_eq!(gateway.run(|| store::get("n")), Ok(None));
    assert_eq!(gateway.log_lines(), ["ERROR m k=v"]);
    assert_eq!(gateway.metric("g_1", &[]), Some(2.5));
}

#[test]
#[should_panic(expected = "there is no gateway outside of a component")]
fn a_capability_without_a_mock_says_what_to_do() {
    log::info("nobody hears this");
}

/// Says in the head how long the body is.
#[derive(Default)]
struct Measures;

#[policy(name = "measures", description = "")]
impl Measures {
    fn on_request_body(&self, chunk: Chunk, request: &mut Request) -> Result<BodyDecision, Stop> {
        request.set_header("x-length", chunk.len().to_string())?;
        Ok(if chunk.is_last() { BodyDecision::Forward } else { BodyDecision::Collect })
    }

    fn on_response_body(&self, chunk: Chunk, response: &mut Response) -> Result<BodyDecision, Stop> {
        response.set_status(if chunk.len() > 3 { 203 } else { 200 })?;
        Ok(BodyDecision::Forward)
    }
}

#[test]
fn the_head_can_be_edited_until_the_body_goes_on() {
    let mut exchange = MockExchange::new("POST", "/").response(200);
    assert_eq!(exchange.send_request_body(&mut Measures, ["ab", "cd"]), Ok(b"abcd".to_vec()));
    assert_eq!(exchange.request_header("x-length").as_deref(), Some("4"));
    let refused = Err(Stop::Fail("read-only in this hook".to_owned()));
    assert_eq!(exchange.send_response_body(&mut Measures, ["abcd", "e"]), refused);
    assert_eq!(exchange.status(), 203);
}
