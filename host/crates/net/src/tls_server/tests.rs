use std::cell::RefCell;
use std::rc::Rc;

use portcullis_model::{Protocol, TlsVersion};
use rcgen::KeyPair;
use rustls::version::{TLS12, TLS13};

use crate::testing::{Authority, handshake, listener, on_worker, run, tls, until};
use crate::{Alpn, ListenerState, TlsInfo, TlsServerError};

const H2: &[u8] = b"h2";
const H1: &[u8] = b"http/1.1";

/// The leaf that a client gets when it asks for `host`.
async fn leaf(
    address: std::net::SocketAddr,
    host: &str,
    config: std::sync::Arc<rustls::ClientConfig>,
) -> Vec<u8> {
    let stream = handshake(address, host, config).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(certificate: &portcullis_model::Certificate) -> Vec<u8> {
    crate::certificate::certificates(&certificate.cert_pem).unwrap()[0].to_vec()
}

#[test]
fn the_certificate_is_the_one_of_the_name_that_the_client_asks_for() {
    on_worker(async {
        let authority = Authority::new();
        let all: &[&str] =
            &["first.test", "other.test", "unknown.test", "b.wild.test", "a.b.wild.test", "wild.test"];
        let first = authority.issue(all);
        let other = authority.issue(&["other.test"]);
        let wild = authority.issue(&["*.wild.test"]);
        // The first certificate carries every name so that the client believes it; only the table's choice is seen.
        let certificates = vec![authority.issue(&["first.test"]), other.clone(), wild.clone()];
        let running =
            run(listener(Some(tls(certificates.clone()))), |accepted| async move { drop(accepted) });
        let client = || authority.client(&[], &[&TLS13]);
        assert_eq!(leaf(running.address, "first.test", client()).await, der(&certificates[0]));
        assert_eq!(leaf(running.address, "other.test", client()).await, der(&other));
        assert_eq!(leaf(running.address, "OTHER.test", client()).await, der(&other));
        assert_eq!(leaf(running.address, "b.wild.test", client()).await, der(&wild));

        let running =
            run(listener(Some(tls(vec![first.clone(), other, wild]))), |accepted| async { drop(accepted) });
        assert_eq!(leaf(running.address, "unknown.test", client()).await, der(&first), "an unknown name");
        assert_eq!(leaf(running.address, "a.b.wild.test", client()).await, der(&first), "two labels");
        assert_eq!(leaf(running.address, "wild.test", client()).await, der(&first), "no label");
    });
}

#[test]
fn of_two_key_types_the_client_gets_one_that_it_can_verify() {
    on_worker(async {
        let authority = Authority::new();
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let (odd, common) =
            (authority.issue_with(&["a.test"], &ed25519, |_| {}), authority.issue(&["a.test"]));
        let running =
            run(listener(Some(tls(vec![odd.clone(), common.clone()]))), |accepted| async { drop(accepted) });

        let client = authority.client(&[], &[&TLS13]);
        assert_eq!(leaf(running.address, "a.test", client).await, der(&odd));
        // One that knows ECDSA only.
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let all = provider.signature_verification_algorithms.mapping;
        let ecdsa = rustls::SignatureScheme::ECDSA_NISTP256_SHA256;
        let at = all.iter().position(|(scheme, _)| *scheme == ecdsa).unwrap();
        provider.signature_verification_algorithms.mapping = &all[at..=at];
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(crate::certificate::certificates(&authority.pem()).unwrap());
        let client = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        assert_eq!(leaf(running.address, "a.test", client.into()).await, der(&common));
    });
}

/// What the server learns of a client with these versions and protocols; the client's error if the handshake fails.
async fn agreed(
    min_version: TlsVersion,
    protocols: &[Protocol],
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> Result<TlsInfo, String> {
    let authority = Authority::new();
    let mut tls = tls(vec![authority.issue(&["a.test"])]);
    tls.min_version = min_version;
    let mut listener = listener(Some(tls));
    listener.protocols = protocols.iter().copied().collect();
    let seen = Rc::new(RefCell::new(None));
    let sink = Rc::clone(&seen);
    let running = run(listener, move |accepted| {
        *sink.borrow_mut() = accepted.tls;
        async {}
    });
    handshake(running.address, "a.test", authority.client(alpn, versions))
        .await
        .map_err(|e| e.to_string())?;
    until(|| seen.borrow().is_some()).await;
    Ok(seen.take().unwrap())
}

#[test]
fn versions_are_agreed_on() {
    on_worker(async {
        let both = &Protocol::ALL;
        let info = agreed(TlsVersion::V1_2, both, &[&TLS12, &TLS13], &[]).await.unwrap();
        assert_eq!((info.version, info.alpn), (TlsVersion::V1_3, None));
        assert_eq!(info.server_name.as_deref(), Some("a.test"));
        assert!(info.cipher.starts_with("TLS_"), "{}", info.cipher);
        let info = agreed(TlsVersion::V1_2, both, &[&TLS12], &[]).await.unwrap();
        assert_eq!(info.version, TlsVersion::V1_2);
        let error = agreed(TlsVersion::V1_3, both, &[&TLS12], &[]).await.unwrap_err();
        assert!(error.contains("ProtocolVersion"), "{error}");
        agreed(TlsVersion::V1_3, both, &[&TLS13], &[]).await.unwrap();
    });
}

#[test]
fn the_strongest_cipher_is_taken_whatever_the_client_names_first() {
    on_worker(async {
        let authority = Authority::new();
        for (version, strongest) in
            [(&TLS13, "TLS_AES_256_GCM_SHA384"), (&TLS12, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
        {
            let seen = Rc::new(RefCell::new(None));
            let sink = Rc::clone(&seen);
            let running = run(listener(Some(tls(vec![authority.issue(&["a.test"])]))), move |accepted| {
                *sink.borrow_mut() = accepted.tls;
                async {}
            });
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            provider.cipher_suites.reverse();
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(crate::certificate::certificates(&authority.pem()).unwrap());
            let client = rustls::ClientConfig::builder_with_provider(provider.into())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            handshake(running.address, "a.test", client.into()).await.unwrap();
            until(|| seen.borrow().is_some()).await;
            let info: TlsInfo = seen.take().unwrap();
            assert_eq!(info.cipher, strongest);
        }
    });
}

#[test]
fn alpn_offers_what_the_listener_speaks() {
    on_worker(async {
        let alpn = async |speaks: &[Protocol], asks: &[&[u8]]| {
            agreed(TlsVersion::V1_2, speaks, &[&TLS13], asks).await.map(|info| info.alpn)
        };
        assert_eq!(alpn(&Protocol::ALL, &[H1, H2]).await, Ok(Some(Alpn::Http2)));
        assert_eq!(alpn(&Protocol::ALL, &[H1]).await, Ok(Some(Alpn::Http1)));
        assert_eq!(alpn(&[Protocol::Http1], &[H2, H1]).await, Ok(Some(Alpn::Http1)));
        let error = alpn(&[Protocol::Http1], &[H2]).await.unwrap_err();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
    });
}

#[test]
fn sessions_are_resumed_in_both_versions() {
    on_worker(async {
        for version in [&TLS12, &TLS13] {
            let authority = Authority::new();
            let running =
                run(listener(Some(tls(vec![authority.issue(&["a.test"])]))), |mut accepted| async move {
                    use tokio::io::AsyncWriteExt;
                    accepted.stream.write_all(b"x").await.unwrap();
                    accepted.stream.shutdown().await.unwrap();
                });
            let client = authority.client(&[], &[version]);
            for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
                use tokio::io::AsyncReadExt;
                let mut stream = handshake(running.address, "a.test", client.clone()).await.unwrap();
                while stream.read(&mut [0; 64]).await.unwrap() > 0 {}
                let kind = stream.get_ref().1.handshake_kind();
                let retried = kind == Some(rustls::HandshakeKind::FullWithHelloRetryRequest);
                assert!(
                    kind == Some(expected) || retried && expected == rustls::HandshakeKind::Full,
                    "{kind:?}"
                );
            }
        }
    });
}

#[test]
fn a_reload_without_new_certificates_keeps_tls_and_one_with_them_does_not() {
    let authority = Authority::new();
    let mut described = listener(Some(tls(vec![authority.issue(&["a.test"])])));
    let first = ListenerState::build(described.clone(), None).unwrap();
    described.limits.connections = 7;
    let second = ListenerState::build(described.clone(), Some(&first)).unwrap();
    let config = |state: &ListenerState| std::sync::Arc::clone(&state.tls().unwrap().config);
    assert!(std::sync::Arc::ptr_eq(&config(&first), &config(&second)));
    assert_eq!(second.listener().limits.connections, 7);
    described.tls = Some(tls(vec![authority.issue(&["a.test"])]));
    let third = ListenerState::build(described.clone(), Some(&second)).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&config(&second), &config(&third)));
    described.tls = Some(tls(vec![]));
    let error = ListenerState::build(described, Some(&second)).unwrap_err();
    assert!(matches!(error, TlsServerError::NoCertificate));
}
