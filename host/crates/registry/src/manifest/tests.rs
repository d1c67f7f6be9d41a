use proptest::prelude::*;
use serde_json::json;

use super::{Manifest, choose_image, choose_layer};

fn digest(letter: &str) -> String {
    format!("sha256:{}", letter.repeat(64))
}

/// Which of the layers, by the letter of its digest.
fn layer(types: &[&str]) -> Result<String, String> {
    let layers: Vec<_> = types
        .iter()
        .zip(["a", "b", "c"])
        .map(|(kind, letter)| json!({ "mediaType": kind, "digest": digest(letter), "size": 1 }))
        .collect();
    let text = json!({ "schemaVersion": 2, "layers": layers }).to_string();
    let Ok(Manifest::Image(layers)) = Manifest::parse(text.as_bytes()) else { panic!("{text}") };
    choose_layer(&layers).map(|layer| layer.digest().unwrap().hex()[..1].to_owned())
}

fn image(platforms: &[&str]) -> Result<String, String> {
    let images: Vec<_> = platforms
        .iter()
        .zip(["a", "b", "c"])
        .map(|(platform, letter)| {
            let (os, architecture) = platform.split_once('/').unwrap();
            json!({
                "mediaType": "x", "digest": digest(letter), "size": 1,
                "platform": { "os": os, "architecture": architecture },
            })
        })
        .collect();
    let text = json!({ "schemaVersion": 2, "manifests": images }).to_string();
    let Ok(Manifest::Index(images)) = Manifest::parse(text.as_bytes()) else { panic!("{text}") };
    choose_image(&images).map(|image| image.digest().unwrap().hex()[..1].to_owned())
}

#[test]
fn finds_the_layer_in_each_form_that_is_pushed() {
    let (oci, docker) =
        ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip");
    for types in [
        &["application/wasm"][..],
        &["application/vnd.wasm.content.layer.v1+wasm"],
        &["application/vnd.module.wasm.content.layer.v1+wasm", "application/vnd.module.wasm.config.v1+json"],
        &[oci],
        &[docker],
        &["application/vnd.oci.image.layer.v1.tar"],
        &["application/vnd.oci.image.layer.v1.tar+zstd"],
        &["application/vnd.docker.image.rootfs.diff.tar.zstd"],
    ] {
        assert_eq!(layer(types).as_deref(), Ok("a"), "{types:?}");
    }
    // With a manual before it, with what another step of a build copied, and beside a component.
    assert_eq!(layer(&["application/vnd.module.wasm.doc.v1+markdown", oci]).as_deref(), Ok("b"));
    assert_eq!(layer(&[docker, docker]).as_deref(), Ok("b"));
    assert_eq!(layer(&[oci, "application/wasm", oci]).as_deref(), Ok("b"));
}

#[test]
fn refuses_what_could_be_read_in_two_ways() {
    assert_eq!(
        layer(&["application/wasm", "application/wasm"]).unwrap_err(),
        "has 2 WebAssembly layers, and a plugin is one"
    );
    assert_eq!(layer(&[]).unwrap_err(), "has no layer");
    assert_eq!(layer(&["text/plain"]).unwrap_err(), "has no layer that could hold a plugin, but text/plain");
    for text in [
        r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#,
        r#"{"schemaVersion":2}"#,
        r#"{"schemaVersion":1,"fsLayers":[]}"#,
        "[]",
        "",
    ] {
        assert!(Manifest::parse(text.as_bytes()).is_err(), "{text}");
    }
}

/// Content has one name. Another algorithm, or the same digest written otherwise, would be a second one.
#[test]
fn takes_no_digest_but_sha_256_in_its_one_form() {
    let named = |digest: &str| {
        let text = json!({ "schemaVersion": 2, "layers": [{ "mediaType": "application/wasm", "digest": digest, "size": 1 }] });
        Manifest::parse(text.to_string().as_bytes()).unwrap().descriptors()[0].digest()
    };
    assert!(named(&digest("a")).is_ok());
    for other in [
        format!("sha512:{}", "a".repeat(128)),
        format!("sha512:{}", "a".repeat(64)),
        format!("sha256:{}", "A".repeat(64)),
        format!("SHA256:{}", "a".repeat(64)),
        format!("sha256:{}", "a".repeat(63)),
        format!("sha256:{}/../{}", "a".repeat(30), "a".repeat(30)),
        "a".repeat(64),
        String::new(),
    ] {
        assert!(named(&other).unwrap_err().contains("is no SHA-256 digest"), "{other}");
    }
}

/// What is wrong with a manifest is said in a line, however long and strange what stands in it.
#[test]
fn says_what_is_wrong_in_one_short_line() {
    let long = format!(r#"{{"schemaVersion":"{}\u001b[31m\n"}}"#, "x".repeat(100_000));
    let error = Manifest::parse(long.as_bytes()).unwrap_err();
    assert!(error.len() < 1000 && !error.contains(char::is_control), "{error}");
}

#[test]
fn takes_the_image_of_an_index_that_is_the_same_on_every_machine() {
    assert_eq!(image(&["linux/arm64", "unknown/unknown"]).as_deref(), Ok("a"));
    assert_eq!(image(&["linux/amd64", "wasi/wasm"]).as_deref(), Ok("b"));
    assert_eq!(image(&["linux/arm64", "linux/amd64"]).as_deref(), Ok("b"));
    assert!(image(&["linux/arm64", "linux/s390x"]).is_err());
    assert!(image(&["wasi/wasm", "js/wasm", "linux/amd64"]).is_err());
    assert!(image(&[]).is_err());
}

proptest! {
    #[test]
    fn takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _manifest = Manifest::parse(&bytes);
    }
}
