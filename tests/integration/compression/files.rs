//! Encoded files: those that are encoded as they are sent, and those that were before.

use super::{get, plain, text};
use crate::edge::Http;
use crate::harness::TestGateway;
use crate::setup::misbehave;

#[tokio::test]
async fn files_are_encoded_and_parts_of_them_are_not() {
    let gateway = TestGateway::builder()
        .file("root/app.js", text(100_000))
        .file("root/small.js", "run()")
        .file("root/logo.png", text(5000))
        .start(
            "[server]\ncompress = true\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
             [routes.site]\nfiles = { root = \"root\" }\n\
             [routes.off]\nmatch = { path = \"/off/*\" }\ncompress = false\nrewrite = { path = \"{rest}\" }\n\
             files = { root = \"root\" }\n",
        )
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        let whole = get(&mut client, "/app.js", "zstd").await;
        assert_eq!((&*whole.header("content-encoding"), &*whole.header("accept-ranges")), ("zstd", ""));
        assert!(plain(&whole) == text(100_000).as_bytes());
        let tag = whole.header("etag");
        let plain_tag = client.get("/app.js").await.header("etag");
        assert_eq!(tag, format!("W/{}", plain_tag.strip_prefix("W/").unwrap_or(&plain_tag)));
        // A file holds no secret of a client.
        let fields = [("accept-encoding", "zstd"), ("cookie", "session=1"), ("if-none-match", &*tag)];
        let held = client.get_with("/app.js", &fields).await;
        assert_eq!((held.status, held.header("etag")), (304, tag.clone()));
        assert_eq!(client.get_with("/app.js", &fields[..2]).await.header("content-encoding"), "zstd");
        let part = client.get_with("/app.js", &[("accept-encoding", "zstd"), ("range", "bytes=0-7")]).await;
        assert_eq!((part.status, part.text()), (206, text(8)));
        assert_eq!(part.header("content-encoding"), "");
        // What a client began in another coding it cannot go on with.
        let fields = [("accept-encoding", "zstd"), ("range", "bytes=0-7"), ("if-range", &*tag)];
        assert_eq!(client.get_with("/app.js", &fields).await.status, 200);
        for path in ["/small.js", "/logo.png", "/off/app.js"] {
            assert_eq!(get(&mut client, path, "zstd").await.header("content-encoding"), "", "{path}");
        }
    }
}

#[tokio::test]
async fn files_that_are_encoded_already_stand_in_for_the_plain_ones() {
    let gateway = TestGateway::builder()
        .file("root/app.js", text(5000))
        .file("root/app.js.br", "in brotli")
        .file("root/app.js.gz", "in gzip")
        .file("root/other.js", text(5000))
        .file("misbehave.wasm", portcullis_test_guests::MISBEHAVE)
        .start(&format!(
            "[listeners.web]\naddress = \"127.0.0.1:0\"\n\
             [routes.site]\ncompress = true\nfiles = {{ root = \"root\", precompressed = true }}\n\
             [routes.policed]\nmatch = {{ host = \"policed.test\" }}\nuse = [\"bodies\"]\n\
             files = {{ root = \"root\", precompressed = true }}\n{}",
            misbehave("bodies", "response-body", "upper", "")
        ))
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for (accepted, coding, content) in [
            ("gzip, br", "br", "in brotli".to_owned()),
            ("gzip, br;q=0.5", "gzip", "in gzip".to_owned()),
            ("deflate", "", text(5000)),
        ] {
            let reply = get(&mut client, "/app.js", accepted).await;
            assert_eq!((&*reply.header("content-encoding"), reply.text()), (coding, content), "{accepted}");
            assert_eq!(reply.header("content-type"), "text/javascript; charset=utf-8");
            assert_eq!(reply.header("content-length"), reply.body.len().to_string());
            assert_eq!(reply.header("vary"), "accept-encoding");
            let fields = [("accept-encoding", accepted), ("if-none-match", &*reply.header("etag"))];
            assert_eq!(client.get_with("/app.js", &fields).await.status, 304);
            let fields = [("accept-encoding", accepted), ("range", "bytes=3-4")];
            let part = client.get_with("/app.js", &fields).await;
            assert_eq!((part.status, part.text()), (206, reply.text()[3..5].to_owned()));
            assert_eq!(
                (part.header("content-encoding"), part.header("etag")),
                (coding.to_owned(), reply.header("etag"))
            );
        }
        let reply = get(&mut client, "/other.js", "br").await;
        assert_eq!((&*reply.header("content-encoding"), plain(&reply)), ("br", text(5000).into_bytes()));
        let fields = [("accept-encoding", "br"), ("host", "policed.test")];
        let reply = client.get_with("/app.js", &fields).await;
        assert_eq!((&*reply.header("content-encoding"), reply.text()), ("", text(5000)));
    }
}
