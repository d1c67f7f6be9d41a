//! A chunked body says the same whole and byte by byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_http::h1::{ChunkedDecoder, ChunkedError, Decoded, HeadLimits};

/// The data, the trailers' names, and the number of bytes that were left.
type Body = Option<(Vec<u8>, Vec<String>, usize)>;

fn decode(input: &[u8], piece_bytes: usize) -> Result<Body, ChunkedError> {
    let mut decoder = ChunkedDecoder::new(HeadLimits { head_bytes: 512, fields: 8 });
    let mut data = Vec::new();
    let mut at = 0;
    while at < input.len() && !decoder.is_done() {
        let piece = &input[at..input.len().min(at + piece_bytes)];
        at += match decoder.decode(piece)? {
            Decoded::Data { skip, len } => {
                data.extend_from_slice(&piece[skip..skip + len]);
                skip + len
            }
            Decoded::More => piece.len(),
            Decoded::End { consumed } => consumed,
        };
    }
    let trailers = decoder.trailers().iter().map(|(_, name, _)| name.to_owned()).collect();
    Ok(decoder.is_done().then_some((data, trailers, input.len() - at)))
}

fuzz_target!(|input: &[u8]| {
    assert_eq!(decode(input, input.len().max(1)), decode(input, 1));
});
