use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use portcullis_http::Fields;

use super::ReplayBody;
use crate::body::{Body, BodySource, Frame};

/// All that comes, put together.
fn read(body: &mut ReplayBody) -> Vec<u8> {
    let mut all = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(frame)) = body.poll_next(&mut cx) {
        match frame.unwrap() {
            Frame::Data(piece) => all.extend_from_slice(&piece),
            Frame::Trailers(_) => all.extend_from_slice(b"|trailers"),
        }
    }
    all
}

#[test]
fn gives_the_same_again_as_often_as_it_must() {
    for size in [1, 1023, 1024, 5000] {
        let bytes = vec![7; size];
        let mut body = ReplayBody::new(Body::Full(Bytes::from(bytes.clone())), 5000);
        for _ in 0..3 {
            assert_eq!(body.length(), Some(size as u64));
            assert_eq!(read(&mut body), bytes);
            assert_eq!(body.length(), Some(0));
            assert!(body.rewind());
        }
    }
}

#[test]
fn a_body_over_the_bound_passes_and_cannot_be_sent_again() {
    let bytes = vec![7; 5001];
    let mut body = ReplayBody::new(Body::Full(Bytes::from(bytes.clone())), 5000);
    assert_eq!(read(&mut body), bytes);
    assert!(!body.is_kept() && !body.rewind());
    assert!(body.kept.is_empty());
}

#[test]
fn pieces_of_all_sizes_keep_their_order() {
    let mut body = ReplayBody::new(Body::Empty, 100_000);
    let mut sent = Vec::new();
    for (at, size) in [1, 2000, 3, 4, 3000, 1024, 5].into_iter().enumerate() {
        let piece = Bytes::from(vec![at as u8; size]);
        sent.extend_from_slice(&piece);
        body.keep(&piece);
    }
    body.trailers = Some(Box::new(Fields::new()));
    assert!(body.rewind());
    sent.extend_from_slice(b"|trailers");
    assert_eq!(read(&mut body), sent);
    assert!(body.rewind());
    assert_eq!(read(&mut body), sent);
}

#[test]
fn what_was_answered_is_kept_no_longer() {
    let mut body = ReplayBody::new(Body::Full(Bytes::from_static(b"body")), 100);
    read(&mut body);
    body.stop();
    assert!(!body.rewind());
    assert_eq!(body.length(), Some(0));
}
