//! Names to addresses.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long an answer is used again: long enough that a burst of connections asks once, short enough that a changed
/// record is followed at once by human standards. (The system's resolver does not tell a record's own time.)
const FRESH: Duration = Duration::from_secs(5);

/// Names that are remembered. They come from the configuration alone, so this only bounds what reloads leave behind.
const NAMES_MAX: usize = 1024;

/// What a look-up gave. The error is text, because all who wait for it get it.
type Answer = Result<Arc<[SocketAddr]>, Arc<str>>;

#[derive(Debug)]
enum Entry {
    Known {
        addresses: Arc<[SocketAddr]>,
        until: Instant,
    },
    /// A look-up is under way. One for each name, however many wait: each takes a thread until the system's resolver
    /// gives up, which with a dead name server is many seconds.
    Asked(watch::Receiver<Option<Answer>>),
}

/// Remembers names for a short time. Clones share what they know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver(Arc<Mutex<HashMap<Box<str>, Entry>>>);

impl Resolver {
    /// The addresses of `host:port`, at least one, the preferred first. Dropping the future does not end the look-up,
    /// whose answer serves the next who asks.
    pub(crate) async fn resolve(&self, address: &str) -> io::Result<Arc<[SocketAddr]>> {
        let mut asked = match self.known_or_ask(address) {
            Ok(addresses) => return Ok(addresses),
            Err(asked) => asked,
        };
        let answer = match asked.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        match answer {
            Some(Ok(addresses)) => Ok(addresses),
            Some(Err(reason)) => Err(io::Error::other(reason.to_string())),
            None => Err(io::Error::other("the look-up was given up")),
        }
    }

    fn known_or_ask(&self, address: &str) -> Result<Arc<[SocketAddr]>, watch::Receiver<Option<Answer>>> {
        let now = Instant::now();
        let mut entries = self.entries();
        match entries.get(address) {
            Some(Entry::Known { addresses, until }) if *until > now => return Ok(Arc::clone(addresses)),
            // An asker that is gone without an answer went with its runtime: ask again.
            Some(Entry::Asked(asked)) if asked.has_changed().is_ok() => return Err(asked.clone()),
            _ => {}
        }
        if entries.len() >= NAMES_MAX {
            entries.retain(|_, entry| matches!(entry, Entry::Asked(_)));
        }
        let (answer, asked) = watch::channel(None);
        entries.insert(address.into(), Entry::Asked(asked.clone()));
        let (resolver, address) = (self.clone(), Box::<str>::from(address));
        tokio::spawn(async move {
            let found = look_up(&address).await;
            resolver.learn(address, &found);
            answer.send_replace(Some(found));
        });
        Err(asked)
    }

    fn learn(&self, address: Box<str>, answer: &Answer) {
        let mut entries = self.entries();
        match answer {
            Ok(addresses) => {
                let until = Instant::now() + FRESH;
                entries.insert(address, Entry::Known { addresses: Arc::clone(addresses), until });
            }
            Err(_) => {
                entries.remove(&address);
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Box<str>, Entry>> {
        // Nothing can panic while it is held, and a map that is half changed would still be a map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_up(address: &str) -> Answer {
    let found = tokio::net::lookup_host(address).await.map_err(|error| Arc::from(error.to_string()))?;
    let addresses = interleave(found.collect());
    if addresses.is_empty() { Err(Arc::from("it has no address")) } else { Ok(addresses.into()) }
}

/// Alternates the families, the preferred first (RFC 8305, 4), so that one that leads nowhere costs one attempt.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair.iter().all(Option::is_none) {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests;
