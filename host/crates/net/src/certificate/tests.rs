use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_model::Certificate;
use rcgen::KeyPair;

use super::{CertificateError, CertificateWarning, Loaded, load};
use crate::testing::Authority;

fn check(certificate: &Certificate) -> Result<Loaded, CertificateError> {
    load(certificate, &rustls::crypto::aws_lc_rs::default_provider(), SystemTime::now())
}

#[test]
fn reads_the_names() {
    let loaded = check(&Authority::new().issue(&["A.test", "*.b.test"])).unwrap();
    assert_eq!(loaded.names, ["a.test", "*.b.test"]);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn refuses_the_key_of_another_certificate() {
    let authority = Authority::new();
    let mut certificate = authority.issue(&["a.test"]);
    certificate.key_pem = authority.issue(&["a.test"]).key_pem;
    let error = check(&certificate).unwrap_err();
    assert!(matches!(error, CertificateError::Mismatch { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("site.pem") && message.contains("site.key"), "{message}");
}

#[test]
fn refuses_a_key_of_another_kind() {
    let mut certificate = Authority::new().issue(&["a.test"]);
    let rsa = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    certificate.key_pem = rsa.serialize_pem().into_bytes();
    assert!(matches!(check(&certificate).unwrap_err(), CertificateError::Mismatch { .. }));
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let good = Authority::new().issue(&["a.test"]);
    let with_cert = |pem: &[u8]| check(&Certificate { cert_pem: pem.to_vec(), ..good.clone() }).unwrap_err();
    let with_key = |pem: &[u8]| check(&Certificate { key_pem: pem.to_vec(), ..good.clone() }).unwrap_err();
    assert!(matches!(with_cert(b""), CertificateError::NoCertificate { .. }));
    assert!(matches!(with_cert(&good.key_pem), CertificateError::NoCertificate { .. }));
    assert!(matches!(with_cert(b"-----BEGIN CERTIFICATE-----\nAAAA\n"), CertificateError::Pem { .. }));
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(with_cert(garbage), CertificateError::BadCertificate { .. }));
    assert!(matches!(with_key(b"nothing"), CertificateError::NoKey { .. }));
    assert!(matches!(with_key(&good.cert_pem), CertificateError::NoKey { .. }));
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(matches!(with_key(encrypted), CertificateError::EncryptedKey { .. }));
    let garbage = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(matches!(with_key(garbage), CertificateError::BadKey { .. }));
}

#[test]
fn warns_before_and_after_its_time_and_not_within() {
    let key = KeyPair::generate().unwrap();
    let certificate = Authority::new().issue_with(&["a.test"], &key, |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let at = |seconds| {
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        load(&certificate, &provider, now).unwrap().warnings
    };
    let (from, to) = (1_577_836_800, 1_609_459_200);
    let file = std::path::PathBuf::from("site.pem");
    assert_eq!(at(from - 1), [CertificateWarning::NotYetValid { file: file.clone(), seconds: 1 }]);
    assert_eq!(at(from), []);
    assert_eq!(at(to), []);
    assert_eq!(at(to + 1), [CertificateWarning::Expired { file, seconds: 1 }]);
}

#[test]
fn warns_of_a_certificate_without_names() {
    let loaded = check(&Authority::new().issue(&[])).unwrap();
    assert!(matches!(loaded.warnings.as_slice(), [CertificateWarning::NoNames { .. }]));
}
