//! Images and their signatures: from the store, and from their registry if the store lacks them.

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

/// For one manifest, layer or search for signatures, however slowly the registry sends.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(600);
/// Signatures of one image that are checked, of each form.
const SIGNATURES_MAX: usize = 32;
/// Bytes of one signed text, and of a bundle around it.
const SIGNATURE_BYTES_MAX: u64 = 64 << 10;
const BUNDLE_BYTES_MAX: u64 = 256 << 10;
/// The annotation that contains a signature, and the layer that it is for.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The registries of a configuration, and the store before them.
#[derive(Debug)]
pub struct Registries {
    store: Store,
    settings: Vec<Registry>,
    environment: Environment,
    /// The time that one piece may take.
    total: Duration,
    /// Whether no registry is contacted, because none answered before.
    offline: bool,
    /// Made when a registry is first contacted.
    runtime: OnceLock<Result<Runtime, String>>,
}

impl Registries {
    /// Returns the registries. Nothing is opened or contacted before it is needed. The environment is empty unless
    /// [`within`](Self::within) sets it.
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

    /// Returns the same with the proxies and the credential files of `environment`.
    #[must_use]
    pub fn within(self, environment: Environment) -> Self {
        // Not a struct update: what has a `Drop` is not taken apart.
        let mut within = self;
        within.environment = environment;
        within
    }

    /// Returns the same without contacting any registry: content that the store lacks is an error.
    #[must_use]
    pub fn offline(self) -> Self {
        // Not a struct update: what has a `Drop` is not taken apart.
        let mut offline = self;
        offline.offline = true;
        offline
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the digest of the tag of `reference` now. Always contacts the registry.
    ///
    /// # Errors
    /// If the registry does not have it or does not answer.
    pub fn resolve(&self, reference: &OciReference) -> Result<ContentDigest, Error> {
        let registry = self.registry(reference);
        let tag = reference.tag.as_deref().unwrap_or("latest");
        let manifest =
            self.ask(&registry, async { self.client(&registry, reference).manifest(tag).await })?;
        Manifest::parse(&manifest).map_err(|reason| malformed(format!("{reference}"), reason))?;
        Ok(self.store.write(&manifest)?)
    }

    /// Returns the image of that manifest: from the store, and from the registry what is missing there.
    ///
    /// # Errors
    /// If it cannot be fetched, does not match its digest, or contains no plugin.
    pub fn image(&self, reference: &OciReference, manifest: ContentDigest) -> Result<Image, Error> {
        let registry = self.registry(reference);
        // One session, so that it authenticates only once.
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

    /// Returns which of `signers` has signed the image of that manifest: by the signatures in the store, and by those
    /// in the registry if none of these are accepted.
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
        // A file that is not a list of ours counts as an empty one.
        let mut statements: Vec<Statement> =
            kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        if let Some(name) = by(&statements) {
            return Ok(name);
        }
        let registry = self.registry(reference);
        let found =
            self.ask(&registry, async { signatures(&mut self.client(&registry, reference), manifest).await });
        let (found, asked) = match found {
            // The signatures in the store give a better message than an unreachable registry.
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
        // Only accepted signatures are kept: a registry full of others must not fill the folder with them.
        statements.extend(found.into_iter().filter(|statement| vouched_by(&keys, statement, manifest)));
        let text = serde_json::to_vec(&statements).map_err(|error| Error::Local(error.to_string()))?;
        self.store.write_signatures(manifest, &text).map_err(Error::from)?;
        Ok(name)
    }

    fn client<'a>(&'a self, registry: &'a Registry, reference: &'a OciReference) -> Client<'a> {
        Client::new(registry, &reference.repository, &self.environment)
    }

    /// Returns the settings of the registry of `reference`.
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
        // A name look-up that is never answered would block it.
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

/// Returns whether a statement is by one of the keys.
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

/// Returns the signatures of an image that its registry has, in both forms. A broken one is ignored.
async fn signatures(client: &mut Client<'_>, manifest: ContentDigest) -> Result<Vec<Statement>, Error> {
    let mut statements = simple_signatures(client, manifest).await?;
    statements.extend(bundles(client, manifest).await?);
    Ok(statements)
}

/// The first form: an image under a tag that is made of the digest.
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

/// The second form: content that refers to the image, listed by the registry itself or in a list under a tag.
async fn bundles(client: &mut Client<'_>, manifest: ContentDigest) -> Result<Vec<Statement>, Error> {
    let mut statements = Vec::new();
    // A registry older than that list answers in many ways that it has none.
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

/// Content that is missing or malformed does not fail the search for signatures: it only proves nothing.
fn absent(outcome: Result<Vec<u8>, Error>) -> Result<Option<Vec<u8>>, Error> {
    match outcome {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::NotFound { .. } | Error::Digest { .. } | Error::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
