//! Routes that serve files: what is sent of a file, what never is, and files that change or stall meanwhile.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use hyper::Method;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::edge::{Http, pattern};
use crate::harness::{Builder, RawClient, TestClient, TestGateway, eventually, portcullis_in};
use crate::setup::{KEY, record, shipped};

const SECRET: &str = "TOP SECRET";

/// A gateway in a folder with a secret, and with the folder `root`, which it serves under `/`, and under `/sub` without
/// that prefix.
fn site() -> Builder {
    TestGateway::builder()
        .file("secret", SECRET)
        .file("root/index.html", "<h1>start</h1>")
        .file("root/a.txt", "abcdefghij")
        .file("root/docs/index.html", "<p>docs</p>")
        .file("root/docs/app.js", "run()")
        .file("root/empty/nested/x", "x")
        .file("root/nothing", "")
        .file("root/.env", SECRET)
        .file("root/.git/config", SECRET)
}

fn config(server: &str, more: &str) -> String {
    format!(
        "[server]\nworkers = 2\naccess-log = {{ format = \"json\" }}\n{server}\n\
         [listeners.web]\naddress = \"127.0.0.1:0\"\n\
         [routes.site]\nfiles = {{ root = \"root\" }}\n\
         [routes.sub]\nmatch = {{ path = \"/sub/*\" }}\nrewrite = {{ path = \"{{rest}}\" }}\nfiles = {{ root = \"root\" }}\n\
         [routes.slashes]\nmatch = {{ host = \"slashes.test\" }}\nmerge-slashes = false\nfiles = {{ root = \"root\" }}\n\
         {more}"
    )
}

#[tokio::test]
async fn a_file_is_sent_with_what_is_known_of_it() {
    let gateway = site().start(&config("", "")).await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for (path, text, media_type) in [
            ("/a.txt", "abcdefghij", "text/plain; charset=utf-8"),
            ("/sub/a.txt", "abcdefghij", "text/plain; charset=utf-8"),
            ("/%61.txt?x", "abcdefghij", "text/plain; charset=utf-8"),
            ("/", "<h1>start</h1>", "text/html; charset=utf-8"),
            ("/sub", "<h1>start</h1>", "text/html; charset=utf-8"),
            ("/docs/", "<p>docs</p>", "text/html; charset=utf-8"),
            ("/docs/app.js", "run()", "text/javascript; charset=utf-8"),
            ("/nothing", "", "application/octet-stream"),
        ] {
            let file = client.get(path).await;
            assert_eq!((file.status, &*file.text()), (200, text), "{path}");
            assert_eq!(file.header("content-type"), media_type, "{path}");
            assert_eq!(file.header("content-length"), text.len().to_string(), "{path}");
            assert_eq!(file.header("accept-ranges"), "bytes");
            assert!(file.header("etag").ends_with('"') && file.header("last-modified").ends_with(" GMT"));
            let head = client.send(Method::HEAD, path, &[], "").await;
            assert_eq!((head.status, &*head.text()), (200, ""), "{path}");
            for name in ["content-type", "content-length", "last-modified"] {
                assert_eq!(head.header(name), file.header(name), "{path} {name}");
            }
        }
        let bare = client.get("/docs?a=b").await;
        assert_eq!((bare.status, &*bare.header("location")), (307, "/docs/?a=b"));
        assert_eq!(client.get("/sub/docs").await.header("location"), "/sub/docs/");
        for path in
            ["/nowhere", "/empty", "/empty/", "/empty/nested/", "/a.txt/", "/a.txt/x", "/docs/index.html/"]
        {
            let missing = client.get(path).await;
            assert_eq!((missing.status, &*missing.header("cache-control")), (404, "no-store"), "{path}");
            assert_eq!(missing.text(), "404 Not Found\nno such file\n");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let refused = client.send(method.clone(), "/a.txt", &[], "x").await;
            assert_eq!((refused.status, &*refused.header("allow")), (405, "GET, HEAD"), "{method}");
        }
    }
    let missing = record(&gateway, "/nowhere").await;
    assert_eq!((&missing["status"], &missing["route"]), (&404.into(), &"site".into()));
    assert_eq!(missing["error"], "there is no such file");
    assert!(record(&gateway, "/a.txt").await["upstream"].is_null());
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_out_of_the_folder() {
    let builder = site();
    let root = builder.dir().join("root");
    symlink("../secret", root.join("out")).unwrap();
    symlink(builder.dir(), root.join("up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/proc/self/cwd", root.join("magic")).unwrap();
    symlink("docs/app.js", root.join("inside")).unwrap();
    let gateway = builder.start(&config("", "")).await;
    let mut targets: Vec<String> =
        ["/out", "/up/secret", "/loop", "/magic/secret", "/.env", "/%2eenv", "/.git/config"]
            .map(str::to_owned)
            .to_vec();
    for dots in [
        "..",
        "%2e%2e",
        ".%2E",
        "%2e.",
        "...",
        "..;",
        "..;x",
        "..%00",
        "%252e%252e",
        "%c0%ae%c0%ae",
        "%uff0e",
    ] {
        for slash in ["/", "//", "%2f", "%2F", "\\", "%5c", "%5C", "%252f", "%c0%af", "/./", "%00/"] {
            for before in ["/", "/docs/", "/sub/", "/docs/nested/"] {
                targets.push(format!("{before}{dots}{slash}secret"));
                targets.push(format!("{before}{dots}{slash}{dots}{slash}secret"));
            }
        }
    }
    targets.extend(
        ["/a.txt%00", "/a.txt%00.html", "/a.txt%0a", "/secret", "/docs%2fapp.js", "/docs%5capp.js"]
            .map(str::to_owned),
    );
    let etc_passwd = ["//etc/passwd", "///etc/passwd", "/%2fetc/passwd", "/file:///etc/passwd"];
    targets.extend(etc_passwd.map(str::to_owned));
    let mut client = RawClient::connect(gateway.address("web")).await;
    for host in ["a.test", "slashes.test"] {
        for target in &targets {
            client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            let reply = client.read_response().await;
            assert!(matches!(reply.status, 400 | 404), "{target}: {}", reply.head);
            assert!(!reply.text().contains(SECRET) && !reply.text().contains("root:"), "{target}");
            if reply.header("connection") == "close" {
                client = RawClient::connect(gateway.address("web")).await;
            }
        }
        client.send(format!("GET /inside HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(client.read_response().await.text(), "run()");
    }
    assert_eq!(
        record(&gateway, "/out").await["error"],
        "a symbolic link on the way is not followed, as `symlinks` says"
    );
}

#[tokio::test]
async fn conditions_and_ranges_are_answered_by_the_file() {
    let gateway = site().start(&config("", "")).await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        // A tag is weak until the file's time has passed.
        let etag = eventually("the tag is strong", async || {
            let etag = client.get("/a.txt").await.header("etag");
            (!etag.starts_with("W/")).then_some(etag)
        })
        .await;
        let modified = client.get("/a.txt").await.header("last-modified");
        let range = ("range", "bytes=2-4");
        let check = [
            (vec![("if-none-match", &*etag)], 304, "", ""),
            (vec![("if-none-match", "*")], 304, "", ""),
            (vec![("if-modified-since", &*modified)], 304, "", ""),
            (vec![("if-none-match", "\"other\""), ("if-modified-since", &*modified)], 200, "abcdefghij", ""),
            (
                vec![("if-match", "\"other\"")],
                412,
                "412 Precondition Failed\nthe file is not the expected one\n",
                "",
            ),
            (vec![range], 206, "cde", "bytes 2-4/10"),
            (vec![("range", "bytes=-1")], 206, "j", "bytes 9-9/10"),
            (vec![range, ("if-range", &*etag)], 206, "cde", "bytes 2-4/10"),
            (vec![range, ("if-range", "\"other\"")], 200, "abcdefghij", ""),
            (vec![("range", "bytes=0-0,2-3")], 200, "abcdefghij", ""),
            (
                vec![("range", "bytes=10-")],
                416,
                "416 Range Not Satisfiable\nthe file has no such bytes\n",
                "bytes */10",
            ),
        ];
        for (fields, status, text, content_range) in &check {
            let reply = client.get_with("/a.txt", fields).await;
            assert_eq!((reply.status, &*reply.text()), (*status, *text), "{fields:?}");
            assert_eq!(reply.header("content-range"), *content_range, "{fields:?}");
            if *status < 400 {
                assert_eq!(reply.header("etag"), etag, "{fields:?}");
            }
        }
        let head = client.send(Method::HEAD, "/a.txt", &[range], "").await;
        assert_eq!((head.status, &*head.header("content-length")), (200, "10"));
        assert_eq!(client.get_with("/nothing", &[("range", "bytes=0-")]).await.status, 416);
        let unchanged = client.send(Method::HEAD, "/a.txt", &[("if-none-match", &etag)], "").await;
        assert_eq!(unchanged.status, 304);
    }
    gateway.write("root/a.txt", "ABCDEFGHIJ");
    let mut client = Http::One.client(&gateway).await;
    let etag = client.get("/a.txt").await.header("etag");
    gateway.write("root/a.txt", "jihgfedcba");
    let changed = client.get_with("/a.txt", &[("if-none-match", &etag)]).await;
    assert_eq!((changed.status, &*changed.text()), (200, "jihgfedcba"));
}

#[tokio::test]
async fn what_is_no_file_stops_nobody() {
    let builder = site();
    let root = builder.dir().join("root");
    let fifo = Mode::from_raw_mode(0o666);
    mknodat(CWD, root.join("pipe"), FileType::Fifo, fifo, 0).unwrap();
    mknodat(CWD, root.join("docs/pipe.html"), FileType::Fifo, fifo, 0).unwrap();
    let _socket = UnixListener::bind(root.join("socket")).unwrap();
    let gateway = builder
        .start(&config("file-reads-max = 1", "[routes.pipe]\nmatch = { path = \"/piped/*\" }\nrewrite = { path = \"{rest}\" }\nfiles = { root = \"root\", index = \"pipe.html\" }\n"))
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for path in ["/pipe", "/socket", "/piped/docs/", "/piped/docs"] {
            assert_eq!(client.get(path).await.status, 404, "{path}");
        }
        assert_eq!(client.get("/a.txt").await.text(), "abcdefghij");
    }
    assert_eq!(record(&gateway, "/pipe").await["error"], "it is not a regular file");
}

#[tokio::test]
async fn a_file_that_is_replaced_is_sent_as_it_was_and_one_that_is_cut_short_is_never_whole() {
    let content = pattern(24 << 20);
    let gateway = site().file("root/large", &content).file("root/cut", &content).start(&config("", "")).await;
    let mut client = RawClient::connect(gateway.address("web")).await;
    client.send("GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let head = client.read_response_head().await;
    assert_eq!(head.header("content-length"), content.len().to_string());
    gateway.write("root/new", "new");
    std::fs::rename(gateway.dir().join("root/new"), gateway.dir().join("root/large")).unwrap();
    assert!(client.read_exact(content.len()).await == content);
    client.send("GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.read_response().await.text(), "new");

    // Over HTTP/1 the connection ends before the declared length, over HTTP/2 the stream is reset.
    let mut second = Http::Two.client(&gateway).await;
    let streamed = second.begin(Method::GET, "/cut", &[], String::new()).await.unwrap();
    client.send("GET /cut HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let head = client.read_response_head().await;
    assert_eq!((head.status, &*head.header("content-length")), (200, &*content.len().to_string()));
    let file = std::fs::OpenOptions::new().write(true).open(gateway.dir().join("root/cut")).unwrap();
    file.set_len(1 << 20).unwrap();
    let read = client.read_to_end().await;
    assert!(read.len() < content.len() && content.starts_with(&read), "{} bytes", read.len());
    let collected = http_body_util::BodyExt::collect(streamed.into_body()).await;
    assert!(collected.is_err(), "a whole body");
    let cut = record(&gateway, "/cut").await;
    assert_eq!(
        (&cut["status"], &cut["error"]),
        (&200.into(), &"the file was cut short while it was read".into())
    );
}

#[tokio::test]
async fn a_thousand_ranges_at_once_are_each_right() {
    let content = pattern(4 << 20);
    let gateway = site().file("root/large", &content).start(&config("file-reads-max = 2", "")).await;
    let mut clients = Vec::new();
    for at in 0..20 {
        let address = gateway.address("web");
        clients.push(if at % 2 == 0 { TestClient::h2(address).await } else { TestClient::h1(address).await });
    }
    let mut tasks = Vec::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let content = content.clone();
        tasks.push(tokio::spawn(async move {
            for at in 0..50 {
                let first = (number * 50 + at) * 4000;
                // A few are as long as what is left, most are a few pieces.
                let last =
                    if at % 25 == 0 { content.len() - 1 } else { (first + at * 5000).min(content.len() - 1) };
                let range = format!("bytes={first}-{last}");
                let reply = client.get_with("/large", &[("range", &range)]).await;
                assert_eq!(reply.status, 206, "{range}: {}", reply.text());
                assert!(reply.body == content[first..=last], "{range}");
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn slow_readers_hold_their_files_and_no_others() {
    let content = pattern(24 << 20);
    let gateway = site()
        .file("root/large", &content)
        .start(&config("file-reads-max = 1\nopen-files-max = 2", ""))
        .await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(client.read_response_head().await.status, 200);
        slow.push(client);
    }
    let mut client = Http::Two.client(&gateway).await;
    let refused = client.get("/large").await;
    assert_eq!((refused.status, &*refused.header("retry-after")), (503, "1"));
    // What is read at once needs no place.
    assert_eq!(client.get("/a.txt").await.status, 200);
    assert_eq!(client.get_with("/large", &[("range", "bytes=5-9")]).await.body, content[5..10]);
    assert_eq!(client.send(Method::HEAD, "/large", &[], "").await.status, 200);
    slow.pop().unwrap().reset();
    eventually("a place is free", async || (client.get("/large").await.status == 200).then_some(())).await;
    let mut last = slow.pop().unwrap();
    assert!(last.read_exact(content.len()).await == content, "however slow, it gets all of it");
}

#[tokio::test]
async fn policies_come_before_files_and_see_the_response() {
    let gateway = site()
        .start(&config(
            "",
            &format!(
                "{}[routes.guarded]\nmatch = {{ path = \"/docs/*\" }}\nuse = [\"keys\", \"stamp\", \"limit\"]\n\
                 files = {{ root = \"root\" }}\n\
                 response-headers = {{ set = {{ cache-control = \"max-age=60\", x-content-type-options = \"nosniff\" }} }}\n",
                shipped("rate = \"1000/s\"")
            ),
        ))
        .await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        assert_eq!(client.get("/docs/app.js").await.status, 401);
        assert_eq!(client.get("/docs/nowhere").await.status, 401);
        let key = [("x-api-key", KEY)];
        let file = client.get_with("/docs/app.js", &key).await;
        assert_eq!((file.status, &*file.text()), (200, "run()"));
        assert_eq!(
            (&*file.header("x-frame-options"), &*file.header("cache-control")),
            ("DENY", "max-age=60")
        );
        let unchanged = [key[0], ("if-none-match", "*")];
        let unchanged = client.get_with("/docs/app.js", &unchanged).await;
        assert_eq!((unchanged.status, &*unchanged.header("cache-control")), (304, "max-age=60"));
        let missing = client.get_with("/docs/nowhere", &key).await;
        assert_eq!((missing.status, &*missing.header("cache-control")), (404, "no-store"));
        assert_eq!(missing.header("x-frame-options"), "DENY");
    }
}

#[tokio::test]
async fn a_folder_that_is_swapped_is_served_at_once() {
    let builder = TestGateway::builder().file("one/a.txt", "one").file("two/a.txt", "two");
    symlink("one", builder.dir().join("root")).unwrap();
    let gateway = builder.start(&config("", "")).await;
    let mut client = Http::One.client(&gateway).await;
    assert_eq!(client.get("/a.txt").await.text(), "one");
    symlink("two", gateway.dir().join("next")).unwrap();
    std::fs::rename(gateway.dir().join("next"), gateway.dir().join("root")).unwrap();
    assert_eq!(client.get("/a.txt").await.text(), "two");
    std::fs::remove_file(gateway.dir().join("root")).unwrap();
    let gone = client.get("/a.txt").await;
    assert_eq!((gone.status, &*gone.text()), (500, "500 Internal Server Error\nthe file cannot be read\n"));
    let ran = portcullis_in(gateway.dir(), ["explain", "GET", "http://a.test/a.txt", "--live"]).await;
    assert!(
        ran.stdout.contains("refused: the client gets 500: the folder cannot be opened"),
        "{}",
        ran.stdout
    );
}

#[tokio::test]
async fn explain_says_which_file_is_sent_or_why_none_is() {
    let content = pattern(100 << 10);
    let gateway = site().file("root/large", &content).start(&config("", "")).await;
    for (target, expected) in [
        ("/a.txt", "answered by the route's `files`\n  200\n"),
        ("/docs", "  location: /docs/"),
        ("/.env", "refused: the client gets 404: the path names a hidden file"),
        ("/empty/", "refused: the client gets 404: the path names a folder, which has no `index.html`"),
        ("/nowhere", "refused: the client gets 404: there is no such file"),
    ] {
        let url = format!("http://a.test{target}");
        for mode in [&["explain", "GET", &url][..], &["explain", "GET", &url, "--live"]] {
            let ran = portcullis_in(gateway.dir(), mode).await;
            assert!(ran.stdout.contains(expected), "{target}: {}{}", ran.stdout, ran.stderr);
        }
    }
    let ran = portcullis_in(gateway.dir(), ["explain", "GET", "http://a.test/large", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["ending"]["response"]["body-bytes"], content.len());
}

#[tokio::test]
async fn a_request_that_is_given_up_leaves_its_connection_and_its_file_free() {
    let content = pattern(24 << 20);
    let gateway = site().file("root/large", &content).start(&config("open-files-max = 1", "")).await;
    for _ in 0..20 {
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        client.reset();
    }
    let mut client = Http::One.client(&gateway).await;
    let whole = eventually("the file is free", async || {
        let reply = client.get("/large").await;
        (reply.status == 200).then_some(reply.body)
    })
    .await;
    assert!(whole == content);
}
