//! Things that the tests of this crate share: an authority, certificates, and a listener on loopback.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_model::{Certificate, Listener, Origin, Protocol, TlsServer, TlsVersion};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::{AcceptSettings, Accepted, ConnectionCount, Drain, ListenerState, Tasks, accept_loop, bind};

/// Runs a test as a worker runs.
pub(crate) fn on_worker<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(240), test).await.expect("the test ends in time");
    });
}

/// Waits until `condition` holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Certificate {
        self.issue_with(names, &KeyPair::generate().unwrap(), |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        Certificate {
            cert_path: "site.pem".into(),
            key_path: "site.key".into(),
            cert_pem: params.signed_by(key, &self.0).unwrap().pem().into_bytes(),
            key_pem: key.serialize_pem().into_bytes(),
            origin: Origin::default(),
        }
    }

    /// Returns a client that trusts this authority.
    pub(crate) fn client(
        &self,
        alpn: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

pub(crate) fn tls(certificates: Vec<Certificate>) -> TlsServer {
    TlsServer { certificates, min_version: TlsVersion::V1_2 }
}

pub(crate) fn listener(tls: Option<TlsServer>) -> Listener {
    Listener {
        name: "test".into(),
        address: "127.0.0.1:0".parse().unwrap(),
        protocols: Protocol::ALL.into_iter().collect(),
        tls,
        proxy_protocol: None,
        timeouts: portcullis_model::DownstreamTimeouts::default(),
        limits: portcullis_model::ConnectionLimits::default(),
        public_port: None,
        half_closed: portcullis_model::HalfClosed::default(),
        field_case: portcullis_model::FieldCase::default(),
        origin: Origin::default(),
    }
}

/// A listener that runs, with one socket on this thread.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<ArcSwap<ListenerState>>,
    pub(crate) connections: Arc<ConnectionCount>,
    pub(crate) drain: Drain,
    pub(crate) tasks: Tasks,
    pub(crate) accepting: tokio::task::JoinHandle<()>,
}

/// Starts `listener`, each of whose connections `handle` gets.
pub(crate) fn run<F>(listener: Listener, handle: impl Fn(Accepted) -> F + 'static) -> Running
where
    F: Future<Output = ()> + 'static,
{
    let socket = bind(listener.address, 1).unwrap().remove(0);
    let address = socket.local_addr().unwrap();
    let socket = tokio::net::TcpListener::from_std(socket).unwrap();
    let state = Arc::new(ArcSwap::from_pointee(ListenerState::build(listener, None).unwrap()));
    let (connections, drain, tasks) = (ConnectionCount::new(), Drain::new(), Tasks::new());
    let settings = AcceptSettings {
        state: Arc::clone(&state),
        connections: Arc::clone(&connections),
        drain: drain.signal(),
        tasks: tasks.clone(),
    };
    let handle = Rc::new(handle);
    let accepting = tokio::task::spawn_local(accept_loop(socket, settings, move |accepted| handle(accepted)));
    Running { address, state, connections, drain, tasks, accepting }
}

/// Does a handshake as a client that asks for `host`.
pub(crate) async fn handshake(
    address: SocketAddr,
    host: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = rustls_pki_types::ServerName::try_from(host.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(config).connect(name, tcp).await
}
