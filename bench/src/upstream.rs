//! The server behind all contenders: as cheap as can be, so that the load meets the contender first.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::pin::{Cores, Role};
use crate::process::Guard;

/// 100 bytes of body.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n\
    0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

/// How long the upstream takes for a response that many ask for at once.
const LATE: Duration = Duration::from_millis(200);

/// How often something was asked for that caches keep.
static KEPT: AtomicU64 = AtomicU64::new(0);

/// Responses that caches keep.
#[derive(Debug)]
struct Kept {
    small: Vec<u8>,
    medium: Vec<u8>,
    large: Vec<u8>,
}

impl Kept {
    fn new() -> Self {
        let response = |bytes: usize| {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\netag: \"{bytes}\"\r\n\
                 cache-control: max-age=3600\r\ncontent-length: {bytes}\r\n\r\n"
            );
            let mut response = head.into_bytes();
            response.resize(response.len() + bytes, b'x');
            response
        };
        Self { small: response(100), medium: response(10_240), large: response(1 << 20) }
    }
}

/// Starts this program as an upstream, on the upstream's core, and gives its port.
pub(crate) fn start(cores: &Cores) -> Result<(Guard, u16)> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let mut guard =
        Guard::spawn(cores.command(Role::Upstream, &own).arg("--upstream").stdout(Stdio::piped()))?;
    let stdout = guard.child().stdout.take().context("the upstream has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let port =
        line.trim().parse().with_context(|| format!("the upstream said {line:?} instead of its port"))?;
    Ok((guard, port))
}

/// Returns how many requests for what caches keep have reached the upstream at `port`.
pub(crate) fn count(port: u16) -> Result<u64> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /count HTTP/1.1\r\n\r\n")?;
    let mut count = [0; 20];
    stream.read_exact(&mut count)?;
    let text = std::str::from_utf8(&count)?;
    text.trim().parse().with_context(|| format!("the upstream said {text:?} instead of a number"))
}

/// Serves until it is killed. Writes its port to standard output first.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // It lives as long as the program.
    let kept: &'static Kept = Box::leak(Box::new(Kept::new()));
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(answer(stream, kept));
        }
    })
}

/// Answers each head. No request here has a body, and a connection that fails is its peer's affair.
async fn answer(mut stream: TcpStream, kept: &Kept) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 16 * 1024];
    let mut length = 0;
    loop {
        let space = buffer.get_mut(length..).unwrap_or_default();
        let read = stream.read(space).await?;
        if read == 0 {
            return Ok(());
        }
        length += read;
        let mut rest = 0;
        while let Some(head) = first_head(&buffer[rest..length]) {
            rest += head.len();
            let path = head.strip_prefix(b"GET ").unwrap_or_default();
            if path.starts_with(b"/count ") {
                // As wide as the largest number.
                stream.write_all(format!("{:20}", KEPT.load(Relaxed)).as_bytes()).await?;
                continue;
            }
            let Some(name) = path.strip_prefix(b"/kept/") else {
                stream.write_all(RESPONSE).await?;
                continue;
            };
            KEPT.fetch_add(1, Relaxed);
            if name.starts_with(b"late") {
                tokio::time::sleep(LATE).await;
            }
            let response = match name.get(..3) {
                Some(b"10k") => &kept.medium,
                Some(b"1mb") => &kept.large,
                _ => &kept.small,
            };
            stream.write_all(response).await?;
        }
        buffer.copy_within(rest..length, 0);
        length -= rest;
    }
}

/// Returns the first head if all of it is there.
fn first_head(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    bytes.get(..end)
}

#[cfg(test)]
mod tests {
    use super::{Kept, RESPONSE, first_head};

    #[test]
    fn bodies_are_as_long_as_they_say() {
        let kept = Kept::new();
        for (response, bytes) in
            [(RESPONSE, 100), (&kept.small, 100), (&kept.medium, 10_240), (&kept.large, 1 << 20)]
        {
            let head = first_head(response).unwrap();
            assert_eq!(response.len() - head.len(), bytes);
            assert!(String::from_utf8_lossy(head).contains(&format!("content-length: {bytes}\r\n")));
        }
    }

    #[test]
    fn takes_whole_heads_only() {
        assert_eq!(first_head(b"GET / HTTP/1.1\r\n"), None);
        assert_eq!(first_head(b"A\r\n\r\nB\r\n\r\nC\r\n"), Some(&b"A\r\n\r\n"[..]));
    }
}
