use proptest::prelude::*;

use crate::Fields;
use crate::h1::{
    CHUNK_END, ChunkedDecoder, ChunkedError, Decoded, HeadLimits, write_chunk_header, write_last_chunk,
};

const LIMITS: HeadLimits = HeadLimits { head_bytes: 256, fields: 4 };

/// What a decoder makes of pieces: the data, the trailers, and how many bytes of the last piece it left.
fn decode_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<(Vec<u8>, Fields, usize)>, ChunkedError> {
    let mut decoder = ChunkedDecoder::new(LIMITS);
    let mut data = Vec::new();
    let mut left = 0;
    for mut piece in pieces {
        if decoder.is_done() {
            left += piece.len();
            continue;
        }
        while !piece.is_empty() {
            match decoder.decode(piece)? {
                Decoded::Data { skip, len } => {
                    assert!(len > 0);
                    data.extend_from_slice(&piece[skip..skip + len]);
                    piece = &piece[skip + len..];
                }
                Decoded::More => piece = &[],
                Decoded::End { consumed } => {
                    left = piece.len() - consumed;
                    break;
                }
            }
        }
    }
    Ok(decoder.is_done().then(|| (data, decoder.take_trailers(), left)))
}

/// Decodes whole and byte by byte, which must give the same.
#[track_caller]
fn decode(input: &[u8]) -> Result<Option<(Vec<u8>, Fields, usize)>, ChunkedError> {
    let whole = decode_pieces([input]);
    let bytes = decode_pieces(input.chunks(1));
    match (&whole, &bytes) {
        (Ok(Some(whole)), Ok(Some(bytes))) => assert_eq!((&whole.0, whole.2), (&bytes.0, bytes.2)),
        (Ok(None), Ok(None)) => {}
        (Err(whole), Err(bytes)) => assert_eq!(whole, bytes),
        _ => panic!("whole {whole:?}, by bytes {bytes:?}"),
    }
    whole
}

#[track_caller]
fn taken(input: &[u8], data: &[u8], left: usize) -> Fields {
    let (decoded, trailers, rest) = decode(input).unwrap().unwrap();
    assert_eq!((decoded.as_slice(), rest), (data, left));
    trailers
}

#[track_caller]
fn refused(input: &str, error: ChunkedError) {
    assert_eq!(decode(input.as_bytes()).map(|_| ()), Err(error), "{input:?}");
}

#[test]
fn reads_chunks() {
    taken(b"0\r\n\r\n", b"", 0);
    taken(b"3\r\nabc\r\n0\r\n\r\n", b"abc", 0);
    taken(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET / HTTP/1.1", b"abcde", 14);
    taken(b"00A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", 0);
    taken(b"a\r\n\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n0\r\n", 0);
}

#[test]
fn is_incomplete_until_the_last_byte() {
    let input = b"3;x=y\r\nabc\r\n0\r\nx: y\r\n\r\n";
    for end in 0..input.len() {
        assert!(decode(&input[..end]).unwrap().is_none(), "{end}");
    }
    assert!(decode(input).unwrap().is_some());
}

#[test]
fn says_where_the_data_is() {
    let mut decoder = ChunkedDecoder::new(LIMITS);
    assert_eq!(decoder.decode(b"5\r\nab"), Ok(Decoded::Data { skip: 3, len: 2 }));
    assert_eq!(decoder.decode(b""), Ok(Decoded::More));
    assert_eq!(decoder.decode(b"cde\r\n0"), Ok(Decoded::Data { skip: 0, len: 3 }));
    assert_eq!(decoder.decode(b"\r\n0"), Ok(Decoded::More));
    assert_eq!(decoder.decode(b"\r\n\r\nnext"), Ok(Decoded::End { consumed: 4 }));
    assert!(decoder.is_done());
    assert_eq!(decoder.decode(b"next"), Ok(Decoded::End { consumed: 0 }));
}

/// RFC 9112, 7.1: 1*HEXDIG, which may not overflow (7.1, last paragraph).
#[test]
fn refuses_other_sizes() {
    for size in [
        "",
        "-1",
        "+1",
        "0x1",
        "1 ",
        " 1",
        "1\t",
        "g",
        "1_0",
        "1h",
        "1,",
        "\"1\"",
        "1.0",
        "10000000000000000",
        "00000000000000001",
        "ffffffffffffffffff",
        "8000000000000000",
        "ffffffffffffffff",
        "\u{661}",
    ] {
        refused(&format!("{size}\r\na\r\n0\r\n\r\n"), ChunkedError::Size);
    }
    // Refused when it is known, not when the line ends, which it may never do.
    refused("8000000000000000", ChunkedError::Size);
    // The largest size fits; its end will not be seen.
    assert!(decode(b"7fffffffffffffff\r\nabc").unwrap().is_none());
}

/// RFC 9112, 7.1: CRLF behind size and data, and nothing else. A data length that lies (TE.TE desync) shows here.
#[test]
fn refuses_other_line_ends() {
    refused("3\nabc\r\n0\r\n\r\n", ChunkedError::Size);
    refused("3\rabc\r\n0\r\n\r\n", ChunkedError::LineEnd);
    refused("3\r\nabcd\r\n0\r\n\r\n", ChunkedError::LineEnd);
    refused("3\r\nabc\n0\r\n\r\n", ChunkedError::LineEnd);
    refused("3\r\nabc0\r\n\r\n", ChunkedError::LineEnd);
    refused("3\r\nabc\r0\r\n\r\n", ChunkedError::LineEnd);
    refused("3\r\nab\r\n0\r\n\r\n", ChunkedError::LineEnd);
    refused("3\r\nabc\r\n\r\n0\r\n\r\n", ChunkedError::Size);
    refused("0\n\n", ChunkedError::Size);
    refused("0\r\n\n", ChunkedError::LineEnd);
    refused("0\r\n\rX", ChunkedError::LineEnd);
}

/// RFC 9112, 7.1.1.
#[test]
fn skips_extensions_within_bounds() {
    taken(b"3;a\r\nabc\r\n0;b=\"x y\";c\t=\xe9\r\n\r\n", b"abc", 0);
    // A line end within an extension, quoted or not (TERM.EXT and its kin).
    refused("3;a\nabc\r\n0\r\n\r\n", ChunkedError::Extension);
    refused("3;a=\"\n\"\r\nabc\r\n0\r\n\r\n", ChunkedError::Extension);
    refused("3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n", ChunkedError::LineEnd);
    refused("3;a\rabc\r\n0\r\n\r\n", ChunkedError::LineEnd);
    refused("3;\0\r\nabc\r\n0\r\n\r\n", ChunkedError::Extension);
    refused("3 ;a\r\nabc\r\n0\r\n\r\n", ChunkedError::Size);
    let extended = |len: usize| format!("1;{}\r\na\r\n", "x".repeat(len));
    taken(format!("{}0\r\n\r\n", extended(256)).as_bytes(), b"a", 0);
    refused(&extended(257), ChunkedError::Extension);
    // A body that is mostly extensions: each chunk has 255 bytes of them more than of data, 64 times.
    taken(format!("{}0\r\n\r\n", extended(256).repeat(64)).as_bytes(), &[b'a'; 64], 0);
    refused(&format!("{}{}", extended(256).repeat(64), extended(256)), ChunkedError::Extension);
}

/// Extensions are counted against the data: a signature in each chunk of a long upload is no attack, and data that
/// arrived long before does not pay for extensions that come alone.
#[test]
fn counts_extensions_against_the_data() {
    let chunk = |extension: usize, data: usize| {
        format!("{data:x};{}\r\n{}\r\n", "x".repeat(extension), "a".repeat(data))
    };
    let long = format!("{}0\r\n\r\n", chunk(100, 1024).repeat(1000));
    let (data, ..) = decode_pieces([long.as_bytes()]).unwrap().unwrap();
    assert_eq!(data.len(), 1000 * 1024);
    let then = format!("{}{}", chunk(0, 1 << 20), chunk(256, 1).repeat(66));
    assert_eq!(decode_pieces([then.as_bytes()]).map(drop), Err(ChunkedError::Extension));
}

#[test]
fn reads_trailers() {
    let trailers = taken(b"0\r\nGrpc-Status: \t0 \r\nx-e:\r\n\r\nrest", b"", 4);
    assert_eq!(trailers.get(b"grpc-status"), Some(&b"0"[..]));
    assert_eq!(trailers.get(b"x-e"), Some(&b""[..]));
}

#[test]
fn refuses_malformed_trailers() {
    for line in ["x", ": y", "x : y", " x: y", "x: y\r\n z", "x: a\0b", "x: a\u{b}", "x: y\r\n\t"] {
        refused(&format!("0\r\n{line}\r\n\r\n"), ChunkedError::Trailers);
    }
    refused("0\r\nx: y\n\r\n", ChunkedError::LineEnd);
    refused("0\r\nx: y\rz: a\r\n\r\n", ChunkedError::LineEnd);
}

#[test]
fn bounds_trailers() {
    taken(format!("0\r\n{}\r\n", "x: y\r\n".repeat(4)).as_bytes(), b"", 0);
    refused(&format!("0\r\n{}\r\n", "x: y\r\n".repeat(5)), ChunkedError::TrailersTooLarge);
    refused(&format!("0\r\nx: {}", "y".repeat(256)), ChunkedError::TrailersTooLarge);
}

/// RFC 9110, 6.5.1.
#[test]
fn drops_forbidden_trailers() {
    let trailers =
        taken(b"0\r\nContent-Length: 5\r\nHost: evil\r\nX-Checksum: 1\r\nAuthorization: x\r\n\r\n", b"", 0);
    assert_eq!(trailers.iter().map(|(_, name, _)| name).collect::<Vec<_>>(), ["x-checksum"]);
}

#[test]
fn writes_trailers() {
    let mut trailers = Fields::new();
    for name in ["grpc-status", "transfer-encoding", "x-forwarded-for", "grpc-message"] {
        trailers.append(name.as_bytes(), b"1").unwrap();
    }
    let mut out = Vec::new();
    write_last_chunk(&mut out, Some(&trailers));
    assert_eq!(out, b"0\r\ngrpc-status: 1\r\ngrpc-message: 1\r\n\r\n");
}

proptest! {
    /// What the encoder writes is what the decoder reads, however it is cut.
    #[test]
    fn round_trip(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
        trailer in prop::option::of("[!-~]{0,20}"),
        cuts in prop::collection::vec(1usize..40, 1..20),
        rest in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut encoded = Vec::new();
        for chunk in &chunks {
            write_chunk_header(&mut encoded, chunk.len());
            encoded.extend_from_slice(chunk);
            encoded.extend_from_slice(CHUNK_END);
        }
        let trailers = trailer.as_ref().map(|value| {
            let mut trailers = Fields::new();
            trailers.append(b"x-t", value.as_bytes()).unwrap();
            trailers
        });
        write_last_chunk(&mut encoded, trailers.as_ref());
        encoded.extend_from_slice(&rest);
        let mut pieces = Vec::new();
        let mut remaining = encoded.as_slice();
        for cut in cuts.iter().cycle() {
            if remaining.is_empty() {
                break;
            }
            let (piece, tail) = remaining.split_at((*cut).min(remaining.len()));
            pieces.push(piece);
            remaining = tail;
        }
        let (data, decoded, left) = decode_pieces(pieces).unwrap().unwrap();
        prop_assert_eq!(data, chunks.concat());
        prop_assert_eq!(left, rest.len());
        prop_assert_eq!(decoded.get(b"x-t"), trailer.as_ref().map(|value| value.as_bytes()));
    }

    /// Arbitrary bytes neither panic nor depend on how they are cut.
    #[test]
    fn any_bytes(input in prop::collection::vec(prop::sample::select(b"019afF;\r\n :xX-\0".to_vec()), 0..60)) {
        let _same = decode(&input);
    }
}
