//! Whether a file is PEM of the right kind (RFC 7468). Whether TLS can use it is for the TLS library to say.

/// What a PEM file is expected to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Certificates,
    PrivateKey,
}

/// What is wrong with a file: the label and the help.
pub(crate) type PemError = (String, &'static str);

const KEY_LABELS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// Checks that `bytes` hold what is expected, wholly legible.
pub(crate) fn check(bytes: &[u8], expected: Expected) -> Result<(), PemError> {
    if is_pkcs12(bytes) {
        let help = "take the PEM out of it: openssl pkcs12 -in FILE -nodes -out NEW";
        return Err(("it is a PKCS #12 archive (.p12, .pfx), not PEM".into(), help));
    }
    if bytes.starts_with(&[0x30]) {
        let help =
            "convert it: openssl x509 -inform der -in FILE (for a key: openssl pkey -inform der -in FILE)";
        return Err(("it is binary (DER), not PEM".into(), help));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err((
            "it is not text, so it cannot be PEM".into(),
            "PEM begins with a line -----BEGIN ...-----",
        ));
    };
    let labels = blocks(text)?;
    let has = |wanted: &[&str]| labels.iter().any(|label| wanted.contains(label));
    match expected {
        Expected::Certificates if has(&["CERTIFICATE"]) => Ok(()),
        Expected::PrivateKey if has(&KEY_LABELS) => Ok(()),
        Expected::PrivateKey if has(&["ENCRYPTED PRIVATE KEY"]) => Err((
            "the key is encrypted with a passphrase".into(),
            "the gateway cannot ask for it when it starts: decrypt it with openssl pkey -in FILE -out NEW",
        )),
        Expected::Certificates if has(&KEY_LABELS) => Err((
            "it holds a private key, no certificate".into(),
            "perhaps the certificate and the key are swapped",
        )),
        Expected::PrivateKey if has(&["CERTIFICATE"]) => Err((
            "it holds a certificate, no private key".into(),
            "perhaps the certificate and the key are swapped",
        )),
        Expected::Certificates => {
            Err(("it holds no certificate".into(), "PEM of one has a line -----BEGIN CERTIFICATE-----"))
        }
        Expected::PrivateKey => {
            Err(("it holds no private key".into(), "PEM of one has a line -----BEGIN PRIVATE KEY-----"))
        }
    }
}

/// Whether it begins as a PKCS #12 archive does: a sequence that begins with the version 3 (RFC 7292, 4). A
/// certificate begins with another sequence, a private key with the version 0 or 1.
fn is_pkcs12(bytes: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = bytes else { return false };
    let skipped = if *length < 0x80 { 0 } else { usize::from(length & 0x7f) };
    rest.get(skipped..).is_some_and(|inner| inner.starts_with(&[2, 1, 3]))
}

/// The labels of all blocks.
fn blocks(text: &str) -> Result<Vec<&str>, PemError> {
    let mut labels = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(label) = boundary(line, "BEGIN") else { continue };
        let mut body = String::new();
        loop {
            let Some((at, line)) = lines.next() else {
                return Err((
                    format!("its block {label} has no end"),
                    "the file seems to be cut off; copy it again",
                ));
            };
            if boundary(line, "END") == Some(label) {
                break;
            }
            // Old key files have header lines such as `Proc-Type: 4,ENCRYPTED`.
            if line.contains("ENCRYPTED") {
                return Err((
                    "the key is encrypted with a passphrase".into(),
                    "the gateway cannot ask for it when it starts: decrypt it with openssl pkey -in FILE -out NEW",
                ));
            }
            if line.contains(':') {
                continue;
            }
            let line = line.trim();
            if !line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)) {
                return Err((
                    format!("its line {} is not base64", at + 1),
                    "the file is damaged; copy it again",
                ));
            }
            body.push_str(line);
        }
        let padding = body.bytes().rev().take_while(|byte| *byte == b'=').count();
        let inside = body.trim_end_matches('=').contains('=');
        if body.is_empty() || !body.len().is_multiple_of(4) || padding > 2 || inside {
            return Err((format!("its block {label} is not base64"), "the file is damaged; copy it again"));
        }
        labels.push(label);
    }
    Ok(labels)
}

fn boundary<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.trim_end().strip_prefix("-----")?.strip_suffix("-----")?.strip_prefix(word)?.strip_prefix(' ')
}
