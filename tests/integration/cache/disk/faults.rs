//! Disks that fail: the gateway goes on without them, says so, and uses them again when they work.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use hyper::Method;

use super::{Disk, fresh, large, place, sized, table};
use crate::edge::{Edge, Http, pattern};
use crate::harness::{TestGateway, TestUpstream, eventually, in_namespace_of, tool};
use crate::metrics::page;

/// Waits for the line of the log that says whether the disk works.
async fn says(gateway: &TestGateway, works: bool, what: &str) {
    let wanted = |line: &crate::harness::LogLine| {
        line.text("event") == Some("cache-disk")
            && line.fields.get("works").and_then(|works| works.as_bool()) == Some(works)
            && line.message.contains(what)
    };
    gateway.wait_for_log(what, wanted).await;
}

fn lines(gateway: &TestGateway) -> usize {
    gateway.log().iter().filter(|line| line.text("event") == Some("cache-disk")).count()
}

/// Waits until the metrics have a line.
async fn has(gateway: &TestGateway, line: &str) {
    eventually(line, async || page(gateway).await.lines().any(|found| found == line).then_some(())).await;
}

/// A gateway whose cache is on a file system of its own, in memory, and the folder as the gateway sees it.
async fn on_small_disk(upstream: &TestUpstream) -> (TestGateway, PathBuf) {
    let edge = Edge::to(upstream.address())
        .server("metrics = \"127.0.0.1:0\"")
        .route("cache = { store = \"c\" }")
        .more(&table(Path::new("disk"), ""))
        .tmpfs("disk", "8m");
    let gateway = edge.start().await;
    let seen = format!("/proc/{}/root{}", gateway.pid(), gateway.dir().join("disk").display());
    (gateway, seen.into())
}

#[tokio::test]
async fn a_full_disk_leaves_memory_and_is_used_again_when_there_is_room() {
    let upstream = TestUpstream::h1(sized).await;
    let (gateway, folder) = on_small_disk(&upstream).await;
    let mut client = Http::One.client(&gateway).await;
    client.get("/large?1").await;
    super::has_files(&folder, 1).await;
    fs::write(folder.join("filler"), vec![0; 16 << 20]).unwrap_err();
    for number in 0..5 {
        let reply = client.get(&format!("/large?full{number}")).await;
        assert!(reply.body == large());
        assert_eq!(client.get(&format!("/a?{number}")).await.text(), "small /a");
        assert_eq!(place(&client.get(&format!("/a?{number}")).await), "hit ");
    }
    says(&gateway, false, "Make room on that file system").await;
    has(&gateway, r#"portcullis_cache_disk_up{cache="c"} 0"#).await;
    // What was there is still there, and nothing is left of what did not fit.
    assert_eq!(place(&client.get("/large?1").await), "hit disk");
    eventually("nothing half-written stays", async || {
        (fs::read_dir(folder.join("new")).unwrap().count() == 0).then_some(())
    })
    .await;
    assert_eq!(lines(&gateway), 1);
    fs::remove_file(folder.join("filler")).unwrap();
    client.get("/large?2").await;
    says(&gateway, true, "can be written again").await;
    eventually("it is stored again", async || {
        (place(&client.get("/large?2").await) == "hit disk").then_some(())
    })
    .await;
    has(&gateway, r#"portcullis_cache_disk_up{cache="c"} 1"#).await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_to_is_read() {
    let upstream = TestUpstream::h1(sized).await;
    let (gateway, folder) = on_small_disk(&upstream).await;
    let mut client = Http::One.client(&gateway).await;
    client.get("/large").await;
    super::has_files(&folder, 1).await;
    let mount = |arguments: &[&str]| {
        assert!(in_namespace_of(gateway.pid()).args(arguments).status().unwrap().success(), "{arguments:?}");
    };
    let at = gateway.dir().join("disk").display().to_string();
    // Above itself, because what has files that are being written cannot become read-only.
    mount(&["mount", "--bind", &at, &at]);
    mount(&["mount", "-o", "remount,bind,ro", &at]);
    assert_eq!(place(&client.get("/large").await), "hit disk");
    assert_eq!(client.get("/a").await.text(), "small /a");
    says(&gateway, false, "Mount that file system for writing").await;
    // A change cannot be written down, and holds as long as the process lives.
    assert_eq!(client.send(Method::POST, "/large", &[], Bytes::new()).await.status, 200);
    assert_eq!(place(&client.get("/large").await), "fwd=uri-miss ");
    mount(&["umount", &at]);
    client.get("/b").await;
    says(&gateway, true, "can be written again").await;
}

#[tokio::test]
async fn a_folder_that_is_removed_is_made_anew() {
    let disk = Disk::new(sized).await;
    let gateway = disk.start().await;
    let mut client = Http::One.client(&gateway).await;
    client.get("/large").await;
    disk.has(1).await;
    // Something may be written in it meanwhile.
    eventually("the folder is removed", async || fs::remove_dir_all(disk.folder()).ok()).await;
    assert_eq!(place(&client.get("/large").await), "fwd=uri-miss ");
    disk.has(1).await;
    assert_eq!(place(&client.get("/large").await), "hit disk");
    // The new folder is its own as well.
    let refused = disk.edge("").try_start().await;
    assert!(refused.unwrap_err().stderr.contains("is used by another process"));
    drop(gateway);
    let gateway = disk.start().await;
    assert_eq!(place(&Http::One.client(&gateway).await.get("/large").await), "hit disk");
}

#[tokio::test]
async fn a_disk_that_does_not_answer_delays_no_other_request() {
    let disk = Disk::new(sized).await;
    let gateway = disk.start().await;
    for path in ["/large?1", "/large?2"] {
        Http::One.client(&gateway).await.get(path).await;
    }
    disk.has(2).await;
    drop(gateway);
    // Whatever opens it waits until another process writes to it, as on a disk that has stopped.
    let stuck: Vec<_> = super::files(&disk.folder());
    for path in &stuck {
        fs::remove_file(path).unwrap();
        let made = Command::new(tool("mkfifo", "coreutils")).arg(path).status().unwrap();
        assert!(made.success());
    }
    let gateway = disk.edge(", threads = 1, timeout = \"20ms\"").start().await;
    let mut client = Http::One.client(&gateway).await;
    for round in 0..20 {
        for path in ["/large?1", "/large?2"] {
            let reply = client.get(path).await;
            assert!(reply.body == large() && place(&reply).starts_with("fwd=uri-miss"), "{round}");
        }
        assert_eq!(client.get("/a").await.text(), "small /a");
    }
    assert_eq!(place(&client.get("/a").await), "hit ");
    says(&gateway, false, "`disk.threads`").await;
    has(&gateway, r#"portcullis_cache_disk_up{cache="c"} 0"#).await;
    assert_eq!(lines(&gateway), 1);
    // The disk goes on: what was stuck is no response.
    eventually("the disk is used again", async || {
        for path in stuck.iter().filter(|path| fs::metadata(path).is_ok_and(|file| !file.is_file())) {
            drop(OpenOptions::new().read(true).write(true).open(path));
        }
        let reply = client.get("/large?1").await;
        assert!(reply.body == large());
        (place(&reply) == "hit disk").then_some(())
    })
    .await;
    says(&gateway, true, "can be read in time again").await;
}

#[tokio::test]
async fn a_damaged_response_is_cut_and_not_used_again() {
    let disk = Disk::new(sized).await;
    let gateway = disk.start().await;
    for http in [Http::One, Http::Two] {
        let mut client = http.client(&gateway).await;
        client.get("/large").await;
        disk.has(1).await;
        assert_eq!(place(&client.get("/large").await), "hit disk");
        let file = super::files(&disk.folder()).remove(0);
        let opened = OpenOptions::new().read(true).write(true).open(&file).unwrap();
        let mut byte = [0];
        opened.read_exact_at(&mut byte, 2_000_000).unwrap();
        opened.write_all_at(&[byte[0] ^ 1], 2_000_000).unwrap();
        // The head has been sent before it shows, so that all that is left is not to complete it.
        let reply = client.try_send(Method::GET, "/large", &[], Bytes::new()).await;
        assert!(reply.is_err(), "{reply:?}");
        let mut client = http.client(&gateway).await;
        let again = client.get("/large").await;
        assert!(again.body == large() && place(&again).starts_with("fwd=uri-miss"));
        let upstream = disk.asked();
        disk.has(1).await;
        assert_eq!(client.send(Method::POST, "/large", &[], Bytes::new()).await.status, 200);
        assert_eq!(disk.asked(), upstream + 1);
        eventually("it is gone", async || super::files(&disk.folder()).is_empty().then_some(())).await;
    }
    has(&gateway, r#"portcullis_cache_disk_errors_total{cache="c",kind="damaged"} 2"#).await;
}

#[tokio::test]
async fn few_descriptors_cost_the_cache_and_no_request() {
    let disk = Disk::new(|request| match request.path() {
        "/small" => fresh("small"),
        _ => fresh("").body(pattern(400_000)),
    })
    .await;
    let gateway = disk.edge(", open-files = 1").start().await;
    for number in 0..3 {
        Http::One.client(&gateway).await.get(&format!("/{number}")).await;
    }
    disk.has(3).await;
    // A client that takes nothing keeps the one file open that may be.
    let mut slow = crate::harness::RawClient::connect(gateway.address("web")).await;
    slow.send("GET /0 HTTP/1.1\r\nHost: gateway.test\r\n\r\n").await;
    assert!(slow.read_head().await.contains("detail=disk"));
    for number in 1..3 {
        let reply = Http::One.client(&gateway).await.get(&format!("/{number}")).await;
        assert!(reply.body == pattern(400_000));
    }
    assert_eq!(slow.read_exact(400_000).await, pattern(400_000));
}
