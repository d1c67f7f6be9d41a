//! Signatures of files and images, checked against keys that the configuration names.
//!
//! Keys only: short-lived certificates (Fulcio) and logs of signatures (Rekor) are not checked. What they would add,
//! who signed and when, is for services that the gateway would have to contact at each start.

mod image;
mod key;

pub(crate) use image::{BUNDLE, Statement, of_bundle};
pub(crate) use key::CosignKey;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minisign_verify::{PublicKey, Signature};
use portcullis_model::{Signer, SignerKey};
use serde::Deserialize;

/// Why a file's signature, or a key, is not accepted. `Display` continues the text after a caret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SignerError {
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub help: String,
}

fn error(reason: impl Into<String>, help: impl Into<String>) -> SignerError {
    SignerError { reason: reason.into(), help: help.into() }
}

/// Checks that `key` can verify signatures.
///
/// # Errors
/// If it cannot, for example because it is a private key.
pub fn check_key(key: &SignerKey) -> Result<(), SignerError> {
    match key {
        SignerKey::Cosign(pem) => CosignKey::parse(pem).map(drop),
        SignerKey::Minisign(text) => minisign_key(text).map(drop),
    }
}

/// Checks that `signer` has signed exactly the bytes `content`; `signature` is the content of the file beside it.
///
/// # Errors
/// If it has not, or the signature is not one.
pub fn verify_file(signer: &Signer, content: &[u8], signature: &[u8]) -> Result<(), SignerError> {
    let text = str::from_utf8(signature)
        .map_err(|_| error("the signature is no text", "copy the signature's file again"))?;
    match &signer.key {
        SignerKey::Minisign(key) => verify_minisign(&minisign_key(key)?, content, text),
        SignerKey::Cosign(pem) => {
            let again = "sign it: cosign sign-blob --key cosign.key --bundle FILE.sig FILE";
            let signature = blob_signature(text)
                .ok_or_else(|| error("the signature is neither base64 nor a bundle of cosign's", again))?;
            if CosignKey::parse(pem)?.verify(content, &signature) {
                Ok(())
            } else {
                Err(error("the file is not what was signed, or it was signed with another key", again))
            }
        }
    }
}

fn minisign_key(text: &str) -> Result<PublicKey, SignerError> {
    let help = "write the line that `minisign -G` shows, RWQ..., or the path of its .pub file";
    // A public one has 56 characters, a secret one 212.
    if text.lines().any(|line| line.starts_with("RW") && line.trim().len() > 100) {
        return Err(error(
            "it is a secret key",
            "name the public one, and make a new pair if others could read this file",
        ));
    }
    let parsed = if text.trim().contains('\n') {
        PublicKey::decode(text.trim())
    } else {
        PublicKey::from_base64(text.trim())
    };
    parsed.map_err(|_| error("it is no public key of minisign", help))
}

fn verify_minisign(key: &PublicKey, content: &[u8], text: &str) -> Result<(), SignerError> {
    use minisign_verify::Error;
    let again = "sign it: minisign -Sm FILE";
    let signature = Signature::decode(text.trim_end())
        .map_err(|_| error("the signature is none of minisign's", again))?;
    // Refuses the legacy form, whose signatures of a file and of a file's hash can be mistaken for each other.
    key.verify(content, &signature, false).map_err(|reason| match reason {
        Error::UnexpectedKeyId => {
            error("it was signed with another key", "name the key of who signed it, or sign it with this one")
        }
        Error::UnsupportedLegacyMode | Error::UnexpectedAlgorithm => {
            error("the signature has minisign's old form", "sign it again with a minisign of 2021 or newer")
        }
        _ => error("the file is not what was signed", again),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlobBundle {
    message_signature: MessageSignature,
}

#[derive(Deserialize)]
struct MessageSignature {
    signature: String,
}

/// Returns the signature in the output of `cosign sign-blob`: base64 (on standard output), or a bundle (`--bundle`).
fn blob_signature(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    if text.starts_with('{') {
        let bundle: BlobBundle = serde_json::from_str(text).ok()?;
        return BASE64.decode(bundle.message_signature.signature).ok();
    }
    BASE64.decode(text).ok()
}

#[cfg(test)]
mod tests;
