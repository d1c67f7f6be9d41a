//! What each signal does, also while the configuration on disk is wrong, while the gateway starts, and while it drains.

use std::sync::Arc;

use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::harness::{
    RawClient, RawUpstream, TestClient, TestGateway, TestUpstream, eventually, portcullis_started, within,
};

fn config(endpoint: std::net::SocketAddr, server: &str) -> String {
    format!(
        "[server]\n{server}\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [upstreams.app]\nendpoints = [\"{endpoint}\"]\n[routes.all]\nto = \"app\"\n"
    )
}

/// Answers a request with `begin `, and ends the answer when a permit is there.
async fn held() -> (RawUpstream, Arc<Semaphore>) {
    let end = Arc::new(Semaphore::new(0));
    let ends = Arc::clone(&end);
    let upstream = RawUpstream::start(move |mut connection, _| {
        let ends = Arc::clone(&ends);
        async move {
            connection.read_head().await;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegin ").await;
            ends.acquire().await.unwrap().forget();
            connection.send("end").await;
        }
    })
    .await;
    (upstream, end)
}

#[tokio::test]
async fn the_access_log_is_opened_anew_whatever_is_on_disk() {
    let app = TestUpstream::named("app").await;
    let sound = config(app.address(), "access-log = { file = \"access.log\" }");
    let gateway = TestGateway::start(&sound).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    let read = |name: &str| std::fs::read_to_string(gateway.dir().join(name)).unwrap_or_default();
    gateway.write_config_and_expect_refusal(&sound.replace("to = \"app\"", "to = \"nowhere\"")).await;
    for (at, signal) in [Signal::HUP, Signal::USR1].into_iter().enumerate() {
        let (before, after) = (format!("/{at}/before"), format!("/{at}/after"));
        client.get(&before).await;
        eventually("the first record", async || read("access.log").contains(&before).then_some(())).await;
        let old = format!("access.log.{at}");
        std::fs::rename(gateway.dir().join("access.log"), gateway.dir().join(&old)).unwrap();
        gateway.signal(signal);
        eventually("the log is there again", async || {
            gateway.dir().join("access.log").exists().then_some(())
        })
        .await;
        client.get(&after).await;
        eventually("the second record", async || read("access.log").contains(&after).then_some(())).await;
        assert!(!read(&old).contains(&after));
    }
    assert_eq!(gateway.generation(), 1);
}

#[tokio::test]
async fn quit_drains_as_term_does() {
    let (upstream, end) = held().await;
    let mut gateway = TestGateway::start(&config(upstream.address(), "")).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_until(b"begin ").await;
    gateway.signal(Signal::QUIT);
    gateway.wait_for_log("a drain", |line| line.message.starts_with("draining after SIGQUIT")).await;
    end.add_permits(1);
    client.read_until(b"end").await;
    assert_eq!(gateway.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_signal_that_asks_for_nothing_is_logged() {
    let app = TestUpstream::named("app").await;
    let gateway = TestGateway::start(&config(app.address(), "")).await;
    gateway.signal(Signal::USR2);
    gateway.wait_for_log("the signal", |line| line.message.starts_with("SIGUSR2 is ignored")).await;
    assert_eq!(TestClient::h1(gateway.address("web")).await.get("/").await.text(), "app");
}

#[tokio::test]
async fn a_signal_that_reaches_the_gateway_twice_does_not_cut_the_drain() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let (upstream, end) = held().await;
        let mut gateway = TestGateway::builder()
            .argument("--log-level")
            .argument("debug")
            .start(&config(upstream.address(), ""))
            .await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.read_until(b"begin ").await;
        gateway.signal(signal);
        gateway.wait_for_log("a drain", |line| line.message.starts_with("draining")).await;
        gateway.signal(signal);
        // On a machine that holds the test up for a second this is a second thought; then there is nothing to see.
        let second = gateway
            .wait_for_log("the repeat", |line| {
                line.message.contains("a repeat of the first one") || line.message.contains("a second signal")
            })
            .await;
        if second.message.contains("a repeat") {
            end.add_permits(1);
            client.read_until(b"end").await;
            assert_eq!(gateway.wait().await.code(), Some(0));
        }
    }
}

#[tokio::test]
async fn a_drain_gives_up_every_address_at_its_begin() {
    let (upstream, end) = held().await;
    let mut gateway = TestGateway::start(&config(upstream.address(), "metrics = \"127.0.0.1:0\"")).await;
    let metrics = gateway.wait_for_log("the metrics", |line| line.text("event") == Some("metrics")).await;
    let metrics = metrics.text("address").unwrap().to_owned();
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_until(b"begin ").await;
    gateway.signal(Signal::TERM);
    // Without SO_REUSEPORT, so that it fails if there is a listener.
    for address in [metrics, gateway.address("web").to_string()] {
        eventually("the address is free", async || TcpListener::bind(&address).await.ok()).await;
    }
    eventually("the control socket is gone", async || {
        let sockets = std::fs::read_dir(gateway.dir().join("portcullis")).unwrap();
        let mut names = sockets.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        (!names.any(|name| name.ends_with(".sock"))).then_some(())
    })
    .await;
    end.add_permits(1);
    client.read_until(b"end").await;
    assert_eq!(gateway.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_gateway_that_is_told_to_end_while_it_starts_says_so() {
    let dir = tempfile::tempdir().unwrap();
    // Its configure runs until its deadline.
    std::fs::write(dir.path().join("slow.wasm"), portcullis_test_guests::MISBEHAVE).unwrap();
    let slow = "[policies.slow]\nplugin = \"slow.wasm\"\nlimits = { configure-deadline = \"20s\" }\n\
                config = { configure = \"loop\" }\n";
    let config =
        config("127.0.0.1:9".parse().unwrap(), "").replace("to = \"app\"", "use = [\"slow\"]\nto = \"app\"");
    std::fs::write(dir.path().join("portcullis.toml"), config + slow).unwrap();
    let started = portcullis_started(dir.path(), ["run"]);
    // The signal would end it without a word before it receives them.
    let catches = |status: String| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim().to_owned();
        let mask = u64::from_str_radix(&mask, 16).unwrap();
        (mask >> (Signal::TERM.as_raw() - 1) & 1 == 1).then_some(())
    };
    let status = format!("/proc/{}/status", started.pid());
    eventually("it receives signals", async || catches(std::fs::read_to_string(&status).unwrap())).await;
    started.signal(Signal::TERM);
    let ran = within("the end", started.ended()).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("SIGTERM while starting"), "{}", ran.stderr);
}
