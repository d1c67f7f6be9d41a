//! Against what the programs themselves made: cosign 3.1.3 (in both of its forms) and minisign 0.11.

use portcullis_model::{ContentDigest, Origin, Signer, SignerKey};
use proptest::prelude::*;

use super::{CosignKey, Statement, check_key, of_bundle, verify_file};

const COSIGN: &str = include_str!("files/cosign.pub");
const MINISIGN: &str = include_str!("files/minisign.pub");
const SIMPLE: &[u8] = include_bytes!("files/simple.json");
const SIMPLE_SIGNATURE: &str = include_str!("files/simple.sig");
const BUNDLE: &[u8] = include_bytes!("files/bundle.json");
/// Of P-256 too.
const OTHER: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEI7/naiAJ7yArNGg6HGAujSY133zF
eWYoe5ayuSgLMK52VKe8tshu9zFcVfx8uxOBiS0m72uISu2mTiKOloLU3A==
-----END PUBLIC KEY-----
";
/// The file that was signed.
const FILE: &[u8] = b"\0asm\x0d\0\x01\0";

fn image() -> ContentDigest {
    ContentDigest::parse("sha256:b39787d205219c6a76662157bda863cf3dc7cf67f11af33d55edb45ce26ce67b").unwrap()
}

fn cosign(pem: &str) -> Signer {
    Signer { name: "release".into(), key: SignerKey::Cosign(pem.to_owned()), origin: Origin::default() }
}

fn minisign(key: &str) -> Signer {
    Signer { name: "release".into(), key: SignerKey::Minisign(key.to_owned()), origin: Origin::default() }
}

#[test]
fn both_forms_of_cosign_vouch_for_the_image_and_for_no_other() {
    let key = CosignKey::parse(COSIGN).unwrap();
    let other_image = ContentDigest::new([7; 32]);
    let simple = Statement::simple(SIMPLE, SIMPLE_SIGNATURE);
    let [in_toto] = of_bundle(BUNDLE).try_into().unwrap();
    for statement in [simple, in_toto] {
        assert!(statement.vouches(&key, image()), "{statement:?}");
        assert!(!statement.vouches(&key, other_image));
        assert!(!statement.vouches(&CosignKey::parse(OTHER).unwrap(), image()));
    }
}

#[test]
fn a_changed_text_or_signature_vouches_for_nothing() {
    let key = CosignKey::parse(COSIGN).unwrap();
    let mut payload = SIMPLE.to_vec();
    // A blank changes nothing of what it says.
    payload.push(b' ');
    assert!(!Statement::simple(&payload, SIMPLE_SIGNATURE).vouches(&key, image()));
    for signature in ["", "AAAA", "%", SIMPLE_SIGNATURE.trim_end_matches('z')] {
        assert!(!Statement::simple(SIMPLE, signature).vouches(&key, image()), "{signature}");
    }
    // What was signed in one form counts in no other.
    let [in_toto] = of_bundle(BUNDLE).try_into().unwrap();
    let text = serde_json::to_string(&in_toto).unwrap();
    let as_simple: Statement = serde_json::from_str(&text.replace("in-toto", "simple")).unwrap();
    assert!(!as_simple.vouches(&key, image()));
    let kept: Statement = serde_json::from_str(&text).unwrap();
    assert!(kept.vouches(&key, image()));
}

/// A bundle with a statement of ours, signed with a key of ours.
fn bundle(statement: &serde_json::Value) -> (CosignKey, Vec<Statement>) {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let (text, kind) = (statement.to_string(), "application/vnd.in-toto+json");
    let signed = format!("DSSEv1 {} {kind} {} {text}", kind.len(), text.len());
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let bundle = serde_json::json!({ "dsseEnvelope": {
        "payload": encode(text.as_bytes()), "payloadType": kind, "signatures": [{ "sig": encode(signature.as_ref()) }],
    }});
    let key = CosignKey::of_point(pair.public_key().as_ref());
    (key, of_bundle(bundle.to_string().as_bytes()))
}

#[test]
fn what_the_same_key_says_of_an_image_otherwise_is_no_signature() {
    let statement = |predicate: &str, subjects: &[ContentDigest]| {
        let subjects: Vec<_> = subjects
            .iter()
            .map(|digest| serde_json::json!({ "digest": { "sha256": digest.hex() } }))
            .collect();
        serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "subject": subjects, "predicate": {},
        })
    };
    let vouches = |statement: serde_json::Value| {
        let (key, statements) = bundle(&statement);
        statements.iter().any(|statement| statement.vouches(&key, image()))
    };
    let sign = "https://sigstore.dev/cosign/sign/v1";
    assert!(vouches(statement(sign, &[image()])));
    assert!(!vouches(statement("https://cosign.sigstore.dev/attestation/vuln/v1", &[image()])));
    assert!(!vouches(statement(sign, &[])));
    assert!(!vouches(statement(sign, &[ContentDigest::new([1; 32]), image()])));
}

#[test]
fn files_are_what_their_signers_signed() {
    for signature in [&include_bytes!("files/blob.sig")[..], include_bytes!("files/blob-bundle.json")] {
        assert_eq!(verify_file(&cosign(COSIGN), FILE, signature), Ok(()));
        assert!(verify_file(&cosign(COSIGN), b"other", signature).is_err());
        assert!(verify_file(&cosign(OTHER), FILE, signature).is_err());
    }
    let signature = include_bytes!("files/plugin.minisig");
    let key = MINISIGN.lines().last().unwrap();
    for key in [MINISIGN, key] {
        assert_eq!(verify_file(&minisign(key), FILE, signature), Ok(()));
        let error = verify_file(&minisign(key), b"other", signature).unwrap_err();
        assert_eq!(error.reason, "the file is not what was signed");
    }
    let other = "RWTfZ99KTvFhsBXcmOHNWoHPuEtWrHcxXJt8osgnlmsRIfDpStWNLFG6";
    assert_eq!(
        verify_file(&minisign(other), FILE, signature).unwrap_err().reason,
        "it was signed with another key"
    );
    let legacy = include_bytes!("files/legacy.minisig");
    assert_eq!(
        verify_file(&minisign(key), FILE, legacy).unwrap_err().reason,
        "the signature has minisign's old form"
    );
    for signature in [&b""[..], b"\xff", b"RWQ", b"{}"] {
        assert!(verify_file(&minisign(key), FILE, signature).is_err());
        assert!(verify_file(&cosign(COSIGN), FILE, signature).is_err());
    }
}

#[test]
fn keys_are_what_they_should_be() {
    assert_eq!(check_key(&SignerKey::Cosign(COSIGN.to_owned())), Ok(()));
    assert_eq!(check_key(&SignerKey::Minisign(MINISIGN.to_owned())), Ok(()));
    let reason = |key: &SignerKey| check_key(key).unwrap_err().reason;
    let cosign = |text: &str| reason(&SignerKey::Cosign(text.to_owned()));
    assert_eq!(cosign(MINISIGN), "it holds no public key");
    assert_eq!(cosign("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----"), "it is a private key");
    assert_eq!(cosign(&COSIGN.replace("MFkw", "MFk.")), "it is damaged: not base64");
    // Ed25519, as `openssl genpkey` makes it.
    let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    assert_eq!(cosign(ed25519), "it is a key of another kind than ECDSA on P-256");
    let minisign = |text: &str| reason(&SignerKey::Minisign(text.to_owned()));
    assert_eq!(minisign(COSIGN), "it is no public key of minisign");
    assert_eq!(minisign("RWQ"), "it is no public key of minisign");
    let secret = format!("untrusted comment: minisign encrypted secret key\nRWQAAEIy{}=\n", "A".repeat(200));
    assert_eq!(minisign(&secret), "it is a secret key");
}

proptest! {
    #[test]
    fn takes_any_text(text in "\\PC{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _checked = (check_key(&SignerKey::Cosign(text.clone())), check_key(&SignerKey::Minisign(text.clone())));
        let _armour = check_key(&SignerKey::Cosign(format!("-----BEGIN PUBLIC KEY-----{text}-----END PUBLIC KEY-----")));
        let _verified = (verify_file(&cosign(COSIGN), &bytes, text.as_bytes()), verify_file(&minisign(MINISIGN), &bytes, &bytes));
        prop_assert!(of_bundle(&bytes).is_empty());
    }
}
