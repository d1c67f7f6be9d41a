//! Why TLS with a server failed, in words. Terms of the library that people search for are in brackets.

use std::io;

use portcullis_model::text::one_line;
use rustls::{AlertDescription, CertificateError, Error};

/// Bytes of each name of a certificate that a message shows; its server chose them.
const NAME_BYTES_MAX: usize = 100;

/// Returns what went wrong in a handshake, from the client's side: "it" is the server.
pub(crate) fn describe(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return describe_tls(error);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection in the handshake".to_owned(),
        io::ErrorKind::ConnectionReset => "it reset the connection in the handshake".to_owned(),
        _ => error.to_string(),
    }
}

fn describe_tls(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => describe_certificate(error),
        Error::InvalidMessage(_) => "it does not speak TLS: what it sent is none".to_owned(),
        Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "it has no protocol in common with the gateway (NoApplicationProtocol)".to_owned()
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "it refused the handshake: no common version or cipher, or it wants a client certificate"
                .to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a client certificate".to_owned()
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it does not know the name that it was asked for: set `server-name`".to_owned()
        }
        Error::AlertReceived(alert) => format!("it refused the handshake: {}", words(&format!("{alert:?}"))),
        Error::PeerIncompatible(what) => {
            format!("it speaks no TLS that the gateway does: {}", words(&format!("{what:?}")))
        }
        Error::PeerMisbehaved(what) => {
            format!("it broke the protocol of TLS: {}", words(&format!("{what:?}")))
        }
        other => other.to_string(),
    }
}

fn describe_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or this machine's clock is wrong".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate is not from an authority that is believed (UnknownIssuer): name its authority, or that very certificate, with `ca`"
                .to_owned()
        }
        CertificateError::NotValidForName => {
            "its certificate is not valid for the name that it was asked for: set `server-name`".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = match presented.as_slice() {
                [] => "for none: it needs a subjectAltName".to_owned(),
                names => format!("for {}", names.iter().take(5).map(|name| one_line(name, NAME_BYTES_MAX)).collect::<Vec<_>>().join(", ")),
            };
            format!("its certificate is not valid for name {}, but {names}; set `server-name`", expected.to_str())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers (extended key usage)".to_owned()
        }
        CertificateError::BadEncoding => "its certificate is malformed".to_owned(),
        CertificateError::BadSignature => "its certificate is not signed by its authority".to_owned(),
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "its certificate is an authority's own: name that very certificate with `ca`, or make one with \
                 basicConstraints=CA:FALSE"
                    .to_owned()
            }
            Some(webpki::Error::UnsupportedCertVersion) => {
                "its certificate is of version 1, which carries no names: make one of version 3 with a subjectAltName"
                    .to_owned()
            }
            _ => format!("its certificate cannot be used: {}", words(&other.to_string())),
        },
        other => format!("its certificate cannot be used: {}", words(&format!("{other:?}"))),
    }
}

/// Returns the words of a name such as `NoCipherSuitesInCommon`, without what follows it in brackets.
fn words(name: &str) -> String {
    let name = name.split(['(', '{', ' ']).next().unwrap_or_default();
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase()
            && !words.is_empty()
            && !words.ends_with(|last: char| last.is_ascii_digit())
        {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError, Error, OtherError};

    use super::{describe, words};

    #[test]
    fn no_name_of_a_type_reaches_a_person() {
        let other = |error: webpki::Error| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(std::sync::Arc::new(error))))
        };
        for (error, expected) in [
            (other(webpki::Error::CaUsedAsEndEntity), "is an authority's own"),
            (other(webpki::Error::UnsupportedCertVersion), "of version 1"),
            (other(webpki::Error::MalformedExtensions), "cannot be used: malformed extensions"),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "not from an authority"),
            (
                Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension),
                "unhandled critical extension",
            ),
            (Error::AlertReceived(AlertDescription::InternalError), "refused the handshake: internal error"),
            (
                Error::PeerIncompatible(rustls::PeerIncompatible::NoCipherSuitesInCommon),
                "no cipher suites in common",
            ),
            (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "does not speak TLS"),
        ] {
            let text = describe(&std::io::Error::new(std::io::ErrorKind::InvalidData, error));
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("::") && !text.contains("Other"), "{text}");
        }
    }

    #[test]
    fn names_fall_into_words() {
        assert_eq!(words("Tls12NotOffered"), "tls12not offered");
        assert_eq!(words("NoCipherSuitesInCommon"), "no cipher suites in common");
        assert_eq!(words("Other(OtherError(X))"), "other");
    }
}
