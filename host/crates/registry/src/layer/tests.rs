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

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// One frame, with that window.
fn zstd_with_window(bytes: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
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
    assert_eq!(component(zstd(&archive)), Ok((LayerFormat::TarZstd, WASM.to_vec())));
    // An archive that was packed in pieces.
    let (first, second) = archive.split_at(700);
    let pieces = [gzip(first), gzip(second)].concat();
    assert_eq!(component(pieces), Ok((LayerFormat::TarGzip, WASM.to_vec())));
    // Frames that are skipped before, between and after, as parallel compressors and indexed archives have them.
    let skipped = |number: u8| vec![0x50 + number, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let frames = [skipped(0), zstd(first), skipped(7), zstd(second), skipped(15)].concat();
    assert_eq!(component(frames), Ok((LayerFormat::TarZstd, WASM.to_vec())));
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
    let size = archive.len() as u64;
    for packed in [gzip(&archive), zstd(&archive)] {
        assert!(packed.len() * 10 < archive.len());
        assert!(extract(packed.clone(), size).is_ok());
        // What follows the component is read to the end as well.
        assert!(extract(packed, 20_000).unwrap_err().contains("it is larger unpacked than any plugin"));
    }
}

/// The two ways to ask for memory that is not there: a few bytes that become a gigabyte, and a frame that says how
/// far it will look back.
#[test]
fn a_bomb_is_met_by_its_bound() {
    let zeros = vec![0; 1 << 20];
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&tar(&[("plugin.wasm", WASM)])[..1024]).unwrap();
    // A file of another name, of a gigabyte.
    let mut header = tar::Header::new_gnu();
    header.set_size(1 << 30);
    header.as_old_mut().name[..5].copy_from_slice(b"zeros");
    header.set_cksum();
    encoder.write_all(header.as_bytes()).unwrap();
    for _ in 0..1024 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    assert!(component(bomb).unwrap_err().contains("it is larger unpacked than any plugin"));
}

#[test]
fn a_window_is_as_large_as_it_may_be_and_no_larger() {
    // Larger than the window that small content would be cut down to.
    let archive = tar(&[("plugin.wasm", WASM)]);
    assert_eq!(component(zstd_with_window(&archive, 27)), Ok((LayerFormat::TarZstd, WASM.to_vec())));
    let error = component(zstd_with_window(&archive, 28)).unwrap_err();
    assert!(error.contains("cannot be unpacked") && error.to_lowercase().contains("memory"), "{error}");
}

#[test]
fn believes_no_size_that_is_not_there() {
    let mut archive = tar(&[("plugin.wasm", &[7; 600])]);
    archive.truncate(512 + 300);
    assert!(component(archive).is_err());
    // Not all alike, or a frame's few bytes would hold all of it.
    let noise: Vec<u8> = (0..6000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for packed in [gzip, zstd].map(|pack| pack(&tar(&[("plugin.wasm", &noise)]))) {
        assert!(component(packed.clone()).is_ok());
        for length in [4, 5, 9, packed.len() / 2, packed.len() - 700] {
            assert!(component(packed[..length].to_vec()).is_err(), "{length}");
        }
    }
}

/// What the fuzzer starts from is what its name says.
#[test]
fn seeds_of_the_fuzzer_reach_what_they_are_for() {
    // Asked when the test runs: a target folder may outlive the checkout that it was filled from.
    let own = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let seeds = std::path::Path::new(&own).join("../../../fuzz/seeds/layer");
    let mut formats = Vec::new();
    for entry in std::fs::read_dir(seeds).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match component(std::fs::read(&path).unwrap()) {
            Ok((format, bytes)) => {
                assert!(name.starts_with(&format!("{format}-")) && bytes == WASM, "{name}: {format}");
                formats.push(format.name());
            }
            Err(error) => assert!(name.starts_with("refused-"), "{name}: {error}"),
        }
    }
    formats.sort_unstable();
    formats.dedup();
    assert_eq!(formats, ["tar", "tar+gzip", "tar+zstd", "wasm"]);
}

proptest! {
    #[test]
    fn takes_any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000), packed in 0..3) {
        match packed {
            1 => bytes = gzip(&bytes),
            2 => bytes = zstd(&bytes),
            _ => {}
        }
        let _component = component(bytes);
    }

    #[test]
    fn takes_any_damage(at in 0_usize..3000, byte in any::<u8>(), packed in 0..3) {
        let mut bytes = tar(&[("x", b"y"), ("plugin.wasm", WASM)]);
        match packed {
            1 => bytes = gzip(&bytes),
            2 => bytes = zstd(&bytes),
            _ => {}
        }
        let at = at % bytes.len();
        bytes[at] = byte;
        let _component = component(bytes);
    }
}
