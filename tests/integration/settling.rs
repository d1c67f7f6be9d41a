//! A configuration on disk never runs half written, and `portcullis reload` says what became of it.

use std::io::Write;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Ran, TestClient, TestGateway, TestUpstream, eventually, portcullis_in};

/// Longer than what was waited for after a change before there was a settle time.
const PAUSE: Duration = Duration::from_millis(400);

fn listener(server: &str) -> String {
    format!("[server]\n{server}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n")
}

fn upstream(name: &str, upstream: &TestUpstream) -> String {
    format!("[upstreams.{name}]\nendpoints = [\"{}\"]\n", upstream.address())
}

fn route(name: &str, path: &str, to: &str) -> String {
    format!("[routes.{name}]\nmatch = {{ path = \"{path}\" }}\nto = \"{to}\"\n")
}

async fn ran(gateway: &TestGateway, arguments: &[&str]) -> Ran {
    portcullis_in(gateway.dir(), arguments).await
}

/// Everything that was said about reloads.
fn verdicts(gateway: &TestGateway) -> Vec<String> {
    let lines = gateway.log().into_iter();
    let is_verdict = |event: &str| matches!(event, "reloaded" | "refused");
    lines.filter(|line| line.text("event").is_some_and(is_verdict)).map(|line| line.message).collect()
}

#[tokio::test]
async fn a_file_that_is_still_being_written_does_not_run() {
    let (app, admin) = (TestUpstream::named("app").await, TestUpstream::named("admin").await);
    let old = listener("") + &upstream("app", &app) + &route("all", "/*", "app");
    let gateway = TestGateway::start(&old).await;
    // The first part is a whole configuration: the route that keeps `/admin` apart is in the second.
    let mut file = std::fs::File::create(gateway.dir().join("portcullis.toml")).unwrap();
    for part in [
        listener("drain-timeout = \"7s\"") + &upstream("app", &app) + &route("all", "/*", "app"),
        upstream("admin", &admin),
        route("admin", "/admin", "admin"),
    ] {
        file.write_all(part.as_bytes()).unwrap();
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(verdicts(&gateway), Vec::<String>::new());
    drop(file);
    let mut client = TestClient::h1(gateway.address("web")).await;
    eventually("the whole runs", async || (client.get("/admin").await.text() == "admin").then_some(())).await;
    // The log comes behind a queue.
    gateway.wait_for_log("a reload", |line| line.text("event") == Some("reloaded")).await;
    assert_eq!(verdicts(&gateway).len(), 1, "{:?}", verdicts(&gateway));
}

#[tokio::test]
async fn files_that_belong_together_run_together() {
    let (app, admin) = (TestUpstream::named("app").await, TestUpstream::named("admin").await);
    let main = |server: &str| {
        format!("include = [\"conf.d/*.toml\"]\n{}{}", listener(server), upstream("app", &app))
    };
    let gateway = TestGateway::builder()
        .file("conf.d/a.toml", route("all", "/*", "app"))
        .file("conf.d/b.toml", "")
        .start(&main("settle = \"5s\""))
        .await;
    gateway.write("portcullis.toml", main("settle = \"5s\"\ndrain-timeout = \"7s\""));
    for (file, text) in [
        ("a", route("all", "/v1/*", "app")),
        ("b", upstream("admin", &admin)),
        ("c", route("admin", "/admin", "admin")),
    ] {
        tokio::time::sleep(PAUSE).await;
        gateway.write(&format!("conf.d/{file}.toml"), text);
    }
    let line = gateway.wait_for_log("a reload", |line| line.text("event") == Some("reloaded")).await;
    assert!(line.message.contains("route `admin` added"), "{}", line.message);
    assert_eq!(verdicts(&gateway).len(), 1, "{:?}", verdicts(&gateway));
}

#[tokio::test]
async fn nothing_is_loaded_unasked_if_files_are_not_watched() {
    let (one, two) = (TestUpstream::named("one").await, TestUpstream::named("two").await);
    let config =
        |app: &TestUpstream| listener("watch = false") + &upstream("app", app) + &route("all", "/*", "app");
    let gateway = TestGateway::start(&config(&one)).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    gateway.write("portcullis.toml", config(&two));
    tokio::time::sleep(PAUSE).await;
    assert_eq!(client.get("/").await.text(), "one");
    let reloaded = ran(&gateway, &["reload"]).await;
    assert_eq!(reloaded.code, Some(0), "{}", reloaded.stderr);
    assert!(reloaded.stdout.starts_with("generation 2 runs after"), "{}", reloaded.stdout);
    assert!(reloaded.stdout.contains("upstream `app` changed"), "{}", reloaded.stdout);
    assert_eq!(client.get("/").await.text(), "two");
    gateway.write("portcullis.toml", config(&one));
    assert_eq!(gateway.reload().await, 3);
    assert_eq!(client.get("/").await.text(), "one");
    // What is loaded may have them watched again.
    gateway.write("portcullis.toml", config(&one).replace("watch = false", "watch = true"));
    assert_eq!(gateway.reload().await, 4);
    assert_eq!(gateway.write_config_and_wait(&config(&two)).await, 5);
}

#[tokio::test]
async fn reload_waits_for_nothing_and_says_what_is_wrong() {
    let (one, two) = (TestUpstream::named("one").await, TestUpstream::named("two").await);
    let config = |app: &TestUpstream| {
        listener("settle = \"10m\"\nmetrics = \"127.0.0.1:0\"")
            + &upstream("app", app)
            + &route("all", "/*", "app")
    };
    let gateway = TestGateway::start(&config(&one)).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let metrics = gateway.wait_for_log("the metrics", |line| line.text("event") == Some("metrics")).await;
    let metrics: std::net::SocketAddr = metrics.text("address").unwrap().parse().unwrap();
    let gauge = async |value: &str| {
        let page = TestClient::h1(metrics).await.get("/metrics").await.text();
        assert!(page.contains(&format!("\nportcullis_config_refused {value}\n")), "{page}");
    };
    gauge("0").await;

    // Written to in place, so that it is settled for long.
    let write = |text: &str| std::fs::write(gateway.dir().join("portcullis.toml"), text).unwrap();
    write(&config(&one).replace("to = \"app\"", "to = \"ap\"").replace("[routes", "bogus = 1\n[routes"));
    let refused = ran(&gateway, &["reload"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{}", refused.stderr);
    for expected in
        ["portcullis.toml:", "bogus = 1", "^^^^^", "`ap`", "2 errors", "generation 1 is still running"]
    {
        assert!(refused.stderr.contains(expected), "no {expected:?} in:\n{}", refused.stderr);
    }
    let json = ran(&gateway, &["reload", "--json"]).await;
    assert_eq!(json.code, Some(1), "{}", json.stderr);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&json["generation"], &json["errors"]), (&1.into(), &2.into()), "{json}");
    assert_eq!(client.get("/").await.text(), "one");

    // It can be seen for as long as it is so, and is said when it is over.
    gauge("1").await;
    let status = ran(&gateway, &["status"]).await.stdout;
    assert!(status.contains("the config on disk has been refused for"), "{status}");
    assert!(status.contains("2 errors, the first is: unknown key `bogus`"), "{status}");
    write(&config(&two));
    let reloaded = ran(&gateway, &["reload"]).await;
    assert_eq!(reloaded.code, Some(0), "{}", reloaded.stderr);
    assert_eq!(client.get("/").await.text(), "two");
    gauge("0").await;
    assert!(!ran(&gateway, &["status"]).await.stdout.contains("refused"));
}

#[tokio::test]
async fn a_mistake_that_is_taken_back_is_said_to_be_over() {
    let app = TestUpstream::named("app").await;
    let config = listener("") + &upstream("app", &app) + &route("all", "/*", "app");
    let gateway = TestGateway::start(&config).await;
    gateway.write_config_and_expect_refusal(&format!("bogus = 1\n{config}")).await;
    gateway.write("portcullis.toml", &config);
    gateway.wait_for_log("the end of it", |line| line.text("event") == Some("mended")).await;
    assert_eq!(gateway.generation(), 1);
}

#[tokio::test]
async fn many_reloads_at_once_are_each_told_the_outcome() {
    let app = TestUpstream::named("app").await;
    let config = listener("watch = false") + &upstream("app", &app) + &route("all", "/*", "app");
    let gateway = TestGateway::start(&config).await;
    let reloads = (0..6).map(|_| {
        let dir = gateway.dir().to_path_buf();
        tokio::spawn(async move { portcullis_in(&dir, ["reload"]).await })
    });
    let reloads: Vec<_> = reloads.collect();
    gateway.signal(Signal::HUP);
    for reload in reloads {
        let ran = reload.await.unwrap();
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains("nothing changed"), "{}", ran.stdout);
    }
}
