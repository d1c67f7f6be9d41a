//! Plugins whose code takes long or much memory to compile.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::faults::resident_kib;
use crate::harness::{TestClient, TestGateway, TestUpstream, portcullis_in};
use crate::setup::config;

/// A policy that ticks, and has a function of so many branches over 200 values that all stay alive, among so many
/// locals.
fn bomb(branches: usize, locals: usize) -> Vec<u8> {
    const VALUES: usize = 200;
    let mut body = String::new();
    for at in 0..branches {
        let value = 1 + at % VALUES;
        write!(
            body,
            "(if (local.get 0) (then (local.set {value} (i32.const {at}))) (else (local.set {value} (local.get {}))))",
            1 + (at + 7) % VALUES
        )
        .unwrap();
    }
    (0..VALUES).for_each(|at| write!(body, "(drop (local.get {}))", at + 1).unwrap());
    let text = format!(
        r#"(component
            (core module $m
                (func $large (param i32) (local {locals}) {body})
                (memory (export "memory") 1)
                (func (export "tick") (result i32) (call $large (i32.const 0)) (i32.const 0)))
            (core instance $m (instantiate $m))
            (type $tick-type (func (result (result (error string)))))
            (func $tick (type $tick-type) (canon lift (core func $m "tick") (memory $m "memory")))
            (instance $ticking (export "on-tick" (func $tick)))
            (export "portcullis:policy/tick@0.2.1" (instance $ticking)))"#,
        locals = "i32 ".repeat(locals)
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// A config with these settings of `[server]`, whose route uses the plugin `large.wasm` if `uses` says so.
fn large(endpoint: SocketAddr, uses: bool, server: &str) -> String {
    let policy = "[policies.large]\nplugin = \"large.wasm\"\n";
    let config = if uses { config(endpoint, &["large"], policy) } else { config(endpoint, &[], "") };
    config.replacen("workers = 2\n", &format!("workers = 2\ncache-dir = \"cache\"\n{server}\n"), 1)
}

#[tokio::test]
async fn a_plugin_that_takes_too_much_is_refused_and_the_gateway_goes_on() {
    let upstream = TestUpstream::named("app").await;
    // More than the moment after which it is told what is waited for.
    let limits = "policy-compile-time = \"3s\"\npolicy-compile-memory = \"4GiB\"";
    let gateway = TestGateway::builder()
        // Minutes and gigabytes.
        .file("large.wasm", bomb(60_000, 200))
        .start(&large(upstream.address(), false, limits))
        .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/").await.status, 200);
    let before = resident_kib(gateway.pid());
    let refusal = gateway.write_config_and_expect_refusal(&large(upstream.address(), true, limits)).await;
    assert!(refusal.contains("server.policy-compile-"), "{refusal}");
    let line =
        gateway.wait_for_log("that it is compiled", |line| line.message.starts_with("compiling ")).await;
    assert!(line.message.contains("large.wasm, once; this may take a minute"), "{}", line.message);
    assert_eq!(line.level, "INFO");
    // A new client, since on a busy machine the first one was idle for longer than it may be.
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/").await.status, 200);
    let grown = resident_kib(gateway.pid()).saturating_sub(before);
    assert!(grown < 200 << 10, "{grown} KiB more");
}

#[tokio::test]
async fn each_limit_is_named_where_it_is_met() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("large.wasm"), bomb(60_000, 200)).unwrap();
    for (limits, expected) in [
        ("policy-compile-time = \"1s\"", "it takes more than 1 s of CPU time"),
        ("policy-compile-memory = \"256MiB\"", "it takes more than 256 MiB of memory"),
    ] {
        let config = large("127.0.0.1:9".parse().unwrap(), true, limits);
        std::fs::write(dir.path().join("portcullis.toml"), config).unwrap();
        let ran = portcullis_in(dir.path(), ["validate"]).await;
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        assert!(ran.stderr.contains(expected), "no {expected:?} in:\n{}", ran.stderr);
    }
}

/// What could be large and is not loads; the process has left its code in the cache.
#[tokio::test]
async fn one_that_keeps_to_the_limits_loads() {
    let upstream = TestUpstream::named("app").await;
    let gateway = TestGateway::builder()
        // Most of the values are dead, which only compiling tells.
        .file("large.wasm", bomb(30, 40_000))
        .start(&large(upstream.address(), true, ""))
        .await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/").await.status, 200);
    let kept = |folder: &str| std::fs::read_dir(gateway.dir().join("cache").join(folder)).unwrap().count();
    assert!(kept("compiled") > 0 && kept("functions") > 0);
}
