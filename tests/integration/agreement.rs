//! Holds what `explain` says about a request against what the gateway does with it, over requests made by chance.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::harness::{Answer, RawClient, RawReply, TestGateway, TestUpstream, eventually, within};
use crate::setup::{KEY, shipped};

/// Replays the requests of a seed that was printed.
const SEED_VARIABLE: &str = "PORTCULLIS_TEST_SEED";
const REQUESTS: usize = 300;

fn config(upstreams: [&TestUpstream; 2]) -> String {
    let [one, two] = upstreams.map(TestUpstream::address);
    format!(
        r#"
[server]
trusted-proxies = ["127.0.0.0/8"]

[listeners.web]
address = "127.0.0.1:0"

[listeners.side]
address = "127.0.0.1:0"

[upstreams.one]
endpoints = ["{one}"]

[upstreams.two]
endpoints = ["{two}"]
host = {{ value = "inner.test" }}

{shipped}
[routes.api]
match = {{ host = "a.test", path = "/v1/*" }}
use = ["stamp", "keys"]
to = "one"
limits = {{ body = "10B" }}
rewrite = {{ host = "endpoint" }}
request-headers = {{ set = {{ x-matched = "{{scheme}} {{rest}}{{query}}" }}, remove = ["x-beta"] }}
response-headers = {{ always = true, set = {{ x-edge = "always" }}, remove = ["x-inner"] }}

[routes.beta]
match = {{ path = "/v1/*", method = "POST", headers = {{ x-beta = "yes" }} }}
to = "two"

[routes.secure]
match = {{ path = "/v1/secure" }}
use = ["stamp"]
tls = "required"
to = "one"
response-headers = {{ always = true, set = {{ x-edge = "secure" }} }}

[routes.packages]
match = {{ host = "*.wild.test", path = "/{{name}}/blobs" }}
encoded-slash = "keep"
to = "two"

[routes.objects]
match = {{ host = "x.wild.test" }}
merge-slashes = false
redirect = {{ to = "{{path}}{{query}}" }}

[routes.moved]
match = {{ host = ["a.test", "*.wild.test"], path = "/old/{{id}}/*" }}
use = ["keys"]
redirect = {{ to = "{{scheme}}://new.test/{{id}}{{rest}}{{query}}", status = 301 }}
response-headers = {{ set = {{ x-edge = "moved" }}, remove = ["content-type"] }}

[routes.health]
match = {{ path = "/healthz", method = ["GET", "TRACE"] }}
use = ["stamp"]
respond = {{ body = "ok\n", headers = {{ x-from = "config" }} }}
response-headers = {{ set = {{ x-from = "route" }} }}

[routes.inside]
match = {{ path = "/inside/*" }}
listeners = ["side"]
use = ["stamp", "limit"]
respond = {{ status = 204 }}

[routes.pages]
match = {{ host = "files.test" }}
use = ["stamp"]
files = {{ root = "root" }}
response-headers = {{ set = {{ x-edge = "file" }}, remove = ["accept-ranges"] }}

[routes.rest]
match = {{ host = "a.test", path = "/{{first}}/*" }}
use = ["stamp"]
rewrite = {{ path = "/from/{{first}}{{rest}}", host = {{ value = "route.test" }} }}
request-headers = {{ add = {{ x-matched = ["{{path}}", "{{first}}"] }} }}
response-headers = {{ add = {{ x-edge = ["a", "b"] }} }}
to = "one"

[routes.root]
match = {{ host = "a.test" }}
rewrite = {{ path = "{{path}}" }}
to = "two"
"#,
        shipped = shipped("rate = \"1000/s\""),
    )
}

/// Chance that can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn target(&mut self) -> String {
        let ready =
            ["/v1/secure", "/healthz", "/old/7/a/b", "/inside/x", "/", "*", "/v1/x", "/a%2Fb/blobs", "//x"];
        let segments = [
            "v1", "secure", "old", "7", "..", ".", "%2e%2e", "a%2fb", "a;b", "", "%41", "healthz", "inside",
            "blobs", "x",
        ];
        let mut target = match self.below(2) {
            0 => self.one_of(&ready).to_owned(),
            _ => (0..=self.below(4)).map(|_| format!("/{}", self.one_of(&segments))).collect(),
        };
        target.push_str(self.one_of(&["", "", "?", "?a=b", "?a={b}|\\^`", "?\"<>"]));
        target
    }

    /// A head and its body.
    fn request(&mut self) -> (String, &'static str) {
        let method = self.one_of(&["GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "CONNECT"]);
        let host = self.one_of(&[
            "a.test",
            "a.test",
            "A.Test:80",
            "x.wild.test",
            "y.x.wild.test",
            "other.test",
            "files.test",
        ]);
        let target = if method == "CONNECT" { "a.test:80".to_owned() } else { self.target() };
        let host = if method == "CONNECT" { "a.test:80" } else { host };
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let mut field = |line: String, of: usize| {
            if self.below(of) == 0 {
                head.push_str(&line);
                head.push_str("\r\n");
            }
        };
        field(format!("X-Api-Key: {KEY}"), 2);
        field("X-Beta: yes".to_owned(), 2);
        field("X-Forwarded-Proto: https".to_owned(), 3);
        field("If-None-Match: *".to_owned(), 8);
        field("If-Match: \"other\"".to_owned(), 12);
        field("Range: bytes=1-2".to_owned(), 4);
        field("Max-Forwards: 0".to_owned(), 8);
        field("Max-Forwards: 2".to_owned(), 8);
        let body =
            if matches!(method, "POST" | "PUT") { self.one_of(&["", "small", "eleven bytes"]) } else { "" };
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        (head, body)
    }
}

/// What `explain` says by the gateway that runs.
async fn explained(socket: &PathBuf, listener: &str, head: &str) -> Value {
    let question = json!({ "head": head, "listener": listener }).to_string();
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = format!(
        "POST /v1/explain HTTP/1.1\r\nHost: portcullis\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{question}",
        question.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while within("the control socket answers", stream.read_buf(&mut answer)).await.unwrap() > 0 {
        assert!(answer.len() < 1 << 20, "an answer without an end");
    }
    let answer = String::from_utf8(answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let json = &body[body.find('{').unwrap()..=body.rfind('}').unwrap()];
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// What the gateway does.
async fn sent(gateway: &TestGateway, listener: &str, head: &str, body: &str) -> RawReply {
    let mut client = RawClient::connect(gateway.address(listener)).await;
    client.send(format!("{head}{body}")).await;
    if head.starts_with("HEAD ") { client.read_response_head().await } else { client.read_response().await }
}

/// Why the two differ, if they do.
fn difference(explained: &Value, reply: &RawReply, to_head: bool) -> Option<String> {
    let ending = &explained["ending"];
    if ending["kind"] == "forwarded" {
        let request = &ending["request"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let host = &ending["upstream"]["endpoints"][0]["host"];
        let expected = format!(
            "{} {} {} {}",
            text(&ending["upstream"]["name"]),
            text(&request["method"]),
            text(&request["target"]),
            text(host)
        );
        let values = |name: &str| -> String {
            let fields = request["fields"].as_array().into_iter().flatten();
            let values = fields.filter(|field| field["name"] == name).map(|field| text(&field["value"]));
            values.collect::<Vec<_>>().join(", ")
        };
        let (stamp, matched) = (!values("x-stamp").is_empty(), values("x-matched"));
        let found = (reply.header("x-seen"), reply.header("x-stamped") == "true", reply.header("x-matched"));
        let wanted = (expected, stamp, matched);
        if found != wanted {
            return Some(format!("forwarded as {wanted:?}: {found:?}"));
        }
        let edits = ending["response-edits"].as_array()?;
        let held = |edit: &&Value| match (edit["edit"].as_str(), reply.header(&text(&edit["name"]))) {
            (Some("remove"), found) => found.is_empty(),
            (_, found) => found.split(", ").any(|line| edit["value"] == line),
        };
        return edits.iter().find(|edit| !held(edit)).map(|edit| format!("{edit}"));
    }
    if ending["status"] != reply.status {
        return Some(format!("status {}", ending["status"]));
    }
    let response = &ending["response"];
    for field in response["fields"].as_array().into_iter().flatten() {
        let (name, value) = (field["name"].as_str()?, field["value"].as_str()?);
        if reply.header(name) != value {
            return Some(format!("{name}: {value:?}"));
        }
    }
    let body = response["body"].as_str().unwrap_or_default();
    (!to_head && !response.is_null() && reply.text() != body).then(|| format!("body {body:?}"))
}

#[expect(clippy::print_stdout, reason = "the seed, for the run that fails")]
#[tokio::test]
async fn explain_says_what_the_gateway_does() {
    let upstream = |name: &'static str| {
        TestUpstream::h1(move |request| {
            let host = request.headers.get("host").map_or("", |host| host.to_str().unwrap());
            let seen = format!("{name} {} {} {host}", request.method, request.uri);
            let stamped = request.headers.contains_key("x-stamp").to_string();
            let matched = request.header("x-matched");
            let answer = Answer::text("hello").header("x-seen", &seen).header("x-stamped", &stamped);
            answer.header("x-matched", &matched).header("x-inner", "1")
        })
    };
    let (one, two) = (upstream("one").await, upstream("two").await);
    let files =
        [("v1/x", "a file"), ("index.html", "<p>"), ("x/index.html", "x"), ("a;b", "a b"), ("secure", "")];
    let builder = files
        .iter()
        .fold(TestGateway::builder(), |builder, (path, text)| builder.file(&format!("root/{path}"), text));
    let gateway = builder.start(&config([&one, &two])).await;
    // A tag that becomes strong between the question and the request would be a difference.
    eventually("the files' tags are strong", async || {
        let head = "GET /v1/x HTTP/1.1\r\nHost: files.test\r\nConnection: close\r\n\r\n";
        (!sent(&gateway, "web", head, "").await.header("etag").starts_with("W/")).then_some(())
    })
    .await;
    let log = gateway.log();
    let line = log.iter().find(|line| line.text("event") == Some("control")).expect("it says where it is");
    let socket = PathBuf::from(line.text("path").unwrap());

    let seed = std::env::var(SEED_VARIABLE).ok().map(|seed| seed.parse().expect("a number"));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed: u64 = seed.unwrap_or_else(now).max(1);
    println!("{SEED_VARIABLE}={seed}");
    let (mut chance, mut kinds) = (Chance(seed), std::collections::BTreeSet::new());
    for at in 0..REQUESTS {
        let (head, body) = chance.request();
        let listener = chance.one_of(&["web", "web", "side"]);
        let explained = explained(&socket, listener, &head).await;
        let reply = sent(&gateway, listener, &head, body).await;
        if let Some(difference) = difference(&explained, &reply, head.starts_with("HEAD ")) {
            panic!(
                "{SEED_VARIABLE}={seed}, request {at} to {listener}:\n{head}{body}\nexplain says {difference}\n{:#}\n\
                 and the gateway sends\n{}\n\n{}",
                explained["ending"],
                reply.head,
                reply.text()
            );
        }
        kinds.insert(explained["ending"]["kind"].to_string());
    }
    let kinds: Vec<String> = kinds.into_iter().collect();
    assert_eq!(kinds, ["\"answered\"", "\"forwarded\"", "\"refused\"", "\"replied\""]);
}
