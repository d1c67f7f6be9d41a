//! Parts of responses that are too large to be stored whole, or that begin far from their start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::{Method, Response};
use tokio::sync::Semaphore;

use super::{Cached, edge, fresh, status};
use crate::edge::{Http, pattern};
use crate::harness::{Answer, Pieces, RawClient, RawUpstream, Received, TestUpstream, eventually};

/// What an upstream answers that has `content`, and heeds ranges such as `bytes=5-9` and `bytes=-5`.
fn ranged(request: &Received, content: &Bytes, etag: &str) -> Answer {
    let answer = fresh("").header("etag", etag);
    let holds = ["", etag].contains(&&*request.header("if-range"));
    let range = request.header("range");
    let Some((first, last)) =
        range.strip_prefix("bytes=").filter(|_| holds).and_then(|range| range.split_once('-'))
    else {
        return answer.body(content.clone());
    };
    let number = |text: &str| text.parse::<usize>().ok();
    let (start, end) = match (number(first), number(last)) {
        (None, Some(last)) => (content.len() - last, content.len()),
        (Some(first), last) => (first, last.map_or(content.len(), |last| (last + 1).min(content.len()))),
        (None, None) => return answer.body(content.clone()),
    };
    let says = format!("bytes {start}-{}/{}", end - 1, content.len());
    answer.status(206).header("content-range", &says).body(content.slice(start..end))
}

fn ranges_asked(cached: &Cached) -> Vec<String> {
    cached.upstream.requests().iter().map(|request| request.header("range")).collect()
}

#[tokio::test]
async fn parts_of_what_is_too_large_are_kept_and_joined() {
    let content = pattern(2_000_000);
    let sent = content.clone();
    let cached = Cached::start("", move |request| ranged(request, &sent, "\"v1\"")).await;
    let mut client = Http::One.client(&cached.gateway).await;
    for (range, said, expected, hit) in [
        // Once it is known that all is too large, parts are asked for.
        ("bytes=0-99999", "bytes 0-99999/2000000", 0..100_000, false),
        ("bytes=0-99999", "bytes 0-99999/2000000", 0..100_000, true),
        ("bytes=1000-1999", "bytes 1000-1999/2000000", 1000..2000, true),
        ("bytes=100000-199999", "bytes 100000-199999/2000000", 100_000..200_000, false),
        // Those two are one by now.
        ("bytes=50000-149999", "bytes 50000-149999/2000000", 50_000..150_000, true),
        ("bytes=-1000", "bytes 1999000-1999999/2000000", 1_999_000..2_000_000, false),
        ("bytes=1999500-", "bytes 1999500-1999999/2000000", 1_999_500..2_000_000, true),
        ("bytes=150000-299999", "bytes 150000-299999/2000000", 150_000..300_000, false),
        ("bytes=0-299999", "bytes 0-299999/2000000", 0..300_000, true),
    ] {
        let part = client.get_with("/a", &[("range", range)]).await;
        assert_eq!((part.status, &*part.header("content-range")), (206, said), "{range}");
        assert!(part.body == content[expected], "{range}");
        assert_eq!(status(&part) == "hit", hit, "{range}: {}", part.header("cache-status"));
    }
    let asked = ["", "bytes=0-99999", "bytes=100000-199999", "bytes=-1000", "bytes=150000-299999"];
    assert_eq!(ranges_asked(&cached), asked);
    // A part is not the whole.
    let whole = client.get("/a").await;
    assert!(whole.status == 200 && whole.body == content);
    let other = client.get_with("/a", &[("range", "bytes=0-9"), ("if-range", "\"v0\"")]).await;
    assert!(other.status == 200 && other.body == content);
    let same = client.get_with("/a", &[("range", "bytes=0-9"), ("if-none-match", "\"v1\"")]).await;
    assert_eq!((same.status, &*status(&same)), (304, "hit"));
}

#[tokio::test]
async fn parts_that_are_all_together_are_the_whole() {
    let content = pattern(1000);
    let sent = content.clone();
    let cached = Cached::start("", move |request| ranged(request, &sent, "\"v1\"")).await;
    let mut client = Http::One.client(&cached.gateway).await;
    for range in ["bytes=-500", "bytes=100-300", "bytes=0-99", "bytes=290-510"] {
        assert_eq!(client.get_with("/a", &[("range", range)]).await.status, 206, "{range}");
    }
    let whole = client.get("/a").await;
    assert_eq!((whole.status, &*status(&whole), &*whole.header("content-range")), (200, "hit", ""));
    assert!(whole.body == content);
    assert_eq!(cached.asked(), 4);
}

#[tokio::test]
async fn parts_of_other_content_are_not_joined() {
    let version = Arc::new(AtomicU64::new(1));
    let (content, current) = (pattern(2_000_000), version.clone());
    for strong in [true, false] {
        let (sent, current) = (content.clone(), current.clone());
        let cached = Cached::start("", move |request| {
            let version = current.load(Ordering::SeqCst);
            let sent: Bytes =
                sent.iter().map(|byte| byte.wrapping_add(version as u8)).collect::<Vec<_>>().into();
            ranged(request, &sent, &format!("{}\"v{version}\"", if strong { "" } else { "W/" }))
        })
        .await;
        let mut client = Http::One.client(&cached.gateway).await;
        let get = async |client: &mut crate::harness::TestClient, range: &str| {
            let part = client.get_with("/a", &[("range", range)]).await;
            assert_eq!(part.status, 206, "{range}");
            (part.body[0], part.body[part.body.len() - 1], status(&part) == "hit")
        };
        let byte = |at: usize, version: u64| content[at].wrapping_add(version as u8);
        let (old, new) = (version.load(Ordering::SeqCst), version.load(Ordering::SeqCst) + 1);
        assert_eq!(
            get(&mut client, "bytes=1500000-1500099").await,
            (byte(1_500_000, old), byte(1_500_099, old), false)
        );
        version.store(new, Ordering::SeqCst);
        assert_eq!(
            get(&mut client, "bytes=1500100-1500199").await,
            (byte(1_500_100, new), byte(1_500_199, new), false)
        );
        // What there was of the old content is gone.
        assert_eq!(
            get(&mut client, "bytes=1500000-1500099").await,
            (byte(1_500_000, new), byte(1_500_099, new), false)
        );
        assert_eq!(get(&mut client, "bytes=1500000-1500199").await.2, strong);
    }
}

#[tokio::test]
async fn a_burst_for_one_part_makes_one_request() {
    let (gate, content) = (Arc::new(Semaphore::new(0)), pattern(5_000_000));
    let (held, sent) = (gate.clone(), content.clone());
    let upstream = TestUpstream::streaming_h1(move |request| {
        let (gate, sent) = (held.clone(), sent.clone());
        async move {
            assert_eq!(request.headers()["range"], "bytes=4000000-4099999");
            drop(gate.acquire().await);
            let (pieces, body) = Pieces::new();
            tokio::spawn(async move {
                for piece in sent[4_000_000..4_100_000].chunks(9_999) {
                    pieces.send(piece.to_vec()).await;
                }
            });
            let head =
                Response::builder().status(206).header("cache-control", "max-age=60").header("etag", "\"a\"");
            head.header("content-range", "bytes 4000000-4099999/5000000").body(body.boxed()).unwrap()
        }
    })
    .await;
    let gateway = edge(&upstream, "collapse = { wait = \"60s\" }").start().await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut client = Http::One.client(&gateway).await;
        asking.spawn(async move { client.get_with("/a", &[("range", "bytes=4000000-4099999")]).await });
    }
    eventually("the upstream is asked", async || (!upstream.requests().is_empty()).then_some(())).await;
    gate.add_permits(1);
    for part in asking.join_all().await {
        assert_eq!((part.status, &*part.header("content-range")), (206, "bytes 4000000-4099999/5000000"));
        assert!(part.body == content[4_000_000..4_100_000]);
    }
    assert_eq!(upstream.requests().len(), 1);
}

/// Parts that are not what they say: the client gets what there is, and nothing of it is kept.
#[tokio::test]
async fn parts_that_are_not_what_they_say_are_not_kept() {
    for (name, answer) in [
        ("cut off", "content-range: bytes 2000000-2000009/3000000\r\ncontent-length: 10\r\n\r\n01234"),
        (
            "shorter",
            "content-range: bytes 2000000-2000009/3000000\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n\r\n",
        ),
        (
            "longer",
            "content-range: bytes 2000000-2000009/3000000\r\ntransfer-encoding: chunked\r\n\r\n14\r\n01234567890123456789\r\n0\r\n\r\n",
        ),
        ("other bytes", "content-range: bytes 0-9/3000000\r\ncontent-length: 10\r\n\r\n0123456789"),
        (
            "a length that does not fit",
            "content-range: bytes 2000000-2000009/3000000\r\ncontent-length: 5\r\n\r\n01234",
        ),
        ("no place", "content-length: 10\r\n\r\n0123456789"),
        ("a place of its own", "content-range: lines 1-2/3\r\ncontent-length: 10\r\n\r\n0123456789"),
        (
            "two places",
            "content-range: bytes 2000000-2000009/3000000\r\ncontent-range: bytes 0-9/3000000\r\ncontent-length: 10\r\n\r\n0123456789",
        ),
        (
            "an unknown whole",
            "content-range: bytes 2000000-2000009/*\r\ncontent-length: 10\r\n\r\n0123456789",
        ),
        ("nothing", "content-range: bytes */1\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let upstream = RawUpstream::start(move |mut connection, _| async move {
            connection.read_request().await;
            let head = "HTTP/1.1 206 Partial Content\r\nconnection: close\r\ncache-control: max-age=60\r\netag: \"a\"\r\n";
            connection.send(format!("{head}{answer}")).await;
        })
        .await;
        let gateway =
            crate::edge::Edge::to(upstream.address()).route("cache = \"c\"").more("[caches.c]").start().await;
        for asked in 1..=2 {
            let mut client = RawClient::connect(gateway.address("web")).await;
            client
                .send("GET /a HTTP/1.1\r\nHost: a.test\r\nRange: bytes=2000000-2000009\r\nConnection: close\r\n\r\n")
                .await;
            let reply = String::from_utf8_lossy(&client.read_to_end().await).into_owned();
            assert!(!reply.contains("; hit"), "{name}: {reply}");
            eventually(name, async || (upstream.connections() >= asked).then_some(())).await;
        }
    }
}

/// Random parts, changes and versions, against what the upstream has: the body of each answer is what its
/// Content-Range and its tag say.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "the seed, for the run that fails")]
async fn random_parts_have_the_bytes_that_they_say() {
    const SEED_VARIABLE: &str = "PORTCULLIS_TEST_SEED";
    let given = std::env::var(SEED_VARIABLE).ok().map(|seed| seed.parse().expect("a number"));
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed: u64 = given.unwrap_or_else(clock).max(1);
    println!("{SEED_VARIABLE}={seed}");
    let mut state = seed;
    // Xorshift.
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % below
    };
    let version = Arc::new(AtomicU64::new(0));
    let content = |version: u64| -> Bytes {
        let length = 3_000_000 - 1000 * version as usize;
        (0..length).map(|at| (at * 31 + at / 251 + version as usize * 7) as u8).collect::<Vec<_>>().into()
    };
    let contents: Arc<Vec<Bytes>> = Arc::new((0..10).map(content).collect());
    let (current, has) = (version.clone(), contents.clone());
    let cached = Cached::start("", move |request| {
        let version = current.load(Ordering::SeqCst);
        match request.method == Method::POST {
            true => Answer::text("changed"),
            false => ranged(request, &has[version as usize], &format!("\"v{version}\"")),
        }
    })
    .await;
    let mut client = Http::One.client(&cached.gateway).await;
    let mut hits = 0;
    for step in 0..300 {
        if random(40) == 0 && version.load(Ordering::SeqCst) < 9 {
            version.fetch_add(1, Ordering::SeqCst);
            client.send(Method::POST, "/a", &[], "x").await;
        }
        let now = version.load(Ordering::SeqCst) as usize;
        let length = contents[now].len();
        // Few starts, so that parts touch and overlap.
        let start = random(30) * length / 30;
        let end = (start + 1 + random(400_000)).min(length);
        let range = match random(3) {
            0 => format!("bytes={start}-{}", end - 1),
            1 => format!("bytes=-{}", end - start),
            _ => format!("bytes={}-{}", start.saturating_sub(50_000), end - 1),
        };
        let part = client.get_with("/a", &[("range", &range)]).await;
        assert_eq!(part.status, 206, "{seed}, step {step}: {range}");
        assert_eq!(part.header("etag"), format!("\"v{now}\""), "{seed}, step {step}: {range}");
        let says = part.header("content-range");
        let (first, last) =
            says.strip_prefix("bytes ").unwrap().split('/').next().unwrap().split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        assert!(part.body == contents[now][first..=last], "{seed}, step {step}: {range}");
        hits += usize::from(status(&part) == "hit");
    }
    assert!(hits > 20, "{seed}: {hits}");
}
