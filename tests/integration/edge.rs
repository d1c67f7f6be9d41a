//! A gateway before one upstream, for the tests of the data plane. What a test adds to it is what the test is about.

use std::net::SocketAddr;

use crate::harness::{Answer, Builder, Failed, Received, TestClient, TestGateway, TestUpstream};

/// A configuration with a listener `web`, an upstream `app` and a route `all`, and lines added to each.
#[derive(Debug)]
pub(crate) struct Edge {
    builder: Builder,
    workers: usize,
    endpoints: Vec<String>,
    server: String,
    listener: String,
    upstream: String,
    route: String,
    more: String,
}

impl Edge {
    /// Everything goes to one endpoint.
    pub(crate) fn to(endpoint: SocketAddr) -> Self {
        Self::to_all([endpoint.to_string()])
    }

    /// Everything goes to these endpoints, each an address or a table.
    pub(crate) fn to_all(endpoints: impl IntoIterator<Item = String>) -> Self {
        let quoted = |endpoint: String| {
            if endpoint.starts_with('{') { endpoint } else { format!("\"{endpoint}\"") }
        };
        Self {
            builder: TestGateway::builder(),
            workers: 2,
            endpoints: endpoints.into_iter().map(quoted).collect(),
            server: String::new(),
            listener: String::new(),
            upstream: String::new(),
            route: String::new(),
            more: String::new(),
        }
    }

    /// With one worker, so that all exchanges share its connections to upstreams.
    pub(crate) fn one_worker(mut self) -> Self {
        self.workers = 1;
        self
    }

    /// Adds lines to `[server]`.
    pub(crate) fn server(mut self, lines: &str) -> Self {
        push(&mut self.server, lines);
        self
    }

    /// Adds lines to the listener.
    pub(crate) fn listener(mut self, lines: &str) -> Self {
        push(&mut self.listener, lines);
        self
    }

    /// Adds lines to the upstream.
    pub(crate) fn upstream(mut self, lines: &str) -> Self {
        push(&mut self.upstream, lines);
        self
    }

    /// Adds lines to the route.
    pub(crate) fn route(mut self, lines: &str) -> Self {
        push(&mut self.route, lines);
        self
    }

    /// Adds tables.
    pub(crate) fn more(mut self, lines: &str) -> Self {
        push(&mut self.more, lines);
        self
    }

    /// Writes a file that the configuration can name.
    pub(crate) fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.builder = self.builder.file(path, bytes);
        self
    }

    /// Gives it an `/etc/hosts` of its own.
    pub(crate) fn hosts(mut self, text: &str) -> Self {
        self.builder = self.builder.hosts(text);
        self
    }

    /// Limits the files that it may have open: softly, which it may raise, and hard.
    pub(crate) fn open_files(mut self, soft: u64, hard: u64) -> Self {
        self.builder = self.builder.open_files(soft, hard);
        self
    }

    /// Puts a file system in memory of this size at a folder that the configuration can name.
    pub(crate) fn tmpfs(mut self, folder: &str, size: &str) -> Self {
        self.builder = self.builder.tmpfs(folder, size);
        self
    }

    /// Starts it.
    pub(crate) async fn start(self) -> TestGateway {
        match self.try_start().await {
            Ok(gateway) => gateway,
            Err(failed) => panic!("the gateway did not start: {failed:?}"),
        }
    }

    /// Starts it, unless it is refused.
    pub(crate) async fn try_start(self) -> Result<TestGateway, Failed> {
        let Self { builder, workers, endpoints, server, listener, upstream, route, more } = self;
        let endpoints = endpoints.join(", ");
        builder
            .try_start(&format!(
                "[server]\nworkers = {workers}\naccess-log = {{ format = \"json\" }}\n{server}\
                 [listeners.web]\naddress = \"127.0.0.1:0\"\n{listener}\
                 [upstreams.app]\nendpoints = [{endpoints}]\n{upstream}\
                 [routes.all]\nto = \"app\"\n{route}\
                 {more}"
            ))
            .await
    }
}

fn push(lines: &mut String, more: &str) {
    lines.push_str(more);
    lines.push('\n');
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

/// Client and upstream in all combinations.
pub(crate) const COMBINATIONS: [(Http, Http); 4] =
    [(Http::One, Http::One), (Http::One, Http::Two), (Http::Two, Http::One), (Http::Two, Http::Two)];

impl Http {
    /// A client of this version.
    pub(crate) async fn client(self, gateway: &TestGateway) -> TestClient {
        match self {
            Self::One => TestClient::h1(gateway.address("web")).await,
            Self::Two => TestClient::h2(gateway.address("web")).await,
        }
    }

    /// A server of this version.
    pub(crate) async fn server(
        self,
        answer: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> TestUpstream {
        match self {
            Self::One => TestUpstream::h1(answer).await,
            Self::Two => TestUpstream::h2(answer).await,
        }
    }

    /// The line of an upstream's configuration.
    pub(crate) fn line(self) -> &'static str {
        match self {
            Self::One => "protocol = \"h1\"",
            Self::Two => "protocol = \"h2\"",
        }
    }
}

/// The bytes of a body that can be told from a shifted or repeated one.
pub(crate) fn pattern(length: usize) -> bytes::Bytes {
    (0..length).map(|at| ((at * 31 + at / 251) % 256) as u8).collect::<Vec<u8>>().into()
}
