//! A proxy for what asks registries: CONNECT, and requests with a whole address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A proxy on a free loopback port that leads every name to one server. Dropping it closes the port and all
/// connections.
#[derive(Debug)]
pub struct TestProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl TestProxy {
    /// Leads to `to`. If `wanted` is not empty, `Proxy-Authorization` must say it.
    pub async fn start(to: SocketAddr, wanted: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(lead(stream, to, wanted, Arc::clone(&kept)));
            }
        });
        Self { address, heads, task }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The heads of what it was asked.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn lead(mut client: TcpStream, to: SocketAddr, wanted: &str, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    heads.lock().unwrap().push(head.clone());
    let answer: &[u8] = if !head.contains(wanted) {
        b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
    } else if head.starts_with("CONNECT forbidden.test:") {
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"
    } else if head.starts_with("CONNECT talkative.test:") {
        b"HTTP/1.1 200 OK\r\n\r\nhello"
    } else {
        b""
    };
    if !answer.is_empty() {
        drop(client.write_all(answer).await);
        // Until the client has read it and goes.
        drop(copy(&mut client, &mut sink()).await);
        return;
    }
    let mut server = TcpStream::connect(to).await.unwrap();
    let begun = match head.starts_with("CONNECT ") {
        true => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await,
        // As the server is asked: without scheme and host.
        false => {
            let (method, rest) = head.split_once(" http://").unwrap();
            let (_, path) = rest.split_once('/').unwrap();
            server.write_all(format!("{method} /{path}").as_bytes()).await
        }
    };
    if begun.is_ok() {
        drop(copy_bidirectional(&mut client, &mut server).await);
    }
}
