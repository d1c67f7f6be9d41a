use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use portcullis_http::h2::{Peer, Violation};
use tokio::io::{AsyncRead, ReadBuf};

use super::Wire;

/// Gives these pieces, with a wait before each.
struct Pieces(VecDeque<Option<Vec<u8>>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            None => Poll::Ready(Ok(())),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Some(piece)) => {
                let (taken, rest) = piece.split_at(piece.len().min(buf.remaining()));
                buf.put_slice(taken);
                if !rest.is_empty() {
                    self.0.push_front(Some(rest.to_vec()));
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    out.extend(payload);
    out
}

/// Reads all that passes, `room` bytes at a time. The second is how it ended.
fn read(input: &[u8], piece: usize, room: usize) -> (Vec<u8>, Option<Violation>, [Option<Vec<u8>>; 2]) {
    let pieces = input.chunks(piece).flat_map(|piece| [None, Some(piece.to_vec())]).collect();
    let (mut wire, monitor) = Wire::new(Pieces(pieces), Peer::Client, 1000, 1000);
    let (mut out, mut waits) = (Vec::new(), 0);
    let mut cx = Context::from_waker(Waker::noop());
    let mut buffer = vec![0; room];
    let violation = loop {
        let mut buf = ReadBuf::new(&mut buffer);
        match Pin::new(&mut wire).poll_read(&mut cx, &mut buf) {
            Poll::Ready(read) => {
                read.unwrap();
                if buf.filled().is_empty() {
                    break None;
                }
                out.extend(buf.filled());
                waits = 0;
            }
            Poll::Pending => {
                if let Poll::Ready(violation) = monitor.poll_violation(&mut cx) {
                    break Some(violation);
                }
                waits += 1;
                assert!(waits < 10_000, "nothing comes any more");
            }
        }
    };
    (out, violation, [1, 3].map(|stream| monitor.take_target(stream).map(Vec::from)))
}

#[test]
fn bytes_pass_alike_however_they_are_cut() {
    let request = |path: &[u8]| {
        let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
        block.extend(path);
        block
    };
    let mut input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    input.extend(frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]));
    let plain = request(b"/plain");
    input.extend(frame(1, 1, 1, &plain[..3]));
    input.extend(frame(9, 0, 1, &plain[3..7]));
    input.extend(frame(9, 4, 1, &plain[7..]));
    let before = input.len();
    let odd = frame(1, 4, 3, &request(b"/odd#one?and=more"));
    input.extend(&odd);
    let after = input.len();
    input.extend(frame(0, 0, 3, &[b'x'; 300]));
    input.extend(frame(6, 0, 0, &[7; 8]));
    input.extend(frame(0, 1, 3, b"end"));

    let whole = read(&input, input.len(), 4096);
    assert_eq!(whole.1, None);
    assert_eq!(whole.2, [None, Some(b"/odd#one?and=more".to_vec())]);
    assert!(whole.0.starts_with(&input[..before]) && whole.0.ends_with(&input[after..]));
    assert!(!whole.0.contains(&b'#'));
    for piece in [1, 2, 3, 7, 8, 9, 10, 26, 50, 333] {
        for room in [1, 2, 5, 9, 16, 31, 64, 8192] {
            assert_eq!(read(&input, piece, room), whole, "pieces of {piece}, room for {room}");
        }
    }
}

#[test]
fn nothing_passes_behind_a_violation() {
    let mut input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    for _ in 0..2000 {
        input.extend(frame(6, 0, 0, &[0; 8]));
    }
    for piece in [17, 1000, 100_000] {
        let (out, violation, _) = read(&input, piece, 8192);
        assert_eq!(violation, Some(Violation::Flood));
        assert!(out.len() <= 24 + 17 * 1000, "{} bytes", out.len());
    }
}
