use proptest::prelude::*;

use super::DecodeError;
use crate::rules::directives::SECONDS_MAX;
use crate::rules::settings::Settings;
use crate::rules::stored::StoredHead;
use crate::rules::testing::{store_as, stored};

fn encoded(head: &StoredHead) -> Vec<u8> {
    let mut bytes = Vec::new();
    head.encode(&mut bytes);
    bytes
}

/// A head with something of everything.
fn full(asked: &str, etag: &str) -> StoredHead {
    let settings = Settings { stale_if_error: 9, stale_while_revalidate: 7, ..Settings::default() };
    let lines = [
        ("cache-control", "max-age=60, immutable, no-cache=\"b, a\""),
        ("content-range", "bytes 0-4/10"),
        ("vary", "foo, x-none"),
        ("etag", etag),
        ("a", "1"),
        ("b", ""),
    ];
    store_as(&settings, ("GET", &[("range", "bytes=0-4"), ("foo", asked)]), (206, &lines)).unwrap()
}

/// One with tags that are not in its fields.
fn tagged() -> StoredHead {
    let mut head = full("1", "\"e\"");
    for tag in ["a b", "\u{fc}", "a b"] {
        head.add_tag(tag.as_bytes());
    }
    head
}

#[test]
fn reads_what_it_writes() {
    for head in [
        full("1, 2", "\"e\""),
        stored(&[("cache-control", "s-maxage=60, no-cache"), ("etag", "W/\"x\"")]),
        stored(&[("cache-control", "max-age=2147483648")]),
        tagged(),
    ] {
        let read = StoredHead::decode(&encoded(&head)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{head:?}"));
        assert_eq!((encoded(&read), read.heap_bytes()), (encoded(&head), head.heap_bytes()));
    }
}

#[test]
fn refuses_what_it_did_not_write() {
    let bytes = encoded(&full("1", "\"e\""));
    for end in 0..bytes.len() {
        assert_eq!(StoredHead::decode(&bytes[..end]).err(), Some(DecodeError), "cut at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(StoredHead::decode(&longer).err(), Some(DecodeError));
    // Version, flags and status; a 206 has to be a part.
    for (at, byte) in [(0, 2), (1, 255), (2, 0), (3, 255), (2, 200)] {
        let mut other = bytes.clone();
        other[at] = byte;
        assert_eq!(StoredHead::decode(&other).err(), Some(DecodeError), "{at}");
    }
    let tags = encoded(&tagged());
    for end in 0..tags.len() {
        assert_eq!(StoredHead::decode(&tags[..end]).err(), Some(DecodeError), "cut at {end}");
    }
    // No tags where there should be some, and an empty one.
    for tags in [&[0_u32][..], &[1, 0]] {
        let mut other = bytes.clone();
        other[1] |= super::HAS_ADDED_TAGS;
        other.extend(tags.iter().flat_map(|number| number.to_le_bytes()));
        assert_eq!(StoredHead::decode(&other).err(), Some(DecodeError), "{tags:?}");
    }
    // A count that would take all memory if it were believed.
    let mut hostile = bytes.clone();
    let fields_count = bytes.len() - encoded_fields(&full("1", "\"e\"")) - 4;
    hostile[fields_count..fields_count + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(StoredHead::decode(&hostile).err(), Some(DecodeError));
    assert!(StoredHead::decode(&vec![1; 3 << 20]).is_err());
}

/// How many bytes the fields take.
fn encoded_fields(head: &StoredHead) -> usize {
    head.fields().iter_bytes().map(|(_, name, value)| name.len() + value.len() + 8).sum()
}

proptest! {
    /// Bytes with one changed are an error or a head that keeps the rules of its types.
    #[test]
    fn changed_bytes_are_an_error_or_a_head(at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = encoded(&full("1", "\"e\""));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(head) = StoredHead::decode(&bytes) {
            prop_assert!((200..600).contains(&head.status()) && head.lifetime() <= SECONDS_MAX);
            prop_assert!(head.span().is_some_and(|span| span.start < span.end && span.end <= span.complete));
            prop_assert_eq!(encoded(&head), bytes);
        }
    }

    #[test]
    fn reads_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let with_version = [&[1, 0][..], &bytes].concat();
        prop_assert!(StoredHead::decode(&with_version).is_err());
    }

    #[test]
    fn reads_what_it_writes_of_any_values(asked in "[ -~]{0,20}", etag in "[!-~]{0,20}") {
        let head = full(asked.trim(), &etag);
        let read = StoredHead::decode(&encoded(&head));
        prop_assert_eq!(format!("{:?}", read.map_err(drop)), format!("{:?}", Ok::<_, ()>(head)));
    }
}
