//! A new generation takes over while traffic flows, without a failed exchange.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use crate::faults::resident_kib;
use crate::harness::{
    Answer, Authority, Received, Reply, TestClient, TestGateway, TestUpstream, eventually, within,
};
use crate::setup::{attribute, config, data, digest, every_grant, policy, record, streamed};

const V1: &[u8] = portcullis_test_guests::VERSION_1;
const V2: &[u8] = portcullis_test_guests::VERSION_2;

/// Tells what the policies of its generation did to the request.
fn echo(request: &Received) -> Answer {
    Answer::text("app")
        .header("x-request-version", &request.header("x-version"))
        .header("x-request-generation", &request.header("x-generation"))
}

#[tokio::test]
async fn a_keys_file() {
    let upstream = TestUpstream::named("app").await;
    let policies = "[policies.keys]\nplugin = \"builtin:api-key\"\nconfig = { keys-file = \"keys.txt\" }\n";
    let gateway = TestGateway::builder()
        .file("keys.txt", format!("alice:{}\n", digest("a")))
        .start(&config(upstream.address(), &["keys"], policies))
        .await;
    let mut client = TestClient::h2(gateway.address("web")).await;
    let mut check = async |alice: u16, bob: u16| {
        assert_eq!(client.get_with("/", &[("x-api-key", "a")]).await.status, alice);
        assert_eq!(client.get_with("/", &[("x-api-key", "b")]).await.status, bob);
    };
    check(200, 401).await;
    gateway.write_and_wait("keys.txt", format!("bob:{}\n", digest("b"))).await;
    check(401, 200).await;
    let refusal = gateway.write_and_expect_refusal("keys.txt", "bob:abc\n").await;
    assert!(refusal.contains("keys") && refusal.contains("generation 2 is still running"), "{refusal}");
    check(401, 200).await;
}

#[tokio::test]
async fn a_secret() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::builder()
        .file("capabilities.wasm", portcullis_test_guests::CAPABILITIES)
        .file("token", "old")
        .start(&config(
            upstream.address(),
            &["reader"],
            &policy("reader", "capabilities", &every_grant("token")),
        ))
        .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    client.get_with("/1", &[("x-do", "increment visits 1")]).await;
    client.get_with("/2", &[("x-do", "secret token")]).await;
    assert_eq!(attribute(&record(&gateway, "/2").await, "result"), "old");
    gateway.write_and_wait("token", "new").await;
    client.get_with("/3", &[("x-do", "secret token")]).await;
    assert_eq!(attribute(&record(&gateway, "/3").await, "result"), "new");
    // What the policy keeps in the gateway is still there.
    client.get_with("/4", &[("x-do", "get visits")]).await;
    assert_eq!(attribute(&record(&gateway, "/4").await, "result"), "1");
    assert!(!gateway.stderr().contains("old") && !gateway.stderr().contains("\"new"));
}

#[tokio::test]
async fn a_plugin_by_renaming_and_in_place() {
    let upstream = TestUpstream::h1(echo).await;
    let gateway = TestGateway::builder()
        .file("version.wasm", V1)
        .start(&config(upstream.address(), &["version"], &policy("version", "version", "")))
        .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let mut check = async |expected: &str| {
        let reply = client.get("/").await;
        assert_eq!(
            (reply.header("x-version"), reply.header("x-request-version")),
            (expected.to_owned(), expected.to_owned())
        );
    };
    check("v1").await;
    gateway.write_and_wait("version.wasm", V2).await;
    check("v2").await;

    let refusal =
        gateway.write_and_expect_refusal("version.wasm", portcullis_test_guests::UNKNOWN_IMPORT).await;
    for expected in ["`version`", "version.wasm", "launch", "generation 2 is still running"] {
        assert!(refusal.contains(expected), "no {expected} in {refusal}");
    }
    check("v2").await;

    // As `cp` does it: the same file, cut and written again in pieces.
    let path = gateway.dir().join("version.wasm");
    let mut file = std::fs::File::create(&path).unwrap();
    for piece in V1.chunks(10_000) {
        std::io::Write::write_all(&mut file, piece).unwrap();
    }
    drop(file);
    gateway.wait_for_log("the third generation", |line| line.number("generation") == Some(3)).await;
    check("v1").await;
}

/// A policy that names the generation on both heads. Of thousands of exchanges none may fail, and on a busy machine a
/// hook can have ten times its CPU time counted: what other machines take of a core is a part of that.
const PATIENT: &str = "limits = { deadline = \"1s\" }\n";

fn generation(number: usize) -> String {
    format!(
        "[policies.generation]\n{PATIENT}plugin = \"builtin:headers\"\nconfig = {{ request = {{ set = {{ x-generation = \"{number}\" }} }}, \
         response = {{ set = {{ x-generation = \"{number}\" }} }} }}\n"
    )
}

#[tokio::test]
async fn an_exchange_ends_on_the_generation_that_it_began_on() {
    let upstream = TestUpstream::streaming_h1(|request| async {
        let generation = request.headers()["x-generation"].clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut response = Response::new(Full::new(body).boxed_unsync());
        response.headers_mut().insert("x-request-generation", generation);
        response
    })
    .await;
    let text = |number| config(upstream.address(), &["generation"], &generation(number));
    let gateway = TestGateway::start(&text(1)).await;
    let address = gateway.address("web");
    let mut number = 1;
    for mut client in [TestClient::h1(address).await, TestClient::h2(address).await] {
        let asked = upstream.requests().len();
        let (sender, body) = streamed();
        sender.send(data("begun")).await.unwrap();
        let response = client.begin(Method::POST, "/", &[], body);
        let (response, ()) = tokio::join!(response, async {
            eventually("the upstream is asked", async || (upstream.requests().len() > asked).then_some(()))
                .await;
            gateway.write_config_and_wait(&text(number + 1)).await;
            drop(sender);
        });
        let response = response.unwrap();
        let old = number.to_string();
        assert_eq!(response.headers()["x-request-generation"], *old);
        assert_eq!(response.headers()["x-generation"], *old);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "begun");
        number += 1;
        assert_eq!(client.send(Method::POST, "/", &[], "x").await.header("x-generation"), number.to_string());
    }
}

const RELOADS: usize = 50;

/// Clients that ask all the time, each over one connection that it never makes again, and some that always make a new
/// one.
struct Load {
    stop: Rc<Cell<bool>>,
    asked: Rc<Cell<u64>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn client(&mut self, mut client: TestClient) {
        let (stop, asked) = (self.stop.clone(), self.asked.clone());
        self.tasks.push(tokio::task::spawn_local(async move {
            let mut newest = 0;
            while !stop.get() {
                let sent = client.try_send(Method::POST, "/load", &[], "body").await;
                let reply = sent.expect("a request failed, or its connection was closed");
                newest = one_generation(&reply, newest);
                asked.set(asked.get() + 1);
                tokio::task::yield_now().await;
            }
        }));
    }

    fn newcomers(&mut self, connect: impl AsyncFn() -> TestClient + 'static) {
        let (stop, asked) = (self.stop.clone(), self.asked.clone());
        self.tasks.push(tokio::task::spawn_local(async move {
            let mut newest = 0;
            while !stop.get() {
                let reply = connect().await.send(Method::POST, "/load", &[], "body").await;
                newest = one_generation(&reply, newest);
                asked.set(asked.get() + 1);
            }
        }));
    }

    fn socket(&mut self, mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin + 'static) {
        let (stop, asked) = (self.stop.clone(), self.asked.clone());
        self.tasks.push(tokio::task::spawn_local(async move {
            while !stop.get() {
                stream.write_all(b"ping").await.expect("the tunnel broke");
                let mut back = [0; 4];
                within("the echo", stream.read_exact(&mut back)).await.expect("the tunnel was closed");
                assert_eq!(&back, b"ping");
                asked.set(asked.get() + 1);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }));
    }

    async fn end(self) -> u64 {
        self.stop.set(true);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.asked.get()
    }
}

/// Checks that request and response were treated by the same generation, none older than the connection has seen.
fn one_generation(reply: &Reply, newest: usize) -> usize {
    assert_eq!(reply.status, 200);
    assert_eq!(reply.text(), "app");
    let of = |name: &str| reply.header(name);
    assert_eq!(of("x-generation"), of("x-request-generation"));
    assert_eq!(of("x-version"), of("x-request-version"));
    assert!(["v1", "v2"].contains(&of("x-version").as_str()), "{reply:?}");
    let number = of("x-generation").parse().unwrap();
    assert!(number >= newest, "back from {newest} to {number}");
    number
}

#[tokio::test]
async fn fifty_reloads_under_load_go_unnoticed() {
    tokio::task::LocalSet::new().run_until(fifty_reloads()).await;
}

async fn fifty_reloads() {
    let upstreams =
        [TestUpstream::h1(echo).await, TestUpstream::h1(echo).await, TestUpstream::h1(echo).await];
    let tunnels = TestUpstream::echo().await;
    let authority = Rc::new(Authority::new());
    let text = |number: usize| {
        let mut endpoints: Vec<_> = upstreams.iter().map(|upstream| upstream.address().to_string()).collect();
        endpoints.rotate_left(number % 3);
        endpoints.truncate(1 + number % 3);
        let certificate = number % 4;
        let limit = "[policies.limit]\nlimits = { deadline = \"1s\" }\nplugin = \"builtin:rate-limit\"\ngrants = { rate-limit = true }\n\
                     config = { rate = \"1/h\", burst = 99, key = \"route\" }\n";
        let changing = match number % 2 {
            0 => "[routes.changing]\nmatch = { path = \"/changing/*\" }\nto = \"app\"\n",
            _ => "",
        };
        format!(
            "[server]\nworkers = 2\nsettle = \"100ms\"\naccess-log = {{ format = \"off\" }}\n\
             [listeners.web]\naddress = \"127.0.0.1:0\"\n\
             [listeners.secure]\naddress = \"127.0.0.1:0\"\n\
             tls = {{ certificates = [{{ cert = \"{certificate}.pem\", key = \"{certificate}.key\" }}] }}\n\
             [upstreams.app]\nendpoints = {endpoints:?}\nbalance = \"least-requests\"\n\
             [upstreams.tunnels]\nendpoints = [\"{}\"]\n\
             [routes.load]\nmatch = {{ path = \"/load\" }}\nuse = [\"generation\", \"version\"]\nto = \"app\"\n\
             [routes.limited]\nmatch = {{ path = \"/limited\" }}\nuse = [\"limit\"]\nto = \"app\"\n\
             [routes.socket]\nmatch = {{ path = \"/socket\" }}\nto = \"tunnels\"\n\
             {changing}{limit}{}{}",
            tunnels.address(),
            policy("version", "version", PATIENT),
            generation(number),
        )
    };
    let mut builder = TestGateway::builder().file("version.wasm", V1);
    for number in 0..4 {
        let issued = authority.issue(&["site.test"]);
        builder = builder
            .file(&format!("{number}.pem"), issued.certificate)
            .file(&format!("{number}.key"), issued.key);
    }
    let gateway = builder.start(&text(0)).await;
    let (web, secure) = (gateway.address("web"), gateway.address("secure"));

    let mut load = Load { stop: Rc::default(), asked: Rc::default(), tasks: Vec::new() };
    for _ in 0..2 {
        load.client(TestClient::h1(web).await);
        let h2 = TestClient::h2(web).await;
        load.client(h2.share());
        load.client(h2);
    }
    load.client(TestClient::h1_tls(secure, &authority, "site.test").await);
    let h2 = TestClient::h2_tls(secure, &authority, "site.test").await;
    load.client(h2.share());
    load.client(h2);
    load.newcomers(move || TestClient::h1(web));
    let believed = authority.clone();
    load.newcomers(async move || TestClient::h2_tls(secure, &believed, "site.test").await);
    let mut client = TestClient::h1(web).await;
    let body = http_body_util::Empty::new();
    let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
    let mut response = client.begin(Method::GET, "/socket", &fields, body).await.unwrap();
    assert_eq!(response.status(), 101);
    load.socket(TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap()));

    let mut watcher = TestClient::h1(web).await;
    let (mut number, mut plugin, mut running, mut warm) = (0, V1, 1, 0);
    for reload in 0..RELOADS {
        let asked = load.asked.get();
        match reload % 5 {
            // A broken one, of one kind after the other.
            4 => {
                let refusal = match reload / 5 % 4 {
                    0 => {
                        gateway.write_config_and_expect_refusal(&text(number).replace("to =", "too =")).await
                    }
                    1 => gateway.write_and_expect_refusal("version.wasm", &plugin[..plugin.len() / 2]).await,
                    2 => gateway.write_and_expect_refusal(&format!("{}.pem", number % 4), "no PEM").await,
                    _ => {
                        gateway
                            .write_config_and_expect_refusal(
                                &text(number).replace("[\"limit\"]", "[\"limits\"]"),
                            )
                            .await
                    }
                };
                assert!(refusal.contains(&format!("generation {running} is still running")), "{refusal}");
                // The sound ones again, which are what runs.
                gateway.write("version.wasm", plugin);
                gateway.write("portcullis.toml", text(number));
                let issued = authority.issue(&["site.test"]);
                if reload / 5 % 4 == 2 {
                    let name = |end: &str| format!("{}.{end}", number % 4);
                    gateway.write(&name("key"), issued.key);
                    running = gateway.write_and_wait(&name("pem"), issued.certificate).await;
                }
            }
            1 => {
                plugin = if plugin == V1 { V2 } else { V1 };
                running = gateway.write_and_wait("version.wasm", plugin).await;
            }
            _ => {
                number += 1;
                running = gateway.write_config_and_wait(&text(number)).await;
            }
        }
        // Connections that were open before see it at once.
        let reply = watcher.send(Method::POST, "/load", &[], "body").await;
        assert_eq!(one_generation(&reply, number), number);
        assert_eq!(reply.header("x-version"), if plugin == V1 { "v1" } else { "v2" });
        let expected = if number % 2 == 0 { 200 } else { 404 };
        assert_eq!(watcher.get("/changing/a").await.status, expected);
        // The limiter goes on counting: 100 in all, less one for each reload.
        let limit = watcher.get("/limited").await.header("ratelimit");
        assert!(limit.contains(&format!(";r={};", 99 - reload)), "{limit} after {reload} reloads");
        // The load goes on as well.
        eventually("everybody asks on", async || (load.asked.get() >= asked + 20).then_some(())).await;
        if reload == RELOADS / 2 {
            warm = resident_kib(gateway.pid());
        }
    }
    assert_eq!(gateway.generation(), running);
    assert!(running > 40, "{running}");
    let after = resident_kib(gateway.pid());
    let asked = load.end().await;
    assert!(after < warm + 16 * 1024, "{warm} KiB in the middle, {after} KiB at the end");
    assert!(asked > 1000, "{asked}");
}
