//! The server behind all contenders: as cheap as can be, so that the load meets the contender first.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::pin::{Cores, Role};
use crate::process::Guard;

/// 100 bytes of body.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n\
    0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

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

/// Serves until it is killed. Writes its port to standard output first.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(answer(stream));
        }
    })
}

/// Answers each head. Nobody here sends a body, and a connection that fails is its peer's affair.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
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
        let (heads, rest) = whole_heads(&buffer[..length]);
        for _ in 0..heads {
            stream.write_all(RESPONSE).await?;
        }
        buffer.copy_within(rest..length, 0);
        length -= rest;
    }
}

/// Returns the number of heads, and the end of the last one.
fn whole_heads(bytes: &[u8]) -> (usize, usize) {
    let (mut heads, mut end) = (0, 0);
    for (at, window) in bytes.windows(4).enumerate() {
        if window == b"\r\n\r\n" {
            (heads, end) = (heads + 1, at + 4);
        }
    }
    (heads, end)
}

#[cfg(test)]
mod tests {
    use super::{RESPONSE, whole_heads};

    #[test]
    fn the_body_is_as_long_as_it_says() {
        let end = RESPONSE.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(RESPONSE.len() - end, 100);
    }

    #[test]
    fn counts_whole_heads_only() {
        assert_eq!(whole_heads(b"GET / HTTP/1.1\r\n"), (0, 0));
        assert_eq!(whole_heads(b"A\r\n\r\nB\r\n\r\nC\r\n"), (2, 10));
    }
}
