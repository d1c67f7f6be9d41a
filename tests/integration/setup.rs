//! What the tests of policies share: configs with one route, and what the access log says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::harness::TestGateway;

/// A config whose only route runs `uses` before it goes to `endpoint`; `more` is put behind it, such as policies.
pub(crate) fn config(endpoint: SocketAddr, uses: &[&str], more: &str) -> String {
    let uses = if uses.is_empty() { String::new() } else { format!("use = {uses:?}\n") };
    format!(
        "[server]\nworkers = 2\naccess-log = {{ format = \"json\" }}\n\
         [listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [upstreams.app]\nendpoints = [\"{endpoint}\"]\n\
         [routes.all]\n{uses}to = \"app\"\n\
         {more}\n"
    )
}

/// A policy whose plugin is the file `NAME.wasm`; `settings` are further lines of it.
pub(crate) fn policy(name: &str, plugin: &str, settings: &str) -> String {
    format!("[policies.{name}]\nplugin = \"{plugin}.wasm\"\n{settings}\n")
}

/// Settings that grant a policy all there is, as the guest `capabilities` asks for it: with the secret of this name,
/// which is the content of a file of the same name.
pub(crate) fn every_grant(secret: &str) -> String {
    // There is no listener on port 9.
    every_grant_and(secret, "{ url = \"http://127.0.0.1:9\", private = true }")
}

/// The same, with `http` as the servers that it may ask.
pub(crate) fn every_grant_and(secret: &str, http: &str) -> String {
    format!(
        "grants = {{ log = true, clock = true, random = true, rate-limit = true, metrics = true, store = true, \
         crypto = true, matchers = true, secrets = [\"{secret}\"], http = [{http}] }}\n[secrets]\n\
         {secret} = {{ file = \"{secret}\" }}"
    )
}

/// A policy that does in one hook what it is told: see `tests/guests/examples/misbehave.rs`.
pub(crate) fn misbehave(name: &str, hook: &str, deed: &str, settings: &str) -> String {
    policy(name, "misbehave", &format!("config = {{ {hook} = \"{deed}\" }}\n{settings}"))
}

/// The access record of the exchange whose path begins like this, as soon as it is written.
pub(crate) async fn record(gateway: &TestGateway, path: &str) -> Value {
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
    let line = gateway
        .wait_for_access_line(&format!("a record of {path}"), |line| parse(line)["path"] == path)
        .await;
    parse(&line)
}

/// An attribute in a record; empty if it has none of that name.
pub(crate) fn attribute<'a>(record: &'a Value, name: &str) -> &'a str {
    record["attributes"][name].as_str().unwrap_or_default()
}

/// The key that [`shipped`] lets in.
pub(crate) const KEY: &str = "demo-key-0123456789";

/// Policies that ship, `keys`, `stamp` and `limit`: a key of alice's, header rules, and a rate limit with these
/// settings.
pub(crate) fn shipped(limit: &str) -> String {
    format!(
        r#"
[policies.keys]
plugin = "builtin:api-key"
config = {{ keys = [{{ name = "alice", sha256 = "{key}" }}] }}

[policies.stamp]
plugin = "builtin:headers"
config = {{ request = {{ set = {{ x-stamp = "1" }} }}, response = {{ set = {{ x-frame-options = "DENY" }} }} }}

[policies.limit]
plugin = "builtin:rate-limit"
config = {{ {limit} }}
grants = {{ rate-limit = true }}
"#,
        key = digest(KEY),
    )
}

/// The secret of the guest `capabilities` in these tests, as a file.
pub(crate) const PASSWORD: (&str, &[u8]) = ("password", b"hunter2-hunter2\n");

/// SHA-256 in hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A body whose frames come when the other half sends them; it ends when that is dropped.
pub(crate) struct Streamed(mpsc::Receiver<Frame<Bytes>>);

/// Both halves of such a body.
pub(crate) fn streamed() -> (mpsc::Sender<Frame<Bytes>>, Streamed) {
    let (sender, receiver) = mpsc::channel(16);
    (sender, Streamed(receiver))
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A frame of data.
pub(crate) fn data(text: &'static str) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(text.as_bytes()))
}
