use portcullis_model::{Coding, Effort};
use proptest::prelude::*;

use super::Encoder;
use crate::decode::tests::decoded;

fn coding() -> impl Strategy<Value = Coding> {
    prop::sample::select(Coding::ALL.to_vec())
}

fn effort() -> impl Strategy<Value = Effort> {
    prop::sample::select(vec![Effort::Low, Effort::Normal, Effort::High])
}

/// Pieces that repeat themselves and each other, with some chance.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let noise = prop::collection::vec(any::<u8>(), 0..3000);
    let text = prop::collection::vec(prop::sample::select(b"abc <>".to_vec()), 0..20_000);
    prop::collection::vec(prop_oneof![noise, text, Just(Vec::new())], 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_decoded_is_what_was_encoded(
        coding in coding(), effort in effort(), pieces in pieces(), flushes in any::<u8>(), knows in any::<bool>(),
    ) {
        let plain = pieces.concat();
        let length = knows.then_some(plain.len() as u64);
        let (mut encoder, mut out) = (Encoder::new(coding, effort, length).unwrap(), Vec::new());
        for (at, piece) in pieces.iter().enumerate() {
            encoder.write(piece, &mut out).unwrap();
            if flushes & (1 << at) != 0 {
                encoder.flush(&mut out).unwrap();
            }
        }
        encoder.finish(&mut out).unwrap();
        prop_assert!(out.len() <= plain.len() + plain.len() / 64 + 1024);
        prop_assert_eq!(decoded(coding, &out).unwrap(), plain);
    }

    #[test]
    fn all_that_was_written_can_be_read_after_a_flush(coding in coding(), effort in effort(), pieces in pieces()) {
        let (mut encoder, mut out) = (Encoder::new(coding, effort, None).unwrap(), Vec::new());
        let mut plain = Vec::new();
        for piece in &pieces {
            encoder.write(piece, &mut out).unwrap();
            encoder.flush(&mut out).unwrap();
            plain.extend_from_slice(piece);
            prop_assert_eq!(&crate::decode::tests::decoded_so_far(coding, &out), &plain);
        }
    }
}

#[test]
fn a_body_that_is_not_finished_is_seen_to_be_incomplete() {
    for coding in Coding::ALL {
        let (mut encoder, mut out) = (Encoder::new(coding, Effort::Normal, None).unwrap(), Vec::new());
        encoder.write(&b"some text, ".repeat(1000), &mut out).unwrap();
        encoder.flush(&mut out).unwrap();
        assert_eq!(decoded(coding, &out), Err(crate::DecodeError::Truncated(coding)));
    }
}

#[test]
fn a_body_of_another_length_than_was_said_does_not_end_well() {
    let (mut encoder, mut out) = (Encoder::new(Coding::Zstd, Effort::Normal, Some(10)).unwrap(), Vec::new());
    encoder.write(b"123", &mut out).unwrap();
    assert!(encoder.finish(&mut out).is_err());
}

#[test]
fn an_encoder_is_used_again() {
    for coding in [Coding::Zstd, Coding::Gzip] {
        let (mut encoder, mut out) = (Encoder::new(coding, Effort::Normal, Some(3)).unwrap(), Vec::new());
        encoder.write(b"123", &mut out).unwrap();
        encoder.finish(&mut out).unwrap();
        let mut encoder = encoder.again(None).unwrap();
        let mut second = Vec::new();
        encoder.write(b"other", &mut second).unwrap();
        encoder.finish(&mut second).unwrap();
        assert_eq!(decoded(coding, &second).unwrap(), b"other");
    }
    assert!(Encoder::new(Coding::Brotli, Effort::Normal, None).unwrap().again(None).is_none());
}
