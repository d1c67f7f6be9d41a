use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Write as _};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::Stream;
use crate::testing::on_worker;

async fn pair() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Stream::Tcp(listener.accept().await.unwrap().0), client)
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

#[test]
#[expect(clippy::disallowed_methods, reason = "no more is read than the test sends")]
fn a_part_of_a_file_arrives_whole_at_a_reader_that_lets_it_wait() {
    on_worker(async {
        // More than both sockets hold.
        let content: Vec<u8> =
            (0..16_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let (file, start, bytes) = (file(&content), 4097, content.len() as u64 - 5000);
        let (mut server, client) = pair().await;
        let mut sent = 0;
        let waited = poll_fn(|cx| server.poll_send_file(cx, &file, start, &mut sent, bytes).map(Some));
        let first = tokio::select! { biased; sent = waited => sent, () = std::future::ready(()) => None };
        assert!(first.is_none() && sent > 0 && sent < bytes, "{sent}");
        let sending = async {
            poll_fn(|cx| server.poll_send_file(cx, &file, start, &mut sent, bytes)).await.unwrap();
            drop(server);
        };
        let mut read = Vec::new();
        let mut client = client.take(bytes + 1);
        let (_, read_all) = tokio::join!(sending, client.read_to_end(&mut read));
        read_all.unwrap();
        assert!(read == content[start as usize..(start + bytes) as usize], "{} bytes", read.len());
    });
}

#[test]
fn the_end_of_a_file_differs_from_the_end_of_a_client() {
    on_worker(async {
        let file = file(b"abc");
        let (mut server, client) = pair().await;
        let mut read = 0;
        let sent = poll_fn(|cx| server.poll_send_file(cx, &file, 1, &mut read, 3)).await;
        assert_eq!((sent.unwrap_err().kind(), read), (io::ErrorKind::UnexpectedEof, 2));
        drop(client);
        let failed = loop {
            let sent = poll_fn(|cx| server.poll_send_file(cx, &file, 0, &mut 0, 3)).await;
            if let Err(error) = sent {
                break error;
            }
            tokio::task::yield_now().await;
        };
        assert!(
            matches!(failed.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{failed}"
        );
    });
}
