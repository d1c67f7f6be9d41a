use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::{LayerFormat, component, extract};

const WASM: &[u8] = b"\0asm\x0d\0\x01\0";

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // As it is, also `..`, which the builder's own functions refuse.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn finds_the_component_in_every_form() {
    assert_eq!(component(WASM.to_vec()), Ok((LayerFormat::Wasm, WASM.to_vec())));
    let archive = tar(&[("runtime-config.json", b"{}"), ("plugin.wasm", WASM), ("other.wasm", b"x")]);
    assert_eq!(component(archive.clone()), Ok((LayerFormat::Tar, WASM.to_vec())));
    assert_eq!(component(gzip(&archive)), Ok((LayerFormat::TarGzip, WASM.to_vec())));
    for name in ["./plugin.wasm", "/plugin.wasm", "a/b/plugin.wasm", "../../plugin.wasm", "auth.wasm"] {
        assert_eq!(component(tar(&[(name, WASM)])), Ok((LayerFormat::Tar, WASM.to_vec())), "{name}");
    }
    // An archive that was packed in pieces.
    let (first, second) = archive.split_at(700);
    let pieces = [gzip(first), gzip(second)].concat();
    assert_eq!(component(pieces), Ok((LayerFormat::TarGzip, WASM.to_vec())));
}

#[test]
fn refuses_none_and_several() {
    let fails = |files: &[(&str, &[u8])]| component(tar(files)).unwrap_err();
    assert_eq!(fails(&[("readme", b"x")]), "has no plugin.wasm in its last layer");
    assert_eq!(
        fails(&[("a/plugin.wasm", WASM), ("b/plugin.wasm", WASM)]),
        "has 2 plugins in its last layer: a plugin is one plugin.wasm"
    );
    assert_eq!(
        fails(&[("a.wasm", WASM), ("b.wasm", WASM)]),
        "has 2 plugins in its last layer: a plugin is one plugin.wasm"
    );
    assert!(component(b"(module)".to_vec()).is_err());
    assert!(component(vec![0x28, 0xb5, 0x2f, 0xfd, 0]).unwrap_err().contains("zstd"));
}

#[test]
fn follows_no_link() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "plugin.wasm", "/etc/passwd").unwrap();
    assert_eq!(component(builder.into_inner().unwrap()).unwrap_err(), "has no plugin.wasm in its last layer");
}

#[test]
fn unpacks_up_to_the_bound_and_no_byte_more() {
    let archive = tar(&[("zeros", &[0; 20_000]), ("plugin.wasm", WASM)]);
    let packed = gzip(&archive);
    assert!(packed.len() * 10 < archive.len());
    let size = archive.len() as u64;
    assert!(extract(packed.clone(), size).is_ok());
    // What follows the component is read to the end as well.
    assert!(extract(packed, 20_000).unwrap_err().contains("it is larger unpacked than any plugin"));
}

#[test]
fn believes_no_size_that_is_not_there() {
    let mut archive = tar(&[("plugin.wasm", &[7; 600])]);
    archive.truncate(512 + 300);
    assert!(component(archive).is_err());
    let mut packed = gzip(&tar(&[("plugin.wasm", &[7; 600])]));
    packed.truncate(packed.len() / 2);
    assert!(component(packed).is_err());
}

proptest! {
    #[test]
    fn takes_any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000), packed in any::<bool>()) {
        if packed {
            bytes = gzip(&bytes);
        }
        let _component = component(bytes);
    }

    #[test]
    fn takes_any_damage(at in 0_usize..3000, byte in any::<u8>(), packed in any::<bool>()) {
        let mut bytes = tar(&[("x", b"y"), ("plugin.wasm", WASM)]);
        if packed {
            bytes = gzip(&bytes);
        }
        let at = at % bytes.len();
        bytes[at] = byte;
        let _component = component(bytes);
    }
}
