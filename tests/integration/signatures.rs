//! Plugins that must be signed: images with cosign, files with cosign and minisign.

use crate::harness::{Image, Key, TestGateway, TestRegistry, TestUpstream, tool};
use crate::registry::{Folder, V1, V2, oci, registry_table, version, with_plugin};

#[tokio::test]
async fn only_a_signature_by_the_named_key_counts() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let (release, other) = (Key::new(), Key::new());
    let signers = format!("{}[signers.release]\ncosign = \"release.pub\"\n", registry_table(&registry));
    let start = |repository: &str| {
        let digest = registry.push(repository, "1", V1, Image::Compat);
        let plugin = oci(&registry, &format!("{repository}:1"));
        let folder =
            Folder::new(&with_plugin(upstream.address(), &plugin, "signed-by = [\"release\"]", &signers));
        folder.write("release.pub", release.public());
        (digest, folder)
    };

    let (digest, folder) = start("first");
    let refusal = folder.fails(&["plugins", "lock"]).await;
    assert!(refusal.contains("it has no signature") && refusal.contains("cosign sign --key"), "{refusal}");
    registry.sign("first", &digest, &other);
    let refusal = folder.fails(&["plugins", "lock"]).await;
    assert!(refusal.contains("1 signature is there, and none is by `release`"), "{refusal}");
    // By the right key, for another image.
    registry.sign("first", &format!("sha256:{}", "0".repeat(64)), &release);
    assert!(folder.fails(&["plugins", "lock"]).await.contains("none is by `release`"));
    registry.sign("first", &digest, &release);
    assert!(folder.succeeds(&["plugins", "lock"]).await.contains("signed by `release`"));

    for (repository, has_referrers) in [("second", true), ("third", false)] {
        let (digest, folder) = start(repository);
        registry.sign_with_bundle(repository, &digest, &other, has_referrers);
        assert!(folder.fails(&["plugins", "lock"]).await.contains("none is by `release`"));
        registry.sign_with_bundle(repository, &digest, &release, has_referrers);
        assert!(folder.succeeds(&["plugins", "lock"]).await.contains("signed by `release`"));
    }

    // Signatures are kept beside what they sign, and are checked against the key at each start.
    drop(registry);
    folder.succeeds(&["validate"]).await;
    folder.write("release.pub", other.public());
    let refusal = folder.fails(&["validate"]).await;
    for expected in [
        "policy `version` has a plugin that is not signed as it must be",
        "the key of `release` is named at portcullis.toml:",
    ] {
        assert!(refusal.contains(expected), "no {expected} in {refusal}");
    }
}

#[tokio::test]
async fn a_changed_key_is_noticed_and_leaves_what_runs() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let (release, other) = (Key::new(), Key::new());
    let digest = registry.push("version", "1", V1, Image::Artifact);
    registry.sign("version", &digest, &release);
    let plugin = oci(&registry, &format!("version@{digest}"));
    let more = format!("{}[signers.release]\ncosign = \"release.pub\"\n", registry_table(&registry));
    let text = with_plugin(upstream.address(), &plugin, "", &more)
        .replace("cache-dir", "plugins-signed-by = [\"release\"]\ncache-dir");
    let gateway = TestGateway::builder().file("release.pub", release.public()).start(&text).await;
    let refusal = gateway.write_and_expect_refusal("release.pub", other.public()).await;
    assert!(
        refusal.contains("none is by `release`") && refusal.contains("generation 1 is still running"),
        "{refusal}"
    );
    assert_eq!(version(&gateway).await, "v1");
}

#[tokio::test]
async fn files_are_signed_beside_them() {
    let upstream = TestUpstream::named("app").await;
    let key = Key::new();
    let more = "[signers.cosign]\ncosign = \"cosign.pub\"\n[signers.minisign]\nminisign = \"minisign.pub\"\n";
    let text = |signer: &str| {
        let other = if signer == "cosign" { "minisign" } else { "cosign" };
        let more = more.replace(&format!("[signers.{other}]\n{other} = \"{other}.pub\"\n"), "");
        with_plugin(upstream.address(), "version.wasm", &format!("signed-by = [\"{signer}\"]"), &more)
    };
    let folder = Folder::new(&text("cosign"));
    folder.write("version.wasm", V1);
    folder.write("cosign.pub", key.public());
    let refusal = folder.fails(&["validate"]).await;
    assert!(
        refusal.contains("version.wasm.sig cannot be read") && refusal.contains("cosign sign-blob"),
        "{refusal}"
    );
    folder.write("version.wasm.sig", crate::harness::base64(&key.sign(V1)));
    folder.succeeds(&["validate"]).await;
    folder.write("version.wasm", V2);
    let refusal = folder.fails(&["validate"]).await;
    assert!(refusal.contains("is not what was signed"), "{refusal}");

    let minisign = |arguments: &[&str]| {
        let mut command = std::process::Command::new(tool("minisign", "minisign"));
        let output = command.current_dir(folder.0.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    minisign(&["-G", "-W", "-p", "minisign.pub", "-s", "minisign.key"]);
    minisign(&["-S", "-s", "minisign.key", "-m", "version.wasm"]);
    folder.write("portcullis.toml", text("minisign"));
    folder.succeeds(&["validate"]).await;
    folder.write("version.wasm", V1);
    assert!(folder.fails(&["validate"]).await.contains("is not what was signed"));
    minisign(&["-G", "-W", "-f", "-p", "minisign.pub", "-s", "other.key"]);
    assert!(folder.fails(&["validate"]).await.contains("it was signed with another key"));
}

#[tokio::test]
async fn a_file_is_swapped_in_once_its_signature_is_there() {
    let upstream = TestUpstream::named("app").await;
    let key = Key::new();
    let more = "[signers.release]\ncosign = \"release.pub\"\n";
    let text = with_plugin(upstream.address(), "version.wasm", "signed-by = [\"release\"]", more);
    let signature = |bytes: &[u8]| crate::harness::base64(&key.sign(bytes));
    let gateway = TestGateway::builder()
        .file("release.pub", key.public())
        .file("version.wasm", V1)
        .file("version.wasm.sig", signature(V1))
        .start(&text)
        .await;
    let refusal = gateway.write_and_expect_refusal("version.wasm", V2).await;
    assert!(refusal.contains("is not what was signed"), "{refusal}");
    assert_eq!(version(&gateway).await, "v1");
    gateway.write_and_wait("version.wasm.sig", signature(V2)).await;
    assert_eq!(version(&gateway).await, "v2");
}

#[tokio::test]
async fn two_policies_ask_for_two_signers_of_one_image() {
    let (upstream, registry) = (TestUpstream::named("app").await, TestRegistry::start().await);
    let (release, vendor) = (Key::new(), Key::new());
    let digest = registry.push("version", "1", V1, Image::Artifact);
    registry.sign("version", &digest, &release);
    registry.sign_with_bundle("version", &digest, &vendor, true);
    let plugin = oci(&registry, &format!("version@{digest}"));
    let more = format!(
        "[policies.second]\nplugin = \"{plugin}\"\nsigned-by = [\"vendor\"]\n{}\
         [signers.release]\ncosign = \"release.pub\"\n[signers.vendor]\ncosign = \"vendor.pub\"\n",
        registry_table(&registry)
    );
    let text = with_plugin(upstream.address(), &plugin, "signed-by = [\"release\"]", &more)
        .replace("use = [\"version\"]", "use = [\"version\", \"second\"]");
    let folder = Folder::new(&text);
    folder.write("release.pub", release.public());
    folder.write("vendor.pub", vendor.public());
    folder.succeeds(&["plugins", "fetch"]).await;
    drop(registry);
    folder.succeeds(&["validate"]).await;
}
