//! What operators do with a cache on a disk: reload, restart, validate.

use bytes::Bytes;
use hyper::Method;

use super::{Disk, files, large, place, sized, table};
use crate::edge::Http;
use crate::harness::{TestGateway, TestUpstream, eventually, portcullis_in};
use crate::metrics::page;

fn config(upstream: &TestUpstream, cache: &str) -> String {
    format!(
        "[listeners.web]\naddress = \"127.0.0.1:0\"\n[upstreams.app]\nendpoints = [\"{}\"]\n{cache}\n\
         [routes.all]\nto = \"app\"\ncache = {{ store = \"c\" }}\n",
        upstream.address()
    )
}

#[tokio::test]
async fn a_reload_keeps_the_folder_with_other_bounds_and_opens_another_one() {
    let disk = Disk::new(sized).await;
    let of = |folder: &str, more: &str| config(&disk.upstream, &table(&disk.dir.path().join(folder), more));
    let gateway = TestGateway::start(&of("cache", "")).await;
    let get = async || place(&Http::One.client(&gateway).await.get("/large").await);
    assert_eq!(get().await, "fwd=uri-miss ");
    disk.has(1).await;
    for more in [", files = 200, threads = 1", ", queue = 5, open-files = 9, timeout = \"1s\""] {
        gateway.write_config_and_wait(&format!("# {more}\n{}", of("cache", more))).await;
        assert_eq!(get().await, "hit disk", "{more}");
    }
    let small = of("cache", "").replace("size = \"64MiB\"", "size = \"16MiB\", object = \"1MiB\"");
    let small = small.replace("object = \"256KiB\"", "object = \"128KiB\"");
    gateway.write_config_and_wait(&small).await;
    assert_eq!(get().await, "hit disk");
    gateway.write_config_and_wait(&of("other", "")).await;
    assert_eq!(get().await, "fwd=uri-miss ");
    super::has_files(&disk.dir.path().join("other"), 1).await;
    // Under another name the folder is the same cache.
    let renamed = of("other", "").replace("caches.c]", "caches.d]").replace("store = \"c\"", "store = \"d\"");
    gateway.write_config_and_wait(&renamed).await;
    assert_eq!(get().await, "hit disk");
    gateway.write_config_and_wait(&of("cache", "")).await;
    assert_eq!(get().await, "hit disk");
    assert_eq!(disk.asked(), 2);
}

#[tokio::test]
async fn a_smaller_size_removes_what_is_too_much() {
    let disk = Disk::new(sized).await;
    let large = |size: &str| {
        config(&disk.upstream, &table(&disk.folder(), ", object = \"8MiB\"").replace("64MiB", size))
    };
    let gateway = TestGateway::start(&large("64MiB")).await;
    for number in 0..8 {
        Http::One.client(&gateway).await.get(&format!("/large?{number}")).await;
    }
    disk.has(8).await;
    gateway.write_config_and_wait(&large("16MiB")).await;
    eventually("what is too much is gone", async || (files(&disk.folder()).len() <= 5).then_some(())).await;
}

#[tokio::test]
async fn a_successor_gets_the_folder_when_the_drain_begins() {
    let disk = Disk::new(sized).await;
    let first = disk.start().await;
    Http::One.client(&first).await.get("/large").await;
    disk.has(1).await;
    // While both run, only one of them has the folder.
    let refused = TestGateway::builder().try_start(&config(&disk.upstream, &table(&disk.folder(), ""))).await;
    let said = refused.unwrap_err().stderr;
    assert!(said.contains("is used by another process; end that, or name another folder"), "{said}");
    // A client that takes nothing keeps the first one from ending.
    let mut slow = crate::harness::RawClient::connect(first.address("web")).await;
    slow.send("GET /large HTTP/1.1\r\nHost: gateway.test\r\n\r\n").await;
    let head = slow.read_head().await;
    assert!(head.contains("detail=disk"), "{head}");
    first.signal(rustix::process::Signal::TERM);
    let second = disk.start().await;
    assert_eq!(place(&Http::One.client(&second).await.get("/large").await), "hit disk");
    // What it was reading from the disk, it reads to the end.
    let body = slow.read_exact(3_000_000).await;
    assert!(body == large());
    assert_eq!(disk.asked(), 1);
}

#[tokio::test]
async fn validate_says_what_is_wrong_with_a_folder_and_leaves_it_alone() {
    let upstream = TestUpstream::named("app").await;
    let dir = tempfile::tempdir().unwrap();
    let validate = async |folder: &str| {
        let text = config(&upstream, &table(std::path::Path::new(folder), ""));
        std::fs::write(dir.path().join("portcullis.toml"), text).unwrap();
        portcullis_in(dir.path(), ["validate", "-c", "portcullis.toml"]).await
    };
    assert_eq!(validate("new").await.code, Some(0));
    assert!(!dir.path().join("new").exists());
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    std::fs::write(dir.path().join("mine/file"), "").unwrap();
    for (folder, says) in [
        ("a/b", "does not exist; make that folder, or mount what belongs there"),
        ("portcullis.toml", "it is not a folder"),
        ("mine", "it has other files in it; name a folder of its own"),
    ] {
        let ran = validate(folder).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(says) && ran.stderr.contains("portcullis.toml:5"), "{}", ran.stderr);
        let refused = TestGateway::builder()
            .file("mine/file", "")
            .try_start(&config(&upstream, &table(std::path::Path::new(folder), "")))
            .await;
        let said = refused.unwrap_err().stderr;
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("mine")).unwrap().count(), 1);
    // A gateway that runs does not disturb it either.
    let gateway = TestGateway::start(&config(&upstream, &table(&dir.path().join("used"), ""))).await;
    let before = files_below(&dir.path().join("used"));
    assert_eq!(validate("used").await.code, Some(0));
    assert_eq!(files_below(&dir.path().join("used")), before);
    drop(gateway);
}

/// Returns what is in a folder, but for a log that is about to take the place of another.
fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> = entries.filter(|path| !path.ends_with("purges.new")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_on_the_disk_is_counted() {
    let disk = Disk::new(sized).await;
    let gateway = disk.start().await;
    let mut client = Http::One.client(&gateway).await;
    client.get("/large").await;
    disk.has(1).await;
    client.get("/large").await;
    assert_eq!(client.send(Method::HEAD, "/large", &[], Bytes::new()).await.status, 200);
    let has = async |line: &str| {
        eventually(line, async || page(&gateway).await.lines().any(|found| found == line).then_some(()))
            .await;
    };
    has(r#"portcullis_cache_requests_total{route="all",result="disk-hit"} 2"#).await;
    has(r#"portcullis_cache_response_body_bytes_total{route="all"} 3000000"#).await;
    has(r#"portcullis_cache_disk_entries{cache="c"} 1"#).await;
    has(r#"portcullis_cache_disk_bytes_max{cache="c"} 67108864"#).await;
    has(r#"portcullis_cache_disk_up{cache="c"} 1"#).await;
    has(r#"portcullis_cache_disk_errors_total{cache="c",kind="write"} 0"#).await;
    has(r#"portcullis_cache_disk_busy_total{cache="c"} 0"#).await;
}
