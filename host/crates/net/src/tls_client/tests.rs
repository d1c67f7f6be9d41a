use portcullis_model::{UpstreamProtocol, UpstreamTls};

use super::{SystemRoots, TlsClientError, UpstreamTlsContext};
use crate::testing::Authority;

fn refused(tls: &UpstreamTls) -> TlsClientError {
    UpstreamTlsContext::build(tls, UpstreamProtocol::Http1, &SystemRoots::new()).unwrap_err()
}

#[test]
fn says_what_is_wrong_with_a_file_of_authorities() {
    let with = |pem: &[u8]| UpstreamTls {
        server_name: None,
        ca: Some(("ca.pem".into(), pem.to_vec())),
        verify: true,
    };
    for pem in [
        b"".as_slice(),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let error = refused(&with(pem));
        assert!(matches!(error, TlsClientError::Ca { .. }), "{error}");
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}

#[test]
fn refuses_a_server_name_that_is_none() {
    let ca = Some(("ca.pem".into(), Authority::new().pem()));
    let error = refused(&UpstreamTls { server_name: Some("a b".into()), ca, verify: true });
    assert!(matches!(error, TlsClientError::ServerName { ref name } if name == "a b"), "{error}");
}
