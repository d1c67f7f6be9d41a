//! The frames and header blocks of an HTTP/2 connection: whole or in pieces, they are read alike.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis_http::h2::{Peer, Scanner};

/// Reads `input` in pieces of `size` bytes. Returns how much passed and was replaced before it ended.
fn read(peer: Peer, input: &[u8], size: usize) -> (usize, usize, bool) {
    let mut scanner = Scanner::new(peer, 4096, 1000);
    scanner.expect(1);
    let (mut held, mut passed, mut replaced) = (Vec::new(), 0, 0);
    for piece in input.chunks(size) {
        held.extend_from_slice(piece);
        loop {
            let Ok(scan) = scanner.scan(&held, || Duration::ZERO) else { return (passed, replaced, true) };
            held.drain(..scan.pass + scan.replaced);
            passed += scan.pass;
            replaced += scan.replaced;
            if scan.hold || held.is_empty() {
                break;
            }
        }
    }
    (passed, replaced, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, input)) = data.split_first() else { return };
    for peer in [Peer::Client, Peer::Upstream] {
        let whole = read(peer, input, input.len().max(1));
        let pieces = read(peer, input, usize::from(size).max(1));
        assert_eq!(whole.2, pieces.2);
        if !whole.2 {
            assert_eq!(whole, pieces);
        }
    }
});
