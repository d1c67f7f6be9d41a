//! Images and their signatures: from the store, and from their registry what the store lacks.

use std::sync::OnceLock;
use std::time::Duration;

use portcullis_model::{ContentDigest, Name, OciReference, Registry, Signer, SignerKey};
use tokio::runtime::Runtime;

use crate::client::Client;
use crate::environment::Environment;
use crate::error::{Error, Unverified};
use crate::image::Image;
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest, choose_image, choose_layer};
use crate::signature::{BUNDLE, CosignKey, Statement, of_bundle};
use crate::store::Store;
use crate::{COMPONENT_BYTES_MAX, layer};

/// One manifest, layer or look for signatures, however slowly the registry sends.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(600);
/// Signatures of one image that are looked at, of each form.
const SIGNATURES_MAX: usize = 32;
/// Bytes of one signed text, and of a bundle around it.
const SIGNATURE_BYTES_MAX: u64 = 64 << 10;
const BUNDLE_BYTES_MAX: u64 = 256 << 10;
/// The annotation that holds a signature, and the layer that it is of.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The registries of a configuration, and the store before them.
#[derive(Debug)]
pub struct Registries {
    store: Store,
    settings: Vec<Registry>,
    environment: Environment,
    /// What one piece may take.
    total: Duration,
    /// Whether no registry is asked, because none answered before.
    offline: bool,
    /// Made when a registry is first asked.
    runtime: OnceLock<Result<Runtime, String>>,
}

impl Registries {
    /// Nothing is opened or asked before it is needed. The environment says nothing, unless it is given by
    /// [`within`](Self::within).
    #[must_use]
    pub fn new(store: Store, settings: &[Registry]) -> Self {
        Self {
            store,
            settings: settings.to_vec(),
            environment: Environment::default(),
            total: TOTAL_TIMEOUT,
            offline: false,
            runtime: OnceLock::new(),
        }
    }

    /// The same by way of the proxies and with the credential files of `environment`.
    #[must_use]
    pub fn within(self, environment: Environment) -> Self {
        // Not a struct update: what has a `Drop` is not taken apart.
        let mut within = self;
        within.environment = environment;
        within
    }

    /// The same without anybody being asked: what the store lacks cannot be had.
    #[must_use]
    pub fn offline(self) -> Self {
        // Not a struct update: what has a `Drop` is not taken apart.
        let mut offline = self;
        offline.offline = true;
        offline
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What the tag of `reference` stands for now. Always asks the registry.
    ///
    /// # Errors
    /// If the registry cannot say.
    pub fn resolve(&self, reference: &OciReference) -> Result<ContentDigest, Error> {
        let registry = self.registry(reference);
        let tag = reference.tag.as_deref().unwrap_or("latest");
        let manifest =
            self.ask(&registry, async { self.client(&registry, reference).manifest(tag).await })?;
        Manifest::parse(&manifest).map_err(|reason| malformed(format!("{reference}"), reason))?;
        Ok(self.store.write(&manifest)?)
    }

    /// The image of that manifest: from the store, and from the registry what is not there.
    ///
    /// # Errors
    /// If it cannot be had, is not what it is pinned to, or holds no plugin.
    pub fn image(&self, reference: &OciReference, manifest: ContentDigest) -> Result<Image, Error> {
        let registry = self.registry(reference);
        // One conversation, so that it has to say but once who asks.
        let client = self.client(&registry, reference);
        let mut source = Source { registries: self, registry: &registry, client, reference };
        let broken = |reason: String| malformed(format!("the manifest of {reference}"), reason);
        let image = |reason: String| Error::Image { reason: format!("{reference} {reason}") };
        let mut parsed = Manifest::parse(&source.manifest(manifest)?).map_err(broken)?;
        if let Manifest::Index(images) = &parsed {
            let chosen = choose_image(images).map_err(image)?.digest().map_err(broken)?;
            parsed = Manifest::parse(&source.manifest(chosen)?).map_err(broken)?;
        }
        let Manifest::Image(layers) = &parsed else {
            return Err(broken("it is an index of indexes".to_owned()));
        };
        let chosen = choose_layer(layers).map_err(image)?;
        let layer = chosen.digest().map_err(broken)?;
        let bytes = source.layer(layer, chosen.size)?;
        let (format, component) = layer::component(bytes).map_err(image)?;
        Ok(Image { manifest, layer, format, component })
    }

    /// Who of `signers` has signed the image of that manifest: by the signatures in the store, and by those in the
    /// registry if none of these count.
    ///
    /// # Errors
    /// If none has.
    pub fn verify(
        &self,
        reference: &OciReference,
        manifest: ContentDigest,
        signers: &[Signer],
    ) -> Result<Name, Unverified> {
        let keys = keys(signers)?;
        let by = |statements: &[Statement]| {
            let counts = |(_, key): &&(&Name, CosignKey)| {
                statements.iter().any(|statement| statement.vouches(key, manifest))
            };
            keys.iter().find(counts).map(|(name, _)| Name::clone(name))
        };
        let kept = self.store.read_signatures(manifest).map_err(Error::from)?;
        // What is no list of ours is as good as none.
        let mut statements: Vec<Statement> =
            kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        if let Some(name) = by(&statements) {
            return Ok(name);
        }
        let registry = self.registry(reference);
        let found =
            self.ask(&registry, async { signatures(&mut self.client(&registry, reference), manifest).await });
        let (found, asked) = match found {
            // The signatures in the store say more than that the registry does not answer.
            Err(error) if error.is_unreachable() && !statements.is_empty() => (Vec::new(), false),
            outcome => (outcome?, true),
        };
        let count =
            statements.len() + found.iter().filter(|statement| !statements.contains(statement)).count();
        let name = by(&found).ok_or_else(|| match count {
            0 => Unverified::Missing,
            count => {
                let wanted: Vec<String> = signers.iter().map(|signer| format!("`{}`", signer.name)).collect();
                Unverified::Wrong { count, wanted: wanted.join(" or "), asked }
            }
        })?;
        // Those that count are kept, and no others: a registry that is full of noise must not fill the folder with it.
        statements.extend(found.into_iter().filter(|statement| vouched_by(&keys, statement, manifest)));
        let text = serde_json::to_vec(&statements).map_err(|error| Error::Local(error.to_string()))?;
        self.store.write_signatures(manifest, &text).map_err(Error::from)?;
        Ok(name)
    }

    fn client<'a>(&'a self, registry: &'a Registry, reference: &'a OciReference) -> Client<'a> {
        Client::new(registry, &reference.repository, &self.environment)
    }

    /// How the registry of `reference` is spoken to.
    fn registry(&self, reference: &OciReference) -> Registry {
        let named = self.settings.iter().find(|registry| registry.host == reference.registry);
        named.cloned().unwrap_or_else(|| Registry {
            name: (&*reference.registry).into(),
            host: reference.registry.clone(),
            credentials: None,
            ca: None,
            plain_http: false,
        })
    }

    /// Waits for an answer of a registry.
    fn ask<T>(
        &self,
        registry: &Registry,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if self.offline {
            let reason = "it did not answer a moment ago".to_owned();
            return Err(Error::Unreachable { host: registry.host.to_string(), reason });
        }
        let runtime = self.runtime.get_or_init(|| {
            let builder =
                tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build();
            builder.map_err(|error| format!("no runtime for the network can be had: {error}"))
        });
        let runtime = runtime.as_ref().map_err(|error| Error::Local(error.clone()))?;
        let late = || Error::Unreachable {
            host: registry.host.to_string(),
            reason: format!("not done within {:?}", self.total),
        };
        runtime.block_on(async {
            tokio::time::timeout(self.total, answer).await.unwrap_or_else(|_| Err(late()))
        })
    }
}

impl Drop for Registries {
    fn drop(&mut self) {
        // A look-up of a name that is never answered would hold it up.
        if let Some(Ok(runtime)) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// One image's content.
struct Source<'a> {
    registries: &'a Registries,
    registry: &'a Registry,
    client: Client<'a>,
    reference: &'a OciReference,
}

impl Source<'_> {
    fn manifest(&mut self, digest: ContentDigest) -> Result<Vec<u8>, Error> {
        self.piece(digest, MANIFEST_BYTES_MAX, async |client| client.manifest_by_digest(digest).await)
    }

    fn layer(&mut self, digest: ContentDigest, size: u64) -> Result<Vec<u8>, Error> {
        if size > COMPONENT_BYTES_MAX {
            let what = format!("the layer of {} ({size} bytes)", self.reference);
            return Err(Error::TooLarge { what, max: COMPONENT_BYTES_MAX });
        }
        self.piece(digest, size, async |client| client.blob(digest, size).await)
    }

    fn piece(
        &mut self,
        digest: ContentDigest,
        bytes_max: u64,
        fetch: impl AsyncFnOnce(&mut Client<'_>) -> Result<Vec<u8>, Error>,
    ) -> Result<Vec<u8>, Error> {
        let store = &self.registries.store;
        if let Some(bytes) = store.read(digest, bytes_max)? {
            return Ok(bytes);
        }
        let bytes = self.registries.ask(self.registry, fetch(&mut self.client))?;
        store.write(&bytes)?;
        Ok(bytes)
    }
}

fn malformed(what: String, reason: String) -> Error {
    Error::Malformed { what, reason }
}

/// Whether a statement is by one of the keys.
fn vouched_by(keys: &[(&Name, CosignKey)], statement: &Statement, manifest: ContentDigest) -> bool {
    keys.iter().any(|(_, key)| statement.vouches(key, manifest))
}

fn keys(signers: &[Signer]) -> Result<Vec<(&Name, CosignKey)>, Unverified> {
    let mut keys = Vec::new();
    for signer in signers {
        match &signer.key {
            SignerKey::Minisign(_) => {}
            SignerKey::Cosign(pem) => {
                let key = CosignKey::parse(pem).map_err(|error| Unverified::Key {
                    signer: signer.name.to_string(),
                    reason: error.reason,
                })?;
                keys.push((&signer.name, key));
            }
        }
    }
    match (keys.is_empty(), signers.first()) {
        (true, Some(first)) => Err(Unverified::FileKey { signer: first.name.to_string() }),
        _ => Ok(keys),
    }
}

/// The signatures of an image that its registry has, in both forms. One that is broken is as good as none.
async fn signatures(client: &mut Client<'_>, manifest: ContentDigest) -> Result<Vec<Statement>, Error> {
    let mut statements = simple_signatures(client, manifest).await?;
    statements.extend(bundles(client, manifest).await?);
    Ok(statements)
}

/// The first form: an image under a tag that the digest gives.
async fn simple_signatures(
    client: &mut Client<'_>,
    manifest: ContentDigest,
) -> Result<Vec<Statement>, Error> {
    let mut statements = Vec::new();
    let Some(bytes) = absent(client.manifest(&format!("sha256-{}.sig", manifest.hex())).await)? else {
        return Ok(statements);
    };
    let Ok(Manifest::Image(layers)) = Manifest::parse(&bytes) else { return Ok(statements) };
    let signed =
        layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING && layer.size <= SIGNATURE_BYTES_MAX);
    for layer in signed.take(SIGNATURES_MAX) {
        let (Some(signature), Ok(digest)) = (layer.annotation(SIGNATURE), layer.digest()) else { continue };
        if let Some(payload) = absent(client.blob(digest, layer.size).await)? {
            statements.push(Statement::simple(&payload, signature));
        }
    }
    Ok(statements)
}

/// The second form: what refers to the image, by the registry's own list or by a list under a tag.
async fn bundles(client: &mut Client<'_>, manifest: ContentDigest) -> Result<Vec<Statement>, Error> {
    let mut statements = Vec::new();
    // A registry of before that list answers in many ways that it has none.
    let listed = match client.referrers(manifest, BUNDLE).await {
        Err(Error::Status { .. } | Error::NotFound { .. }) => None,
        outcome => Some(outcome?),
    };
    let listed = match listed {
        Some(listed) => Some(listed),
        None => absent(client.manifest(&format!("sha256-{}", manifest.hex())).await)?,
    };
    let Some(Ok(Manifest::Index(referrers))) = listed.as_deref().map(Manifest::parse) else {
        return Ok(statements);
    };
    let signed = referrers.iter().filter(|referrer| referrer.artifact_type.as_deref() == Some(BUNDLE));
    for referrer in signed.take(SIGNATURES_MAX) {
        let Ok(digest) = referrer.digest() else { continue };
        let Some(bytes) = absent(client.manifest_by_digest(digest).await)? else { continue };
        let Ok(Manifest::Image(layers)) = Manifest::parse(&bytes) else { continue };
        let bundle =
            layers.first().filter(|layer| layer.media_type == BUNDLE && layer.size <= BUNDLE_BYTES_MAX);
        let Some((layer, Ok(digest))) = bundle.map(|layer| (layer, layer.digest())) else { continue };
        if let Some(bytes) = absent(client.blob(digest, layer.size).await)? {
            statements.extend(of_bundle(&bytes));
        }
    }
    Ok(statements)
}

/// What is not there, or is not what it should be, is no failure of the look for signatures: it only vouches for
/// nothing.
fn absent(outcome: Result<Vec<u8>, Error>) -> Result<Option<Vec<u8>>, Error> {
    match outcome {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::NotFound { .. } | Error::Digest { .. } | Error::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
