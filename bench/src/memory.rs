//! Memory of an idle keep-alive connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::contender::Contender;
use crate::process::pause;

/// Connections that are made, used and closed before, so that what everybody allocates once is there.
const WARM_UP: u32 = 50;

/// Resident bytes that one more connection costs: each is opened, carries one request, and stays.
pub(crate) fn per_connection(contender: &Contender, connections: u32) -> Result<u64> {
    drop(open(contender, WARM_UP)?);
    let before = settled(contender)?;
    let held = open(contender, connections)?;
    let after = settled(contender)?;
    drop(held);
    Ok(after.saturating_sub(before) / u64::from(connections))
}

fn open(contender: &Contender, connections: u32) -> Result<Vec<TcpStream>> {
    let mut held = Vec::new();
    for at in 0..connections {
        let stream = exchange(contender).with_context(|| {
            format!("connection {at} of {connections} (a low `ulimit -n` is a usual reason; try --idle 500)")
        })?;
        held.push(stream);
    }
    Ok(held)
}

/// A connection that has carried one request.
fn exchange(contender: &Contender) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(contender.plain_address())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 2048];
    // The body ends with the last of its hundred digits; heads have no run of ten of them.
    while !answer.ends_with(b"0123456789") {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            bail!("it closed the connection after {:?}", String::from_utf8_lossy(&answer));
        }
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("it answered {:?}", String::from_utf8_lossy(&answer));
    }
    Ok(stream)
}

/// Resident memory once it has not changed for a while.
fn settled(contender: &Contender) -> Result<u64> {
    let until = Instant::now() + Duration::from_secs(5);
    let (mut last, mut same) = (contender.resident_bytes()?, 0);
    while same < 10 && Instant::now() < until {
        pause();
        let now = contender.resident_bytes()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
