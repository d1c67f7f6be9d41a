//! Load balancers that name the client of a connection in a header in front of it, and servers that want to be told.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use crate::edge::Edge;
use crate::harness::{Authority, RawClient, RawUpstream, TestGateway, TestUpstream, curl, eventually};
use crate::setup::record;

const FROM_LOOPBACK: &str = "proxy-protocol = { from = [\"127.0.0.1\"] }";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 from 203.0.113.8:4712, with a field behind the addresses.
fn v2() -> Vec<u8> {
    let rest =
        [0x21, 0x11, 0, 17, 203, 0, 113, 8, 203, 0, 113, 80, 0x12, 0x68, 0, 80, 0x05, 0, 2, b'i', b'd'];
    [SIGNATURE, &rest].concat()
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n{fields}\r\n")
}

/// Asks for `path`, and returns what the record says of client, peer and load balancer, and the upstream's
/// X-Forwarded-For.
async fn ends(
    gateway: &TestGateway,
    upstream: &TestUpstream,
    client: &mut RawClient,
    path: &str,
    fields: &str,
) -> [String; 4] {
    client.send(get(path, fields)).await;
    assert_eq!(client.read_response().await.status, 200, "{path}");
    let noted = record(gateway, path).await;
    let text = |key: &str| noted[key].as_str().unwrap_or("-").to_owned();
    [text("client"), text("peer"), text("proxy"), upstream.last_request().header("x-forwarded-for")]
}

#[tokio::test]
async fn the_client_is_the_one_that_the_load_balancer_names() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address())
        .server("trusted-proxies = [\"198.51.100.0/24\"]")
        .listener(FROM_LOOPBACK)
        .start()
        .await;
    let address = gateway.address("web");
    let named = ["203.0.113.7", "203.0.113.7", "127.0.0.1", "203.0.113.7"];

    let mut client = RawClient::connect(address).await;
    for byte in b"PROXY TCP4 203.0.113.7 203.0.113.80 4711 80\r\n" {
        client.send([*byte]).await;
    }
    assert_eq!(ends(&gateway, &upstream, &mut client, "/v1", "").await, named);
    // It is that client's connection to its end, and what the client says of others does not count.
    let claims = "X-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n";
    assert_eq!(ends(&gateway, &upstream, &mut client, "/again", claims).await, named);

    let mut client = RawClient::connect(address).await;
    client.send([&v2()[..], get("/v2", "").as_bytes()].concat()).await;
    assert_eq!(client.read_response().await.status, 200);
    assert_eq!(record(&gateway, "/v2").await["client"], "203.0.113.8");

    // Behind the load balancer there is a proxy that is trusted.
    let mut client = RawClient::connect(address).await;
    client.send("PROXY TCP4 198.51.100.9 203.0.113.80 1 80\r\n").await;
    let expected = ["192.0.2.44", "198.51.100.9", "127.0.0.1", "192.0.2.44, 198.51.100.9"];
    let seen = ends(&gateway, &upstream, &mut client, "/cdn", "X-Forwarded-For: 192.0.2.44\r\n").await;
    assert_eq!(seen, expected);

    // A connection of the load balancer's own.
    for (path, header) in
        [("/local", [SIGNATURE, &[0x20, 0, 0, 0]].concat()), ("/unknown", b"PROXY UNKNOWN\r\n".to_vec())]
    {
        let mut client = RawClient::connect(address).await;
        client.send(header).await;
        let expected = ["127.0.0.1", "127.0.0.1", "-", "127.0.0.1"];
        assert_eq!(ends(&gateway, &upstream, &mut client, path, "").await, expected);
    }
}

#[tokio::test]
async fn without_a_whole_and_valid_header_in_time_the_connection_is_closed() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address())
        .listener("proxy-protocol = { from = [\"127.0.0.1\"], timeout = \"300ms\", size = \"300B\" }")
        .start()
        .await;
    let address = gateway.address("web");
    for begun in [
        get("/", "").into_bytes(),
        b"PROXY TCP4 203.0.113.7 203.0.113.80 4711 x\r\n".to_vec(),
        format!("PROXY TCP4 {}", "1".repeat(200)).into_bytes(),
        [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
        [SIGNATURE, &[0x31, 0x11, 0, 12]].concat(),
        // Begun, and never ended.
        Vec::new(),
        b"PROXY TCP4 203".to_vec(),
        v2()[..20].to_vec(),
    ] {
        let mut client = RawClient::connect(address).await;
        client.send(&begun).await;
        assert!(client.try_read_exact(1).await.is_none(), "{begun:?}");
    }
    // A peer that is no load balancer is not asked for a header.
    let mut client = RawClient::connect_from(Ipv4Addr::new(127, 0, 0, 2), address).await;
    let sent = client.try_send([&v2()[..], get("/", "").as_bytes()].concat()).await;
    assert!(sent.is_err() || client.try_read_exact(1).await.is_none());
    assert!(upstream.requests().is_empty());
    let said = gateway.log();
    let warned =
        said.iter().filter(|line| line.message.contains("without a valid header of the PROXY protocol"));
    assert!(warned.count() >= 1);
    // Others are served meanwhile.
    let mut client = RawClient::connect(address).await;
    client.send("PROXY UNKNOWN\r\n").await;
    assert_eq!(ends(&gateway, &upstream, &mut client, "/served", "").await[0], "127.0.0.1");
}

#[tokio::test]
async fn others_are_served_as_they_are_if_the_listener_says_so() {
    let upstream = TestUpstream::named("app").await;
    let gateway = Edge::to(upstream.address())
        .listener("proxy-protocol = { from = [\"127.0.0.1\"], others = \"serve\" }")
        .start()
        .await;
    let (address, other) = (gateway.address("web"), Ipv4Addr::new(127, 0, 0, 2));
    let mut client = RawClient::connect_from(other, address).await;
    let expected = ["127.0.0.2", "127.0.0.2", "-", "127.0.0.2"];
    assert_eq!(ends(&gateway, &upstream, &mut client, "/direct", "").await, expected);
    for header in [&v2()[..], b"PROXY TCP4 203.0.113.7 203.0.113.80 4711 80\r\n"] {
        let mut client = RawClient::connect_from(other, address).await;
        client.send([header, get("/claimed", "").as_bytes()].concat()).await;
        assert_eq!(client.read_response().await.status, 400);
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_header_comes_before_tls() {
    let (upstream, authority) = (TestUpstream::named("app").await, Authority::new());
    let issued = authority.issue(&["gateway.test"]);
    let gateway = Edge::to(upstream.address())
        .file("ca.pem", &authority.pem)
        .file("site.pem", issued.certificate)
        .file("site.key", issued.key)
        .listener(FROM_LOOPBACK)
        .listener("tls.certificates = [{ cert = \"site.pem\", key = \"site.key\" }]")
        .start()
        .await;
    let port = gateway.address("web").port();
    let (ca, resolve) = (gateway.dir().join("ca.pem"), format!("gateway.test:{port}:127.0.0.1"));
    let (ca, url) = (ca.display().to_string(), format!("https://gateway.test:{port}/curl"));
    let fixed = ["--cacert", &ca, "--resolve", &resolve, &url];
    let ran = curl([&["--haproxy-protocol"][..], &fixed].concat()).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "app"), "{}", ran.stderr);
    assert_eq!(record(&gateway, "/curl").await["proxy"], "127.0.0.1");
    assert_ne!(curl(fixed).await.code, Some(0), "without a header there is no handshake");
}

/// Headers of version 2 and requests, by connection.
type Seen = Arc<Mutex<Vec<(Vec<u8>, usize)>>>;

async fn told() -> (RawUpstream, Seen) {
    let seen = Seen::default();
    let own = Arc::clone(&seen);
    let upstream = RawUpstream::start(move |mut connection, _| {
        let own = Arc::clone(&own);
        async move {
            let Some(fixed) = connection.try_read_exact(16).await else { return };
            let mut header = fixed.clone();
            header.extend(connection.read_exact(usize::from(fixed[15])).await);
            let at = {
                let mut seen = own.lock().unwrap();
                seen.push((header, 0));
                seen.len() - 1
            };
            while connection.read_request().await.is_some() {
                own.lock().unwrap()[at].1 += 1;
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (upstream, seen)
}

#[tokio::test]
async fn a_server_is_told_the_client_of_each_connection_which_serves_no_other() {
    let (upstream, seen) = told().await;
    let gateway = Edge::to(upstream.address())
        .one_worker()
        .listener("proxy-protocol = { from = [\"127.0.0.1\"], others = \"serve\" }")
        .upstream("proxy-protocol = \"v2\"")
        .start()
        .await;
    let address = gateway.address("web");
    let (mut named, mut direct) = (
        RawClient::connect(address).await,
        RawClient::connect_from(Ipv4Addr::new(127, 0, 0, 3), address).await,
    );
    named.send(v2()).await;
    for _ in 0..3 {
        for client in [&mut named, &mut direct] {
            client.send(get("/", "")).await;
            assert_eq!(client.read_response().await.status, 200);
        }
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 2, "{seen:?}");
    let relayed = [SIGNATURE, &[0x21, 0x11, 0, 12], &v2()[16..28]].concat();
    assert_eq!(seen[0], (relayed, 3));
    let (header, requests) = &seen[1];
    assert_eq!((&header[16..20], *requests), (&[127, 0, 0, 3][..], 3));
    assert_eq!(header[26..28], address.port().to_be_bytes());
}

#[tokio::test]
async fn a_health_check_says_that_it_is_the_gateways_own() {
    let (upstream, seen) = told().await;
    let _gateway = Edge::to(upstream.address())
        .upstream("proxy-protocol = \"v2\"\nhealth-checks = [{ path = \"/healthz\", interval = \"1s\" }]")
        .start()
        .await;
    let header = eventually("a check", async || seen.lock().unwrap().first().cloned()).await.0;
    assert_eq!(header, [SIGNATURE, &[0x20, 0, 0, 0]].concat());
}
