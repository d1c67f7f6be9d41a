use std::net::SocketAddr;
use std::time::Duration;

use portcullis_model::{Protocols, UpstreamProtocol, UpstreamTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ConnectError, ConnectErrorKind, Connector, connect_first, host_of};
use crate::testing::{Authority, Running, listener, on_worker, run, tls, until};
use crate::{Accepted, Stream, SystemRoots, UpstreamTlsContext};

const LONG: Duration = Duration::from_secs(120);

fn late() -> tokio::time::Instant {
    tokio::time::Instant::now() + LONG
}

async fn echo(mut accepted: Accepted) {
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = accepted.stream.read(&mut buffer).await {
        if accepted.stream.write_all(&buffer[..length]).await.is_err()
            || accepted.stream.flush().await.is_err()
        {
            return;
        }
    }
}

fn endpoint(authority: &Authority, names: &[&str]) -> Running {
    run(listener(Some(tls(vec![authority.issue(names)]))), echo)
}

fn context(
    ca: Option<&Authority>,
    verify: bool,
    server_name: Option<&str>,
    protocol: UpstreamProtocol,
) -> UpstreamTlsContext {
    let tls = UpstreamTls {
        server_name: server_name.map(Into::into),
        ca: ca.map(|authority| ("ca.pem".into(), authority.pem())),
        verify,
    };
    UpstreamTlsContext::build(&tls, protocol, &SystemRoots::new()).unwrap()
}

async fn connect(running: &Running, tls: &UpstreamTlsContext) -> Result<Stream, ConnectError> {
    Connector::new().connect(&running.address.to_string(), Some(tls), LONG).await
}

async fn echoes(stream: &mut Stream) {
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}

#[test]
fn the_host_is_what_stands_before_the_port() {
    assert_eq!(host_of("a.test:80"), "a.test");
    assert_eq!(host_of("10.0.0.1:80"), "10.0.0.1");
    assert_eq!(host_of("[::1]:80"), "::1");
}

#[test]
fn connects_by_address_and_by_name() {
    on_worker(async {
        let running = run(listener(None), echo);
        for address in [running.address.to_string(), format!("localhost:{}", running.address.port())] {
            let mut stream = Connector::new().connect(&address, None, LONG).await.unwrap();
            assert!(stream.tcp().unwrap().nodelay().unwrap());
            echoes(&mut stream).await;
        }
    });
}

#[test]
fn of_several_addresses_the_first_that_answers_is_taken() {
    on_worker(async {
        let running = run(listener(None), echo);
        let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (tcp, peer, failed) =
            connect_first(&[refused, refused, running.address, refused], late()).await.unwrap();
        assert_eq!((tcp.peer_addr().unwrap(), peer), (running.address, running.address));
        assert_eq!(failed, [refused, refused]);
        let error = connect_first(&[refused, refused], late()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        connect_first(&[], late()).await.unwrap_err();
    });
}

#[test]
fn a_name_leads_to_what_is_chosen_of_its_addresses() {
    on_worker(async {
        let running = run(listener(None), echo);
        let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let found = [refused, running.address];
        let connector = Connector::looking_up(move |_| Ok(found.to_vec()));
        let reversed = |found: &[SocketAddr]| found.iter().rev().copied().collect();
        let connected = connector.connect_to("app.test:1", None, LONG, reversed).await.unwrap();
        assert_eq!((connected.peer, connected.failed), (running.address, vec![]));
        let connected = connector.connect_to("app.test:1", None, LONG, <[_]>::to_vec).await.unwrap();
        assert_eq!((connected.peer, connected.failed), (running.address, vec![refused]));
        let error = connector.connect_to("app.test:1", None, LONG, |_| Vec::new()).await.unwrap_err();
        assert_eq!((error.kind(), error.peer()), (ConnectErrorKind::Forbidden, None));
        assert_eq!(connector.refresh("app.test:1").unwrap().to_vec(), found);
    });
}

#[test]
fn a_peer_is_watched_by_the_operating_system() {
    on_worker(async {
        let running = run(listener(None), echo);
        let stream = Connector::new().connect(&running.address.to_string(), None, LONG).await.unwrap();
        stream.watch_peer(Duration::from_secs(30), Some(Duration::from_secs(60))).unwrap();
        let socket = socket2::SockRef::from(stream.tcp().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(5));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
        stream.allow_standstill().unwrap();
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        assert!(socket.keepalive().unwrap());
    });
}

#[test]
fn says_that_it_was_refused() {
    on_worker(async {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        drop(socket);
        let error = Connector::new().connect(&address, None, LONG).await.unwrap_err();
        assert!(error.is_refused() && error.is_endpoint_fault() && !error.is_timeout(), "{error}");
        assert!(error.to_string().contains(&address), "{error}");
    });
}

#[test]
fn says_that_it_took_too_long() {
    on_worker(async {
        // A peer that accepts, by the kernel's queue, and never answers the handshake.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let tls = context(None, false, None, UpstreamProtocol::Http1);
        let short = Duration::from_millis(20);
        let error = Connector::new().connect(&address, Some(&tls), short).await.unwrap_err();
        assert!(error.is_timeout() && error.is_endpoint_fault(), "{error}");
    });
}

#[test]
fn says_that_a_name_has_no_address() {
    on_worker(async {
        let error = Connector::new().connect("not a name:80", None, LONG).await.unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Dns, "{error}");
    });
}

#[test]
fn an_endpoint_is_believed_by_its_authority_and_name_only() {
    on_worker(async {
        let (ours, others) = (Authority::new(), Authority::new());
        let running = endpoint(&ours, &["127.0.0.1", "api.test"]);
        let http1 = UpstreamProtocol::Http1;
        for tls in [
            context(Some(&ours), true, None, http1),
            context(Some(&ours), true, Some("api.test"), http1),
            context(None, false, Some("nobody.test"), http1),
        ] {
            let mut stream = connect(&running, &tls).await.unwrap();
            echoes(&mut stream).await;
            assert_eq!(stream.alpn(), Some(b"http/1.1".as_slice()));
        }
        for tls in
            [context(Some(&others), true, None, http1), context(Some(&ours), true, Some("b.test"), http1)]
        {
            let error = connect(&running, &tls).await.unwrap_err();
            assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error}");
        }
    });
}

#[test]
fn http2_over_tls_must_be_agreed_on() {
    on_worker(async {
        let authority = Authority::new();
        let tls = context(Some(&authority), true, None, UpstreamProtocol::Http2);
        let stream = connect(&endpoint(&authority, &["127.0.0.1"]), &tls).await.unwrap();
        assert_eq!(stream.alpn(), Some(b"h2".as_slice()));

        let mut without = listener(Some(crate::testing::tls(vec![authority.issue(&["127.0.0.1"])])));
        without.protocols = Protocols::default();
        let error = connect(&run(without, echo), &tls).await.unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error}");
        assert!(error.to_string().contains("h2"), "{error}");
    });
}

/// Checks `is_idle_alive` over a connection from `connect`, whose peer speaks once and then closes.
async fn idle(running: &Running, tls: Option<&UpstreamTlsContext>) {
    let connector = Connector::new();
    let address = running.address.to_string();
    let mut stream = connector.connect(&address, tls, LONG).await.unwrap();
    echoes(&mut stream).await;
    assert!(stream.is_idle_alive());
    assert!(stream.is_idle_alive());
    // An answer without a question.
    stream.write_all(b"unasked").await.unwrap();
    stream.flush().await.unwrap();
    stream.tcp().unwrap().readable().await.unwrap();
    assert!(!stream.is_idle_alive());

    let mut stream = connector.connect(&address, tls, LONG).await.unwrap();
    echoes(&mut stream).await;
    assert!(stream.is_idle_alive());
    running.tasks.abort_all();
    running.tasks.wait_idle().await;
    until(|| running.connections.open() == 0).await;
    stream.tcp().unwrap().readable().await.unwrap();
    assert!(!stream.is_idle_alive());
}

#[test]
fn a_pooled_connection_is_alive_until_it_is_closed_or_speaks_unasked() {
    on_worker(async {
        idle(&run(listener(None), echo), None).await;
        let authority = Authority::new();
        let tls = context(Some(&authority), true, None, UpstreamProtocol::Http1);
        idle(&endpoint(&authority, &["127.0.0.1"]), Some(&tls)).await;
    });
}

/// A certificate that signs itself, as `openssl req -x509` makes it: an authority's and a server's at once.
fn self_signed(
    names: &[&str],
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> portcullis_model::Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    change(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    portcullis_model::Certificate {
        cert_path: "self.pem".into(),
        key_path: "self.key".into(),
        cert_pem: params.self_signed(&key).unwrap().pem().into_bytes(),
        key_pem: key.serialize_pem().into_bytes(),
        origin: portcullis_model::Origin::default(),
    }
}

fn believing(pem: &[u8], server_name: Option<&str>) -> UpstreamTlsContext {
    let tls = UpstreamTls {
        server_name: server_name.map(Into::into),
        ca: Some(("ca.pem".into(), pem.to_vec())),
        verify: true,
    };
    UpstreamTlsContext::build(&tls, UpstreamProtocol::Http1, &SystemRoots::new()).unwrap()
}

#[test]
fn a_certificate_that_is_named_is_believed_for_its_names_and_its_time() {
    on_worker(async {
        let own = self_signed(&["127.0.0.1", "nas.test"], |_| {});
        let running = run(listener(Some(tls(vec![own.clone()]))), echo);
        for name in [None, Some("nas.test")] {
            echoes(&mut connect(&running, &believing(&own.cert_pem, name)).await.unwrap()).await;
        }
        // Beside others in the file.
        let many = [Authority::new().pem(), own.cert_pem.clone()].concat();
        echoes(&mut connect(&running, &believing(&many, None)).await.unwrap()).await;

        let refused = async |context: &UpstreamTlsContext, running: &Running| {
            let error = connect(running, context).await.unwrap_err();
            assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error}");
            error.to_string()
        };
        let text = refused(&believing(&own.cert_pem, Some("other.test")), &running).await;
        assert!(text.contains("not valid for name other.test") && text.contains("nas.test"), "{text}");
        // Another one of the same names is not it.
        let other = self_signed(&["127.0.0.1"], |_| {});
        let text = refused(&believing(&other.cert_pem, None), &running).await;
        assert!(text.contains("an authority's own"), "{text}");

        let past = self_signed(&["127.0.0.1"], |params| {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        });
        let running = run(listener(Some(tls(vec![past.clone()]))), echo);
        let text = refused(&believing(&past.cert_pem, None), &running).await;
        assert!(text.contains("has expired"), "{text}");
        let future =
            self_signed(&["127.0.0.1"], |params| params.not_before = rcgen::date_time_ymd(2999, 1, 1));
        let running = run(listener(Some(tls(vec![future.clone()]))), echo);
        let text = refused(&believing(&future.cert_pem, None), &running).await;
        assert!(text.contains("not valid yet"), "{text}");
    });
}

#[test]
fn what_comes_before_tls_is_up_is_no_answer() {
    on_worker(async {
        // Someone in between, or a plain server: its words stand before the handshake, or in its place.
        for after in ["", "the rest"] {
            let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap().to_string();
            let serving = tokio::task::spawn_local(async move {
                let (mut stream, _) = server.accept().await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged").await.unwrap();
                stream.write_all(after.as_bytes()).await.unwrap();
                // Until the other side has closed.
                while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {}
            });
            let tls = context(None, false, None, UpstreamProtocol::Http1);
            let error = Connector::new().connect(&address, Some(&tls), LONG).await.unwrap_err();
            assert_eq!(error.kind(), ConnectErrorKind::Tls, "{error}");
            assert!(error.to_string().contains("it does not speak TLS"), "{error}");
            serving.await.unwrap();
        }
    });
}
