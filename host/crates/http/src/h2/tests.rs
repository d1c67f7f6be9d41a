use std::time::Duration;

use proptest::prelude::*;

use super::hpack::{Decoder, Malformed, is_plain_path, placeholder};
use super::{Allowance, Answered, Peer, Scan, Scanner, SentFrames, Trailers, Violation, huffman};
use crate::{RequestHead, set_request_target};

const ZERO: fn() -> Duration = || Duration::ZERO;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A field that is written out: with indexing, as `index` says.
fn literal(index: u8, name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = vec![index];
    out.push(u8::try_from(name.len()).unwrap());
    out.extend(name.bytes());
    match value.len() {
        length @ 0..127 => out.push(u8::try_from(length).unwrap()),
        length => {
            out.push(127);
            let mut left = length - 127;
            while left >= 128 {
                out.push(u8::try_from(left % 128 + 128).unwrap());
                left /= 128;
            }
            out.push(u8::try_from(left).unwrap());
        }
    }
    out.extend(value);
    out
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A request's block with this path.
fn request(path: &[u8]) -> Vec<u8> {
    // GET, http and localhost.
    let mut block = vec![0x82, 0x86, 0x41, 0x9];
    block.extend(b"localhost");
    block.extend(literal(0x40, ":path", path));
    block
}

/// RFC 7541, C.4 and C.6: the sizes are those of the lists that the examples give.
#[test]
fn reads_the_examples_of_the_standard() {
    let mut requests = Decoder::new();
    let section = requests.read(&bytes("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")).unwrap();
    assert_eq!((section.fields, section.pseudo, section.odd_path), (4, true, None));
    assert_eq!(section.size, 4 * 32 + (7 + 3) + (7 + 4) + (5 + 1) + (10 + 15));
    let section = requests.read(&bytes("8286 84be 5886 a8eb 1064 9cbf")).unwrap();
    assert_eq!((section.fields, section.size), (5, 5 * 32 + 10 + 11 + 6 + 25 + (13 + 8)));
    let section =
        requests.read(&bytes("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf")).unwrap();
    assert_eq!((section.fields, section.size), (5, 5 * 32 + 10 + 12 + (5 + 11) + 25 + (10 + 12)));

    let mut responses = Decoder::new();
    let first = "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e \
                 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
    let section = responses.read(&bytes(first)).unwrap();
    assert_eq!((section.fields, section.status, section.informational), (4, true, false));
    assert_eq!(section.size, 4 * 32 + 10 + (13 + 7) + (4 + 29) + (8 + 23));
    // The example's table has 256 bytes; what it evicts is not asked for again.
    let section = responses.read(&bytes("4883 640e ffc1 c0bf")).unwrap();
    assert_eq!((section.fields, section.size), (4, 4 * 32 + 10 + 20 + 33 + 31));
}

#[test]
fn huffman_codes_end_in_padding_and_nothing_else() {
    let decode = |hex: &str| {
        let mut out = Vec::new();
        huffman::decode(&bytes(hex), &mut out).map(|()| String::from_utf8_lossy(&out).into_owned())
    };
    assert_eq!(decode("f1e3 c2e5 f23a 6ba0 ab90 f4ff").unwrap(), "www.example.com");
    assert_eq!(decode("").unwrap(), "");
    // `#`, twelve bits, then `a`, five.
    assert_eq!(decode("ffa1 ff").unwrap(), "#a");
    for (wrong, what) in
        [("ff", "eight bits of padding"), ("18", "padding of zeros"), ("ffff ffff", "end of string")]
    {
        assert!(decode(wrong).is_err(), "{what}");
    }
}

#[test]
fn refuses_what_is_malformed() {
    for (block, what) in [
        ("80", "index 0"),
        ("be", "an index beyond the table"),
        ("7f", "an integer that is cut off"),
        ("ff ff ff ff ff ff ff", "an integer that is too large"),
        ("40 05 3a70", "a name that is cut off"),
        ("40 01 61", "no value"),
        ("82 20", "a size update behind a field"),
        ("3f e2 1f", "a table larger than the settings allow"),
    ] {
        assert_eq!(Decoder::new().read(&bytes(block)), Err(Malformed), "{what}");
    }
    // 4096 is allowed, and a smaller one forgets what does not fit.
    let mut decoder = Decoder::new();
    assert!(decoder.read(&bytes("3f e1 1f 82 40 01 61 01 62 be")).is_ok());
    assert!(decoder.read(&bytes("20 82")).is_ok());
    assert_eq!(decoder.read(&bytes("be")), Err(Malformed));
}

#[test]
fn a_path_that_the_crate_would_change_is_kept_and_replaced() {
    let mut scanner = Scanner::new(Peer::Client, 1 << 15, 1000);
    let mut input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    input.extend(frame(4, 0, 0, &[]));
    input.extend(frame(1, 5, 1, &request(b"/plain?a=b")));
    let odd = input.len();
    input.extend(frame(1, 5, 3, &request(b"/a#b")));
    let replaced = input.len() - odd;
    // The same path again, out of the table.
    let again = input.len();
    let mut block = vec![0x82, 0x86, 0xbe];
    block.splice(2..2, [0xbf]);
    input.extend(frame(1, 5, 5, &block));
    let scan = scanner.scan(&input, ZERO).unwrap();
    assert_eq!(scan, Scan { pass: odd, replaced, hold: false });
    let written = scanner.replacement().to_vec();
    assert!(!written.contains(&b'#'), "{written:?}");
    assert_eq!(scanner.scan(&input[again..], ZERO).unwrap().pass, input.len() - again);
    assert_eq!(scanner.take_target(1), None);
    assert_eq!(scanner.take_target(3).as_deref(), Some(&b"/a#b"[..]));
    assert_eq!(scanner.take_target(3), None, "it is asked for once");
    assert_eq!(scanner.take_target(5).as_deref(), Some(&b"/a#b"[..]));

    // What is written in its place fills the table of the crate in the same way.
    let section = Decoder::new().read(&written[9..]).unwrap();
    assert_eq!(section.odd_path, None);
    assert_eq!(section.size, Decoder::new().read(&request(b"/a#b")).unwrap().size);
}

/// So that one that was forgotten would be refused, not served as another target.
#[test]
fn a_placeholder_is_no_valid_target() {
    for length in [1_usize, 2, 3, 4, 5, 50] {
        let (mut coded, mut text) = (Vec::new(), Vec::new());
        placeholder(length, &mut coded);
        match length {
            1 => text.extend(&coded[1..]),
            _ => huffman::decode(&coded[1..], &mut text).unwrap(),
        }
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.len(), length);
        assert!(set_request_target(&mut RequestHead::default(), &text).is_err(), "{text}");
    }
}

#[test]
fn trailers_are_judged() {
    let head = request(b"/");
    for (trailers, fault) in [
        (literal(0, "x-a", b"1"), None),
        (literal(0, ":path", b"/b"), Some(Trailers::Pseudo)),
        (vec![0x82], Some(Trailers::Pseudo)),
        (literal(0, ":secret", b"1"), Some(Trailers::Pseudo)),
        (literal(0, "x-a", &[b'm'; 1000 - 36]), None),
        (literal(0, "x-a", &[b'm'; 1000 - 35]), Some(Trailers::TooLarge)),
    ] {
        let mut client = Scanner::new(Peer::Client, 1000, 1000);
        let mut input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        input.extend(frame(1, 4, 1, &head));
        input.extend(frame(0, 0, 1, b"body"));
        input.extend(frame(1, 5, 1, &trailers));
        assert_eq!(client.scan(&input, ZERO).unwrap().pass, input.len());
        assert_eq!(client.trailers(1), fault);

        let mut upstream = Scanner::new(Peer::Upstream, 1000, 1000);
        upstream.expect(1);
        let mut input = frame(1, 4, 1, &literal(0, ":status", b"103"));
        input.extend(frame(1, 4, 1, &[0x88]));
        input.extend(frame(0, 0, 1, b"body"));
        assert_eq!(upstream.scan(&input, ZERO).unwrap().pass, input.len());
        assert_eq!((upstream.trailers(1), upstream.has_ended(1)), (None, false));
        let input = frame(1, 5, 1, &trailers);
        assert_eq!(upstream.scan(&input, ZERO).unwrap().pass, input.len());
        assert_eq!(
            (upstream.trailers(1), upstream.has_ended(1), upstream.is_head_alone(1)),
            (fault, true, false)
        );
        upstream.forget(1);
        assert!(!upstream.has_ended(1));
    }
}

#[test]
fn a_response_that_ends_with_its_head_is_known_by_that() {
    let mut upstream = Scanner::new(Peer::Upstream, 1000, 1000);
    upstream.expect(1);
    upstream.expect(3);
    // Another stream that no one waits for any more leaves nothing behind.
    let mut input = frame(1, 5, 5, &[0x88]);
    input.extend(frame(1, 5, 1, &[0x88]));
    input.extend(frame(3, 0, 1, &[0; 4]));
    input.extend(frame(1, 4, 3, &[0x88]));
    input.extend(frame(3, 0, 3, &[0; 4]));
    upstream.scan(&input, ZERO).unwrap();
    assert!(upstream.is_head_alone(1) && upstream.has_ended(1));
    assert!(!upstream.has_ended(3) && !upstream.has_ended(5));
    upstream.scan(&frame(0, 1, 3, &[]), ZERO).unwrap();
    assert!(upstream.has_ended(3) && !upstream.is_head_alone(3));
}

#[test]
fn frames_that_do_no_work_end_the_connection() {
    for (what, kind, flags, stream, payload) in [
        ("SETTINGS", 4, 0, 0, &[][..]),
        ("PING", 6, 0, 0, &[0; 8]),
        ("PRIORITY", 2, 0, 1, &[0, 0, 0, 0, 1]),
        ("WINDOW_UPDATE", 8, 0, 0, &[0, 0, 0, 1]),
        ("RST_STREAM", 3, 0, 1, &[0; 4]),
        ("empty DATA", 0, 0, 1, &[]),
        ("an unknown type", 0xee, 0, 0, &[0; 10]),
    ] {
        let mut client = Scanner::new(Peer::Client, 1000, 1000);
        client.scan(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ZERO).unwrap();
        let one = frame(kind, flags, stream, payload);
        let taken = (0..5000).take_while(|_| client.scan(&one, ZERO).is_ok()).count();
        assert_eq!(taken, 1000, "{what}");
        assert_eq!(client.scan(&one, ZERO), Err(Violation::Flood), "{what}");
        // Ten seconds later there may be two hundred more.
        let later = || Duration::from_secs(10);
        assert_eq!((0..5000).take_while(|_| client.scan(&one, later).is_ok()).count(), 200, "{what}");
        // Sent data earns acknowledgements.
        client.earn(16_384, false);
        assert_eq!((0..5000).take_while(|_| client.scan(&one, later).is_ok()).count(), 8, "{what}");
        client.earn(1, true);
        assert!(client.scan(&one, later).is_err(), "single bytes earn none");
    }
    // Large ones count for more.
    let mut client = Scanner::new(Peer::Client, 1000, 1000);
    client.scan(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ZERO).unwrap();
    let large = frame(0xee, 0, 0, &[0; 16_384]);
    assert_eq!((0..5000).take_while(|_| client.scan(&large, ZERO).is_ok()).count(), 1000 / 65);
}

#[test]
fn what_answers_a_stream_is_found_among_what_is_sent() {
    let sent = [
        frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(1, 4, 1, &[0x88]),
        frame(0, 1, 1, &[3; 300]),
        frame(3, 0, 5, &[0, 0, 0, 7]),
        frame(0, 0, 3, b""),
        frame(1, 5, 0x7fff_ffff, b""),
        frame(3, 0, 9, &[0, 0, 1, 1]),
    ]
    .concat();
    let expected = [
        (1, Answered::Head),
        (5, Answered::Reset(7)),
        (0x7fff_ffff, Answered::Head),
        (9, Answered::Reset(257)),
    ];
    for size in 1..=sent.len() {
        let (mut frames, mut found) = (SentFrames::default(), Vec::new());
        for piece in sent.chunks(size) {
            frames.read(piece, |stream, answered| found.push((stream, answered)));
        }
        assert_eq!(found, expected, "in pieces of {size} bytes");
    }
}

#[test]
fn a_stream_waits_until_it_is_settled() {
    let mut scanner = Scanner::new(Peer::Client, 1000, 1000);
    let mut input = vec![0; 24];
    for stream in [1, 5, 7] {
        input.extend(frame(1, 5, stream, &request(b"/")));
    }
    assert_eq!(scanner.scan(&input, ZERO).unwrap().pass, input.len());
    assert!(scanner.is_waiting(5) && !scanner.is_waiting(3));
    assert!(scanner.settle(5) && !scanner.settle(5) && !scanner.settle(3));
    assert_eq!((scanner.settle_all(), scanner.settle_all()), (2, 0));
    // The crate answers none that a client opens behind a GOAWAY.
    let many: Vec<u8> = (10..5010).flat_map(|at| frame(1, 5, at * 2 + 1, &request(b"/"))).collect();
    assert_eq!(scanner.scan(&many, ZERO).unwrap().pass, many.len());
    assert_eq!(scanner.settle_all(), 2048);
}

#[test]
fn a_block_has_an_end() {
    let mut client = Scanner::new(Peer::Client, 1000, 1000);
    client.scan(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ZERO).unwrap();
    let mut input = frame(1, 1, 1, &[0x82]);
    for _ in 0..200 {
        input.extend(frame(9, 0, 1, &[]));
    }
    assert_eq!(client.scan(&input, ZERO), Err(Violation::Block), "empty CONTINUATION");
    let mut input = frame(1, 1, 1, &[0x82]);
    for _ in 0..4 {
        input.extend(frame(9, 0, 1, &[0x82; 10_000]));
    }
    let mut client = Scanner::new(Peer::Client, 1000, 1000);
    client.scan(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ZERO).unwrap();
    assert_eq!(client.scan(&input, ZERO), Err(Violation::Block), "more than any limit");
    assert_eq!(
        client.scan(&frame(1, 0x25, 3, &[0, 0, 0, 3, 1, 0x82]), ZERO),
        Err(Violation::Dependency),
        "a stream that depends on itself"
    );
}

#[test]
fn a_priority_is_read_within_its_frame_only() {
    let mut client = Scanner::new(Peer::Client, 1000, 1000);
    client.scan(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ZERO).unwrap();
    // The head of the frame behind it begins with the bytes 0, 0, 0, 3.
    let mut input = frame(1, 0x25, 3, &[]);
    input.extend(frame(3, 0, 3, &[]));
    assert!(client.scan(&input, ZERO).is_ok());
}

#[test]
fn an_allowance_is_filled_by_time_up_to_its_most() {
    let mut allowance = Allowance::new(10, 5);
    assert!(allowance.spend(10, ZERO) && !allowance.spend(1, ZERO));
    let later = || Duration::from_secs(2);
    assert!(allowance.is_low(|| Duration::from_millis(500)));
    assert!(!allowance.is_low(|| Duration::from_secs(2)));
    assert!(allowance.spend(9, later) && !allowance.spend(2, later));
    let hour = || Duration::from_secs(3600);
    assert!(!allowance.is_low(hour));
    assert!(allowance.spend(10, hour) && !allowance.spend(1, hour));
    allowance.earn(u32::MAX);
    assert!(allowance.spend(10, hour) && !allowance.spend(1, hour));
}

proptest! {
    /// A block is read alike however its frames are cut, and however the bytes arrive.
    #[test]
    fn pieces_make_no_difference(path in "[!-~]{1,300}", cut in 1_usize..40, padding in 0_u8..9) {
        let block = request(path.as_bytes());
        let (head, tail) = block.split_at(block.len() / 2);
        let mut first = vec![padding];
        first.extend(head);
        first.extend(vec![0; usize::from(padding)]);
        let mut input = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        input.extend(frame(1, 0x9, 1, &first));
        input.extend(frame(9, 4, 1, tail));
        input.extend(frame(0, 0, 1, b"body"));

        let mut whole = Scanner::new(Peer::Client, 1 << 15, 1000);
        let scan = whole.scan(&input, ZERO).unwrap();
        let mut pieces = Scanner::new(Peer::Client, 1 << 15, 1000);
        let (mut held, mut passed, mut replaced) = (Vec::new(), 0, 0);
        for piece in input.chunks(cut) {
            held.extend(piece);
            loop {
                let scan = pieces.scan(&held, ZERO).unwrap();
                held.drain(..scan.pass + scan.replaced);
                passed += scan.pass;
                replaced += scan.replaced;
                if scan.hold || held.is_empty() {
                    break;
                }
            }
        }
        prop_assert!(held.is_empty());
        prop_assert_eq!(passed + replaced, input.len());
        prop_assert_eq!(replaced, scan.replaced);
        prop_assert_eq!(whole.take_target(1), pieces.take_target(1));
        prop_assert_eq!(scan.replaced == 0, is_plain_path(path.as_bytes()));
    }

    /// A placeholder has the length that it was asked for.
    #[test]
    fn placeholders_have_their_length(length in 1_usize..70_000) {
        let mut block = vec![0x04];
        placeholder(length, &mut block);
        let section = Decoder::new().read(&block).unwrap();
        prop_assert_eq!(section.size, 32 + 5 + length);
    }

    #[test]
    fn no_input_panics(input in proptest::collection::vec(any::<u8>(), 0..400), upstream in any::<bool>()) {
        let peer = if upstream { Peer::Upstream } else { Peer::Client };
        let mut scanner = Scanner::new(peer, 1000, 1000);
        let _ignored = scanner.scan(&input, ZERO).is_ok();
        let _ignored = Decoder::new().read(&input).is_ok();
        let mut out = Vec::new();
        let _ignored = huffman::decode(&input, &mut out).is_ok();
        let mut framed = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        framed.extend(frame(1, 5, 1, &input));
        let _ignored = Scanner::new(Peer::Client, 1000, 1000).scan(&framed, ZERO).is_ok();
    }
}
