//! Compares the endpoints of each upstream at the end of each of its windows.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use portcullis_model::Name;
use tokio::time::Instant;

use crate::snapshot::Snapshot;
use crate::upstream::SharedUpstream;

/// The upstreams whose endpoints are compared, and when each of them is due.
#[derive(Debug, Default)]
pub(super) struct Judges(BTreeMap<Name, (Arc<SharedUpstream>, Instant)>);

impl Judges {
    /// Compares the endpoints of this snapshot from now on. A window that has begun goes on.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.0);
        for (name, upstream) in &snapshot.upstreams {
            let Some(rules) = &upstream.config.ejection.outliers else { continue };
            let latest = Instant::now() + rules.window;
            let due = before.remove(name).map_or(latest, |(_, due)| due.min(latest));
            self.0.insert(name.clone(), (upstream.clone(), due));
        }
    }

    /// Compares them for ever. Dropping the future loses nothing.
    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            let next = self.0.values_mut().min_by_key(|(_, due)| *due);
            let Some((upstream, due)) = next else { return std::future::pending().await };
            tokio::time::sleep_until(*due).await;
            upstream.judge();
            let window = upstream.config.ejection.outliers.as_ref().map(|rules| rules.window);
            *due = Instant::now() + window.unwrap_or_default();
        }
    }
}
