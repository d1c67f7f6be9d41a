use portcullis_model::{Coding, Effort};
use proptest::prelude::*;

use super::{DecodeBounds, DecodeError, Decoder};
use crate::Encoder;

const WIDE: DecodeBounds = DecodeBounds { bytes_max: 1 << 30, ratio_max: u32::MAX };

pub(crate) fn decoded(coding: Coding, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    within(coding, bytes, WIDE, usize::MAX)
}

/// Decodes in pieces of at most `piece` bytes.
fn within(coding: Coding, bytes: &[u8], bounds: DecodeBounds, piece: usize) -> Result<Vec<u8>, DecodeError> {
    let (mut decoder, mut out) = (Decoder::new(coding, bounds).unwrap(), Vec::new());
    for mut piece in bytes.chunks(piece.min(bytes.len().max(1))) {
        while !piece.is_empty() {
            piece = &piece[decoder.decode(piece, &mut out)?..];
        }
        drain(&mut decoder, &mut out)?;
    }
    decoder.finish()?;
    Ok(out)
}

fn drain(decoder: &mut Decoder, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    loop {
        let before = out.len();
        decoder.decode(&[], out)?;
        if out.len() == before {
            return Ok(());
        }
    }
}

pub(crate) fn decoded_so_far(coding: Coding, mut bytes: &[u8]) -> Vec<u8> {
    let (mut decoder, mut out) = (Decoder::new(coding, WIDE).unwrap(), Vec::new());
    while !bytes.is_empty() {
        bytes = &bytes[decoder.decode(bytes, &mut out).unwrap()..];
    }
    drain(&mut decoder, &mut out).unwrap();
    out
}

fn encoded(coding: Coding, plain: &[u8]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(coding, Effort::Normal, None).unwrap(), Vec::new());
    encoder.write(plain, &mut out).unwrap();
    encoder.finish(&mut out).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_decoded_or_refused(
        coding in prop::sample::select(Coding::ALL.to_vec()), bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let _any = within(coding, &bytes, DecodeBounds { bytes_max: 1 << 20, ratio_max: 100 }, 100);
    }

    #[test]
    fn a_body_with_a_wrong_byte_is_refused_or_keeps_its_bounds(
        coding in prop::sample::select(Coding::ALL.to_vec()), at in any::<prop::sample::Index>(), bit in 0_u32..8,
    ) {
        let mut bytes = encoded(coding, &b"some text that repeats itself; ".repeat(300));
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Ok(out) = within(coding, &bytes, DecodeBounds { bytes_max: 1 << 20, ratio_max: 1000 }, 7) {
            prop_assert!(out.len() <= 1 << 20);
        }
    }

    #[test]
    fn pieces_of_any_size_make_the_same_body(
        coding in prop::sample::select(Coding::ALL.to_vec()), piece in 1_usize..5000,
    ) {
        let plain = b"some text that repeats itself; ".repeat(3000);
        prop_assert_eq!(within(coding, &encoded(coding, &plain), WIDE, piece).unwrap(), plain);
    }
}

#[test]
fn each_beginning_of_a_body_is_seen_to_be_incomplete() {
    for coding in Coding::ALL {
        let bytes = encoded(coding, b"some text, of some length");
        for end in 1..bytes.len() {
            assert_eq!(
                decoded(coding, &bytes[..end]),
                Err(DecodeError::Truncated(coding)),
                "{coding:?} {end}"
            );
        }
        assert_eq!(decoded(coding, &[]), Ok(Vec::new()));
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_large() {
    for coding in Coding::ALL {
        let bomb = encoded(coding, &vec![0; 32 << 20]);
        let bounds = DecodeBounds { bytes_max: 1 << 20, ratio_max: u32::MAX };
        assert_eq!(within(coding, &bomb, bounds, 4096), Err(DecodeError::TooLarge(1 << 20)), "{coding:?}");
        let bounds = DecodeBounds { ratio_max: 100, ..WIDE };
        assert_eq!(within(coding, &bomb, bounds, 4096), Err(DecodeError::TooDense(100)), "{coding:?}");
        let mut decoder = Decoder::new(coding, bounds).unwrap();
        let (mut rest, mut out) = (&bomb[..], Vec::new());
        while let Ok(read) = decoder.decode(rest, &mut out) {
            rest = &rest[read..];
        }
        assert!(out.len() <= 100 * bomb.len() + super::PIECE_BYTES + 256 * 1024);
    }
}

#[test]
fn the_last_byte_within_a_bound_is_decoded() {
    let plain = vec![b'a'; 1000];
    for coding in Coding::ALL {
        let bytes = encoded(coding, &plain);
        let bounds = DecodeBounds { bytes_max: 1000, ratio_max: 1 };
        assert_eq!(within(coding, &bytes, bounds, 10), Ok(plain.clone()));
        let bounds = DecodeBounds { bytes_max: 999, ratio_max: 1 };
        assert_eq!(within(coding, &bytes, bounds, 10), Err(DecodeError::TooLarge(999)));
    }
}

#[test]
fn members_that_follow_each_other_are_one_body_and_other_bytes_are_none() {
    for (coding, is_allowed) in [(Coding::Zstd, true), (Coding::Gzip, true), (Coding::Brotli, false)] {
        let mut bytes = encoded(coding, b"one,");
        bytes.extend(encoded(coding, b"two"));
        let expected = if is_allowed { Ok(b"one,two".to_vec()) } else { Err(DecodeError::Invalid(coding)) };
        assert_eq!(decoded(coding, &bytes), expected);
        let mut bytes = encoded(coding, b"one");
        bytes.extend(b"and something else");
        assert_eq!(decoded(coding, &bytes), Err(DecodeError::Invalid(coding)));
    }
}

#[test]
fn a_window_larger_than_the_web_allows_is_refused() {
    // A zstd frame whose header asks for a window of 128 MiB.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00];
    assert_eq!(decoded(Coding::Zstd, &frame), Err(DecodeError::Invalid(Coding::Zstd)));
}
