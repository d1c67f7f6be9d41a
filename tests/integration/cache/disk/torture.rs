//! A gateway with a cache on a disk that is killed again and again, while its upstream changes, clients ask and change,
//! and the disk becomes full: no wrong byte, and nothing older than what a client has changed.
//!
//! How long is `PORTCULLIS_TORTURE_SECONDS`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use tempfile::TempDir;

use super::{place, ready};
use crate::harness::{
    Answer, Received, Reply, TestClient, TestGateway, TestUpstream, eventually, with_tmpfs,
};
use crate::metrics::page;

/// As long as shows that it works at all.
const SECONDS: u64 = 4;
const PATHS: usize = 30;
const CLIENTS: u64 = 6;
/// Of the disk. The cache may have two thirds of it.
const DISK: &str = "24m";

fn seconds() -> u64 {
    std::env::var("PORTCULLIS_TORTURE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS)
}

/// Numbers that look random.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The body of a path in a version: each byte depends on both, and on where it is.
fn body(number: usize, version: u64) -> Bytes {
    let mut chance = Chance((number as u64) << 32 ^ version);
    let size = match (number as u64 + version) % 8 {
        0 => chance.below(200),
        1..4 => chance.below(20_000),
        4..7 => 100_000 + chance.below(400_000),
        _ => 1_500_000 + chance.below(1_000_000),
    };
    let words = (0..size.div_ceil(8)).flat_map(|_| chance.next().to_le_bytes());
    words.take(size as usize).collect::<Vec<u8>>().into()
}

/// What the upstream has, and what clients know of it.
#[derive(Default)]
struct World {
    current: [AtomicU64; PATHS],
    /// Versions that clients have been answered to have made: nothing older may be seen by a request that begins now.
    changed: [AtomicU64; PATHS],
    end: AtomicBool,
    /// Where the gateway is.
    address: Mutex<Option<SocketAddr>>,
    requests: AtomicU64,
    hits: AtomicU64,
    disk_hits: AtomicU64,
    parts: AtomicU64,
    changes: AtomicU64,
    lost: AtomicU64,
}

fn number(path: &str) -> usize {
    path.trim_start_matches('/').parse().unwrap()
}

impl World {
    fn goes_on(&self) -> bool {
        !self.end.load(SeqCst)
    }

    /// What the upstream answers.
    fn answer(&self, request: &Received) -> Answer {
        let number = number(request.path());
        if request.method == Method::POST {
            let version = self.current[number].fetch_add(1, SeqCst) + 1;
            return Answer::text("changed").header("x-version", &version.to_string());
        }
        let version = self.current[number].load(SeqCst);
        let tag = format!("\"{version}\"");
        let control = match (number as u64 + version) % 5 {
            0 => "no-cache",
            1 => "max-age=1, stale-while-revalidate=2",
            _ => "max-age=60",
        };
        let answer = match request.header("if-none-match") == tag {
            true => Answer::default().status(304),
            false => Answer::default().body(body(number, version)),
        };
        answer.header("etag", &tag).header("cache-control", control).header("x-version", &version.to_string())
    }

    async fn client(&self, seed: u64) {
        let mut chance = Chance(seed);
        let mut client: Option<TestClient> = None;
        while self.goes_on() {
            let Some(open) = &mut client else {
                let address = *self.address.lock().unwrap();
                if let Some(address) = address {
                    client = match seed % 3 {
                        0 => TestClient::try_h2(address).await,
                        _ => TestClient::try_h1(address).await,
                    };
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let number = chance.below(PATHS as u64) as usize;
            self.requests.fetch_add(1, SeqCst);
            if self.ask(open, number, &mut chance).await.is_none() {
                self.lost.fetch_add(1, SeqCst);
                client = None;
            }
        }
    }

    /// One request. `None` if the gateway ended meanwhile, or cut the response.
    async fn ask(&self, client: &mut TestClient, number: usize, chance: &mut Chance) -> Option<()> {
        let path = format!("/{number}");
        let known = self.changed[number].load(SeqCst);
        match chance.below(20) {
            0 => {
                let reply = client.try_send(Method::POST, &path, &[], Bytes::new()).await.ok()?;
                if reply.status == 200 {
                    self.changed[number].fetch_max(version(&reply), SeqCst);
                    self.changes.fetch_add(1, SeqCst);
                }
            }
            1 => {
                let reply = client.try_send(Method::HEAD, &path, &[], Bytes::new()).await.ok()?;
                assert!(reply.status != 200 || version(&reply) >= known, "{number}: {reply:?}");
            }
            2..6 => {
                let from = chance.below(300_000) as usize;
                let to = from + chance.below(200_000) as usize;
                let range = format!("bytes={from}-{to}");
                let reply =
                    client.try_send(Method::GET, &path, &[("range", &range)], Bytes::new()).await.ok()?;
                self.check(number, known, &reply, from..to + 1);
            }
            _ => {
                let reply = client.try_send(Method::GET, &path, &[], Bytes::new()).await.ok()?;
                self.check(number, known, &reply, 0..usize::MAX);
            }
        }
        Some(())
    }

    /// Fails the test if a response has a wrong byte, or is older than what was changed before it was asked for.
    fn check(&self, number: usize, known: u64, reply: &Reply, range: std::ops::Range<usize>) {
        if reply.status == 502 || reply.status == 504 {
            // The upstream is asked over a connection that the test's machine was too slow for.
            return;
        }
        if reply.status == 416 {
            return;
        }
        let version = version(reply);
        assert!(version >= known, "{number}: {version} after {known}: {:?}", reply.headers);
        let right = body(number, version);
        let right = match reply.status {
            206 => right.slice(range.start..range.end.min(right.len())),
            200 => right,
            status => panic!("{number}: {status} {:?}", reply.headers),
        };
        let at = reply.body.iter().zip(&right).position(|(read, right)| read != right);
        let (read, whole) = (reply.body.len(), right.len());
        assert!(
            reply.body == right,
            "{number}, version {version}: a wrong byte at {at:?} of {read} for {whole}: {:?}",
            reply.headers
        );
        match &*place(reply) {
            "hit disk" => self.disk_hits.fetch_add(1, SeqCst),
            "hit " => self.hits.fetch_add(1, SeqCst),
            _ => 0,
        };
        self.parts.fetch_add(u64::from(reply.status == 206), SeqCst);
    }
}

fn version(reply: &Reply) -> u64 {
    reply.header("x-version").parse().unwrap_or_else(|_| panic!("{reply:?}"))
}

/// A small disk that survives the gateways which use it.
struct SmallDisk {
    dir: TempDir,
    keeper: Child,
}

impl SmallDisk {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("disk");
        let mut command = with_tmpfs(&folder, DISK);
        let keeper = command.args(["sleep", "100000"]).stdin(Stdio::null()).spawn().unwrap();
        let disk = Self { dir, keeper };
        eventually("the disk is there", async || {
            let probe = disk.seen().join("probe");
            std::fs::write(&probe, "x").ok()?;
            // Before it is mounted, the folder below it gets the file.
            let there = std::fs::remove_file(disk.folder().join("probe")).is_err();
            there.then(|| std::fs::remove_file(probe).unwrap())
        })
        .await;
        disk
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// The same, as those outside see it.
    fn seen(&self) -> PathBuf {
        format!("/proc/{}/root{}", self.keeper.id(), self.folder().display()).into()
    }

    /// Takes all room that is left, or gives it back.
    fn fill(&self, full: bool) {
        let filler = self.seen().join("filler");
        match full {
            // As far as there is room.
            true => drop(std::fs::write(filler, vec![0; 32 << 20])),
            false => drop(std::fs::remove_file(filler)),
        }
    }

    async fn start(&self, upstream: &TestUpstream) -> TestGateway {
        let config = format!(
            "[server]\nworkers = 2\nmetrics = \"127.0.0.1:0\"\naccess-log = {{ format = \"off\" }}\n\
             [listeners.web]\naddress = \"127.0.0.1:0\"\n[upstreams.app]\nendpoints = [\"{}\"]\n\
             [caches.c]\nmemory = \"1MiB\"\nobject = \"64KiB\"\n\
             disk = {{ folder = \"{}\", size = \"16MiB\", object = \"4MiB\", files = 100, \
             timeout = \"60s\" }}\n\
             [routes.all]\nto = \"app\"\ncache = {{ store = \"c\" }}\n",
            upstream.address(),
            self.folder().join("cache").display()
        );
        TestGateway::builder().namespace_of(self.keeper.id()).start(&config).await
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "figures for the one who asked for a torture")]
async fn no_wrong_byte_and_nothing_changed_comes_back() {
    let world = Arc::new(World::default());
    let answering = world.clone();
    let upstream = TestUpstream::h1(move |request| answering.answer(request)).await;
    let disk = SmallDisk::new().await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| {
            let world = world.clone();
            tokio::spawn(async move { world.client(seed).await })
        })
        .collect();
    let begin = Instant::now();
    let (mut chance, mut kills, mut full) = (Chance(7), 0, 0);
    let count = |counter: &AtomicU64| counter.load(SeqCst);
    let is_enough = || count(&world.disk_hits) > 10 && count(&world.changes) > 5;
    // On a busy machine little happens between two ends.
    while kills < 3 || begin.elapsed() < Duration::from_secs(seconds()) || (!is_enough() && kills < 30) {
        let gateway = disk.start(&upstream).await;
        *world.address.lock().unwrap() = Some(gateway.address("web"));
        ready(&gateway).await;
        for _ in 0..1 + chance.below(4) {
            disk.fill(chance.below(3) == 0);
            full += u64::from(disk.seen().join("filler").exists());
            tokio::time::sleep(Duration::from_millis(100 + chance.below(400))).await;
        }
        assert!(!clients.iter().any(tokio::task::JoinHandle::is_finished), "a client has failed");
        let page = page(&gateway).await;
        let line = r#"portcullis_cache_disk_errors_total{cache="c",kind="damaged"} 0"#;
        assert!(page.lines().any(|found| found == line), "{page}");
        match chance.below(4) {
            0 => drop(gateway.terminate().await),
            _ => drop(gateway),
        }
        kills += 1;
    }
    world.end.store(true, SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    eprintln!(
        "{} requests, {} hits from memory, {} from the disk, {} parts, {} changes, {} lost to ends; {kills} ends of \
         the gateway, {full} times a full disk",
        count(&world.requests),
        count(&world.hits),
        count(&world.disk_hits),
        count(&world.parts),
        count(&world.changes),
        count(&world.lost)
    );
    assert!(is_enough());
}

#[tokio::test]
async fn a_gateway_starts_on_a_full_disk_and_uses_it_when_there_is_room() {
    let upstream = TestUpstream::h1(super::sized).await;
    let disk = SmallDisk::new().await;
    disk.fill(true);
    let gateway = disk.start(&upstream).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    for _ in 0..2 {
        let reply = client.get("/large").await;
        assert!(reply.body == super::large() && place(&reply).starts_with("fwd=uri-miss"), "{reply:?}");
    }
    disk.fill(false);
    eventually("it is stored", async || (place(&client.get("/large").await) == "hit disk").then_some(()))
        .await;
}
