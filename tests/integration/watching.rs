//! Which changes of files are noticed, and what they do.

use crate::harness::{Authority, TestClient, TestGateway, TestUpstream, eventually};

/// A config whose only route goes to `upstream`; `more` is put before it.
fn config(upstream: &TestUpstream, more: &str) -> String {
    format!(
        "{more}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [upstreams.app]\nendpoints = [\"{}\"]\n\
         [routes.all]\nto = \"app\"\n",
        upstream.address()
    )
}

fn route_to(name: &str, upstream: &TestUpstream) -> String {
    format!(
        "[upstreams.{name}]\nendpoints = [\"{}\"]\n[routes.{name}]\nmatch = {{ path = \"/{name}\" }}\nto = \"{name}\"\n",
        upstream.address()
    )
}

#[tokio::test]
async fn a_file_that_is_added_to_an_included_folder() {
    let (app, more) = (TestUpstream::named("app").await, TestUpstream::named("more").await);
    let gateway = TestGateway::builder()
        .file("conf.d/README", "no config")
        .start(&config(&app, "include = [\"conf.d/*.toml\"]"))
        .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/more").await.text(), "app");
    gateway.write_and_wait("conf.d/more.toml", route_to("more", &more)).await;
    assert_eq!(client.get("/more").await.text(), "more");
}

#[tokio::test]
async fn an_included_file_that_was_broken_when_it_came() {
    let (app, more) = (TestUpstream::named("app").await, TestUpstream::named("more").await);
    let gateway = TestGateway::start(&config(&app, "")).await;
    let refusal = gateway.write_config_and_expect_refusal(&config(&app, "include = [\"more.toml\"]")).await;
    assert!(refusal.contains("more.toml"), "{refusal}");
    gateway.write_and_expect_refusal("more.toml", "[routes.more").await;
    gateway.write_and_wait("more.toml", route_to("more", &more)).await;
    assert_eq!(TestClient::h1(gateway.address("web")).await.get("/more").await.text(), "more");
}

#[tokio::test]
async fn a_renewed_certificate_serves_new_connections_and_keeps_old_ones() {
    let app = TestUpstream::named("app").await;
    let (old, new) = (Authority::new(), Authority::new());
    let (before, after) = (old.issue(&["site.test"]), new.issue(&["site.test"]));
    let tls = "tls = { certificates = [{ cert = \"site.pem\", key = \"site.key\" }] }";
    let text =
        config(&app, "").replace("address = \"127.0.0.1:0\"", &format!("address = \"127.0.0.1:0\"\n{tls}"));
    let gateway = TestGateway::builder()
        .file("site.pem", before.certificate)
        .file("site.key", before.key)
        .start(&text)
        .await;
    let mut kept = TestClient::h2_tls(gateway.address("web"), &old, "site.test").await;
    assert_eq!(kept.get("/").await.status, 200);

    // The key of another certificate is refused until its certificate is there as well.
    gateway.write_and_expect_refusal("site.key", after.key).await;
    gateway.write_and_wait("site.pem", after.certificate).await;
    assert_eq!(
        TestClient::h1_tls(gateway.address("web"), &new, "site.test").await.get("/").await.status,
        200
    );
    assert_eq!(kept.get("/").await.status, 200);
}

#[tokio::test]
async fn a_policy_that_did_not_change_is_not_made_again() {
    let (app, other) = (TestUpstream::named("app").await, TestUpstream::named("other").await);
    let policies = "[policies.stamp]\nplugin = \"builtin:headers\"\nconfig = { response = { set = { x-stamp = \"1\" } } }\n";
    let with = |upstream: &TestUpstream, blank: &str| {
        config(upstream, "")
            .replace("to = \"app\"", &format!("use = [\"stamp\"]\nto = \"app\"\n{blank}{policies}"))
    };
    let gateway = TestGateway::start(&with(&app, "")).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/").await.header("x-stamp"), "1");
    gateway.write_config_and_wait(&with(&other, "\n\n")).await;
    let reply = client.get("/").await;
    assert_eq!((reply.text().as_str(), reply.header("x-stamp").as_str()), ("other", "1"));
    let line = gateway.wait_for_log("a reload", |line| line.text("event") == Some("reloaded")).await;
    assert!(line.message.ends_with("upstream `app` changed"), "{}", line.message);
}

#[tokio::test]
async fn only_what_means_something_else_is_a_generation() {
    let (app, other) = (TestUpstream::named("app").await, TestUpstream::named("other").await);
    let gateway =
        TestGateway::builder().argument("--log-level").argument("debug").start(&config(&app, "")).await;
    gateway.write("portcullis.toml", config(&app, "# a remark"));
    gateway.wait_for_log("the remark", |line| line.message.starts_with("files were written")).await;
    assert_eq!(gateway.write_config_and_wait(&config(&other, "")).await, 2);
}

#[tokio::test]
async fn the_access_log_is_opened_anew_at_hangup() {
    let app = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&config(&app, "[server]\naccess-log = { file = \"access.log\" }")).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let read = |name: &str| std::fs::read_to_string(gateway.dir().join(name)).unwrap_or_default();
    client.get("/before").await;
    eventually("the first record", async || read("access.log").contains("/before").then_some(())).await;
    std::fs::rename(gateway.dir().join("access.log"), gateway.dir().join("access.log.1")).unwrap();
    gateway.reload().await;
    client.get("/after").await;
    eventually("the second record", async || read("access.log").contains("/after").then_some(())).await;
    assert!(!read("access.log.1").contains("/after"));
}

#[tokio::test]
async fn a_new_listener_whose_port_is_taken_changes_nothing() {
    let (app, other) = (TestUpstream::named("app").await, TestUpstream::named("other").await);
    let gateway = TestGateway::start(&config(&app, "")).await;
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = format!("[listeners.second]\naddress = \"{}\"", busy.local_addr().unwrap());
    let refusal = gateway.write_config_and_expect_refusal(&config(&other, &second)).await;
    assert!(refusal.contains("`second`"), "{refusal}");
    assert_eq!(TestClient::h1(gateway.address("web")).await.get("/").await.text(), "app");
}
