use std::time::Duration;

use portcullis_model::{ContentDigest, OciReference, Origin, Registry, Signer, SignerKey};
use serde_json::json;

use crate::{Error, LayerFormat, Registries, Store, Unverified};

/// Nothing listens on port 1 of this machine.
fn reference() -> OciReference {
    OciReference {
        registry: "127.0.0.1:1".into(),
        repository: "team/auth".into(),
        tag: Some("1".into()),
        digest: None,
    }
}

fn registries(dir: &tempfile::TempDir) -> Registries {
    let settings = Registry {
        name: "test".into(),
        host: "127.0.0.1:1".into(),
        credentials: None,
        ca: None,
        plain_http: true,
    };
    Registries::new(Store::new(dir.path()), &[settings])
}

fn put(registries: &Registries, layer: &[u8], size: usize) -> ContentDigest {
    let layer = registries.store().write(layer).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "layers": [{ "mediaType": "application/wasm", "digest": layer.to_string(), "size": size }],
    });
    registries.store().write(manifest.to_string().as_bytes()).unwrap()
}

#[test]
fn an_image_that_is_stored_needs_no_registry() {
    let dir = tempfile::tempdir().unwrap();
    let registries = registries(&dir);
    let manifest = put(&registries, b"\0asm1234", 8);
    let image = registries.image(&reference(), manifest).unwrap();
    assert_eq!((image.format, &*image.component), (LayerFormat::Wasm, &b"\0asm1234"[..]));
    let locked = image.lock(&reference());
    assert_eq!((locked.manifest, locked.size, &*locked.format), (manifest, 8, "wasm"));
    // No runtime was made, so no request can have been sent.
    assert!(registries.runtime.get().is_none());
}

#[test]
fn what_is_missing_damaged_or_larger_than_it_was_said_to_be_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let registries = registries(&dir);
    let missing = registries.image(&reference(), ContentDigest::new([1; 32])).unwrap_err();
    assert!(matches!(&missing, Error::Unreachable { host, .. } if host == "127.0.0.1:1"), "{missing}");
    assert!(missing.is_unreachable() && missing.help().contains("plugin fetch"));
    let offline = Registries::new(Store::new(dir.path()), &[]).offline();
    let unasked = offline.image(&reference(), ContentDigest::new([1; 32])).unwrap_err();
    assert!(
        unasked.to_string().contains("it did not answer a moment ago") && offline.runtime.get().is_none()
    );
    let larger = put(&registries, b"\0asm1234", 7);
    assert!(matches!(registries.image(&reference(), larger), Err(Error::Unreachable { .. })));
    let manifest = put(&registries, b"\0asm1234", 8);
    let layer = crate::digest(b"\0asm1234");
    std::fs::write(dir.path().join("sha256").join(layer.hex()), b"\0asm1235").unwrap();
    assert!(matches!(registries.image(&reference(), manifest), Err(Error::Unreachable { .. })));
    assert!(!registries.store().has(layer));
}

/// A byte now and then is no silence, and an answer all the same that never ends.
#[test]
fn one_that_sends_for_ever_is_not_waited_for() {
    // On a busy machine the time may be over before the server has sent anything: then there must be more of it.
    let times = [300, 3_000, 20_000].map(Duration::from_millis);
    assert!(times.into_iter().any(|total| trickles_within(total) > 2), "it is given up for another reason");
}

/// How many bytes a server could send, one by one, before it was given up after `total`.
fn trickles_within(total: Duration) -> usize {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let trickle = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut sent = 0;
        // A response that comes before its request ends the connection.
        if !matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
            return sent;
        }
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").is_err() {
            return sent;
        }
        // Each read waits for a moment in which nothing comes, until the client has gone.
        while stream.write_all(b" ").is_ok() && !matches!(stream.read(&mut [0; 4096]), Ok(0)) {
            sent += 1;
        }
        sent
    });
    let dir = tempfile::tempdir().unwrap();
    let mut registries = registries(&dir);
    registries.settings[0].host = address.to_string().into();
    registries.total = total;
    let reference = OciReference { registry: address.to_string().into(), ..reference() };
    let error = registries.resolve(&reference).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(error.to_string().contains(&format!("not done within {total:?}")), "{error}");
    drop(registries);
    trickle.join().unwrap()
}

#[test]
fn what_can_hold_no_plugin_is_said_before_anybody_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let registries = registries(&dir);
    let huge = put(&registries, b"x", usize::try_from(crate::COMPONENT_BYTES_MAX).unwrap() + 1);
    assert!(matches!(registries.image(&reference(), huge), Err(Error::TooLarge { .. })));
    let store =
        |manifest: serde_json::Value| registries.store().write(manifest.to_string().as_bytes()).unwrap();
    let empty = store(json!({ "schemaVersion": 2, "layers": [] }));
    let error = registries.image(&reference(), empty).unwrap_err();
    assert_eq!(error.to_string(), "the image oci://127.0.0.1:1/team/auth:1 has no layer");
    let inner = store(json!({ "schemaVersion": 2, "manifests": [] }));
    let outer = store(json!({
        "schemaVersion": 2,
        "manifests": [{ "mediaType": "x", "digest": inner.to_string(), "size": 1 }],
    }));
    assert!(registries.image(&reference(), outer).unwrap_err().to_string().contains("index of indexes"));
    let noise = registries.store().write(b"noise").unwrap();
    assert!(matches!(registries.image(&reference(), noise), Err(Error::Malformed { .. })));
}

#[test]
fn an_image_is_vouched_for_by_what_is_stored_or_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let registries = registries(&dir);
    let signer = |key| Signer { name: "release".into(), key, origin: Origin::default() };
    let cosign = signer(SignerKey::Cosign(include_str!("../signature/files/cosign.pub").to_owned()));
    let image =
        ContentDigest::parse("sha256:b39787d205219c6a76662157bda863cf3dc7cf67f11af33d55edb45ce26ce67b")
            .unwrap();
    let statement = crate::signature::Statement::simple(
        include_bytes!("../signature/files/simple.json"),
        include_str!("../signature/files/simple.sig"),
    );
    registries.store().write_signatures(image, &serde_json::to_vec(&[statement]).unwrap()).unwrap();
    assert_eq!(&*registries.verify(&reference(), image, std::slice::from_ref(&cosign)).unwrap(), "release");
    assert!(registries.runtime.get().is_none());
    // Noise in its place is as good as nothing.
    registries.store().write_signatures(image, b"[noise").unwrap();
    let asked = registries.verify(&reference(), image, &[cosign]);
    assert!(matches!(asked, Err(Unverified::Fetch(Error::Unreachable { .. }))));
    let minisign = signer(SignerKey::Minisign(String::new()));
    assert!(matches!(registries.verify(&reference(), image, &[minisign]), Err(Unverified::FileKey { .. })));
}
