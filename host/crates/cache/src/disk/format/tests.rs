use proptest::prelude::*;

use super::{Meta, block_checksum, body_start, decode_sums};
use crate::store::key::Key;

fn meta(head_max: usize) -> Meta {
    Meta {
        key: Key::new(b"https://host/a\nroute", 0..14),
        variant: b"gzip"[..].into(),
        tags: vec![b"red"[..].into(), b""[..].into()],
        head_max,
        padding: 0,
        body_bytes: 70_000,
        ticket: 77,
        nonce: 0x1234_5678_9abc_def0,
    }
}

#[test]
fn reads_what_it_wrote() {
    let meta = meta(40);
    let file = meta.encode(b"the head").unwrap();
    assert_eq!(body_start(&file), Some(file.len()));
    assert_eq!(Meta::decode(&file).unwrap(), meta);
    let head = meta.head(&file).unwrap();
    assert_eq!((&*head.head, head.number, head.ticket, head.stale_since), (&b"the head"[..], 1, 77, 0));
    assert_eq!(meta.file_bytes(100), 100 + 70_000 + 8);
    assert!(meta.encode(&[0; 41]).is_none());
    assert_eq!(*decode_sums(&[1, 0, 0, 0, 0, 1, 0, 0]), [1, 256]);
}

#[test]
fn a_padded_body_begins_with_a_page() {
    let mut padded = meta(40);
    padded.pad(padded.encode(b"the head").unwrap().len());
    let file = padded.encode(b"the head").unwrap();
    assert!(padded.padding > 0 && file.len().is_multiple_of(4096));
    assert_eq!(body_start(&file), Some(file.len()));
    assert_eq!(Meta::decode(&file).unwrap(), padded);
    assert_eq!(padded.head(&file).unwrap().head, b"the head");
}

#[test]
fn a_new_head_takes_the_other_slot_and_a_torn_one_breaks_the_file() {
    let meta = meta(40);
    let mut file = meta.encode(b"first").unwrap();
    for (number, text) in (2..).zip([&b"second"[..], b"third", b"fourth is longer"]) {
        let (at, bytes) = meta.next_head(&file, 80, text).unwrap();
        let before = meta.head(&file).unwrap().head;
        for torn in 0..bytes.len() {
            let mut half = file.clone();
            half[at as usize..][..torn].copy_from_slice(&bytes[..torn]);
            let seen = meta.head(&half).map(|seen| seen.head);
            assert!(seen.is_none() || (torn == 0 && seen.as_ref() == Some(&before)), "{torn}");
        }
        file[at as usize..][..bytes.len()].copy_from_slice(&bytes);
        let head = meta.head(&file).unwrap();
        assert_eq!((&*head.head, head.number, head.ticket), (text, number, 80));
    }
    let at = meta.mark_at(&file).unwrap() as usize;
    file[at..at + 8].copy_from_slice(&9_u64.to_le_bytes());
    assert_eq!(meta.head(&file).unwrap().stale_since, 9);
    let (at, bytes) = meta.next_head(&file, 81, b"valid again").unwrap();
    file[at as usize..][..bytes.len()].copy_from_slice(&bytes);
    assert_eq!(meta.head(&file).unwrap().stale_since, 0);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

proptest! {
    #[test]
    fn no_flipped_bit_passes(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let meta = meta(12);
        let file = meta.encode(b"the head").unwrap();
        let mut broken = file.clone();
        broken[at.index(file.len())] ^= 1 << bit;
        // Neither another key nor another head: a mark of a soft purge at most.
        if let Some(read) = Meta::decode(&broken) {
            prop_assert_eq!(&read, &meta);
            if let Some(head) = read.head(&broken) {
                prop_assert_eq!(head.head, b"the head");
                prop_assert_eq!(head.number, 1);
            }
        }
    }

    #[test]
    fn garbage_is_refused_and_never_panics(mut bytes in bytes(), magic in any::<bool>()) {
        if magic && bytes.len() >= 8 {
            bytes[..8].copy_from_slice(b"PCCACHE2");
        }
        let start = body_start(&bytes);
        prop_assert!(start.is_none_or(|start| start < 8 << 20));
        prop_assert!(Meta::decode(&bytes).is_none());
    }

    #[test]
    fn a_block_passes_only_whole_and_in_its_place(
        bytes in bytes(),
        bit in 0..8_u8,
        at in any::<prop::sample::Index>(),
    ) {
        let sum = block_checksum(1, 5, &bytes);
        prop_assert_ne!(block_checksum(1, 6, &bytes), sum);
        prop_assert_ne!(block_checksum(2, 5, &bytes), sum);
        if !bytes.is_empty() {
            prop_assert_ne!(block_checksum(1, 5, &bytes[..bytes.len() - 1]), sum);
            let mut broken = bytes.clone();
            broken[at.index(bytes.len())] ^= 1 << bit;
            prop_assert_ne!(block_checksum(1, 5, &broken), sum);
        }
    }
}
