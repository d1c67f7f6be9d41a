use proptest::prelude::*;

use super::{FirstByte, Requested, byte_range, first_byte};
use Requested::{Part, Unsatisfiable, Whole};

#[test]
fn section_14_1_2_ranges_of_ten_bytes() {
    for (value, expected) in [
        ("bytes=0-1", Part(0..2)),
        ("BYTES=0-1", Part(0..2)),
        ("bytes=9-9", Part(9..10)),
        ("bytes=5-", Part(5..10)),
        ("bytes=5-99999999999999999999999", Part(5..10)),
        ("bytes=-1", Part(9..10)),
        ("bytes=-10", Part(0..10)),
        ("bytes=-11", Part(0..10)),
        ("bytes= 0-1 ", Part(0..2)),
        ("bytes=,0-1,", Part(0..2)),
        ("bytes=10-", Unsatisfiable),
        ("bytes=99999999999999999999999-", Unsatisfiable),
        ("bytes=-0", Unsatisfiable),
        ("bytes=10-11,-0", Unsatisfiable),
        // Several.
        ("bytes=0-1,2-3", Part(0..4)),
        ("bytes=2-3,0-1", Part(0..4)),
        ("bytes=0-5,3-4", Part(0..6)),
        ("bytes=0-1,20-30", Part(0..2)),
        ("bytes=0-0,-1", Whole),
        ("bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0", Whole),
        // Malformed, and other units.
        ("bytes=", Whole),
        ("bytes=,", Whole),
        ("bytes=-", Whole),
        ("bytes=1", Whole),
        ("bytes=a-b", Whole),
        ("bytes=2-1", Whole),
        ("bytes=20-11", Whole),
        ("bytes=0-1,x", Whole),
        ("bytes=0--1", Whole),
        ("bytes=+0-1", Whole),
        ("bytes 0-1", Whole),
        ("bytes", Whole),
        ("items=0-1", Whole),
        ("", Whole),
    ] {
        assert_eq!(byte_range(value.as_bytes(), 10), expected, "{value}");
    }
}

#[test]
fn section_14_1_2_ranges_of_nothing() {
    assert_eq!(byte_range(b"bytes=0-", 0), Unsatisfiable);
    assert_eq!(byte_range(b"bytes=-5", 0), Whole);
}

proptest! {
    #[test]
    fn a_part_is_inside_and_not_empty(value in "(bytes=)?[0-9,\\- ]{0,12}", length in 0..30_u64) {
        if let Part(range) = byte_range(value.as_bytes(), length) {
            prop_assert!(range.start < range.end && range.end <= length);
        }
    }

    #[test]
    fn reads_any_bytes(value in prop::collection::vec(any::<u8>(), 0..40), length: u64) {
        if let Part(range) = byte_range(&value, length) {
            prop_assert!(range.start < range.end && range.end <= length);
        }
    }
}

#[test]
fn where_a_range_begins() {
    for (value, expected) in [
        ("bytes=0-4", Some(FirstByte::At(0))),
        ("Bytes= 17- ", Some(FirstByte::At(17))),
        ("bytes=-5", Some(FirstByte::FromEnd(5))),
        ("bytes=99999999999999999999-", Some(FirstByte::At(u64::MAX))),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=1-2,3-4", None),
        ("bytes=1-x", None),
        ("bytes=--5", None),
        ("lines=1-2", None),
        ("bytes", None),
    ] {
        assert_eq!(first_byte(value.as_bytes()), expected, "{value}");
    }
}
