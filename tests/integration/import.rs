//! `portcullis import`: what is claimed as converted answers as nginx does. Each case of `tests/cases/import` runs in
//! both, and both get the same requests.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hyper::Method;

use crate::harness::{
    Authority, Builder, Reply, TestClient, TestGateway, eventually, portcullis_in, tool, within,
};

/// A running nginx. Dropping it ends it.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What nginx needs to run as a test.
const OUTSIDE: &str = "daemon off; master_process off; pid nginx.pid; error_log stderr;\n";
const INSIDE: &str = "http { access_log off; client_body_temp_path body; proxy_temp_path proxy;\n\
                      fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n";

/// Starts nginx in a folder, or returns `None` if a port was taken.
async fn nginx(dir: &Path, config: &str, port: u16) -> Option<Nginx> {
    fs::write(dir.join("run.conf"), config).unwrap();
    let child = Command::new(tool("nginx", "nginx"))
        .args(["-e", "stderr", "-p"])
        .arg(dir)
        .args(["-c", "run.conf"])
        .stdin(Stdio::null())
        .stderr(fs::File::create(dir.join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let mut nginx = Nginx(child);
    let up = eventually("nginx listens or ends", async || {
        if nginx.0.try_wait().unwrap().is_some() {
            return Some(false);
        }
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok().then_some(true)
    });
    let up = within("nginx", up).await;
    let said = fs::read_to_string(dir.join("stderr")).unwrap();
    assert!(up || said.contains("Address already in use"), "{said}\n{config}");
    up.then_some(nginx)
}

/// Returns ports that are free now.
async fn ports<const N: usize>() -> [u16; N] {
    let mut listeners = Vec::new();
    for _ in 0..N {
        listeners.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    std::array::from_fn(|i| listeners[i].local_addr().unwrap().port())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            let _ = fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Rewrites the files of a configuration: everything on loopback.
fn each_file(dir: &Path, change: &dyn Fn(&str) -> String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, change);
        } else if path.extension().is_none_or(|extension| extension == "conf") {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, change(&text)).unwrap();
        }
    }
}

/// A case that runs in nginx and in the gateway.
struct Both {
    gateway: TestGateway,
    /// The ports of nginx in place of 80 and 443.
    port: u16,
    tls_port: u16,
    authority: Authority,
    _nginx: [Nginx; 2],
}

/// What the server behind both says of a request.
const ECHO: &str = "return 200 \"$request_method $request_uri host=$http_host x=$http_x_client;$http_x_original_uri;\
                    $http_x_version;$http_x_only auth=$http_authorization \
                    length=$http_content_length\\n\";";

async fn both(case: &str, behind: &str) -> Both {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/import").join(case);
    loop {
        let [port, tls_port, other, one, two] = ports().await;
        let builder: Builder = TestGateway::builder();
        let dir = builder.dir().join("nginx");
        copy(&source, &dir);
        let authority = Authority::new();
        for (name, host) in [("site", "example.com"), ("api", "api.example.com")] {
            let issued = authority.issue(&[host]);
            fs::write(dir.join(format!("{name}.pem")), &issued.certificate).unwrap();
            fs::write(dir.join(format!("{name}.key")), &issued.key).unwrap();
        }
        each_file(&dir, &|text| {
            let text = text.replace("listen 443", &format!("listen 127.0.0.1:{tls_port}"));
            let text = text.replace("listen 127.0.0.1:8081", &format!("listen 127.0.0.1:{other}"));
            let text = text.replace("listen 8080", &format!("listen 127.0.0.1:{other}"));
            let text = text.replace("BACKEND2", &two.to_string()).replace("BACKEND", &one.to_string());
            let text = text.replace("listen [::]:80 default_server;", "");
            text.replace("listen 80", &format!("listen 127.0.0.1:{port}"))
        });
        let out = builder.dir().join("made.toml");
        let made = portcullis_in(&dir, ["import", "nginx.conf", "--out", out.to_str().unwrap()]).await;
        assert!(matches!(made.code, Some(0 | 1)) && !made.stderr.contains("not complete"), "{}", made.stderr);
        let config = fs::read_to_string(&out).unwrap();
        let config = [port, tls_port, other].into_iter().fold(config, |config, port| {
            config.replace(&format!("address = \"127.0.0.1:{port}\""), "address = \"127.0.0.1:0\"")
        });
        let origin = builder.dir().join("origin");
        fs::create_dir(&origin).unwrap();
        let server = format!("server {{ listen 127.0.0.1:{one}; listen 127.0.0.1:{two}; {behind} }}");
        let Some(first) = nginx(&origin, &format!("{OUTSIDE}events {{}}\n{INSIDE}{server} }}"), one).await
        else {
            continue;
        };
        let main = fs::read_to_string(dir.join("nginx.conf")).unwrap();
        let ours = ["user ", "pid ", "worker_processes ", "error_log ", "access_log /"];
        let main: String = main
            .lines()
            .filter(|line| !ours.iter().any(|own| line.trim_start().starts_with(own)))
            .map(|line| format!("{line}\n"))
            .collect();
        let main = main.replacen("http {", INSIDE, 1).replace("/var/cache/nginx", "cached");
        let Some(second) = nginx(&dir, &format!("{OUTSIDE}{main}"), port).await else { continue };
        let gateway = builder.start(&config).await;
        return Both { gateway, port, tls_port, authority, _nginx: [first, second] };
    }
}

/// What is compared of an answer.
fn said(reply: &Reply, host: &str, fields: &[&str]) -> String {
    let location = reply.header("location");
    // nginx writes places on the same host as a whole URL, with its port.
    let inside = location.split_once("://").and_then(|(_, rest)| {
        let (authority, _) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
        (name == host && authority != name).then(|| rest[authority.len()..].to_owned())
    });
    let mut said = format!("{} {}", reply.status, inside.unwrap_or(location));
    // Pages for errors are each one's own, and so are the bytes of an encoding.
    if reply.status == 200 || reply.header("content-type") == "application/json" {
        let media = reply.header("content-type");
        let text = if reply.header("content-encoding").is_empty() { reply.text() } else { String::new() };
        said.push_str(&format!(" {} {text}", media.split(';').next().unwrap()));
    }
    for field in fields {
        said.push_str(&format!("\n{field}: {}", reply.header(field)));
    }
    said
}

impl Both {
    async fn clients(&self) -> (TestClient, TestClient) {
        let ours = TestClient::h1(self.gateway.address(&format!("port-{}", self.port))).await;
        (ours, TestClient::h1(([127, 0, 0, 1], self.port).into()).await)
    }

    async fn tls_clients(&self, name: &str) -> (TestClient, TestClient) {
        let ours = self.gateway.address(&format!("port-{}", self.tls_port));
        let ours = TestClient::h1_tls(ours, &self.authority, name).await;
        (ours, TestClient::h1_tls(([127, 0, 0, 1], self.tls_port).into(), &self.authority, name).await)
    }

    /// Sends requests to both: method, host and path, with fields.
    async fn agree(&self, requests: &[(&str, &str, &str)], sent: &[(&str, &str)], fields: &[&str]) {
        agree(self.clients().await, requests, sent, fields).await;
    }
}

async fn agree(
    (mut ours, mut theirs): (TestClient, TestClient),
    requests: &[(&str, &str, &str)],
    sent: &[(&str, &str)],
    fields: &[&str],
) {
    for (method, host, path) in requests {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut with = vec![("host", *host)];
        with.extend(sent);
        let mine = ours.send(method.clone(), path, &with, "").await;
        let other = theirs.send(method.clone(), path, &with, "").await;
        assert_eq!(said(&mine, host, fields), said(&other, host, fields), "{method} {host} {path}");
    }
}

#[tokio::test]
async fn imported_redirects_lead_where_nginx_leads() {
    let both = both("redirects", ECHO).await;
    let requests = [
        ("GET", "example.com", "/a/b?c=d"),
        ("GET", "www.example.com", "/a/b?c=d"),
        ("GET", "www.example.com:8080", "/a"),
        ("GET", "example.com", "/.well-known/acme-challenge/x"),
        ("GET", "www.example.com", "/health"),
        ("GET", "example.com", "/health"),
        ("HEAD", "example.com", "/health"),
        ("GET", "example.com", "/health/"),
        ("GET", "old.example.com", "/blog/2020/x?y"),
        ("GET", "old.example.com", "/blog"),
        ("GET", "a.b.legacy.example.com", "/gone"),
        ("GET", "legacy.example.com", "/gone"),
        ("POST", "old.example.com", "/api/x"),
        ("GET", "old.example.com", "/else?x"),
        ("GET", "older.example.com", "/else?x"),
        ("GET", "older.example.com", "/"),
        ("GET", "api.example.com", "/"),
        ("HEAD", "api.example.com", "/v1/x"),
        ("POST", "api.example.com", "/v1/x"),
        ("DELETE", "api.example.com", "/v1/x"),
        ("DELETE", "api.example.com", "/v1"),
        ("PUT", "api.example.com", "/"),
        ("GET", "unknown.test", "/"),
    ];
    both.agree(&requests, &[], &[]).await;
}

#[tokio::test]
async fn imported_hosts_are_told_apart_as_nginx_does() {
    let both = both("vhosts", ECHO).await;
    let requests = [
        ("GET", "one.example.com", "/"),
        ("GET", "one.example.com", "/x?y=1"),
        ("GET", "www.one.example.com", "/only/"),
        ("GET", "www.one.example.com", "/only"),
        ("GET", "two.example.com", "/app/x"),
        ("GET", "two.example.com", "/app"),
        ("GET", "a.two.example.com", "/app/exact/"),
        ("GET", "a.two.example.com", "/app/exact"),
        ("GET", "a.two.example.com", "/app/exact/x"),
        ("GET", "a.b.two.example.com", "/app/deep/er/x"),
        ("GET", "two.example.com", "/"),
        ("GET", "two.example.com", "/only/"),
    ];
    both.agree(&requests, &[], &[]).await;
    // nginx says nothing at all here.
    let mut client = both.clients().await.0;
    assert_eq!(client.get_with("/", &[("host", "unknown.test")]).await.status, 403);
}

#[tokio::test]
async fn imported_upstreams_get_what_nginx_sends_them() {
    let both = both("gateway", &format!("add_header X-Powered-By p; add_header X-Kept k; {ECHO}")).await;
    let host = "api.example.com";
    let requests = [
        ("GET", host, "/users/7?x=%20y"),
        ("GET", host, "/users/"),
        ("GET", host, "/users"),
        ("GET", host, "/users?x"),
        ("GET", host, "/orders"),
        ("DELETE", host, "/orders/1"),
        ("GET", host, "/v2/orders/a/b?c"),
        ("GET", host, "/v2/orders"),
        ("GET", host, "/report?x=1"),
        ("HEAD", host, "/report"),
        ("POST", host, "/report"),
        ("GET", host, "/direct/x"),
        ("GET", host, "/none"),
        ("GET", host, "/"),
    ];
    both.agree(
        &requests,
        &[("authorization", "Bearer x"), ("x-client", "forged")],
        &["x-powered-by", "x-kept"],
    )
    .await;
    let (mut ours, mut theirs) = both.clients().await;
    for (path, length, status) in [("/users/", 100, 200), ("/users/", 101, 413), ("/orders/", 101, 200)] {
        for client in [&mut ours, &mut theirs] {
            let reply = client.try_send(Method::POST, path, &[("host", host)], vec![b'a'; length]).await;
            assert_eq!(reply.map(|reply| reply.status).ok(), Some(status), "{path} {length}");
        }
        (ours, theirs) = both.clients().await;
    }
}

#[tokio::test]
async fn imported_guards_let_through_whom_nginx_lets_through() {
    let both = both("guarded", ECHO).await;
    let paths = ["/", "/office/x", "/public/x", "/nobody/x", "/nobody", "/hidden/x"];
    for client in ["192.0.2.5", "192.0.2.66", "198.51.100.1", "2001:db8::1", "2001:db9::1"] {
        let requests = paths.map(|path| ("GET", "localhost", path));
        both.agree(&requests, &[("x-forwarded-for", client)], &[]).await;
    }
    // What cannot be said is closed.
    let mut client = both.clients().await.0;
    assert_eq!(client.get("/password/x").await.status, 503);
}

#[tokio::test]
async fn imported_limits_refuse_what_nginx_refuses() {
    let both = both("limited", ECHO).await;
    both.agree(&[("GET", "localhost", "/login"); 5], &[], &[]).await;
    both.agree(&[("GET", "localhost", "/api/a"); 2], &[("x-api-key", "a")], &[]).await;
    both.agree(&[("GET", "localhost", "/api/a"); 2], &[("x-api-key", "b")], &[]).await;
    both.agree(&[("GET", "localhost", "/")], &[], &[]).await;
}

#[tokio::test]
async fn imported_files_are_those_of_nginx() {
    let stock = both("stock", ECHO).await;
    let get = |path| ("GET", "localhost", path);
    let requests =
        ["/", "/index.html", "/a.css", "/docs/", "/none", "/docs/none", "/a.css?x", "/.ht/x", "/../x"]
            .map(get);
    stock.agree(&requests, &[], &[]).await;
    let compressed = both("compressed", ECHO).await;
    let requests = ["/", "/logo.css", "/small.css", "/static/logo.css", "/static/", "/brand.css"].map(get);
    let fields = ["content-encoding", "cache-control", "x-frame-options"];
    compressed.agree(&requests, &[], &fields).await;
    compressed.agree(&["/none", "/static/none"].map(get), &[], &["content-encoding", "expires"]).await;
    compressed.agree(&requests, &[("accept-encoding", "gzip")], &fields).await;
    compressed.agree(&requests, &[("range", "bytes=0-3")], &["content-range"]).await;
}

#[tokio::test]
async fn imported_caches_keep_what_nginx_keeps() {
    let both = both("cached", "location / { return 200 $request_id; } location /none { return 404; }").await;
    let (mut ours, mut theirs) = both.clients().await;
    let mut seen = Vec::new();
    for client in [&mut ours, &mut theirs] {
        let mut same = Vec::new();
        let mut first = String::new();
        for (path, cookie) in [
            ("/a", "x=1"),
            ("/a", "x=2"),
            ("/a?q", "x=1"),
            ("/a", "session=1"),
            ("/a", "x=1"),
            ("/live/a", "x=1"),
            ("/live/a", "x=1"),
        ] {
            let text = client.get_with(path, &[("host", "www.example.com"), ("cookie", cookie)]).await.text();
            same.push(text == first);
            if first.is_empty() {
                first = text;
            }
        }
        seen.push(same);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], [false, true, true, false, true, false, false]);
}

#[tokio::test]
async fn an_imported_company_answers_as_before() {
    let both = both("company", ECHO).await;
    let requests =
        [("GET", "example.com", "/a?b"), ("GET", "api.example.com", "/v1/"), ("GET", "else.test", "/")];
    both.agree(&requests, &[], &[]).await;
    let fields = ["strict-transport-security"];
    let site = [
        ("GET", "example.com", "/a?b"),
        ("GET", "www.example.com", "/ws/"),
        ("GET", "example.com", "/ws"),
        ("GET", "example.com", "/admin/x"),
        ("GET", "example.com", "/old/x"),
        ("GET", "example.com", "/old"),
        ("GET", "example.com", "/robots.txt"),
        ("GET", "example.com", "/healthz"),
        ("GET", "else.test", "/"),
    ];
    agree(both.tls_clients("example.com").await, &site, &[], &fields).await;
    let api = [
        ("GET", "api.example.com", "/v1/users?x"),
        ("GET", "api.example.com", "/v1"),
        ("GET", "api.example.com", "/else"),
    ];
    agree(both.tls_clients("api.example.com").await, &api, &[], &fields).await;
}

/// What has no counterpart closes the route, so that nothing is served that nginx guards or runs.
#[tokio::test]
async fn an_import_that_is_refused_in_part_serves_no_more_than_nginx() {
    let gateway = TestGateway::builder();
    let config = "events {} http { server { listen 127.0.0.1:1; root html; location / { }\n\
                  location ~ \\.php$ { fastcgi_pass a; }\n\
                  location /a { if ($http_user_agent ~ bad) { return 403; } } location = /b { return 200 b; } } }";
    fs::write(gateway.dir().join("nginx.conf"), config).unwrap();
    let made = portcullis_in(gateway.dir(), ["import", "nginx.conf"]).await;
    assert_eq!(made.code, Some(1), "{}", made.stderr);
    assert!(made.stderr.contains("nginx.conf:2: refused `fastcgi_pass`"), "{}", made.stderr);
    fs::create_dir(gateway.dir().join("html")).unwrap();
    fs::write(gateway.dir().join("html/index.php"), "<? secret ?>").unwrap();
    let gateway = gateway.start(&made.stdout.replace("127.0.0.1:1", "127.0.0.1:0")).await;
    let mut client = TestClient::h1(gateway.address("port-1")).await;
    for (path, status) in [("/index.php", 503), ("/a", 503), ("/a/x", 503), ("/b", 200)] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn an_import_says_what_it_cannot_read_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("nginx.conf");
    fs::write(&config, "http { server { listen 80;\n").unwrap();
    let made = portcullis_in(dir.path(), ["import", "nginx.conf"]).await;
    assert_eq!((made.code, &*made.stdout), (Some(2), ""));
    assert!(made.stderr.contains("nginx.conf:2: the file ends inside a block"), "{}", made.stderr);
    fs::write(&config, "server { listen 80; }").unwrap();
    let made = portcullis_in(dir.path(), ["import", "nginx.conf"]).await;
    assert!(made.code == Some(2) && made.stderr.contains("no `http` block"), "{}", made.stderr);
    fs::write(&config, "http { server { listen 80; location / { return 204; } } }").unwrap();
    let made =
        portcullis_in(dir.path(), ["import", "nginx.conf", "--out", "a.toml", "--report", "json"]).await;
    assert_eq!((made.code, &*made.stdout), (Some(0), ""), "{}", made.stderr);
    let report: serde_json::Value = serde_json::from_str(&made.stderr).unwrap();
    assert_eq!((&report["counts"]["converted"], &report["findings"][0]["line"]), (&5.into(), &1.into()));
    let made = portcullis_in(dir.path(), ["import", "nginx.conf", "--out", "a.toml"]).await;
    assert!(made.code == Some(2) && made.stderr.contains("a.toml is there already"), "{}", made.stderr);
}
