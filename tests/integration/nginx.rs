//! A real web server behind the gateway: nginx, with what its users expect of a proxy.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use hyper::Method;

use crate::edge::{Edge, Http, pattern};
use crate::harness::{RawClient, eventually, tool, within};

/// A running nginx. Dropping it ends it.
struct Nginx {
    child: Child,
    port: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts nginx in `dir` with these lines in its server. Of the ports that are free, another test may take one first:
/// then it tries the next.
async fn nginx(dir: &Path, server: &str) -> Nginx {
    loop {
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{\n\
             access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
             uwsgi_temp_path uwsgi; scgi_temp_path scgi; client_max_body_size 0;\n\
             server {{ listen 127.0.0.1:{port}; root {}; {server} }}\n}}\n",
            dir.display()
        );
        std::fs::write(dir.join("nginx.conf"), config).unwrap();
        let child = Command::new(tool("nginx", "nginx"))
            .args(["-e", "stderr", "-p"])
            .arg(dir)
            .args(["-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut nginx = Nginx { child, port };
        let up = eventually("nginx listens or ends", async || {
            if nginx.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok().then_some(true)
        });
        if within("nginx", up).await {
            return nginx;
        }
    }
}

#[tokio::test]
async fn nginx_serves_files_ranges_and_conditions() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), pattern(3 << 20)).unwrap();
    let nginx = nginx(
        dir.path(),
        "keepalive_requests 5; location = /status { return 200 \"$connection $http_host\"; }",
    )
    .await;
    let gateway = Edge::to(([127, 0, 0, 1], nginx.port).into()).start().await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        let reply = client.get("/file").await;
        assert!(reply.body == pattern(3 << 20), "the file was changed");
        assert!(reply.header("server").starts_with("nginx"));
        let etag = reply.header("etag");
        let reply = client.get_with("/file", &[("if-none-match", &etag)]).await;
        assert_eq!((reply.status, reply.body.len()), (304, 0));
        let reply = client.get_with("/file", &[("range", "bytes=100-199")]).await;
        assert_eq!((reply.status, &reply.body[..]), (206, &pattern(200)[100..]));
        let reply = client.send(Method::HEAD, "/file", &[], "").await;
        assert_eq!((reply.header("content-length"), reply.body.len()), ((3 << 20).to_string(), 0));
        assert_eq!(client.get("/none").await.status, 404);
        // nginx closes each connection after five requests; none is lost by that.
        for _ in 0..23 {
            let reply = client.get_with("/status", &[("host", "site.test")]).await;
            assert!(reply.text().ends_with(" site.test"), "{}", reply.text());
        }
    }
}

#[tokio::test]
async fn nginx_takes_uploads() {
    let dir = tempfile::tempdir().unwrap();
    let nginx = nginx(
        dir.path(),
        "location / { client_body_in_file_only clean; proxy_pass http://127.0.0.1:$server_port/length/; }\n\
         location /length/ { return 200 \"$http_content_length\"; }",
    )
    .await;
    let gateway = Edge::to(([127, 0, 0, 1], nginx.port).into()).start().await;
    for version in [Http::One, Http::Two] {
        let mut client = version.client(&gateway).await;
        for length in [0, 1, 1 << 20] {
            let reply = client.send(Method::POST, "/upload", &[], pattern(length)).await;
            assert_eq!((reply.status, reply.text()), (200, length.to_string()), "{version:?}");
        }
    }
}

#[tokio::test]
async fn nginx_is_told_the_client_by_the_proxy_protocol() {
    for version in ["v1", "v2"] {
        let dir = tempfile::tempdir().unwrap();
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let server = format!(
            "}} server {{ listen 127.0.0.1:{port} proxy_protocol;\n\
             return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port\";"
        );
        let _nginx = nginx(dir.path(), &server).await;
        let gateway = Edge::to(([127, 0, 0, 1], port).into())
            .listener("proxy-protocol = { from = [\"127.0.0.1\"] }")
            .upstream(&format!("proxy-protocol = \"{version}\""))
            .start()
            .await;
        let mut client = RawClient::connect(gateway.address("web")).await;
        client.send("PROXY TCP6 2001:db8::7 2001:db8::80 4711 443\r\n").await;
        for _ in 0..2 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert_eq!(client.read_response().await.text(), "2001:db8::7 4711 443", "{version}");
        }
    }
}
