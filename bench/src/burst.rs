//! Many requests at once for a response that is not cached yet.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::contender::{Contender, Site};
use crate::scenario::Scenario;

/// Requests, each on a connection of its own.
pub(crate) const REQUESTS: u32 = 1000;

/// What became of one burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Burst {
    /// Requests that reached the upstream.
    pub(crate) upstream: u64,
    /// From the first request to the last response.
    pub(crate) took: Duration,
    /// CPU time of the contender.
    pub(crate) cpu: Duration,
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upstream, took, cpu } = self;
        let each = cpu.as_secs_f64() * 1e6 / f64::from(REQUESTS);
        write!(f, "{REQUESTS} requests made {upstream} upstream, in {took:.2?}, {each:.0} us CPU/request")
    }
}

/// Sends a burst for a response that was not asked for before: `round` is part of its URL.
pub(crate) fn measure(contender: &mut Contender, site: &Site, round: u32) -> Result<Burst> {
    let open = |at| {
        let stream = TcpStream::connect(contender.plain_address())?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok::<_, std::io::Error>(stream).with_context(|| format!("connection {at} of {REQUESTS}"))
    };
    let mut streams = (0..REQUESTS).map(open).collect::<Result<Vec<_>>>()?;
    let (before, cpu) = (site.kept_requests()?, contender.cpu()?);
    let request = format!("GET /{}?{round} HTTP/1.1\r\nhost: localhost\r\n\r\n", Scenario::CacheBurst.path());
    let started = Instant::now();
    for stream in &mut streams {
        stream.write_all(request.as_bytes())?;
    }
    for stream in &mut streams {
        read_response(stream)?;
    }
    let took = started.elapsed();
    contender.check_alive()?;
    let upstream = site.kept_requests()? - before;
    Ok(Burst { upstream, took, cpu: contender.cpu()?.saturating_sub(cpu) })
}

/// Reads a response whose body is a hundred times the same letter, which no head has twice.
fn read_response(stream: &mut TcpStream) -> Result<()> {
    let (mut response, mut buffer) = (Vec::new(), [0; 2048]);
    while !response.ends_with(&[b'x'; 100]) {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            bail!("it closed the connection after {:?}", String::from_utf8_lossy(&response));
        }
        response.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    if !response.starts_with(b"HTTP/1.1 200") {
        bail!("it answered {:?}", String::from_utf8_lossy(&response));
    }
    Ok(())
}
