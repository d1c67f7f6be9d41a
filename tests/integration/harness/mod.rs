//! What the integration tests are written with.
//!
//! A test starts upstream servers, then the real binary before them, and asks as a client would:
//!
//! ```ignore
//! #[tokio::test]
//! async fn forwards_a_request() {
//!     let upstream = TestUpstream::h1(|request| Answer::text(format!("you asked {}", request.path()))).await;
//!     let gateway = TestGateway::start(&format!(
//!         r#"
//!         [listeners.web]
//!         address = "127.0.0.1:0"
//!         [upstreams.app]
//!         endpoints = ["{}"]
//!         [routes.all]
//!         to = "app"
//!         "#,
//!         upstream.address(),
//!     ))
//!     .await;
//!     let response = TestClient::h1(gateway.address("web")).await.get("/a").await;
//!     assert_eq!((response.status, response.text()), (200, "you asked /a".to_owned()));
//!     assert_eq!(upstream.requests().len(), 1);
//! }
//! ```
//!
//! - [`TestGateway`] writes a config (and other files, see [`TestGateway::builder`]) into a folder of its own, runs
//!   `portcullis run`, and waits until it is ready. Listeners take port 0; [`TestGateway::address`] gives the actual
//!   one. `write_config_and_wait`, `write_config_and_expect_refusal`, `reload` (SIGHUP) and `terminate` (SIGTERM) each
//!   wait for their effect. Its log is JSON lines ([`LogLine`]); the access log is its standard output. When a test
//!   fails, both are printed.
//! - [`TestUpstream`] answers by a closure and records what it was sent: `h1`, `h2` (prior knowledge), `h1_tls`,
//!   `h2_tls`, and `streaming_h1`/`streaming_h2` for a handler that sees the body as it comes. [`RawUpstream`] hands
//!   each connection to a script, for answers that no library would give.
//! - [`TestClient`] speaks HTTP/1.1 or HTTP/2 through hyper, with or without TLS; [`RawClient`] writes bytes and reads
//!   what comes; [`curl`] runs the real one; [`tool`] finds such a program, or installs it.
//! - [`H2Client`] opens streams of HTTP/2 one by one, and [`H2Frames`] writes frames.
//! - [`Pieces`] writes a body piece by piece, on either side.
//! - [`Authority`] signs certificates.
//! - [`TestRegistry`] holds images of plugins, [`Key`] signs them as cosign does, and [`TestProxy`] leads to it.
//! - [`eventually`] waits for a condition that nothing announces. Nothing here sleeps for luck: every wait is for a
//!   condition and ends the test at [`DEADLINE`].

#![allow(clippy::print_stderr, reason = "a failing test tells what happened")]
#![allow(dead_code, unreachable_pub, reason = "a toolbox: what one test leaves another one takes")]

mod body;
mod client;
mod command;
mod gateway;
mod h2;
mod hosts;
mod output;
mod proxy;
mod raw;
mod registry;
mod tls;
mod tool;
mod upstream;

#[allow(unused_imports, reason = "a toolbox: what one test leaves another one takes")]
pub use self::{
    body::{PieceBody, Pieces},
    client::{Reply, TestClient},
    command::{
        Ran, Started, curl, portcullis, portcullis_in, portcullis_reading, portcullis_started,
        portcullis_started_with, portcullis_with, program, sh,
    },
    gateway::{Builder, Failed, TestGateway},
    h2::{H2Client, H2Frame, H2Frames},
    hosts::{in_namespace_of, with_tmpfs},
    output::LogLine,
    proxy::TestProxy,
    raw::{RawClient, RawReply, RawUpstream},
    registry::{Image, Key, TestRegistry, base64},
    tls::{Authority, Issued},
    tool::tool,
    upstream::{Answer, Received, StreamBody, TestUpstream},
};

use std::time::Duration;

/// Every wait ends here. Far longer than anything takes, so that no test fails because the machine is slow: what runs
/// at a low priority may get a hundredth of a core for a while if other programs keep all cores busy.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// Waits for `future`, which `what` describes, until [`DEADLINE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: did not happen within {DEADLINE:?}"),
    }
}

/// Asks `probe` again and again until it gives something.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}
