//! Files of certificates and keys.

pub(crate) mod pem;

use std::path::PathBuf;

use crate::certificates::pem::Expected;
use crate::diagnostic::Report;
use crate::files::read::without_mark;
use crate::files::source::Span;
use crate::loader::Loader;
use crate::syntax::suggest::shown;

/// Bytes of a certificate or key file.
pub(crate) const PEM_BYTES_MAX: u64 = 1 << 20;

/// Reads a PEM file of authorities that was named at `span`, and asks whether TLS can use them.
pub(crate) fn authorities(loader: &mut Loader<'_>, path: &str, span: Span) -> Option<(PathBuf, Vec<u8>)> {
    let (absolute, pem) = pem_file(loader, path, span, Expected::Certificates)?;
    if let Err(reason) = loader.plugins.check_authorities(&pem) {
        let message = format!("the certificate file `{}` is not usable", shown(path));
        let help = "name a PEM file of the authorities that sign the servers' certificates";
        loader.report(Report::new(span, message, reason).help(help));
        return None;
    }
    Some((absolute, pem))
}

/// Reads a PEM file that was named at `span` and checks that it holds what it should.
pub(crate) fn pem_file(
    loader: &mut Loader<'_>,
    path: &str,
    span: Span,
    expected: Expected,
) -> Option<(PathBuf, Vec<u8>)> {
    let what = match expected {
        Expected::Certificates => "certificate file",
        Expected::PrivateKey => "key file",
    };
    let (absolute, bytes) = loader.read(path, span, what, PEM_BYTES_MAX)?;
    let bytes = without_mark(bytes);
    match pem::check(&bytes, expected) {
        Ok(()) => Some((absolute, bytes)),
        Err((label, help)) => {
            let message = format!("the {what} `{}` is not usable", shown(path));
            loader.report(Report::new(span, message, label).help(help));
            None
        }
    }
}
