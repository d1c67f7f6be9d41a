use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testing::{Authority, handshake, listener, on_worker, run, tls, until};
use crate::{Accepted, ListenerState};

/// Keeps the connection until the peer closes it or the listener drains.
async fn hold(mut accepted: Accepted) {
    let (drain, mut byte) = (accepted.drain.wait(), [0; 1]);
    tokio::select! {
        _ = accepted.stream.read(&mut byte) => {}
        () = drain => {}
    }
}

/// Waits for the other side's close, however it comes.
async fn closed(stream: &mut TcpStream) {
    loop {
        match stream.read(&mut [0; 64]).await {
            Ok(0) => return,
            Ok(_alert) => {}
            Err(error) => return assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
}

#[test]
fn the_last_connection_of_the_limit_is_served_and_the_next_closed() {
    on_worker(async {
        let mut described = listener(None);
        described.limits.connections = 2;
        let running = run(described, hold);
        let first = TcpStream::connect(running.address).await.unwrap();
        let _second = TcpStream::connect(running.address).await.unwrap();
        until(|| running.connections.open() == 2).await;
        let mut third = TcpStream::connect(running.address).await.unwrap();
        closed(&mut third).await;
        assert_eq!((running.connections.open(), running.connections.refused()), (2, 1));
        drop(first);
        until(|| running.connections.open() == 1).await;
        let _fourth = TcpStream::connect(running.address).await.unwrap();
        until(|| running.connections.open() == 2).await;
        assert_eq!((running.connections.accepted(), running.connections.refused()), (3, 1));
    });
}

#[test]
fn a_limit_and_a_certificate_change_under_the_open_socket() {
    on_worker(async {
        let authority = Authority::new();
        let running = run(listener(Some(tls(vec![authority.issue(&["old.test"])]))), hold);
        let client = authority.client(&[], &[&TLS13]);
        let mut old = handshake(running.address, "old.test", Arc::clone(&client)).await.unwrap();
        handshake(running.address, "new.test", Arc::clone(&client)).await.unwrap_err();
        let described = listener(Some(tls(vec![authority.issue(&["new.test"])])));
        let next = ListenerState::build(described, Some(&running.state.load())).unwrap();
        running.state.store(Arc::new(next));
        handshake(running.address, "new.test", client).await.unwrap();
        // The connection from before the change lives on.
        old.write_all(b"x").await.unwrap();
        old.flush().await.unwrap();
        assert_eq!(old.read(&mut [0; 1]).await.unwrap_or(0), 0);
    });
}

#[test]
fn garbage_in_place_of_a_handshake_ends_that_connection_only() {
    on_worker(async {
        let authority = Authority::new();
        let running = run(listener(Some(tls(vec![authority.issue(&["a.test"])]))), hold);
        let mut plain = TcpStream::connect(running.address).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        closed(&mut plain).await;
        until(|| running.connections.handshakes_failed() == 1).await;
        drop(TcpStream::connect(running.address).await.unwrap());
        until(|| running.connections.handshakes_failed() == 2).await;
        handshake(running.address, "a.test", authority.client(&[], &[&TLS13])).await.unwrap();
    });
}

#[test]
fn a_silent_client_is_closed_after_the_time_for_a_handshake_and_holds_nobody_up() {
    on_worker(async {
        let authority = Authority::new();
        let mut described = listener(Some(tls(vec![authority.issue(&["a.test"])])));
        described.timeouts.handshake = Duration::from_millis(200);
        let running = run(described, hold);
        let mut silent = TcpStream::connect(running.address).await.unwrap();
        until(|| running.connections.open() == 1).await;
        let served = handshake(running.address, "a.test", authority.client(&[], &[&TLS13])).await.unwrap();
        closed(&mut silent).await;
        assert_eq!(running.connections.handshakes_failed(), 1);
        until(|| running.connections.open() == 1).await;
        drop(served);
        until(|| running.connections.open() == 0).await;
    });
}

#[test]
fn a_drain_serves_what_waits_in_the_queue_and_then_refuses() {
    on_worker(async {
        let served = Rc::new(Cell::new(0));
        let count = Rc::clone(&served);
        let running = run(listener(None), move |accepted| {
            count.set(count.get() + 1);
            assert!(accepted.stream.tcp().unwrap().nodelay().unwrap());
            hold(accepted)
        });
        // The loop has not run since: all of these wait in the kernel's queue.
        let clients: Vec<_> =
            (0..3).map(|_| std::net::TcpStream::connect(running.address).unwrap()).collect();
        running.drain.start();
        running.accepting.await.unwrap();
        running.tasks.wait_idle().await;
        assert_eq!(served.get(), clients.len());
        assert_eq!(running.connections.open(), 0);
        TcpStream::connect(running.address).await.unwrap_err();
    });
}

#[test]
fn connections_that_outlive_the_drain_are_ended() {
    on_worker(async {
        let running = run(listener(None), |mut accepted: Accepted| async move {
            let _permit = accepted.permit;
            accepted.stream.read_u8().await.unwrap();
        });
        let mut client = TcpStream::connect(running.address).await.unwrap();
        until(|| running.connections.open() == 1).await;
        running.drain.start();
        running.accepting.await.unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(10), running.tasks.wait_idle()).await;
        assert!(waited.is_err(), "the connection is still there");
        assert_eq!(running.tasks.abort_all(), 1);
        running.tasks.wait_idle().await;
        closed(&mut client).await;
        assert_eq!(running.connections.open(), 0);
    });
}

#[test]
fn each_socket_of_a_group_gets_connections() {
    on_worker(async {
        let group = crate::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = group[0].local_addr().unwrap();
        // The kernel spreads by a hash of the client's address and port: 64 in a row on one side is 2 to the -63.
        let _clients: Vec<_> = (0..64).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        for socket in group {
            socket.accept().unwrap();
        }
    });
}

#[test]
fn a_header_is_read_to_its_last_byte_and_not_beyond() {
    on_worker(async {
        let mut described = listener(None);
        described.proxy_protocol = Some(portcullis_model::ProxyProtocol {
            from: vec!["127.0.0.0/8".parse().unwrap()],
            serves_others: false,
            timeout: Duration::from_secs(60),
            bytes_max: 300,
        });
        let seen = Rc::new(Cell::new(None));
        let own = Rc::clone(&seen);
        let running = run(described, move |mut accepted| {
            let own = Rc::clone(&own);
            async move {
                let mut rest = [0; 4];
                accepted.stream.read_exact(&mut rest).await.unwrap();
                own.set(Some((accepted.peer.to_string(), accepted.local.to_string(), rest)));
            }
        });
        // Longer than one look at what has arrived.
        let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x01\x1c".to_vec();
        v2.extend([192, 0, 2, 1, 192, 0, 2, 2, 0, 7, 0, 9]);
        v2.resize(300, 0);
        for header in [b"PROXY TCP4 192.0.2.1 192.0.2.2 7 9\r\n".to_vec(), v2] {
            for pieces in [1, 7, usize::MAX] {
                let mut client = TcpStream::connect(running.address).await.unwrap();
                client.set_nodelay(true).unwrap();
                for piece in [&header[..], b"rest"].concat().chunks(pieces.min(1000)) {
                    client.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                let found = loop {
                    match seen.take() {
                        Some(found) => break found,
                        None => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                };
                assert_eq!(found, ("192.0.2.1:7".to_owned(), "192.0.2.2:9".to_owned(), *b"rest"));
            }
        }
    });
}
