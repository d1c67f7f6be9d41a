//! Plugins out of registries: pinned, kept, and swapped in. That they are signed is in `signatures`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::harness::{
    Answer, Authority, Image, Key, TestClient, TestGateway, TestRegistry, TestUpstream, portcullis_in,
};
use crate::setup::config;

pub(crate) const V1: &[u8] = portcullis_test_guests::VERSION_1;
pub(crate) const V2: &[u8] = portcullis_test_guests::VERSION_2;

/// A config whose only policy is `plugin`. Its store is its own.
pub(crate) fn with_plugin(upstream: SocketAddr, plugin: &str, settings: &str, more: &str) -> String {
    config(upstream, &["version"], &format!("[policies.version]\nplugin = \"{plugin}\"\n{settings}\n{more}"))
        .replace("workers = 2", "workers = 1\ncache-dir = \"cache\"")
}

pub(crate) fn registry_table(registry: &TestRegistry) -> String {
    format!("[registries.test]\nhost = \"{}\"\nplain-http = true\n", registry.address())
}

/// `oci://` with what follows the registry.
pub(crate) fn oci(registry: &TestRegistry, rest: &str) -> String {
    format!("oci://{}/{rest}", registry.address())
}

/// A folder with a config, in which commands run.
pub(crate) struct Folder(pub(crate) tempfile::TempDir);

impl Folder {
    pub(crate) fn new(config: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("portcullis.toml", config);
        folder
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.path().join(path), bytes).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.0.path().join(path)).unwrap()
    }

    /// What a command that succeeds prints.
    pub(crate) async fn succeeds(&self, arguments: &[&str]) -> String {
        succeeds(self.0.path(), arguments).await
    }

    /// What a command that is refused says.
    pub(crate) async fn fails(&self, arguments: &[&str]) -> String {
        fails(self.0.path(), arguments).await
    }

    fn exists(&self, path: &str) -> bool {
        self.0.path().join(path).exists()
    }
}

pub(crate) async fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let ran = portcullis_in(folder, arguments).await;
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

pub(crate) async fn fails(folder: &Path, arguments: &[&str]) -> String {
    let ran = portcullis_in(folder, arguments).await;
    assert_eq!(ran.code, Some(1), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran.stderr
}

/// The files of the plugin store that are at least that large.
fn stored(folder: &Path, bytes_min: u64) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("cache/plugins/sha256")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.metadata().unwrap().len() >= bytes_min).collect()
}

pub(crate) async fn version(gateway: &TestGateway) -> String {
    TestClient::h1(gateway.address("web")).await.get("/").await.header("x-version")
}

#[tokio::test]
async fn a_tag_runs_once_it_is_pinned_and_then_needs_no_registry() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let digest = registry.push("team/version", "1", V1, Image::Artifact);
    let plugin = oci(&registry, "team/version:1");
    let text = with_plugin(upstream.address(), &plugin, "", &registry_table(&registry));
    let gateway = TestGateway::builder();
    let folder = gateway.dir().to_path_buf();
    std::fs::write(folder.join("edge.toml"), &text).unwrap();

    let refusal = fails(&folder, &["validate", "-c", "edge.toml"]).await;
    for expected in [
        "policy `version` has a plugin that is not pinned",
        "there is no portcullis.lock",
        "plugin lock -c edge.toml",
    ] {
        assert!(refusal.contains(expected), "no {expected} in {refusal}");
    }
    assert!(registry.requests().is_empty());

    let said = succeeds(&folder, &["plugins", "lock", "-c", "edge.toml"]).await;
    assert!(said.contains(&format!("+ {plugin}\n    {digest} (wasm, {} bytes)", V1.len())), "{said}");
    let lock = std::fs::read_to_string(folder.join("portcullis.lock")).unwrap();
    assert!(lock.contains(&digest) && lock.contains(&plugin), "{lock}");
    let listed = succeeds(&folder, &["plugins", "list", "-c", "edge.toml", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["stored"], &listed[0]["manifest"]), (&true.into(), &digest.into()));

    drop(registry);
    let again = succeeds(&folder, &["plugins", "lock", "-c", "edge.toml"]).await;
    assert!(again.contains("is unchanged"), "{again}");
    let gateway = gateway.start(&text).await;
    assert_eq!(version(&gateway).await, "v1");
    // The folder is for the gateway alone.
    assert_eq!(std::fs::read_to_string(folder.join("portcullis.lock")).unwrap(), lock);
}

#[tokio::test]
async fn a_digest_in_the_config_needs_no_lock_file() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let digest = registry.push("version", "1", V1, Image::Artifact);
    registry.push("version", "1", V2, Image::Artifact);
    let plugin = oci(&registry, &format!("version:1@{digest}"));
    let gateway =
        TestGateway::start(&with_plugin(upstream.address(), &plugin, "", &registry_table(&registry))).await;
    assert_eq!(version(&gateway).await, "v1");
    assert!(!gateway.dir().join("portcullis.lock").exists());
}

#[tokio::test]
async fn every_form_of_image_loads() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let forms = [
        (Image::Artifact, "wasm"),
        (Image::WasmToOci, "wasm"),
        (Image::Docker, "tar+gzip"),
        (Image::Compat, "tar+gzip"),
        (Image::WithManual, "tar+gzip"),
        (Image::Oras, "wasm"),
        (Image::Index, "wasm"),
        (Image::Zstd, "tar+zstd"),
    ];
    for (image, format) in forms {
        let repository = format!("{image:?}").to_lowercase();
        registry.push(&repository, "1", V1, image);
        let plugin = oci(&registry, &format!("{repository}:1"));
        let folder = Folder::new(&with_plugin(upstream.address(), &plugin, "", &registry_table(&registry)));
        let said = folder.succeeds(&["plugins", "lock"]).await;
        assert!(said.contains(&format!("({format}, {} bytes)", V1.len())), "{image:?}: {said}");
        assert!(folder.succeeds(&["validate"]).await.starts_with("ok"), "{image:?}");
    }
}

#[tokio::test]
async fn a_tampered_layer_is_refused() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    registry.push("version", "1", V1, Image::Artifact);
    let plugin = oci(&registry, "version:1");
    let folder = Folder::new(&with_plugin(upstream.address(), &plugin, "", &registry_table(&registry)));
    registry.tamper_with_blobs(V1.len());
    let refusal = folder.fails(&["plugins", "lock"]).await;
    assert!(
        refusal.contains("is not what it was pinned to") && refusal.contains("portcullis.toml:"),
        "{refusal}"
    );
    assert!(!folder.exists("portcullis.lock") && stored(folder.0.path(), V1.len() as u64).is_empty());

    // Once it was pinned, too.
    registry.tamper_with_blobs(V1.len());
    folder.succeeds(&["plugins", "lock"]).await;
    registry.tamper_with_blobs(V1.len());
    std::fs::remove_dir_all(folder.0.path().join("cache")).unwrap();
    for command in [&["validate"][..], &["plugins", "fetch"]] {
        let refusal = folder.fails(command).await;
        assert!(
            refusal.contains("is not what it was pinned to") && refusal.contains("somebody changed it"),
            "{refusal}"
        );
    }
}

#[tokio::test]
async fn a_corrupted_store_entry_is_fetched_again_and_without_a_registry_is_an_error() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    registry.push("version", "1", V1, Image::Compat);
    let plugin = oci(&registry, "version:1");
    let folder = Folder::new(&with_plugin(upstream.address(), &plugin, "", &registry_table(&registry)));
    folder.succeeds(&["plugins", "lock"]).await;
    let corrupt = || {
        let [layer] = stored(folder.0.path(), 2000).try_into().unwrap();
        let mut bytes = std::fs::read(&layer).unwrap();
        bytes[1000] ^= 1;
        std::fs::write(&layer, bytes).unwrap();
    };
    corrupt();
    let before = registry.requests().len();
    folder.succeeds(&["validate"]).await;
    let asked: Vec<String> =
        registry.requests().split_off(before).iter().map(|request| request.path().to_owned()).collect();
    assert!(asked.len() == 1 && asked[0].contains("/blobs/"), "{asked:?}");

    corrupt();
    drop(registry);
    let refusal = folder.fails(&["validate"]).await;
    for expected in [
        "policy `version` has a plugin that cannot be fetched",
        "cannot be reached",
        "plugin fetch",
        "portcullis.toml:",
    ] {
        assert!(refusal.contains(expected), "no {expected} in {refusal}");
    }
}

#[tokio::test]
async fn an_unreachable_registry_stops_a_start_and_leaves_what_runs() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let digest = registry.push("version", "1", V1, Image::Artifact);
    let text = |digest: &str| {
        let plugin = oci(&registry, &format!("version@{digest}"));
        with_plugin(upstream.address(), &plugin, "", &registry_table(&registry))
    };
    let (first, other) = (text(&digest), text(&format!("sha256:{}", "0".repeat(64))));
    let gateway = TestGateway::start(&first).await;
    let gone = registry.address();
    drop(registry);
    let refusal = gateway.write_config_and_expect_refusal(&other).await;
    assert!(
        refusal.contains("cannot be reached") && refusal.contains("generation 1 is still running"),
        "{refusal}"
    );
    assert_eq!(version(&gateway).await, "v1");
    // A second plugin of the same registry does not wait as long again.
    let second = format!("oci://{gone}/second@sha256:{}", "1".repeat(64));
    let two = other.replace("use = [\"version\"]", "use = [\"version\", \"second\"]");
    let folder = Folder::new(&format!("{two}[policies.second]\nplugin = \"{second}\"\n"));
    let refusal = folder.fails(&["run"]).await;
    for expected in
        ["cannot be reached: ", "cannot be reached: it did not answer a moment ago", "portcullis.toml:"]
    {
        assert!(refusal.contains(expected), "no {expected} in {refusal}");
    }
}

#[tokio::test]
async fn images_are_compared_as_files_are() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let old = registry.push("version", "1", V1, Image::Artifact);
    let new = registry.push("version", "2", V2, Image::Docker);
    let [one, two] = ["version:1", "version:2"].map(|name| oci(&registry, name));
    let pinned = oci(&registry, &format!("version@{old}"));
    let folder = Folder::new(&with_plugin(upstream.address(), &one, "", &registry_table(&registry)));
    folder.write("v1.wasm", V1);
    let diff = async |old: &str, new: &str, more: &[&str]| {
        portcullis_in(folder.0.path(), [&["diff", old, new], more].concat()).await
    };
    let ran = diff(&one, &two, &[]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    for expected in [format!("{one}@{old} -> {two}@{new}"), "signature     not checked".to_owned()] {
        assert!(ran.stdout.contains(&expected), "no {expected:?} in:\n{}", ran.stdout);
    }
    let ran = diff(&one, &two, &["--json", "-c", "portcullis.toml"]).await;
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&json["old"]["manifest"], &json["new"]["manifest"]),
        (&old.as_str().into(), &new.as_str().into())
    );
    assert_eq!((&json["new"]["signature"], &json["same"]), (&"not-checked".into(), &false.into()));
    // However it is named.
    for same in [pinned.as_str(), "v1.wasm"] {
        let ran = diff(&one, same, &[]).await;
        assert!(ran.code == Some(0) && ran.stdout.contains("the same bytes"), "{}{}", ran.stdout, ran.stderr);
    }
    assert!(!folder.exists("portcullis.lock"), "nothing is pinned by looking");

    // What is not what its digest says is not shown, even if an index names it.
    registry.push("version", "3", V2, Image::Artifact);
    registry.tamper_with_blobs(V2.len());
    let missing = oci(&registry, "version:4");
    let three = oci(&registry, "version:3");
    for (name, expected) in
        [(three.as_str(), "is not what it was pinned to"), (&missing, "version:4 cannot be inspected")]
    {
        let ran = diff("v1.wasm", name, &[]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        assert!(ran.stderr.contains(expected), "no {expected:?} in:\n{}", ran.stderr);
    }
}

#[tokio::test]
async fn an_update_of_the_lock_file_is_swapped_in() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let old = registry.push("version", "1", V1, Image::Artifact);
    let plugin = oci(&registry, "version:1");
    let text = with_plugin(upstream.address(), &plugin, "", &registry_table(&registry));
    let builder = TestGateway::builder();
    let folder = builder.dir().to_path_buf();
    std::fs::write(folder.join("edge.toml"), &text).unwrap();
    let lock = async |arguments: &[&str]| {
        succeeds(&folder, &[&["plugins", "lock", "-c", "edge.toml"], arguments].concat()).await
    };
    lock(&[]).await;
    let gateway = builder.start(&text).await;
    assert_eq!(version(&gateway).await, "v1");

    // A tag that moves does nothing by itself.
    let new = registry.push("version", "1", V2, Image::Docker);
    assert!(lock(&[]).await.contains("is unchanged"));
    assert_eq!(gateway.reload().await, 2);
    assert_eq!(version(&gateway).await, "v1");

    let said = lock(&["--update", "version"]).await;
    assert!(said.contains(&format!("~ {plugin}\n    {old} ->\n    {new}")), "{said}");
    gateway
        .wait_for_log("the new version", |line| {
            line.message.contains("policy `version` runs another version")
        })
        .await;
    assert_eq!(version(&gateway).await, "v2");

    let ran = portcullis_in(&folder, ["plugins", "lock", "-c", "edge.toml", "--update", "versoin"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("version ("), "{}", ran.stderr);
}

#[tokio::test]
async fn a_lock_file_that_was_edited_is_refused() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    registry.push("version", "1", V1, Image::Artifact);
    let other = registry.push("version", "2", V2, Image::Artifact);
    let plugin = oci(&registry, "version:1");
    let folder = Folder::new(&with_plugin(upstream.address(), &plugin, "", &registry_table(&registry)));
    folder.succeeds(&["plugins", "lock"]).await;
    let good = folder.read("portcullis.lock");
    let manifest = good.lines().find(|line| line.starts_with("manifest")).unwrap();
    folder.write("portcullis.lock", good.replace(manifest, &format!("manifest = \"{other}\"")));
    let refusal = folder.fails(&["validate"]).await;
    assert!(
        refusal.contains("portcullis.lock says that") && refusal.contains("the lock file was edited by hand"),
        "{refusal}"
    );

    folder.write("portcullis.lock", good.replace("version = 1", "version = 2"));
    let refusal = folder.fails(&["validate"]).await;
    assert!(refusal.contains("--> portcullis.lock:") && refusal.contains("has the form 2"), "{refusal}");
}

#[tokio::test]
async fn who_asks_is_told_to_the_registry_and_to_nobody_else() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    registry.push("version", "1", V1, Image::Artifact);
    registry.ask_for("robot", "pass:word");
    let plugin = oci(&registry, "version:1");
    let anonymous = Folder::new(&with_plugin(upstream.address(), &plugin, "", &registry_table(&registry)));
    let refusal = anonymous.fails(&["plugins", "lock"]).await;
    assert!(refusal.contains("does not let anonymous users read version:1"), "{refusal}");

    // Another server has the blobs, as a storage service would.
    let storage = TestUpstream::h1(|request| {
        let empty = request.header("authorization").is_empty() && request.uri.query() == Some("signature=x");
        Answer::default().status(if empty { 200 } else { 400 }).body(V1)
    })
    .await;
    registry.move_blobs_to(&format!("http://{}", storage.address()));
    let more = format!(
        "{}username = \"robot\"\npassword = \"token\"\n[secrets]\ntoken = {{ file = \"token\" }}\n",
        registry_table(&registry)
    );
    let folder = Folder::new(&with_plugin(upstream.address(), &plugin, "", &more));
    folder.write("token", "wrong\n");
    let refusal = folder.fails(&["plugins", "lock"]).await;
    assert!(
        refusal.contains("does not let user robot read version:1") && !refusal.contains("wrong"),
        "{refusal}"
    );
    folder.write("token", "pass:word\n");
    let before = registry.requests().len();
    folder.succeeds(&["plugins", "lock"]).await;
    assert_eq!(storage.requests().len(), 1);
    // Once to say what the tag stands for, and once for all that is fetched.
    let asked = registry.requests().split_off(before);
    assert_eq!(asked.iter().filter(|request| request.path() == "/token").count(), 2, "{asked:?}");
}

#[tokio::test]
async fn a_registry_leads_nowhere_that_it_should_not() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    registry.push("version", "1", V1, Image::Artifact);
    let plugin = oci(&registry, "version:1");
    let folder = Folder::new(&with_plugin(upstream.address(), &plugin, "", &registry_table(&registry)));
    for (to, expected) in [
        ("http://169.254.169.254", "which has no TLS"),
        ("http://localhost:1", "which has no TLS"),
        ("ftp://127.0.0.1", "which is no address"),
        ("", "one redirect too many"),
    ] {
        registry.move_blobs_to(to);
        let refusal = folder.fails(&["plugins", "lock"]).await;
        assert!(refusal.contains("refers to") && refusal.contains(expected), "{to}: {refusal}");
    }
}

#[tokio::test]
async fn a_registry_has_tls_by_its_own_authority() {
    let upstream = TestUpstream::named("app").await;
    let authority = Authority::new();
    let registry = TestRegistry::start_tls(&authority.issue(&["127.0.0.1"])).await;
    registry.push("version", "1", V1, Image::Artifact);
    let plugin = oci(&registry, "version:1");
    let table = format!("[registries.test]\nhost = \"{}\"\n", registry.address());
    let folder =
        Folder::new(&with_plugin(upstream.address(), &plugin, "", &format!("{table}ca = \"ca.pem\"\n")));
    folder.write("ca.pem", &Authority::new().pem);
    let refusal = folder.fails(&["plugins", "lock"]).await;
    assert!(refusal.contains("cannot be reached") && refusal.contains("tls"), "{refusal}");
    folder.write("ca.pem", &authority.pem);
    folder.succeeds(&["plugins", "lock"]).await;
    folder.succeeds(&["validate"]).await;
}

#[tokio::test]
async fn pins_that_no_config_names_stay_until_they_are_pruned() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    registry.push("version", "1", V1, Image::Artifact);
    registry.push("version", "2", V2, Image::Artifact);
    let text = |tag: &str| {
        with_plugin(
            upstream.address(),
            &oci(&registry, &format!("version:{tag}")),
            "",
            &registry_table(&registry),
        )
    };
    let folder = Folder::new(&text("1"));
    folder.succeeds(&["plugins", "lock"]).await;
    folder.write("portcullis.toml", text("2"));
    let said = folder.succeeds(&["plugins", "lock"]).await;
    assert!(
        said.contains("version:1 is not in this config") && said.contains("2 plugins are pinned"),
        "{said}"
    );
    let said = folder.succeeds(&["plugins", "lock", "--prune"]).await;
    assert!(said.contains("- oci://") && said.contains("1 plugin is pinned"), "{said}");
    let listed = folder.succeeds(&["plugins", "list"]).await;
    assert!(
        listed.contains("version:2") && !listed.contains("version:1") && listed.contains("yes"),
        "{listed}"
    );
}

#[tokio::test]
async fn a_new_version_that_asks_for_more_is_called_out() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    registry.push("version", "1", V1, Image::Artifact);
    let plugin = oci(&registry, "version:1");
    let folder = Folder::new(&with_plugin(upstream.address(), &plugin, "", &registry_table(&registry)));
    folder.succeeds(&["plugins", "lock"]).await;
    registry.push("version", "1", portcullis_test_guests::CAPABILITIES, Image::Artifact);
    let said = folder.succeeds(&["plugins", "lock", "--update"]).await;
    assert!(said.contains("! newly imports `log`, `clock`"), "{said}");
    assert!(folder.fails(&["validate"]).await.contains("wants capabilities that were not granted"));
}

/// The component with a section that is never read, to make it larger.
fn padded(component: &[u8], bytes: usize) -> Vec<u8> {
    let mut padded = component.to_vec();
    // A custom section: its id, its size in LEB128, an empty name.
    padded.push(0);
    let mut size = bytes + 1;
    while size >= 0x80 {
        padded.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    padded.push(size as u8);
    padded.resize(padded.len() + bytes + 1, 0);
    padded
}

#[tokio::test]
async fn the_store_keeps_what_is_named_and_forgets_the_rest() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let plugin = oci(&registry, "version:1");
    let text = with_plugin(upstream.address(), &plugin, "", &registry_table(&registry));
    let folder = Folder::new(&text.replace("cache-dir", "plugin-store-max = \"1MiB\"\ncache-dir"));
    let large = || stored(folder.0.path(), 700 << 10).len();
    for component in [padded(V1, 700 << 10), padded(V2, 700 << 10)] {
        registry.push("version", "1", &component, Image::Artifact);
        folder.succeeds(&["plugins", "lock", "--update"]).await;
    }
    // The command leaves it to the gateway to say what is in use.
    assert_eq!(large(), 2);
    folder.succeeds(&["validate"]).await;
    assert_eq!(large(), 1);
    drop(registry);
    folder.succeeds(&["validate"]).await;
}

#[tokio::test]
async fn a_version_that_is_tried_is_pinned_and_signed_like_any_other() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let key = Key::new();
    let old = registry.push("version", "1", V1, Image::Artifact);
    let new = registry.push("version", "2", V2, Image::Compat);
    registry.sign("version", &old, &key);
    let canary = format!(
        "canary = {{ plugin = \"{}\", match = {{ headers = {{ x-canary = true }} }} }}",
        oci(&registry, "version:2")
    );
    let more = format!("{}[signers.release]\ncosign = \"release.pub\"\n", registry_table(&registry));
    let settings = format!("signed-by = [\"release\"]\n{canary}");
    let text = with_plugin(upstream.address(), &oci(&registry, "version:1"), &settings, &more);
    let builder = TestGateway::builder().file("release.pub", key.public());
    let folder = builder.dir().to_path_buf();
    std::fs::write(folder.join("edge.toml"), &text).unwrap();
    let refusal = fails(&folder, &["plugins", "lock", "-c", "edge.toml"]).await;
    assert!(refusal.contains("version:2: it has no signature") && refusal.contains("1 error"), "{refusal}");
    registry.sign("version", &new, &key);
    let said = succeeds(&folder, &["plugins", "lock", "-c", "edge.toml"]).await;
    assert!(said.contains("2 plugins are pinned"), "{said}");
    drop(registry);
    let gateway = builder.start(&text).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    assert_eq!(client.get("/").await.header("x-version"), "v1");
    assert_eq!(client.get_with("/", &[("x-canary", "1")]).await.header("x-version"), "v2");
}
