//! Names to addresses.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use portcullis_model::Lock;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long an answer is used again: long enough that a burst of connections asks once, short enough that a changed
/// record is followed at once by human standards. (The system's resolver does not tell a record's own time.)
const FRESH: Duration = Duration::from_secs(5);

/// How long a failure is used again, so that each attempt to connect does not ask anew.
const FAILED: Duration = Duration::from_secs(1);

/// How long the last good answer is used while look-ups fail.
const LAST_GOOD: Duration = Duration::from_secs(3600);

/// How long a look-up may take before the last good answer is used in its place.
const SLOW: Duration = Duration::from_millis(500);

/// Names that are remembered. They come from the configuration alone, so this only bounds what reloads leave behind.
const NAMES_MAX: usize = 1024;

/// What a look-up gave. The error is text, because all who wait for it get it.
type Answer = Result<Arc<[SocketAddr]>, Arc<str>>;

/// Asks for the addresses of `host:port`, and may block.
type LookUp = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// What is known of one name.
#[derive(Debug, Default)]
struct Entry {
    /// The last good answer, and when it came.
    good: Option<(Arc<[SocketAddr]>, Instant)>,
    /// The last answer, until when it holds.
    last: Option<(Result<(), Arc<str>>, Instant)>,
    /// A look-up is under way. One for each name, however many wait: each takes a thread until the system's resolver
    /// gives up, which with a dead name server is many seconds.
    asked: Option<watch::Receiver<Option<Answer>>>,
}

impl Entry {
    /// The last good answer, if it is not too old.
    fn good(&self, now: Instant) -> Option<Arc<[SocketAddr]>> {
        let (addresses, since) = self.good.as_ref()?;
        (now.saturating_duration_since(*since) < LAST_GOOD).then(|| Arc::clone(addresses))
    }

    /// The answer that needs no look-up.
    fn fresh(&self, now: Instant) -> Option<Answer> {
        let (last, _) = self.last.as_ref().filter(|(_, until)| *until > now)?;
        match (last, self.good(now)) {
            (_, Some(addresses)) => Some(Ok(addresses)),
            (Err(reason), None) => Some(Err(Arc::clone(reason))),
            (Ok(()), None) => None,
        }
    }

    /// The look-up that is under way.
    fn asked(&self) -> Option<&watch::Receiver<Option<Answer>>> {
        // An asker that is gone without an answer went with its runtime: ask again.
        self.asked.as_ref().filter(|asked| asked.has_changed().is_ok())
    }
}

/// Remembers names: for a short time, and for longer while they cannot be looked up. Clones share what they know.
#[derive(Clone)]
pub(crate) struct Resolver {
    entries: Arc<Lock<HashMap<Box<str>, Entry>>>,
    look_up: LookUp,
}

impl Default for Resolver {
    #[expect(clippy::disallowed_methods, reason = "it runs on a thread that may block")]
    fn default() -> Self {
        Self::asking(|address| Ok(address.to_socket_addrs()?.collect()))
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl Resolver {
    /// One that asks `look_up`, on threads that may block.
    pub(crate) fn asking(
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { entries: Arc::default(), look_up: Arc::new(look_up) }
    }

    /// The addresses of `host:port`, at least one, the preferred first. While a look-up fails or is slow, these are
    /// what the last one gave. Dropping the future does not end the look-up, whose answer serves the next who asks.
    pub(crate) async fn resolve(&self, address: &str) -> io::Result<Arc<[SocketAddr]>> {
        let (asked, good) = {
            let now = Instant::now();
            let mut entries = self.entries();
            let entry = entries.get(address);
            if let Some(answer) = entry.and_then(|entry| entry.fresh(now)) {
                return answer.map_err(|reason| io::Error::other(reason.to_string()));
            }
            let good = entry.and_then(|entry| entry.good(now));
            (self.ask(&mut entries, address), good)
        };
        let answer = match good {
            None => answered(asked).await,
            Some(good) => match tokio::time::timeout(SLOW, answered(asked)).await {
                Ok(Ok(addresses)) => Ok(addresses),
                Ok(Err(_)) | Err(_) => Ok(good),
            },
        };
        answer.map_err(|reason| io::Error::other(reason.to_string()))
    }

    /// The last good answer for `host:port`. Looks the name up anew if that is older than some seconds, but does not
    /// wait. `None` if it was never resolved.
    pub(crate) fn refresh(&self, address: &str) -> Option<Arc<[SocketAddr]>> {
        let now = Instant::now();
        let mut entries = self.entries();
        let entry = entries.get(address)?;
        let good = entry.good(now);
        if entry.last.as_ref().is_none_or(|(_, until)| *until <= now) {
            self.ask(&mut entries, address);
        }
        good
    }

    /// Joins the look-up that is under way, or starts one.
    fn ask(&self, entries: &mut HashMap<Box<str>, Entry>, address: &str) -> watch::Receiver<Option<Answer>> {
        if let Some(asked) = entries.get(address).and_then(Entry::asked) {
            return asked.clone();
        }
        if entries.len() >= NAMES_MAX {
            entries.retain(|_, entry| entry.asked().is_some());
        }
        let (answer, asked) = watch::channel(None);
        entries.entry(address.into()).or_default().asked = Some(asked.clone());
        let (resolver, address) = (self.clone(), Box::<str>::from(address));
        tokio::spawn(async move {
            let found = resolver.look_up(&address).await;
            resolver.learn(address, &found);
            answer.send_replace(Some(found));
        });
        asked
    }

    async fn look_up(&self, address: &str) -> Answer {
        let (look_up, address) = (Arc::clone(&self.look_up), Box::<str>::from(address));
        let found = tokio::task::spawn_blocking(move || look_up(&address)).await;
        let found = found.map_err(io::Error::other).flatten();
        let addresses = interleave(found.map_err(|error| Arc::<str>::from(error.to_string()))?);
        if addresses.is_empty() { Err(Arc::from("it has no address")) } else { Ok(addresses.into()) }
    }

    fn learn(&self, address: Box<str>, answer: &Answer) {
        let now = Instant::now();
        let mut entries = self.entries();
        let entry = entries.entry(address).or_default();
        entry.asked = None;
        match answer {
            Ok(addresses) => {
                entry.good = Some((Arc::clone(addresses), now));
                entry.last = Some((Ok(()), now + FRESH));
            }
            Err(reason) => entry.last = Some((Err(Arc::clone(reason)), now + FAILED)),
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Box<str>, Entry>> {
        // Nothing can panic while it is held, and a map that is half changed would still be a map.
        self.entries.lock()
    }
}

async fn answered(mut asked: watch::Receiver<Option<Answer>>) -> Answer {
    let answer = match asked.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone(),
        Err(_) => None,
    };
    answer.unwrap_or_else(|| Err(Arc::from("the look-up was given up")))
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
