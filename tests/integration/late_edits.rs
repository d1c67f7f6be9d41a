//! Body hooks that edit the head while it is held back: what they may change, for how long, and who sees it.

use http_body_util::BodyExt;
use hyper::{Method, Response};

use crate::harness::{Answer, RawClient, RawUpstream, TestClient, TestGateway, TestUpstream};
use crate::setup::{attribute, config, data, policy, record, streamed};

/// A policy that follows this script in that hook: see `tests/guests/examples/late_edits.rs`.
fn script(name: &str, hook: &str, steps: &str, settings: &str) -> String {
    policy(name, "late_edits", &format!("config = {{ {hook} = \"{steps}\" }}\n{settings}"))
}

async fn start(config: &str) -> TestGateway {
    TestGateway::builder().file("late_edits.wasm", portcullis_test_guests::LATE_EDITS).start(config).await
}

async fn clients(gateway: &TestGateway) -> [TestClient; 2] {
    [TestClient::h1(gateway.address("web")).await, TestClient::h2(gateway.address("web")).await]
}

const ISOLATIONS: [&str; 2] = ["isolation = \"exchange\"", "isolation = \"worker\""];

#[tokio::test]
async fn a_request_is_what_the_hook_of_its_body_has_made_of_it() {
    let echo = |request: &crate::harness::Received| Answer::default().body(request.body.clone());
    let upstreams = [TestUpstream::h1(echo).await, TestUpstream::h2(echo).await];
    let steps =
        "collect; length; method PUT; path /b/../c?d; authority other.test; remove x-gone; replace stuff";
    for (upstream, protocol) in upstreams.iter().zip(["h1", "h2"]) {
        for isolation in ISOLATIONS {
            let text =
                config(upstream.address(), &["late"], &script("late", "request-body", steps, isolation))
                    .replace("[routes.all]", &format!("protocol = \"{protocol}\"\n[routes.all]"));
            let gateway = start(&text).await;
            for mut client in clients(&gateway).await {
                let reply = client.send(Method::POST, "/a", &[("x-gone", "1")], "longer than that").await;
                assert_eq!(reply.text(), "stuff");
                let received = upstream.last_request();
                assert_eq!((received.method.as_str(), received.path()), ("PUT", "/c"));
                assert_eq!(received.uri.query(), Some("d"));
                let field = |name| received.header(name);
                assert_eq!((field("x-length"), field("x-gone")), ("16".to_owned(), String::new()));
                assert_eq!(field("content-length"), "5", "what was put in its place");
                // A request without a body has the one call as well.
                client.get("/a").await;
                let received = upstream.last_request();
                assert_eq!((received.method.as_str(), received.header("x-length").as_str()), ("PUT", "0"));
            }
        }
    }
}

#[tokio::test]
async fn what_is_in_a_body_chooses_the_upstream() {
    let (one, two) = (TestUpstream::named("one").await, TestUpstream::named("two").await);
    let steps = "collect; if second; upstream other; path /second";
    for isolation in ISOLATIONS {
        let text = config(one.address(), &["late"], &script("late", "request-body", steps, isolation))
            .replace("to = \"app\"", "to = [\"app\", \"other\"]")
            + &format!("[upstreams.other]\nendpoints = [\"{}\"]\n", two.address());
        let gateway = start(&text).await;
        for mut client in clients(&gateway).await {
            assert_eq!(client.send(Method::POST, "/a", &[], "the first").await.text(), "one");
            assert_eq!(client.send(Method::POST, "/a", &[], "the second").await.text(), "two");
            assert_eq!(two.last_request().path(), "/second");
        }
    }
}

#[tokio::test]
async fn a_response_is_what_the_hook_of_its_body_has_made_of_it() {
    let chunked = "HTTP/1.1 200 OK\r\nX-Gone: 1\r\nETag: \"a\"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let sized = "HTTP/1.1 200 OK\r\nX-Gone: 1\r\nETag: \"a\"\r\nContent-Length: 3\r\n\r\nabc";
    let steps = "collect; length; status 201; set etag b; remove x-gone; replace longer";
    for answer in [chunked, sized] {
        let upstream = RawUpstream::answering(answer).await;
        for isolation in ISOLATIONS {
            let policy = script("late", "response-body", steps, isolation);
            let gateway = start(&config(upstream.address(), &["late"], &policy)).await;
            for mut client in clients(&gateway).await {
                let reply = client.get("/").await;
                assert_eq!((reply.status, reply.text().as_str()), (201, "longer"));
                let fields = ["x-length", "etag", "x-gone", "content-length"].map(|name| reply.header(name));
                assert_eq!(fields, ["3", "b", "", "6"]);
            }
        }
    }
}

#[tokio::test]
async fn a_response_without_a_body_can_be_edited_in_its_one_call() {
    let upstream = TestUpstream::h1(|request| {
        let status = request.path().trim_start_matches('/').parse().unwrap_or(200);
        let body = if status == 200 { "body" } else { "" };
        Answer::default().status(status).header("etag", "\"a\"").body(body)
    })
    .await;
    let steps = "absent; set x-absent yes; status 200; replace dropped";
    for isolation in ISOLATIONS {
        let policy = script("late", "response-body", steps, isolation);
        let gateway = start(&config(upstream.address(), &["late"], &policy)).await;
        for mut client in clients(&gateway).await {
            let mut ask = async |method, path: &str| client.send(method, path, &[], "").await;
            let reply = ask(Method::HEAD, "/200").await;
            let seen = (reply.status, reply.header("x-absent"), reply.header("content-length"));
            assert_eq!((seen, reply.text().as_str()), ((200, "yes".to_owned(), String::new()), ""));
            // These statuses say that there is no body, so they stay.
            for status in [204, 304] {
                let reply = ask(Method::GET, &format!("/{status}")).await;
                assert_eq!((reply.status, reply.header("x-absent").as_str()), (status, "yes"));
                assert_eq!((reply.header("etag").as_str(), reply.text().as_str()), ("\"a\"", ""));
                let record = record(&gateway, &format!("/{status}")).await;
                let told = attribute(&record, "response-body");
                assert!(told.contains("status: Refused::InvalidValue"), "{told}");
            }
            // One that only happens to be empty has no such call.
            let reply = ask(Method::GET, "/201").await;
            assert_eq!((reply.status, reply.header("x-absent").as_str()), (201, ""));
        }
    }
}

#[tokio::test]
async fn an_edit_behind_the_first_byte_is_refused() {
    let upstream = TestUpstream::streaming_h1(|request| async move {
        let (head, body) = request.into_parts();
        let body = body.map_err(|error| -> std::convert::Infallible { panic!("{error}") });
        let mut response = Response::new(body.boxed_unsync());
        if let Some(late) = head.headers.get("x-late") {
            response.headers_mut().insert("x-asked", late.clone());
        }
        response
    })
    .await;
    for isolation in ISOLATIONS {
        for hook in ["request-body", "response-body"] {
            let gateway = start(&config(
                upstream.address(),
                &["late"],
                &script("late", hook, "set x-late 1", isolation),
            ))
            .await;
            for (path, mut client) in ["/h1", "/h2"].into_iter().zip(clients(&gateway).await) {
                let (sender, body) = streamed();
                sender.send(data("first")).await.unwrap();
                let response = client.begin(Method::POST, path, &[], body).await.unwrap();
                let has = |name: &str| response.headers().contains_key(name);
                let edited = (has("x-asked"), has("x-late"));
                assert_eq!(edited, (hook == "request-body", hook == "response-body"));
                let mut body = response.into_body();
                assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
                sender.send(data("second")).await.unwrap();
                drop(sender);
                assert_eq!(body.collect().await.unwrap().to_bytes(), "second");
                let record = record(&gateway, path).await;
                let told = attribute(&record, hook);
                assert!(told.starts_with("set: ok, set: Refused::ReadOnly"), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn a_hook_that_edits_and_fails_leaves_what_it_has_edited_only_if_the_exchange_goes_on() {
    let upstream = TestUpstream::named("app").await;
    let asks = |more: &str| script("asks", "request-body", "set x-edit 1; fail", more);
    let answers = |more: &str| script("answers", "response-body", "set x-edit 1; fail", more);
    let gateway = start(&config(upstream.address(), &["answers"], &answers(""))).await;
    for mut client in clients(&gateway).await {
        let reply = client.get("/").await;
        assert_eq!((reply.status, reply.header("x-edit").as_str()), (500, ""));
    }
    let asked = upstream.requests().len();
    let gateway = start(&config(upstream.address(), &["asks"], &asks(""))).await;
    for mut client in clients(&gateway).await {
        assert_eq!(client.send(Method::POST, "/", &[], "body").await.status, 500);
    }
    assert_eq!(upstream.requests().len(), asked, "nothing of them was sent");
    // As with a head hook that fails.
    let allow = "on-error = \"allow\"";
    let both = asks(allow) + &answers(allow);
    let gateway = start(&config(upstream.address(), &["asks", "answers"], &both)).await;
    for mut client in clients(&gateway).await {
        let reply = client.send(Method::POST, "/", &[], "body").await;
        assert_eq!((reply.status, reply.text().as_str(), reply.header("x-edit").as_str()), (200, "app", "1"));
        assert_eq!(upstream.last_request().header("x-edit"), "1");
    }
}

#[tokio::test]
async fn an_answer_that_takes_the_place_of_an_edited_one_has_none_of_its_edits() {
    let upstream = TestUpstream::h1(|_| Answer::text("x".repeat(2000))).await;
    let cases = [("set x-edit 1; collect", 502), ("set x-edit 1; status 203; reply 422", 422)];
    for (steps, status) in cases {
        let late = script("late", "response-body", steps, "limits = { body = \"1KiB\" }");
        let gateway = start(&config(upstream.address(), &["late"], &late)).await;
        for mut client in clients(&gateway).await {
            let reply = client.get("/").await;
            assert_eq!((reply.status, reply.header("x-edit").as_str()), (status, ""), "{steps}");
        }
    }
    let late = script("late", "request-body", "set x-edit 1; collect", "limits = { body = \"1KiB\" }");
    let gateway = start(&config(upstream.address(), &["late"], &late)).await;
    let asked = upstream.requests().len();
    for mut client in clients(&gateway).await {
        assert_eq!(client.send(Method::POST, "/", &[], "x".repeat(2000)).await.status, 413);
    }
    assert_eq!(upstream.requests().len(), asked);
}

#[tokio::test]
async fn each_policy_sees_what_those_before_it_have_edited() {
    let upstream = TestUpstream::named("app").await;
    let policies = script("a", "request-body", "collect; set x-by a", "")
        + &script("b", "request-body", "show x-by; set x-by b", "")
        + &script("c", "response-body", "show x-from; set x-from c", "")
        + &script("d", "response-body", "collect; set x-from d", "");
    // Responses come back in reverse.
    let gateway = start(&config(upstream.address(), &["a", "b", "c", "d"], &policies)).await;
    for (path, mut client) in ["/h1", "/h2"].into_iter().zip(clients(&gateway).await) {
        let reply = client.send(Method::POST, path, &[], "body").await;
        assert_eq!((reply.header("x-from").as_str(), reply.text().as_str()), ("c", "app"));
        assert_eq!(upstream.last_request().header("x-by"), "b");
        let record = record(&gateway, path).await;
        assert_eq!((attribute(&record, "x-by"), attribute(&record, "x-from")), ("a", "d"));
    }
}

#[tokio::test]
async fn the_route_has_the_last_word_about_both_heads() {
    let upstream = TestUpstream::named("app").await;
    let policies =
        script("a", "request-body", "collect; path /api/edited; set x-route late; set x-kept late", "")
            + &script("b", "response-body", "collect; set x-route late; set x-kept late", "");
    let text = config(upstream.address(), &["a", "b"], &policies).replace(
        "[routes.all]",
        "[routes.all.request-headers]\nset = { x-route = \"{path}\" }\n\
         [routes.all.response-headers]\nset = { x-route = \"route\" }\n\
         [routes.all]\nmatch = { path = \"/api/*\" }\nrewrite = { path = \"/v2{rest}\" }",
    );
    let gateway = start(&text).await;
    for mut client in clients(&gateway).await {
        let reply = client.send(Method::POST, "/api/x", &[], "body").await;
        assert_eq!((reply.header("x-route").as_str(), reply.header("x-kept").as_str()), ("route", "late"));
        let received = upstream.last_request();
        assert_eq!((received.path(), received.header("x-kept").as_str()), ("/v2/edited", "late"));
        assert_eq!(received.header("x-route"), "/api/edited");
    }
}

#[tokio::test]
async fn a_method_that_no_route_forwards_is_none_to_edit_into() {
    let upstream = TestUpstream::named("app").await;
    let late = script("late", "request-body", "collect; method TRACE", "");
    let gateway = start(&config(upstream.address(), &["late"], &late)).await;
    for mut client in clients(&gateway).await {
        assert_eq!(client.send(Method::POST, "/", &[], "body").await.status, 405);
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[tokio::test]
async fn a_cache_stores_what_the_upstream_said_and_is_asked_for_what_was_edited() {
    let upstream = TestUpstream::h1(|request| {
        Answer::text(request.path().to_owned()).header("cache-control", "max-age=1000")
    })
    .await;
    for isolation in ISOLATIONS {
        let policies = script("a", "request-body", "collect; path /stored", isolation)
            + &script("b", "response-body", "collect; length; status 203; replace edited", isolation);
        let text = config(upstream.address(), &["a", "b"], &policies)
            .replace("[routes.all]", "[caches.all]\n[routes.all]\ncache = { store = \"all\" }");
        let gateway = start(&text).await;
        upstream.forget();
        for mut client in clients(&gateway).await {
            for path in ["/one", "/two"] {
                let reply = client.get(path).await;
                assert_eq!((reply.status, reply.text().as_str()), (203, "edited"));
                // What is stored has the length of the upstream's body, in hits as well.
                assert_eq!(
                    (reply.header("x-length").as_str(), reply.header("content-length").as_str()),
                    ("7", "6")
                );
            }
        }
        assert_eq!(upstream.requests().len(), 1, "all were the same to the cache");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_before_its_edited_request_was_sent_leaves_a_record() {
    let upstream = TestUpstream::named("app").await;
    let late = script("late", "request-body", "set x-edit 1; hold", "");
    let gateway = start(&config(upstream.address(), &["late"], &late)).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    client.reset();
    let record = record(&gateway, "/gone").await;
    assert_eq!(
        (&record["error_side"], attribute(&record, "request-body")),
        (&"client".into(), "set: ok, hold: ok")
    );
    assert_eq!((&record["attempts"], upstream.requests().len()), (&0.into(), 0), "{record}");
}
