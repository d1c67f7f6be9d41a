//! Signatures of images, in both forms that cosign makes.
//!
//! Both sign a small text that names the image's manifest by its digest, so the key, the text's kind and the digest are
//! checked. Texts of other kinds by the same key, for example that an image was scanned, are not signatures of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use portcullis_model::ContentDigest;
use serde::{Deserialize, Serialize};

use super::CosignKey;

/// The type of a text of the first form (cosign, SIGNATURE_SPEC).
const SIMPLE_TYPE: &str = "cosign container image signature";
/// The predicate of a text of the second form: a signature, and nothing else.
const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The media type of one in a registry, whatever its version.
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The form of a text of the second form (in-toto attestation framework).
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A signed text, in the form in which it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Statement {
    form: Form,
    /// The text, in base64.
    text: String,
    /// The signature, in base64.
    signature: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form {
    /// A "simple signing" payload, which is signed unchanged.
    Simple,
    /// An in-toto statement in a DSSE envelope.
    InToto,
}

impl Statement {
    /// Returns one of the first form: a layer of the image's `.sig` tag, and its annotation.
    pub(crate) fn simple(payload: &[u8], signature: &str) -> Self {
        Self { form: Form::Simple, text: BASE64.encode(payload), signature: signature.to_owned() }
    }

    /// Returns whether it is a signature by `key` of the image of that manifest.
    pub(crate) fn vouches(&self, key: &CosignKey, manifest: ContentDigest) -> bool {
        let decode = |text: &str| BASE64.decode(text).ok();
        let (Some(text), Some(signature)) = (decode(&self.text), decode(&self.signature)) else {
            return false;
        };
        match self.form {
            Form::Simple => key.verify(&text, &signature) && says_simply(&text, manifest),
            Form::InToto => key.verify(&pre_authentication(&text), &signature) && states(&text, manifest),
        }
    }
}

/// Returns the signed bytes of a DSSE envelope, which include the type, so that a text cannot be used as one of another
/// type (DSSE protocol).
fn pre_authentication(text: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), text.len()).into_bytes();
    bytes.extend_from_slice(text);
    bytes
}

#[derive(Deserialize)]
struct Simple {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: SimpleImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct SimpleImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

fn says_simply(text: &[u8], manifest: ContentDigest) -> bool {
    let Ok(Simple { critical }) = serde_json::from_slice(text) else { return false };
    critical.kind == SIMPLE_TYPE && critical.image.digest == manifest.to_string()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InToto {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    #[serde(default)]
    sha256: String,
}

fn states(text: &[u8], manifest: ContentDigest) -> bool {
    let Ok(InToto { kind, predicate_type, subject }) = serde_json::from_slice(text) else { return false };
    // A signature has one subject; with several it would be unclear what is meant.
    let [Subject { digest }] = subject.as_slice() else { return false };
    kind.starts_with("https://in-toto.io/Statement/")
        && predicate_type == SIGN_PREDICATE
        && digest.sha256 == manifest.hex()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

/// Returns the statements in a bundle; empty if the bundle contains something else.
pub(crate) fn of_bundle(bytes: &[u8]) -> Vec<Statement> {
    let Ok(Bundle { dsse_envelope }) = serde_json::from_slice(bytes) else { return Vec::new() };
    if dsse_envelope.payload_type != IN_TOTO {
        return Vec::new();
    }
    let signatures = dsse_envelope.signatures.into_iter().take(8);
    signatures
        .map(|EnvelopeSignature { sig }| Statement {
            form: Form::InToto,
            text: dsse_envelope.payload.clone(),
            signature: sig,
        })
        .collect()
}
