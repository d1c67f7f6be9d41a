//! A certificate for localhost, made on the spot.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// For so long a certificate is valid: what clients that bound it accept.
const VALID: Duration = Duration::from_secs(365 * 86_400);

/// Clocks of a client and of this machine may differ by so much.
const CLOCKS_DIFFER: Duration = Duration::from_secs(3600);

/// PEM of an authority, and of a certificate that it signed with its key.
#[derive(Debug)]
pub(crate) struct Made {
    /// For `curl --cacert`.
    pub(crate) authority: String,
    /// For the listener.
    pub(crate) certificate: String,
    /// For the listener.
    pub(crate) key: String,
}

/// Returns a certificate for localhost and the loopback addresses. The authority's key is dropped at once, so that
/// nothing else can be signed with an authority that the user may have added to a browser.
///
/// # Errors
/// If the system gives no random numbers.
pub(crate) fn make() -> anyhow::Result<Made> {
    let make = || -> Result<Made, rcgen::Error> {
        let authority_key = KeyPair::generate()?;
        let mut authority = params("Portcullis demo authority", &[])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_pem = authority.self_signed(&authority_key)?.pem();

        let key = KeyPair::generate()?;
        let mut site = params("localhost", &["localhost", "127.0.0.1", "::1"])?;
        site.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        site.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        site.use_authority_key_identifier_extension = true;
        let certificate = site.signed_by(&key, &Issuer::new(authority, authority_key))?.pem();
        Ok(Made { authority: authority_pem, certificate, key: key.serialize_pem() })
    };
    make().context("the demo's certificate cannot be made")
}

fn params(name: &str, names: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCKS_DIFFER);
    params.not_after = epoch + now + VALID;
    Ok(params)
}

/// Whether a certificate that was written at `written` should be made again: well before it ends.
pub(crate) fn is_old(written: SystemTime) -> bool {
    written.elapsed().map_or(true, |age| age > VALID / 2)
}
