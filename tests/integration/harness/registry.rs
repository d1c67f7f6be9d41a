//! A registry for images of plugins (OCI distribution specification), and signatures as cosign makes them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use rcgen::{KeyPair, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tls::Issued;
use super::{Answer, Received, TestUpstream};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A registry on a free loopback port, without TLS unless it is started with.
#[derive(Debug)]
pub struct TestRegistry {
    server: TestUpstream,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By path.
    content: BTreeMap<String, (&'static str, Vec<u8>)>,
    /// User and password that are asked for.
    credentials: Option<(String, String)>,
    /// The registry of the blobs, if it is another one.
    blobs_at: Option<String>,
    scheme: &'static str,
}

/// How a plugin is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The CNCF's artifact, as `wkg oci push` makes it.
    Artifact,
    /// As `wasm-to-oci` made it.
    WasmToOci,
    /// As `docker build` makes it.
    Docker,
    /// As `buildah` makes it for Envoy's filters: "compat".
    Compat,
    /// As Higress publishes it: with a manual before it.
    WithManual,
    /// As `oras push` makes it without being told types.
    Oras,
    /// As `docker buildx` makes it with `compression=zstd`.
    Zstd,
    /// Behind an index, with an attestation beside it.
    Index,
}

impl TestRegistry {
    /// Without TLS.
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State { scheme: "http", ..State::default() }));
        let server = TestUpstream::h1(answers(&state)).await;
        Self { server, state }
    }

    /// With TLS.
    pub async fn start_tls(issued: &Issued) -> Self {
        let state = Arc::new(Mutex::new(State { scheme: "https", ..State::default() }));
        let server = TestUpstream::h1_tls(issued, answers(&state)).await;
        Self { server, state }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What it was asked.
    pub fn requests(&self) -> Vec<Received> {
        self.server.requests()
    }

    /// Wants to know who asks from now on.
    pub fn ask_for(&self, user: &str, password: &str) {
        self.state.lock().unwrap().credentials = Some((user.to_owned(), password.to_owned()));
    }

    /// Refers to another server for blobs from now on.
    pub fn move_blobs_to(&self, base: &str) {
        self.state.lock().unwrap().blobs_at = Some(base.to_owned());
    }

    /// Pushes a component under a tag. Gives the digest of the manifest that the tag then stands for.
    pub fn push(&self, repository: &str, tag: &str, component: &[u8], image: Image) -> String {
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let compat = "application/vnd.oci.image.layer.v1.tar+gzip";
        let packed = || gzip(&tar(&[("runtime-config.json", b"{}"), ("plugin.wasm", component)]));
        let layers = match image {
            Image::Artifact | Image::Index => vec![("application/wasm", component.to_vec())],
            Image::WasmToOci => vec![("application/vnd.wasm.content.layer.v1+wasm", component.to_vec())],
            Image::Docker => vec![(docker, gzip(&tar(&[("base", b"x")]))), (docker, packed())],
            Image::Compat => vec![(compat, packed())],
            Image::Zstd => {
                let archive = tar(&[("runtime-config.json", b"{}"), ("plugin.wasm", component)]);
                vec![("application/vnd.oci.image.layer.v1.tar+zstd", zstd::encode_all(&*archive, 3).unwrap())]
            }
            Image::WithManual => {
                vec![
                    ("application/vnd.module.wasm.doc.v1+markdown", b"# manual".to_vec()),
                    (compat, packed()),
                ]
            }
            Image::Oras => vec![("application/vnd.oci.image.layer.v1.tar", component.to_vec())],
        };
        let layers: Vec<Value> = layers
            .into_iter()
            .map(|(kind, bytes)| {
                json!({ "mediaType": kind, "size": bytes.len(), "digest": self.blob(repository, bytes) })
            })
            .collect();
        let config = self.blob(repository, b"{}".to_vec());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.wasm.config.v0+json", "size": 2, "digest": config },
            "layers": layers,
        });
        if image != Image::Index {
            return self.manifest(repository, &[tag], MANIFEST, &manifest);
        }
        let entry = |digest: String, platform: Value| json!({ "mediaType": MANIFEST, "size": 1, "digest": digest, "platform": platform });
        let inner = self.manifest(repository, &[], MANIFEST, &manifest);
        let other = digest_of(b"an attestation");
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
            entry(other, json!({ "os": "unknown", "architecture": "unknown" })),
            entry(inner, json!({ "os": "wasip2", "architecture": "wasm" })),
        ]});
        self.manifest(repository, &[tag], INDEX, &index)
    }

    /// Signs a manifest in cosign's first form: under a tag that its digest gives.
    pub fn sign(&self, repository: &str, digest: &str, key: &Key) {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": "anything" },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "size": payload.len(),
                "annotations": { "dev.cosignproject.cosign/signature": base64(&key.sign(&payload)) },
                "digest": self.blob(repository, payload),
            }],
        });
        self.manifest(repository, &[&format!("{}.sig", digest.replace(':', "-"))], MANIFEST, &manifest);
    }

    /// Signs a manifest in cosign's second form, found by the list of referrers that the registry has, or by that under
    /// a tag if it has none.
    pub fn sign_with_bundle(&self, repository: &str, digest: &str, key: &Key, has_referrers: bool) {
        let kind = "application/vnd.in-toto+json";
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "digest": { "sha256": digest.strip_prefix("sha256:").unwrap() } }],
            "predicateType": "https://sigstore.dev/cosign/sign/v1",
            "predicate": {},
        });
        let statement = statement.to_string();
        let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        let bundle = json!({ "mediaType": BUNDLE, "dsseEnvelope": {
            "payload": base64(statement.as_bytes()),
            "payloadType": kind,
            "signatures": [{ "sig": base64(&key.sign(signed.as_bytes())) }],
        }});
        let bundle = bundle.to_string().into_bytes();
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE, "layers": [{
            "mediaType": BUNDLE, "size": bundle.len(), "digest": self.blob(repository, bundle),
        }]});
        let referrer = self.manifest(repository, &[], MANIFEST, &manifest);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
            { "mediaType": MANIFEST, "size": 1, "digest": referrer, "artifactType": BUNDLE },
        ]});
        if has_referrers {
            self.put(format!("/v2/{repository}/referrers/{digest}"), INDEX, index.to_string().into_bytes());
        } else {
            self.manifest(repository, &[&digest.replace(':', "-")], INDEX, &index);
        }
    }

    /// Changes one byte of everything that is stored there and has that many bytes or more.
    pub fn tamper_with_blobs(&self, bytes_min: usize) {
        let mut state = self.state.lock().unwrap();
        let blobs = state.content.iter_mut().filter(|(path, _)| path.contains("/blobs/"));
        let mut count = 0;
        for (_, (_, bytes)) in blobs.filter(|(_, (_, bytes))| bytes.len() >= bytes_min) {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            count += 1;
        }
        assert!(count > 0);
    }

    fn blob(&self, repository: &str, bytes: Vec<u8>) -> String {
        let digest = digest_of(&bytes);
        self.put(format!("/v2/{repository}/blobs/{digest}"), "application/octet-stream", bytes);
        digest
    }

    fn manifest(&self, repository: &str, tags: &[&str], kind: &'static str, manifest: &Value) -> String {
        let bytes = manifest.to_string().into_bytes();
        let digest = digest_of(&bytes);
        for name in tags.iter().chain([&&*digest]) {
            self.put(format!("/v2/{repository}/manifests/{name}"), kind, bytes.clone());
        }
        digest
    }

    fn put(&self, path: String, kind: &'static str, bytes: Vec<u8>) {
        self.state.lock().unwrap().content.insert(path, (kind, bytes));
    }
}

fn answers(state: &Arc<Mutex<State>>) -> impl Fn(&Received) -> Answer + Send + Sync + 'static {
    let state = Arc::clone(state);
    move |request| state.lock().unwrap().answer(request)
}

impl State {
    fn answer(&self, request: &Received) -> Answer {
        let authorization = request.header("authorization");
        if let Some((user, password)) = &self.credentials {
            if request.path() == "/token" {
                let known =
                    authorization == format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
                let query = request.uri.query().unwrap_or_default();
                let scoped = query.contains("scope=repository%3A")
                    && query.contains("%3Apull")
                    && query.contains("service=test");
                return match known && scoped {
                    true => Answer::text(r#"{"token":"good"}"#),
                    false => Answer::default().status(401),
                };
            }
            if authorization != "Bearer good" {
                let realm = format!("{}://{}/token", self.scheme, request.header("host"));
                return Answer::default()
                    .status(401)
                    .header("www-authenticate", &format!("Bearer realm=\"{realm}\",service=\"test\""));
            }
        }
        if let (Some(base), true) = (&self.blobs_at, request.path().contains("/blobs/")) {
            return Answer::default()
                .status(307)
                .header("location", &format!("{base}{}?signature=x", request.path()));
        }
        match self.content.get(request.path()) {
            Some((kind, bytes)) => Answer::default().header("content-type", kind).body(bytes.clone()),
            None => Answer::text(r#"{"errors":[{"code":"NOT_FOUND"}]}"#).status(404),
        }
    }
}

/// A key of cosign's.
#[derive(Debug)]
pub struct Key(KeyPair);

impl Key {
    /// A new one.
    pub fn new() -> Self {
        Self(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap())
    }

    /// The public one, as `cosign.pub` has it.
    pub fn public(&self) -> String {
        self.0.public_key_pem()
    }

    /// A signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).unwrap()
    }
}

/// The digest of content as registries write it.
fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Base64 (RFC 4648).
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place)) & 63];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
