//! Caches on a disk: restarts, reloads, and disks that fail.

mod faults;
mod operating;
mod torture;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hyper::Method;
use tempfile::TempDir;

use super::{fresh, status};
use crate::edge::{Edge, Http, pattern};
use crate::harness::{Answer, RawClient, Received, Reply, TestGateway, TestUpstream, eventually};
use crate::metrics::page;

/// An upstream, and a folder that survives its gateways.
struct Disk {
    dir: TempDir,
    upstream: TestUpstream,
}

impl Disk {
    async fn new(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), upstream: TestUpstream::h1(answer).await }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// A gateway whose cache has the folder, with `settings` of its `disk`.
    fn edge(&self, settings: &str) -> Edge {
        let folder = self.folder();
        Edge::to(self.upstream.address())
            .server("metrics = \"127.0.0.1:0\"")
            .route("cache = { store = \"c\" }")
            .more(&table(&folder, settings))
    }

    async fn start(&self) -> TestGateway {
        let gateway = self.edge("").start().await;
        ready(&gateway).await;
        gateway
    }

    /// How many requests the upstream got.
    fn asked(&self) -> usize {
        self.upstream.requests().len()
    }

    /// Waits until so many responses are on the disk.
    async fn has(&self, count: usize) {
        has_files(&self.folder(), count).await;
    }
}

/// A cache that keeps little in memory.
pub(super) fn table(folder: &Path, settings: &str) -> String {
    // A slow machine is no failed disk, unless a test is about that.
    let patience = if settings.contains("timeout") { "" } else { ", timeout = \"60s\"" };
    format!(
        "[caches.c]\nmemory = \"4MiB\"\nobject = \"256KiB\"\n\
         disk = {{ folder = \"{}\", size = \"64MiB\"{settings}{patience} }}",
        folder.display()
    )
}

/// Returns the finished files of a cache.
fn files(folder: &Path) -> Vec<PathBuf> {
    let below = |folder: PathBuf| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let firsts = below(folder.into()).into_iter().filter(|path| path.is_dir() && !path.ends_with("new"));
    firsts.flat_map(below).flat_map(below).collect()
}

/// Waits until what is in the folder is known. Before, nothing is stored in it.
pub(super) async fn ready(gateway: &TestGateway) {
    let line = r#"portcullis_cache_disk_ready{cache="c"} 1"#;
    eventually("the index is complete", async || {
        page(gateway).await.lines().any(|found| found == line).then_some(())
    })
    .await;
}

pub(super) async fn has_files(folder: &Path, count: usize) {
    // A response is found just after its file is in its place, which cannot be seen from here: several looks later it
    // is.
    let seen = Cell::new(0);
    eventually("the responses are on the disk", async || {
        seen.set(if files(folder).len() == count { seen.get() + 1 } else { 0 });
        (seen.get() == 10).then_some(())
    })
    .await;
}

/// What `Cache-Status` says of where the response was.
fn place(reply: &Reply) -> String {
    let line = reply.header("cache-status");
    let detail = line.split(';').map(str::trim).find_map(|part| part.strip_prefix("detail="));
    format!("{} {}", status(reply), detail.unwrap_or_default())
}

/// A body of three megabytes for `/large`, and a small one for all else.
fn sized(request: &Received) -> Answer {
    match request.path() {
        "/large" => fresh("").body(pattern(3_000_000)).header("etag", "\"large\""),
        path => fresh(format!("small {path}")).header("etag", "\"small\""),
    }
}

fn large() -> Bytes {
    pattern(3_000_000)
}

#[tokio::test]
async fn a_restart_finds_what_was_stored() {
    let disk = Disk::new(sized).await;
    let mut gateway = disk.start().await;
    let mut client = Http::One.client(&gateway).await;
    for path in ["/large", "/a"] {
        assert_eq!(place(&client.get(path).await), "fwd=uri-miss ");
    }
    disk.has(2).await;
    // What is in memory comes from there, and what is too large for it from the disk.
    assert_eq!(place(&client.get("/a").await), "hit ");
    assert_eq!(place(&client.get("/large").await), "hit disk");
    for kill in [false, true] {
        drop(client);
        match kill {
            false => drop(gateway.terminate().await),
            true => drop(gateway),
        }
        gateway = disk.start().await;
        for http in [Http::One, Http::Two] {
            let mut client = http.client(&gateway).await;
            let reply = client.get("/large").await;
            assert_eq!((reply.status, &*place(&reply)), (200, "hit disk"));
            assert!(reply.body == large(), "{} bytes", reply.body.len());
            let small = client.get("/a").await;
            assert_eq!(small.text(), "small /a");
            assert!(place(&small).starts_with("hit"), "{small:?}");
        }
        client = Http::One.client(&gateway).await;
    }
    assert_eq!(disk.asked(), 2);
    gateway.wait_for_access_line("a hit from the disk", |line| line.contains("\"cache\":\"disk-hit\"")).await;
}

#[tokio::test]
async fn parts_heads_and_conditions_are_answered_from_the_disk() {
    let disk = Disk::new(sized).await;
    let gateway = disk.start().await;
    Http::One.client(&gateway).await.get("/large").await;
    disk.has(1).await;
    for http in [Http::One, Http::Two] {
        let mut client = http.client(&gateway).await;
        for range in [0..1, 65_535..65_537, 1_000_000..1_900_000, 2_999_999..3_000_000] {
            let asked = format!("bytes={}-{}", range.start, range.end - 1);
            let reply = client.get_with("/large", &[("range", &asked)]).await;
            assert_eq!((reply.status, &*place(&reply)), (206, "hit disk"), "{asked}");
            assert!(reply.body == large()[range], "{asked}");
        }
        let head = client.send(Method::HEAD, "/large", &[], Bytes::new()).await;
        assert_eq!((head.status, &*head.header("content-length"), head.body.len()), (200, "3000000", 0));
        assert_eq!(place(&head), "hit disk");
        let unchanged = client.get_with("/large", &[("if-none-match", "\"large\"")]).await;
        assert_eq!((unchanged.status, &*place(&unchanged)), (304, "hit disk"));
    }
    assert_eq!(disk.asked(), 1);
}

#[tokio::test]
async fn slow_readers_get_every_byte_and_then_their_next_response() {
    let disk = Disk::new(sized).await;
    let gateway = disk.start().await;
    Http::One.client(&gateway).await.get("/large").await;
    disk.has(1).await;
    drop(gateway);
    // The disk answers, however busy the machine is.
    let gateway = disk.edge(", timeout = \"60s\"").start().await;
    ready(&gateway).await;
    // It is checked once, and sent from the file from then on.
    assert!(Http::One.client(&gateway).await.get("/large").await.body == large());
    let both = "GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n\
                GET /large HTTP/1.1\r\nHost: a.test\r\nRange: bytes=70000-2900000\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send(both).await;
        assert_eq!(client.read_response_head().await.header("content-length"), "3000000");
        clients.push(client);
    }
    let large = large();
    for piece in large.chunks(99_991) {
        for client in &mut clients {
            assert!(client.read_exact(piece.len()).await == piece);
        }
    }
    for client in &mut clients {
        // A busy machine may have asked the upstream again, and a response that is still coming is sent whole.
        let part = match client.read_response_head().await.status {
            206 => &large[70_000..=2_900_000],
            _ => &large[..],
        };
        assert!(client.read_exact(part.len()).await == part);
    }
}

#[tokio::test]
async fn a_stale_response_on_the_disk_is_validated_and_stays() {
    let disk = Disk::new(|request| match &*request.header("if-none-match") {
        "" => Answer::text("")
            .body(pattern(400_000))
            .header("etag", "\"v1\"")
            .header("cache-control", "max-age=10")
            .header("age", "20"),
        _ => Answer::default().status(304).header("cache-control", "max-age=60").header("etag", "\"v1\""),
    })
    .await;
    let gateway = disk.start().await;
    Http::One.client(&gateway).await.get("/a").await;
    disk.has(1).await;
    let reply = Http::One.client(&gateway).await.get("/a").await;
    assert_eq!((reply.status, &*status(&reply)), (200, "fwd=stale"));
    assert!(reply.body == pattern(400_000));
    let line = reply.header("cache-status");
    assert!(line.contains("fwd-status=304") && line.contains("stored"), "{line}");
    // The head that came with the 304 is what the disk has from then on, also after a kill.
    let fresh = async |gateway: &TestGateway| {
        let reply = Http::One.client(gateway).await.get("/a").await;
        (place(&reply) == "hit disk").then_some(())
    };
    eventually("the new head is on the disk", async || fresh(&gateway).await).await;
    let asked = disk.asked();
    drop(gateway);
    let gateway = disk.start().await;
    assert!(fresh(&gateway).await.is_some());
    assert_eq!(disk.asked(), asked);
}

#[tokio::test]
async fn what_was_changed_does_not_come_back() {
    let disk = Disk::new(sized).await;
    for round in 0..4 {
        let gateway = disk.start().await;
        let mut client = Http::One.client(&gateway).await;
        assert_eq!(place(&client.get("/large").await), "fwd=uri-miss ", "{round}");
        disk.has(1).await;
        assert_eq!(place(&client.get("/large").await), "hit disk");
        assert_eq!(client.send(Method::POST, "/large", &[], Bytes::new()).await.status, 200);
        // It is killed as soon as the change has been answered.
        drop(gateway);
    }
}

#[tokio::test]
async fn a_burst_reads_the_disk_once() {
    let disk = Disk::new(sized).await;
    let gateway = disk.start().await;
    Http::One.client(&gateway).await.get("/large").await;
    disk.has(1).await;
    let mut replies = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut client = Http::One.client(&gateway).await;
        replies.spawn(async move { client.get("/large").await });
    }
    while let Some(reply) = replies.join_next().await {
        let reply = reply.unwrap();
        assert_eq!((&*place(&reply), reply.body.len()), ("hit disk", 3_000_000));
    }
    assert_eq!(disk.asked(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_want_the_upstream_gets_what_is_on_the_disk() {
    let disk = Disk::new(sized).await;
    let settings = "cache = { store = \"c\", client-directives = \"rfc\" }";
    let start = async || {
        let folder = disk.folder();
        Edge::to(disk.upstream.address()).route(settings).more(&table(&folder, "")).start().await
    };
    let gateway = start().await;
    let mut client = Http::One.client(&gateway).await;
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(client.get_with("/a", &only).await.status, 504);
    client.get("/a").await;
    disk.has(1).await;
    drop(gateway);
    let gateway = start().await;
    let mut client = Http::One.client(&gateway).await;
    let reply = client.get_with("/a", &only).await;
    assert_eq!((reply.status, &*place(&reply)), (200, "hit disk"));
    assert_eq!(client.get_with("/b", &only).await.status, 504);
    assert_eq!(disk.asked(), 1);
}
