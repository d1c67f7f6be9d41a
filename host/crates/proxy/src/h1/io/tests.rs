use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use portcullis_net::Stream;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::{COPY_BYTES_MAX, Io};

async fn connected() -> (Io, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (Io::new(Stream::Tcp(accepted.unwrap().0)), client.unwrap())
}

/// Writes all, and returns how often that was pending before it was ready.
async fn written(io: &mut Io, mut piece: Bytes) -> usize {
    let mut waited = 0;
    poll_fn(|cx| {
        let poll = io.poll_write_with(cx, &mut piece);
        waited += usize::from(poll.is_pending());
        poll
    })
    .await
    .unwrap();
    waited
}

#[tokio::test]
async fn a_small_message_lets_others_go_first_once() {
    let (mut io, mut client) = connected().await;
    for _ in 0..2 {
        io.out.prepare();
        io.out.bytes.extend_from_slice(b"head and ");
        assert_eq!(written(&mut io, Bytes::from_static(b"body")).await, 1);
        let mut read = [0; 13];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"head and body");
        io.out.bytes.extend_from_slice(b"more of the body");
        assert_eq!(written(&mut io, Bytes::new()).await, 0, "it has waited for others before");
        client.read_exact(&mut [0; 16]).await.unwrap();
    }
    assert_eq!(written(&mut io, Bytes::new()).await, 0, "there is nothing to write");
}

#[tokio::test]
async fn a_large_message_is_written_at_once() {
    let (mut io, _client) = connected().await;
    io.out.prepare();
    io.out.bytes.extend_from_slice(b"head");
    let mut piece = Bytes::from(vec![0; COPY_BYTES_MAX]);
    let first = poll_fn(|cx| {
        let _written = io.poll_write_with(cx, &mut piece);
        Poll::Ready(io.out.is_empty())
    });
    assert!(first.await, "its head went with it");
}
